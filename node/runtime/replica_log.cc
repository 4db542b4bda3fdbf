#include "node/runtime/replica_log.h"

#include "base/mutations.h"
#include "node/storage/codec.h"

namespace raftkv::runtime {

raft::LogReader::InitialState ReplicaLog::initial_state() const {
  InitialState state;
  state.hard_state = log_->hard_state();
  // The commit index is not synced by itself; what was applied was committed.
  state.hard_state.commit = std::max(state.hard_state.commit, machine_->applied().index);
  state.conf_state = storage::FromProto(machine_->cluster()->conf());
  return state;
}

raft::LogResult<raft::Snapshot> ReplicaLog::snapshot() const {
  // Useless if the log no longer continues it; and a member that joined after it was made would
  // ignore it, because it does not name that member.
  if (snapshot_ && snapshot_->index.Next() >= log_->first_index() &&
      (MUTATION(send_outdated_snapshot) ||
       snapshot_->index.value >= machine_->cluster()->config_index())) {
    return *snapshot_;
  }
  request_snapshot_();
  return std::unexpected(raft::LogError::kSnapshotTemporarilyUnavailable);
}

}  // namespace raftkv::runtime
