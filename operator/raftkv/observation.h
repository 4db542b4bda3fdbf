// Observation: everything that the planner may know of one RaftKV resource at one moment: the
// resource, the Kubernetes objects that belong to it, and what each node says of itself.
//
// Terms: a *slot* is an ordinal of the StatefulSet (pod NAME-SLOT, claim data-NAME-SLOT). A
// *member* is a data directory, known by the random ID that was minted with it
// (docs/design/membership.md). A slot outlives its members.
//
// Whatever comes from a cache may be a little old; `reports` are live (asked in this reconcile).
// Before it destroys anything the actor reads live and sets preconditions (operator/raftkv/act.h).
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "operator/raftkv/spec.h"

namespace raftkv::op {

using MemberId = uint64_t;   // 0: none
using ClusterId = uint64_t;  // 0: none

struct PodView {
  std::string name;
  std::string uid;
  std::string node;    // empty: not scheduled
  bool ready = false;  // condition Ready
  bool deleting = false;
  bool finished = false;  // its container has ended and does not run now
  bool unschedulable = false;
  std::string waiting;  // reason of a container that cannot start: ImagePullBackOff, ...
  int restarts = 0;
  int64_t created_s = 0;     // wall clock
  std::string revision;      // label controller-revision-hash
  bool own_account = false;  // it runs under the ServiceAccount that the operator made
  // The node is gone or NotReady since then (wall clock); 0: it is well.
  int64_t node_lost_since_s = 0;
  bool node_gone = false;  // for ever: Kubernetes collects its pods soon
  friend bool operator==(const PodView&, const PodView&) = default;
};

struct ClaimView {
  std::string name;
  std::string uid;
  bool bound = false;
  bool lost = false;  // phase Lost: its volume does not exist any more
  bool deleting = false;
  uint64_t requested_bytes = 0;
  uint64_t capacity_bytes = 0;
  std::string cannot_grow;  // why, in the words of the volume's driver; empty: nobody says so
  // The member whose data lies on it, as the operator noted it (annotation raftkv.dev/member-id);
  // 0: not known.
  MemberId member = 0;
};

// What a node answers to GET /admin/status.
struct NodeReport {
  enum class Role {
    kBlank,
    kJoining,
    kFollower,
    kCandidate,
    kLeader,
    kLearner,
    kRemoved,
    kDamaged
  };
  Role role = Role::kBlank;
  MemberId member = 0;  // 0: damaged, and its identity cannot be read
  ClusterId cluster = 0;
  MemberId leader = 0;  // as it believes; 0: none
  uint64_t term = 0;
  uint64_t commit_index = 0;
  uint64_t applied_index = 0;
  std::string version;
  std::vector<std::string> warnings;
};

struct MemberView {
  MemberId id = 0;
  std::string name;  // the pod's, or FormerName (member_names.h)
  std::string peer_address;
  // Only the leader knows: the log index up to which the member has the leader's log, and whether
  // it has been heard of within an election timeout.
  uint64_t match = 0;
  bool active = false;
};

// The replicated configuration, from the report with the greatest config_index; match and active
// from the leader's.
struct Membership {
  uint64_t config_index = 0;
  std::set<MemberId> voters;           // the incoming half while joint
  std::set<MemberId> voters_outgoing;  // empty unless joint
  std::set<MemberId> learners;
  std::set<MemberId> learners_next;
  std::set<MemberId> removed;  // for ever
  std::map<MemberId, MemberView> members;
  MemberId leader = 0;  // a node that says so itself, in the newest term; 0: none
  uint64_t leader_commit = 0;
  uint64_t leader_term = 0;
  uint64_t epoch = 0;

