// LogTail: what the log keeps in memory - where it starts and ends, the term of every entry, and
// the entries at its end.
//
// Terms never fall along the log, so the term of every entry is known from the few places where the
// term changes. The cache holds the newest entries up to a limit of bytes and shares their
// payloads.
//
// Thread-safety: none; RocksLog guards it with a mutex that it never holds over I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "node/raft/entry.h"
#include "node/raft/log_reader.h"

namespace raftkv::storage {

class LogTail {
 public:
  explicit LogTail(uint64_t cache_bytes) : max_cached_bytes_(cache_bytes) {}

  raft::EntryId compacted() const { return compacted_; }
  raft::Index first() const { return compacted_.index.Next(); }
  raft::Index last() const { return last_; }
  raft::LogResult<raft::Term> term(raft::Index index) const;

  // What the cache costs: payloads and what each entry needs beside them.
  uint64_t cached_bytes() const { return cached_bytes_; }
  uint64_t cached_entries() const { return cache_.size(); }
  // Entries from here to last() are cached.
  raft::Index cache_begin() const { return last_.Next() - cache_.size(); }

  // Cached entries [low, high) that fit into *budget (EntrySize), which they use up. Stops at the
  // first that does not fit, except that the very first of `out` always does.
  void Read(raft::Index low, raft::Index high, uint64_t* budget,
            std::vector<raft::Entry>* out) const;

  // Forgets everything; the log continues after `compacted`.
  void Reset(raft::EntryId compacted);
  // Drops entries from index on; first() <= index.
  void CutFrom(raft::Index index);
  // The next entry: index last() + 1, a term that does not fall.
  void Append(const raft::Entry& entry);
  // Drops entries up to index; first() <= index <= last().
  void CompactTo(raft::Index index);
  // Takes cached entries beyond the limit out, oldest first: they are for the caller to destroy.
  std::vector<raft::Entry> Evict();

 private:
  struct Run {
    raft::Index first;
    raft::Term term;
  };

  const uint64_t max_cached_bytes_;
  raft::EntryId compacted_;
  raft::Index last_;
  std::deque<Run> runs_;  // of the entries in [first(), last()]
  std::deque<raft::Entry> cache_;
  uint64_t cached_bytes_ = 0;
};

}  // namespace raftkv::storage
