// Observe: an Observation of one RaftKV from the caches and from its nodes.
//
// Thread-safety: Observer from any thread, not twice at once for one resource (the controller
// sees to that).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "operator/kube/api.h"
#include "operator/kube/cache.h"
#include "operator/raftkv/applied.h"
#include "operator/raftkv/node_client.h"
#include "operator/raftkv/objects.h"
#include "operator/raftkv/observation.h"
#include "operator/raftkv/refusals.h"

namespace raftkv::op {

struct Caches {
  kube::Cache* clusters = nullptr;
  kube::Cache* stateful_sets = nullptr;
  kube::Cache* pods = nullptr;
  kube::Cache* claims = nullptr;
  kube::Cache* services = nullptr;
  kube::Cache* accounts = nullptr;
  kube::Cache* policies = nullptr;
  kube::Cache* budgets = nullptr;
  kube::Cache* nodes = nullptr;  // null: this operator may not read nodes

  kube::Cache* Of(const kube::Resource& resource) const;
};

// One resource as it was seen, with what the actor needs beyond the planner's view.
struct Seen {
  Observation observation;
  kube::ObjectPtr resource;
  kube::ObjectPtr stateful_set;      // null: there is none that is ours
  std::map<int, std::string> hosts;  // slot -> IP of its pod
  // What an action would write now, by its RefusalKey: a refusal is one of that.
  std::map<std::string, std::set<std::string>> contents;
  // Of a live look: which node that the cache calls lost could not be read, and why. It counts as
  // well.
  std::optional<kube::ApiError> unread_node;
};

class Observer {
 public:
  Observer(kube::Api* api, Caches caches, NodeApi* nodes, ObjectSettings settings,
           kube::Timing* timing)
      : api_(api),
        caches_(caches),
        nodes_(nodes),
        settings_(std::move(settings)),
        timing_(timing) {}

  // `epoch` is this operator's.
  Seen Look(const kube::ObjectPtr& resource, uint64_t epoch) {
    return LookIn(caches_, resource, epoch, false);
  }
  // The same, but resource, StatefulSet, pods, claims, disruption budget, and the nodes that the
  // cache calls lost, are read from the server: caches may be old, and what is to be destroyed is
  // decided on what is.
  // kNotFound: the resource is gone.
  Result<Seen> LookLive(const kube::Key& key, uint64_t epoch);

  // The nodes alone, asked now: for a last look before something is destroyed.
  std::optional<Membership> LookAtMembers(const Seen& seen);

  // An object that was to be applied turned out to be somebody else's: the caches hold ours alone.
  // Told to the planner for 10 s, then it is tried again.
  void NoteForeign(const kube::Key& key, std::string sentence);

  // Refusals, with what `seen` says an action would write.
  void BeginTry(const Seen& seen);
  void EndTry(const Seen& seen, const Action& action, bool done);
  void NoteRefusal(const Seen& seen, const Action& action, std::string_view message,
                   Duration longest);
  // It was refused just now.
  bool IsHeld(const Seen& seen, const Action& action);

  // Applied.
  void NoteApplied(const kube::Key& key, const DesiredObject& desired, const kube::Object& answer);
  std::vector<std::string> TakeChanged(const kube::Key& key);
  bool IsAsApplied(const kube::Key& key, const kube::Object& existing,
                   const DesiredObject& desired);

  // Whether the last write of the status was refused: what is planned meanwhile has to be the same
  // in looks that change nothing of the status.
  void NoteStatus(const kube::Key& key, bool refused);
  bool IsStatusRefused(const kube::Key& key);
  // Since this process wrote it last; Duration::max(): never.
  Duration SinceStatus(const kube::Key& key);

  // The resource is gone.
  void Forget(const kube::Key& key);

 private:
  // What is known of a node. That one is lost tells the server, since when, in the end, this
  // process's monotonic clock: a wall clock that is set makes nobody lost for long.
  struct NodeMemory {
    bool lost = false;
    bool gone = false;              // lost: it has no object
    int64_t transition_micros = 0;  // lost: since when it is not ready, as its condition says
    MonotonicTime since;            // lost since; else when it was seen well last
  };
  struct Memory;

  Seen LookIn(const Caches& caches, const kube::ObjectPtr& resource, uint64_t epoch, bool live);
  void LookAtObjects(const Caches& caches, Seen& seen);
  void AskAnew(const Seen& seen);
  void LookAtSpec(Observation& out, const kube::Object& resource);
  void LookAtPods(const Caches& caches, Seen& seen, bool live);
  // Nothing: nobody may ask, or it cannot be read.
  std::optional<NodeMemory> LookAtNode(const std::string& name, Seen& seen, bool live);
  void LookAtRefusals(Seen& seen);
  static void LookAtClaims(const Caches& caches, Seen& seen);
  void LookForClaims(Seen& seen);
  void LookAtNodes(Seen& seen);
  std::map<int, NodeStatus> Ask(const std::map<int, std::string>& hosts) const;
  // By the wall clock of now, in seconds: a clock that is set makes nothing longer or shorter.
  int64_t WallSeconds(MonotonicTime since) const;

  kube::Api* const api_;
  const Caches caches_;
  NodeApi* const nodes_;
  const ObjectSettings settings_;
  kube::Timing* const timing_;

  // How the objects compare with what the spec wants, which is a matter of their versions: to make
  // and to compare them anew at each look would be most of the work at rest.
  struct Compared {
    std::vector<uint64_t> versions;  // VersionsOf
    std::string foreign;
    bool others_current = false;
    bool others_there = false;  // in whatever form
    bool spare_account = false;
    bool template_current = false;
    int min_available = ObjectsView().min_available;
    std::set<std::string> stale_objects;  // which, and hashes of what they are to be
    std::set<std::string> template_wanted;
  };
  static std::vector<uint64_t> VersionsOf(const Caches& caches, const kube::Object& resource);
  Compared Compare(const Caches& caches, const Seen& seen);
  static kube::ObjectPtr FindOwn(const Caches& caches, const ObjectName& name,
                                 const kube::Object& resource, std::string* foreign);

  // What no object tells: since when there has been no answer. Forgotten with the process, which
  // makes a new operator wait longer, never less; but for nodes that were lost before it began, of
  // which it has their word alone.
  struct Memory {
    Refusals refusals;
    Applied applied;
    bool status_refused = false;
    std::optional<MonotonicTime> status_written;
    std::map<int, MonotonicTime> silent_since;  // by slot
    std::map<std::string, NodeMemory> nodes;
    std::optional<MonotonicTime> leaderless_since;  // nullopt: a leader, or no quorum
    std::string foreign;
    MonotonicTime foreign_until;
    Compared compared;
  };
  Memory& MemoryOf(const kube::Key& key);
  std::mutex mutex_;
  std::map<kube::Key, Memory> memories_;
};

}  // namespace raftkv::op
