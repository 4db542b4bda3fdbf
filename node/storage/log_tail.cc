#include "node/storage/log_tail.h"

#include <algorithm>

#include "base/check.h"

namespace raftkv::storage {
namespace {

// An entry in the cache, its payload's string and the counters that share it.
constexpr uint64_t kCachedEntryBytes = 128;

uint64_t CacheCost(const raft::Entry& entry) { return kCachedEntryBytes + PayloadSize(entry); }

}  // namespace

raft::LogResult<raft::Term> LogTail::term(raft::Index index) const {
  if (index == compacted_.index) return compacted_.term;
  if (index < compacted_.index) return std::unexpected(raft::LogError::kCompacted);
  if (index > last_) return std::unexpected(raft::LogError::kUnavailable);
  const auto after = std::ranges::upper_bound(runs_, index, {}, &Run::first);
  return std::prev(after)->term;
}

void LogTail::Read(raft::Index low, raft::Index high, uint64_t* budget,
                   std::vector<raft::Entry>* out) const {
  CHECK(low >= cache_begin() && high <= last_.Next());
  const auto begin = cache_.begin() + static_cast<ptrdiff_t>(low - cache_begin());
  const auto end = begin + static_cast<ptrdiff_t>(high - low);
  for (auto it = begin; it != end; ++it) {
    const uint64_t size = EntrySize(*it);
    if (size > *budget && !out->empty()) {
      *budget = 0;
      return;
    }
    *budget -= std::min(*budget, size);
    out->push_back(*it);
  }
}

void LogTail::Reset(raft::EntryId compacted) {
  compacted_ = compacted;
  last_ = compacted.index;
  runs_.clear();
  cache_.clear();
  cached_bytes_ = 0;
}

void LogTail::CutFrom(raft::Index index) {
  CHECK(index >= first());
  if (index > last_) return;
  for (; !cache_.empty() && last_ >= index; last_ = last_.Prev()) {
    cached_bytes_ -= CacheCost(cache_.back());
    cache_.pop_back();
  }
  last_ = index.Prev();
  while (!runs_.empty() && runs_.back().first >= index) runs_.pop_back();
}

void LogTail::Append(const raft::Entry& entry) {
  CHECK(entry.index == last_.Next(), "a log has no gaps");
  const raft::Term before = runs_.empty() ? compacted_.term : runs_.back().term;
  CHECK(entry.term >= before, "terms never fall along a log");
  if (runs_.empty() || entry.term != before) runs_.push_back({entry.index, entry.term});
  last_ = entry.index;
  cache_.push_back(entry);
  cached_bytes_ += CacheCost(entry);
}

void LogTail::CompactTo(raft::Index index) {
  CHECK(index >= first() && index <= last_);
  compacted_ = {*term(index), index};
  while (runs_.size() > 1 && runs_[1].first <= index.Next()) runs_.pop_front();
  if (index == last_) {
    runs_.clear();
  } else {
    runs_.front().first = std::max(runs_.front().first, index.Next());
  }
  while (!cache_.empty() && cache_.front().index <= index) {
    cached_bytes_ -= CacheCost(cache_.front());
    cache_.pop_front();
  }
}

std::vector<raft::Entry> LogTail::Evict() {
  std::vector<raft::Entry> out;
  while (cached_bytes_ > max_cached_bytes_ && !cache_.empty()) {
    cached_bytes_ -= CacheCost(cache_.front());
    out.push_back(std::move(cache_.front()));
    cache_.pop_front();
  }
  return out;
}

}  // namespace raftkv::storage
