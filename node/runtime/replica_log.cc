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

bool ReplicaLog::AtHand(raft::Index low) const {
  return low >= log_->memory_begin() || read_ahead_.Has(low);
}

raft::LogResult<std::vector<raft::Entry>> ReplicaLog::entries(raft::Index low, raft::Index high,
                                                              uint64_t max_bytes) const {
  std::vector<raft::Entry> out;
  uint64_t bytes = 0;
  for (const raft::Entry& entry : read_ahead_.From(low)) {
    bytes += raft::EntrySize(entry);
    if (entry.index >= high || (!out.empty() && bytes > max_bytes)) break;
    out.push_back(entry);
  }
  // The log may have been cut since they were read. Where the last is still there, so are those
  // before it (log matching).
  const bool current = !out.empty() && log_->term(out.back().index) == out.back().term;
  return current ? std::move(out) : log_->entries(low, high, max_bytes);
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
