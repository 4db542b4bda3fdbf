// The node's metrics, under etcd's names with our prefix (docs/metrics.md lists them all).
//
// Thread-safety: every method from any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "node/runtime/replica.h"
#include "node/storage/state_store.h"
#include "raftkv/v1/admin.pb.h"

namespace prometheus {
class Registry;
}

namespace raftkv::runtime {

class NodeMetrics {
 public:
  explicit NodeMetrics(prometheus::Registry* registry);
  ~NodeMetrics();

  void ObserveAppend(Duration write, Duration sync);
  void ObserveAppendBatch(size_t entries);
  void ObserveApply(Duration took, size_t entries);
  void ObserveStateWrite(Duration took);
  void ObserveCheckpoint(Duration took);

  // Once a tick, on the raft thread.
  struct Gauges {
    const v1::StatusResponse* status = nullptr;
    const ReplicaCounters* counters = nullptr;
    const std::map<raft::NodeId, transport::PeerStats>* peers = nullptr;
    const ApplyWorker::Counters* applied = nullptr;
    SnapshotsUnderWay snapshots;
    uint64_t pending = 0;  // proposals that wait
    uint64_t append_queue = 0;
    uint64_t apply_queue = 0;
    uint64_t flushed_index = 0;
    uint64_t live_keys = 0;
    uint64_t stored_versions = 0;
    storage::StateStats state;
    storage::LogStats log;
    uint64_t free_bytes = 0;
    uint64_t space_left_bytes = 0;
    bool out_of_space = false;
    uint64_t quota_bytes = 0;
    uint64_t min_free_bytes = 0;
  };
  void Update(const Gauges& gauges);

 private:
  struct Families;
  void FollowCommits(const LatencyCounts& now);

  LatencyCounts seen_commits_;
  std::unique_ptr<Families> families_;
};

}  // namespace raftkv::runtime