  bool joint() const { return !voters_outgoing.empty(); }
};

// What a live look found where a slot of the StatefulSet, or one that it is to have, has no claim
// of ours.
enum class HiddenClaim {
  kNone,     // none of that name, or nobody had to look
  kForeign,  // one that is not labelled as ours; the pod uses it all the same, or would
  kUnknown,  // the API server did not say
};

struct SlotView {
  std::optional<PodView> pod;
  std::optional<ClaimView> claim;
  HiddenClaim hidden_claim = HiddenClaim::kNone;
  std::optional<NodeReport> report;  // nullopt: no answer
  // Since when it has given no answer, wall clock; 0: it answers, or nobody knows yet.
  int64_t silent_since_s = 0;
};

// status.operation: the intent that is written before the first act and stays until the last.
struct Operation {
  enum class Type {
    kNone,
    kBootstrap,
    kScale,
    kReplace,
    kRoll,
    kHibernate,
    kWake,
    kResize,
    kDelete
  };
  Type type = Type::kNone;
  std::string step;          // CamelCase, for people and events
  int64_t since_s = 0;       // wall clock; of the operation
  int64_t step_since_s = 0;  // of the step: progressDeadlineSeconds counts from here
  // kScale, kBootstrap: latched spec.replicas. kReplace: the voters there were when it began.
  int target = 0;
  ClusterId cluster = 0;    // kBootstrap: chosen before the call
  MemberId seed = 0;        // kBootstrap: the node that is to initialize
  int slot = -1;            // kReplace, kRoll
  MemberId old_member = 0;  // kReplace
  MemberId new_member = 0;  // kReplace, once known
  friend bool operator==(const Operation&, const Operation&) = default;
};

struct ObjectsView {
  bool stateful_set = false;  // exists and is ours
  bool foreign_set = false;   // one of its name exists and is not ours
  // Somebody deletes it, and its pods with it (foreground) or without them (orphan).
  bool stateful_set_deleting = false;
  int stateful_set_replicas = 0;  // spec.replicas
  std::string update_revision;    // status.updateRevision
  bool template_current = false;  // its pod template is what the spec asks for
  bool others_current = false;    // Services, ServiceAccount, NetworkPolicies are as the spec wants
  int min_available = -1;         // of the disruption budget; -1: there is none
  // The ServiceAccount that we made is there although the spec names another one.
  bool spare_account = false;
  std::string leader_pod;  // to which the leader Service points; empty: none
  // An object of a name that we need belongs to somebody else; a sentence that says which.
  std::string foreign;
};

// An action that the API server has refused (422, 403, 400, ...), and would refuse again as it is.
struct Refusal {
  std::string message;  // which object, and the server's own words
  // Wall clock: not to be tried again before; 0: the spec has changed since.
  int64_t again_s = 0;
};

struct Observation {
  int64_t now_s = 0;  // wall clock
  std::string ns;
  std::string name;
  std::string uid;
  int64_t generation = 0;
  int64_t observed_generation = 0;  // status.observedGeneration
  bool deleting = false;
  bool finalizer = false;
  bool orphans = false;     // deleted with --cascade=orphan: what it owns is to go on without it
  bool foreground = false;  // with --cascade=foreground: what it owns goes before it
  ClusterSpec spec;
  // What of it cannot be read; empty: all of it can. Then `spec` has what can be, and of the rest
  // what is in force, and the objects count as current.
  std::string spec_error;
  bool status_refused = false;  // the API server takes none: only what is written counts
  ClusterId cluster = 0;        // status.clusterID
  Operation operation;          // status.operation
  // status.initializing: who was to be made the first cluster, the seed first; empty: nobody yet,
  // or there is a cluster. No operation of another kind takes it away.
  std::vector<MemberId> initializing;
  // status.conditions as last written: the reason of each type. Tells what has been said already,
  // so that a refusal is one event and not one per look.
  std::map<std::string, std::string> reasons;
  // status.members[].lag as last written, where it was.
  std::map<MemberId, uint64_t> told_lags;
  ObjectsView objects;
  std::map<std::string, Refusal> refusals;  // by RefusalKey of the action (action.h)
  std::map<int, SlotView> slots;
  std::optional<Membership> membership;  // nullopt: no member answers
  // Since when a quorum answers and nobody leads, wall clock; 0: somebody does, or too few answer.
  int64_t leaderless_since_s = 0;
  uint64_t epoch = 0;  // of this operator's term of office
};

}  // namespace raftkv::op
