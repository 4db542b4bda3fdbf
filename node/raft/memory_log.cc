#include "node/raft/memory_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace raftkv::raft {

LogResult<Term> MemoryLog::term(Index index) const {
  if (index < compacted_.index) return std::unexpected(LogError::kCompacted);
  if (index > last_index()) return std::unexpected(LogError::kUnavailable);
  if (index == compacted_.index) return compacted_.term;
  return entries_[index - first_index()].term;
}

LogResult<std::vector<Entry>> MemoryLog::entries(Index low, Index high, uint64_t max_bytes) const {
  if (low <= compacted_.index) return std::unexpected(LogError::kCompacted);
  if (low > high || high > last_index().Next()) return std::unexpected(LogError::kUnavailable);
  const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(low - first_index());
  const auto end = begin + static_cast<std::ptrdiff_t>(high - low);
  uint64_t size = 0;
  const auto cut = std::find_if(begin, end, [&](const Entry& entry) {
    size += EntrySize(entry);
    return size > max_bytes && &entry != &*begin;
  });
  return std::vector<Entry>(begin, cut);
}

void MemoryLog::Append(const std::vector<Entry>& entries) {
  const auto first_new = std::ranges::find_if(
      entries, [this](const Entry& entry) { return entry.index > compacted_.index; });
  if (first_new == entries.end()) return;
  CHECK(first_new->index <= last_index().Next(), "missing log entry");
  entries_.resize(first_new->index - first_index());
  entries_.insert(entries_.end(), first_new, entries.end());
}

bool MemoryLog::InstallSnapshot(Snapshot snapshot) {
  if (snapshot_.index && snapshot_.index >= snapshot.index) return false;
  compacted_ = snapshot.id();
  entries_.clear();
  snapshot_ = std::move(snapshot);
  return true;
}

bool MemoryLog::CreateSnapshot(Index index, const ConfState& conf, Buffer data) {
  if (index <= snapshot_.index) return false;
  const LogResult<Term> at = term(index);
  CHECK(at, "snapshot is out of bound");
  snapshot_ = {index, *at, conf, std::move(data)};
  return true;
}

bool MemoryLog::CompactTo(Index index) {
  if (index <= compacted_.index) return false;
  const LogResult<Term> at = term(index);
  CHECK(at, "compact is out of bound");
  entries_.erase(entries_.begin(),
                 entries_.begin() + static_cast<std::ptrdiff_t>(index - compacted_.index));
  compacted_ = {*at, index};
  return true;
}

}  // namespace raftkv::raft
