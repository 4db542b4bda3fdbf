// RaftLog: one view of the stable log (LogReader) and the unstable one behind it, with the indexes
// that move through it: applied <= applying <= committed <= last_index (paper, figure 2).
//
// Thread-safety: none; owned by the core.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "node/raft/entry.h"
#include "node/raft/log_reader.h"
#include "node/raft/report.h"
#include "node/raft/types.h"
#include "node/raft/unstable_log.h"

namespace raftkv::raft {

class RaftLog {
 public:
  // Starts from the compaction point of `stable`, which must outlive this. `max_applying_bytes`
  // (> 0) bounds the committed entries that were handed out and not yet applied.
  RaftLog(const LogReader& stable, Report report, uint64_t max_applying_bytes);

  Index committed() const { return committed_; }
  // Handed out to be applied.
  Index applying() const { return applying_; }
  Index applied() const { return applied_; }
  const UnstableLog& unstable() const { return unstable_; }

  Index first_index() const;
  Index last_index() const;
  // The term of the entry at `index`; also of the one just before first_index().
  LogResult<Term> TermAt(Index index) const;
  // 0 where the term is not known.
  Term TermOrZero(Index index) const { return TermAt(index).value_or(Term()); }
  EntryId LastId() const;
  bool Matches(EntryId id) const;
  // The election restriction: whether a log that ends with `their_last` has everything that this
  // one may have committed (paper, section 5.4.1).
  bool IsUpToDate(EntryId their_last) const;

  // Whether the entry at `index`, if there is one, can be had from memory (LogReader::AtHand).
  bool AtHand(Index index) const;
  // [low, high), cut after max_bytes, but at least one.
  LogResult<std::vector<Entry>> Slice(Index low, Index high, uint64_t max_bytes) const;
  // From `from` to the end, likewise; none if `from` lies beyond the end.
  LogResult<std::vector<Entry>> EntriesFrom(Index from, uint64_t max_bytes) const;
  // Calls `stop` for the entries of [low, high), reading at most page_bytes at a time, until it
  // returns true. Returns whether it did.
  bool ScanUntil(Index low, Index high, uint64_t page_bytes,
                 const std::predicate<const Entry&> auto& stop) const;

  // The follower's side of AppendEntries: appends what is new of `entries`, which follow `prev`,
  // and advances the commit index to `committed` as far as they reach. Returns the index of the
  // last of them, or nothing if this log does not have `prev`.
  std::optional<Index> MaybeAppend(EntryId prev, std::vector<Entry>&& entries, Index committed);
  // Appends at entries[from].index, replacing what was there. Never at or below committed().
  void Append(std::vector<Entry>&& entries, size_t from = 0);

  struct Hint {
    Index index;
    Term term;  // 0: unknown
  };
  // The best guess where this log meets another, of which it is known only that it has `term` at
  // `index` (or at most `term` before it): the highest position up to `index` whose term is at most
  // `term`, or is not known here.
  Hint FindConflictByTerm(Index index, Term term) const;

  // Never decreases the commit index. index <= last_index().
  void CommitTo(Index index);
  // A leader's commit: only of an entry of its own term (paper, section 5.4.2). Returns whether
  // the commit index moved.
  bool MaybeCommit(EntryId at);
  // The state of a restart: first_index - 1 <= commit <= last_index.
  void RestoreCommitted(Index commit) { committed_ = commit; }

  // Committed entries to apply next. allow_unstable: also such as are not on this disk yet.
  bool HasNextCommitted(bool allow_unstable) const;
  std::vector<Entry> NextCommitted(bool allow_unstable) const;
  // They were handed out, up to `index`, `bytes` in all.
  void AcceptApplying(Index index, uint64_t bytes, bool allow_unstable);
  // They were applied. committed() >= index >= applied().
  void AppliedTo(Index index, uint64_t bytes);

  bool HasPendingSnapshot() const { return unstable_.snapshot().has_value(); }
  LogResult<Snapshot> LatestSnapshot() const;
  void RestoreSnapshot(Snapshot snapshot);

  void AcceptUnstable() { unstable_.AcceptInProgress(); }
  void StableTo(EntryId last) { unstable_.StableTo(last); }
  void StableSnapshotTo(Index index) { unstable_.StableSnapshotTo(index); }

  uint64_t max_applying_bytes() const { return max_applying_bytes_; }
  std::string ToString() const;

 private:
  // The highest index that may be handed out to be applied.
  Index MaxAppliable(bool allow_unstable) const;
  // The position in `entries` of the first one that this log does not have; size() if none.
  size_t FindConflict(const std::vector<Entry>& entries) const;
  LogResult<std::vector<Entry>> SliceStable(Index low, Index high, uint64_t max_bytes) const;

  const LogReader& stable_;
  Report report_;
  UnstableLog unstable_;
  Index committed_;
  Index applying_;
  Index applied_;
  const uint64_t max_applying_bytes_;
  uint64_t applying_bytes_ = 0;
  // The limit was reached; until something of it is applied nothing more is handed out.
  bool applying_paused_ = false;
};

bool RaftLog::ScanUntil(Index low, Index high, uint64_t page_bytes,
                        const std::predicate<const Entry&> auto& stop) const {
  while (low < high) {
    const LogResult<std::vector<Entry>> page = Slice(low, high, page_bytes);
    CHECK(page && !page->empty(), "error scanning unapplied entries");
    for (const Entry& entry : *page) {
      if (stop(entry)) return true;
    }
    low = low + page->size();
  }
  return false;
}

}  // namespace raftkv::raft
