// UnstableLog: the entries and the snapshot that are not known to be on disk yet: those not handed
// to storage, and those handed over whose write is still under way. Once a write is confirmed they
// are dropped here and read from the LogReader.
//
// The first index here may lie below the last one on disk: then the next write replaces the tail of
// the stable log.
//
// Thread-safety: none; owned by RaftLog.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "node/raft/config.h"
#include "node/raft/entry.h"
#include "node/raft/report.h"
#include "node/raft/types.h"

namespace raftkv::raft {

class UnstableLog {
 public:
  // `offset`: the index of the first entry that is not stable, last stable + 1.
  UnstableLog(Index offset, Report report) : report_(report), offset_(offset), accepted_(offset) {}

  // The index of entries()[0], if there are any; everything before is stable or in the snapshot.
  Index offset() const { return offset_; }
  const std::deque<Entry>& entries() const { return entries_; }
  const std::optional<Snapshot>& snapshot() const { return snapshot_; }
  // Entries before this index have been handed to storage. offset() <= accepted().
  Index accepted() const { return accepted_; }

  // One past the last entry.
  Index end() const { return offset_ + entries_.size(); }
  // The last entry's index, or the snapshot's; nothing if there is neither.
  std::optional<Index> LastIndex() const;
  // The term at `index`, if the entry or the snapshot with that index is here.
  std::optional<Term> TermAt(Index index) const;

  // What has not been handed to storage yet.
  bool HasNextEntries() const { return accepted_ < end(); }
  std::vector<Entry> NextEntries() const { return Slice(accepted_, end()); }
  bool HasNextSnapshot() const { return snapshot_ && !snapshot_accepted_; }
  // Everything here is now being written.
  void AcceptInProgress();

  // The write of everything up to `last` is complete, and no write that is still under way can
  // replace it (see StorageAppendResponse). Ignored if `last` is not here, with that term.
  void StableTo(EntryId last);
  void StableSnapshotTo(Index index);

  // Replaces everything.
  void Restore(Snapshot snapshot);
  // Appends from `from` on, dropping what was at and after entries[from].index. `entries` are
  // consecutive; entries[from] exists, and leaves no gap after end().
  void TruncateAndAppend(std::vector<Entry>&& entries, size_t from);

  // [low, high), all of which are here; cut so that the sizes add up to at most max_bytes, but at
  // least one (as LogReader::entries).
  std::vector<Entry> Slice(Index low, Index high, uint64_t max_bytes = kNoLimit) const;

 private:
  Report report_;
  std::optional<Snapshot> snapshot_;
  bool snapshot_accepted_ = false;
  std::deque<Entry> entries_;
  Index offset_;
  Index accepted_;
};

}  // namespace raftkv::raft
