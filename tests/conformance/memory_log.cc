#include "tests/conformance/memory_log.h"

#include "base/check.h"

namespace raftkv::conformance {

using raft::Entry;
using raft::Index;
using raft::LogError;

Status MemoryLog::Install(const raft::Snapshot& snapshot) {
  if (!installed_.IsEmpty() && installed_.index >= snapshot.index) {
    return Status(Code::kInvalidArgument, "requested index is older than the existing snapshot");
  }
  installed_ = snapshot;
  base_ = snapshot.id();
  entries_.clear();
  return Status::Ok();
}

void MemoryLog::Append(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    if (entry.index <= base_.index) continue;
    const uint64_t position = entry.index - first_index();
    CHECK(position <= entries_.size(), "there is a gap in the log");
    entries_.resize(position);
    entries_.push_back(entry);
  }
}

Status MemoryLog::Compact(Index last_dropped) {
  if (last_dropped <= base_.index) {
    return Status(Code::kInvalidArgument, "requested index is unavailable due to compaction");
  }
  if (last_dropped > last_index()) {
    return Status(Code::kInvalidArgument, "requested index is beyond the end of the log");
  }
  const uint64_t count = last_dropped - base_.index;
  base_ = entries_[count - 1].id();
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(count));
  return Status::Ok();
}

void MemoryLog::RecordApplied(const Entry& entry, std::string_view update,
                              const raft::ConfState* conf) {
  raft::Snapshot next = latest_applied();
  next.index = entry.index;
  next.term = entry.term;
  if (conf != nullptr) next.conf = *conf;
  next.data = Buffer(std::string(next.data.view()).append(update));
  applied_.push_back(std::move(next));
}

raft::LogResult<raft::Term> MemoryLog::term(Index index) const {
  if (index < base_.index) return std::unexpected(LogError::kCompacted);
  if (index > last_index()) return std::unexpected(LogError::kUnavailable);
  return index == base_.index ? base_.term : entries_[index - first_index()].term;
}

raft::LogResult<std::vector<Entry>> MemoryLog::entries(Index low, Index high,
                                                       uint64_t max_bytes) const {
  if (low < first_index()) return std::unexpected(LogError::kCompacted);
  if (high > last_index().Next()) return std::unexpected(LogError::kUnavailable);
  std::vector<Entry> found;
  uint64_t bytes = 0;
  for (Index index = low; index < high; ++index) {
    const Entry& entry = entries_[index - first_index()];
    bytes += EntrySize(entry);
    if (!found.empty() && bytes > max_bytes) break;
    found.push_back(entry);
  }
  return found;
}

}  // namespace raftkv::conformance
