#include "node/raft/unstable_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace raftkv::raft {

std::optional<Index> UnstableLog::LastIndex() const {
  if (!entries_.empty()) return end().Prev();
  if (snapshot_) return snapshot_->index;
  return std::nullopt;
}

std::optional<Term> UnstableLog::TermAt(Index index) const {
  if (index < offset_) {
    if (snapshot_ && snapshot_->index == index) return snapshot_->term;
    return std::nullopt;
  }
  if (index >= end()) return std::nullopt;
  return entries_[index - offset_].term;
}

void UnstableLog::AcceptInProgress() {
  accepted_ = end();
  if (snapshot_) snapshot_accepted_ = true;
}

void UnstableLog::StableTo(EntryId last) {
  const std::optional<Term> term = TermAt(last.index);
  if (!term) {
    report_.Info("entry at index ", last.index, " missing from unstable log; ignoring");
    return;
  }
  if (last.index < offset_) {
    report_.Info("entry at index ", last.index, " matched unstable snapshot; ignoring");
    return;
  }
  // Part of the unstable log was replaced while the write was under way.
  if (*term != last.term) {
    report_.Info("entry at (index,term)=(", last.index, ",", last.term,
                 ") mismatched with entry at (", last.index, ",", *term,
                 ") in unstable log; ignoring");
    return;
  }
  const auto count = static_cast<std::ptrdiff_t>(last.index.Next() - offset_);
  entries_.erase(entries_.begin(), entries_.begin() + count);
  offset_ = last.index.Next();
  accepted_ = std::max(accepted_, offset_);
}

void UnstableLog::StableSnapshotTo(Index index) {
  if (!snapshot_ || snapshot_->index != index) return;
  snapshot_.reset();
  snapshot_accepted_ = false;
}

void UnstableLog::Restore(Snapshot snapshot) {
  offset_ = snapshot.index.Next();
  accepted_ = offset_;
  entries_.clear();
  snapshot_ = std::move(snapshot);
  snapshot_accepted_ = false;
}

void UnstableLog::TruncateAndAppend(std::vector<Entry>&& entries, size_t from) {
  const Index first = entries[from].index;
  CHECK(first <= end(), "an append must not leave a gap");
  if (first <= offset_ && first != end()) {
    report_.Info("replace the unstable entries from index ", first);
    entries_.clear();
    offset_ = first;
    accepted_ = first;
  } else if (first < end()) {
    report_.Info("truncate the unstable entries before index ", first);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(first - offset_), entries_.end());
    accepted_ = std::min(accepted_, first);
  }
  entries_.insert(entries_.end(),
                  std::make_move_iterator(entries.begin() + static_cast<std::ptrdiff_t>(from)),
                  std::make_move_iterator(entries.end()));
}

std::vector<Entry> UnstableLog::Slice(Index low, Index high, uint64_t max_bytes) const {
  CHECK(low <= high, "invalid unstable.slice");
  CHECK(low >= offset_ && high <= end(), "unstable.slice out of bound");
  const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(low - offset_);
  auto last = begin + static_cast<std::ptrdiff_t>(high - low);
  if (max_bytes != kNoLimit && begin != last) {
    uint64_t size = EntrySize(*begin);
    last = std::find_if(begin + 1, last, [&](const Entry& entry) {
      size += EntrySize(entry);
      return size > max_bytes;
    });
  }
  return {begin, last};
}

}  // namespace raftkv::raft
