// MemoryLog: a stable log in memory, for tests and the simulator.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "node/raft/log_reader.h"

namespace raftkv::raft {

class MemoryLog : public LogReader {
 public:
  MemoryLog() = default;

  InitialState initial_state() const override { return {hard_state_, snapshot_.conf}; }
  Index first_index() const override { return compacted_.index.Next(); }
  Index last_index() const override { return compacted_.index + entries_.size(); }
  LogResult<Term> term(Index index) const override;
  LogResult<std::vector<Entry>> entries(Index low, Index high, uint64_t max_bytes) const override;
  LogResult<Snapshot> snapshot() const override { return snapshot_; }

  const Snapshot& stored_snapshot() const { return snapshot_; }
  const HardState& hard_state() const { return hard_state_; }
  void SetHardState(const HardState& state) { hard_state_ = state; }
  // Consecutive entries; replaces what is at their positions and everything after. What is
  // compacted already is skipped. Must not leave a gap.
  void Append(const std::vector<Entry>& entries);
  // Replaces the whole log by a snapshot. False, and nothing happens, if it is not newer than the
  // last one.
  bool InstallSnapshot(Snapshot snapshot);
  // Remembers a snapshot made of the applied state at `index` <= last_index(), without compaction.
  // False if it is not newer than the last one.
  bool CreateSnapshot(Index index, const ConfState& conf, Buffer data);
  // Discards entries up to `index` <= last_index(). False if they are gone already.
  bool CompactTo(Index index);

 private:
  HardState hard_state_;
  Snapshot snapshot_;
  EntryId compacted_;  // the position just before entries_.front()
  std::deque<Entry> entries_;
};

}  // namespace raftkv::raft
