// World: what the parts of one simulation share.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "node/runtime/options.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/network.h"
#include "tests/simulation/scheduler.h"

namespace raftkv::sim {

class SimNode;

// X(name): moments at which a fault is likely to find something. Each names the node that it
// happens at, and comes when the event that it belongs to is over.
#define RAFTKV_SIM_MOMENTS(X)                                                            \
  X(leader_elected)    /* the new leader */                                              \
  X(campaign)          /* a candidate, before it has asked anybody */                    \
  X(change_sent)       /* a leader has sent a change of the membership */                \
  X(joint_entered)     /* a node has applied a joint configuration */                    \
  X(joint_left)        /* ... or the departure from one */                               \
  X(transfer_sent)     /* a leader has handed over */                                    \
  X(snapshot_received) /* a node has got all of a snapshot */                            \
  X(state_replaced)    /* its state is in place, its log is not reset */                 \
  X(replacing)         /* a node replaces its state: it may be the old or the new one */ \
  X(log_conflict)      /* a log has cut a suffix */                                      \
  X(waits_for_space)   /* a worker of a node waits until its disk has room */

enum class Moment : uint8_t {
#define X(name) name,
  RAFTKV_SIM_MOMENTS(X)
#undef X
      kCount
};

// A snapshot that was taken away, and what the checker knows of that moment.
struct Backup {
  Checkpoint contents;
  raft::EntryId applied;
  kv::ReferenceModel model;
  uint64_t seen = 0;  // the highest revision that a client had seen at the end of the old cluster
};

struct World {
  World(uint64_t seed, size_t hosts);
  ~World();

  // Null if nobody has this address, or is this member now. Copies of its disk are not the member.
  SimNode* ByAddress(const std::string& address) const;
  SimNode* ById(raft::NodeId id) const;
  // The leader with the highest term among the running; null if there is none.
  SimNode* Leader() const;

  Scheduler scheduler;
  SeededRandom random;  // seeds of the parts
  Coverage coverage;
  Checker checker;
  Network network;
  runtime::Options options;      // of every node; name and addresses are its own
  uint64_t flush_every = 0;      // see SimState
  int64_t max_drift_ppm = 0;     // how far the clocks' speeds are from the simulation's
  bool crashes_in_files = true;  // processes may end between two changes of their files
  LinkProfile usual_network;     // as long as nothing disturbs it
  bool print_events = false;     // to stderr, one a line
  std::vector<std::unique_ptr<SimNode>> nodes;
  std::optional<Backup> backup;        // the newest
  const Backup* begun_from = nullptr;  // if this cluster was made from one
  std::set<uint64_t> rebuilt;          // damaged members whose places were taken by new ones
  std::set<uint64_t> replaced;         // lost members that others have removed
  // A process is about to end because its member was removed.
  std::function<void(SimNode&)> on_removed = [](SimNode&) {};
  // A process has ended, whatever the reason.
  std::function<void(SimNode&)> on_process_end = [](SimNode&) {};
  std::function<void(Moment, SimNode&)> on_moment = [](Moment, SimNode&) {};
};

}  // namespace raftkv::sim
