// A stable log in memory whose snapshots are always those of the state that was applied last.
//
// Thread-safety: none.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "node/raft/memory_log.h"

namespace raftkv::conformance {

class AppliedLog final : public raft::MemoryLog {
 public:
  // `initial`: the applied state before the first entry.
  explicit AppliedLog(raft::Snapshot initial) : applied_(std::move(initial)) {}

  // The state machine joins all payloads it gets: `entry` was applied and added `update`. `conf` is
  // null unless the entry changed the configuration.
  void RecordApplied(const raft::Entry& entry, std::string_view update,
                     const raft::ConfState* conf) {
    applied_.index = entry.index;
    applied_.term = entry.term;
    if (conf != nullptr) applied_.conf = *conf;
    applied_.data = Buffer(std::string(applied_.data.view()).append(update));
  }

  // An installed snapshot does not show here: the suite expects it so.
  const raft::Snapshot& latest_applied() const { return applied_; }
  raft::LogResult<raft::Snapshot> snapshot() const override { return applied_; }

 private:
  raft::Snapshot applied_;
};

}  // namespace raftkv::conformance
