// A stable log in memory, and the states that its owner has applied.
//
// Thread-safety: none.
#pragma once

#include <vector>

#include "base/status.h"
#include "node/raft/log_reader.h"

namespace raftkv::conformance {

class MemoryLog final : public raft::LogReader {
 public:
  // The oldest applied state: what snapshot() answers until the first entry is applied.
  explicit MemoryLog(raft::Snapshot initial) : applied_{std::move(initial)} {}

  void SetHardState(const raft::HardState& state) { hard_state_ = state; }
  // Replaces the log. Refused if it is not newer than the snapshot that was installed before.
  Status Install(const raft::Snapshot& snapshot);
  // Overwrites from the first of `entries` on; there must be no gap.
  void Append(const std::vector<raft::Entry>& entries);
  // Drops the entries up to and including `last_dropped`.
  Status Compact(raft::Index last_dropped);

  // The state machine joins all payloads it gets: `entry` was applied and added `update`. `conf` is
  // null unless the entry changed the configuration.
  void RecordApplied(const raft::Entry& entry, std::string_view update,
                     const raft::ConfState* conf);
  // The state after the last applied entry. An installed snapshot does not show here: the suite
  // expects it so.
  const raft::Snapshot& latest_applied() const { return applied_.back(); }

  InitialState initial_state() const override { return {hard_state_, installed_.conf}; }
  raft::Index first_index() const override { return base_.index.Next(); }
  raft::Index last_index() const override { return base_.index + entries_.size(); }
  raft::LogResult<raft::Term> term(raft::Index index) const override;
  raft::LogResult<std::vector<raft::Entry>> entries(raft::Index low, raft::Index high,
                                                    uint64_t max_bytes) const override;
  raft::LogResult<raft::Snapshot> snapshot() const override { return latest_applied(); }

 private:
  raft::HardState hard_state_;
  raft::Snapshot installed_;
  raft::EntryId base_;  // the compaction point: just before the first entry
  std::vector<raft::Entry> entries_;
  std::vector<raft::Snapshot> applied_;
};

}  // namespace raftkv::conformance
