// ReplicaLog: the stable log as the core sees it: entries from LogStorage's memory or read ahead
// from its disk, the configuration from the state machine, and the snapshot that is ready to be
// sent, if there is one.
//
// Thread-safety: the raft thread only.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "node/kv/state_machine.h"
#include "node/raft/log_reader.h"
#include "node/runtime/read_ahead.h"
#include "node/storage/log_storage.h"

namespace raftkv::runtime {

class ReplicaLog final : public raft::LogReader {
 public:
  // `request_snapshot` is called when the core wants a snapshot and none is ready; `read`: see
  // ReadAhead.
  ReplicaLog(const storage::LogStorage* log, const kv::StateMachine* machine,
             std::function<void()> request_snapshot, std::function<void(raft::Index low)> read)
      : log_(log),
        machine_(machine),
        request_snapshot_(std::move(request_snapshot)),
        read_ahead_(std::move(read)) {}

  ReadAhead& read_ahead() { return read_ahead_; }

  void SetSnapshot(std::optional<raft::Snapshot> snapshot) { snapshot_ = std::move(snapshot); }
  const std::optional<raft::Snapshot>& ready_snapshot() const { return snapshot_; }

  InitialState initial_state() const override;
  raft::Index first_index() const override { return log_->first_index(); }
  raft::Index last_index() const override { return log_->last_index(); }
  raft::LogResult<raft::Term> term(raft::Index index) const override { return log_->term(index); }
  bool AtHand(raft::Index low) const override;
  raft::LogResult<std::vector<raft::Entry>> entries(raft::Index low, raft::Index high,
                                                    uint64_t max_bytes) const override;
  raft::LogResult<raft::Snapshot> snapshot() const override;

 private:
  const storage::LogStorage* const log_;
  const kv::StateMachine* const machine_;
  const std::function<void()> request_snapshot_;
  std::optional<raft::Snapshot> snapshot_;
  mutable ReadAhead read_ahead_;
};

}  // namespace raftkv::runtime
