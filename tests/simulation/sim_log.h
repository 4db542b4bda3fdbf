// SimLog: a LogStorage in memory that can crash.
//
// What a write did stays "in flight" until the owner says that the fsync has ended. Of the calls in
// flight one is hit by a crash: those before it were synced, those after it had not begun, and of
// itself any subset of sectors was written, of which recovery takes what stands before the first
// damaged record (sim_wal.h). A call is one record, as in the log database, or each of its writes
// is one, which the interface would allow. A commit index that was written without a sync may be
// lost by any crash. What was cut off or written over takes room until the next flush, as in the
// real log's files. A flush that finds no room stops it, as it stops the real one.
//
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

#include "base/random.h"
#include "node/storage/log_storage.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/sim_space.h"

namespace raftkv::sim {

class SimLog;

// Hears of every entry that any log takes, before it is there.
class LogObserver {
 public:
  virtual ~LogObserver() = default;
  // `previous` is the entry before it in this log, which is this node's.
  virtual void OnLogged(const SimLog& log, raft::NodeId node, const raft::Entry& entry,
                        raft::EntryId previous) = 0;
};

class SimLog final : public storage::LogStorage {
 public:
  SimLog(Coverage* coverage, LogObserver* observer) : coverage_(coverage), observer_(observer) {}

  // --- The owner's side

  void SetNode(raft::NodeId node) { node_ = node; }
  // Without one there is always room.
  void SetSpace(const SimSpace* space) { space_ = space; }
  // What it takes of it.
  uint64_t stored_bytes() const;
  // Whether writes are durable at once (they are not while a worker runs).
  void SetDeferred(bool deferred) { deferred_ = deferred; }
  // The fsync has ended: everything written so far is durable.
  void Synced();
  // The process ended. Keeps a prefix of what is in flight.
  void Crash(Random& random);
  // The next write fails with this, once.
  void FailNext(Status status) { fail_next_ = std::move(status); }
  // Empties the log of a blank node.
  void Clear();
  // What a copy of the files would hold: all that is durable.
  struct Image {
    raft::EntryId compacted;
    std::deque<raft::Entry> entries;
    raft::HardState hard;
    raft::Index last_index() const { return compacted.index + entries.size(); }
  };
  Image Copy() const;
  // The process must not run.
  void Load(const Image& image);

  // What a crash now is sure to leave.
  raft::Index durable_last_index() const;
  const raft::HardState& durable_hard_state() const { return durable_hard_; }
  // The entries above the compaction point.
  const std::deque<raft::Entry>& all() const { return entries_; }

  // --- LogStorage

  Status Append(std::span<const storage::LogWrite> writes) override;
  Status Reset(raft::EntryId snapshot, const raft::HardState& hard_state) override;
  Status TruncatePrefix(raft::Index index) override;
  raft::HardState hard_state() const override { return hard_; }
  raft::Index first_index() const override { return compacted_.index.Next(); }
  raft::Index last_index() const override { return compacted_.index + entries_.size(); }
  raft::EntryId compacted() const override { return compacted_; }
  raft::LogResult<raft::Term> term(raft::Index index) const override;
  // Little, so that followers often need what is not in memory.
  raft::Index memory_begin() const override {
    return last_index().Next() - std::min<uint64_t>(entries_.size(), 8);
  }
  raft::LogResult<std::vector<raft::Entry>> entries(raft::Index low, raft::Index high,
                                                    uint64_t max_bytes) const override;
  Status GiveBackSpace() override;
  Status Resume() override;
  // A full disk has stopped it, until Resume.
  bool stopped() const { return stopped_; }
  storage::LogStats stats() const override {
    return {.bytes = stored_bytes() * SimSpace::kScale,
            .memtable_bytes = memtable_bytes_ * SimSpace::kScale};
  }

 private:
  // How to take one write back.
  struct Undo {
    raft::HardState hard;
    raft::Index last;   // before the write
    uint64_t call = 0;  // that it was part of
    size_t bytes = 0;
    std::vector<raft::Entry> cut;   // the conflicting suffix that it dropped
    bool reset = false;             // the whole log was replaced:
    raft::EntryId compacted;        // its beginning
    std::deque<raft::Entry> whole;  // and its entries
  };

  void Write(const storage::LogWrite& write);
  bool Fits(uint64_t bytes) const { return space_ == nullptr || space_->Fits(bytes); }
  // Ok, or what the disk says to a write of `bytes`.
  Status CheckRoom(uint64_t bytes) const;
  Status Flush();
  void TakeBack(Undo undo);
  // How many of the writes in flight recovery finds.
  size_t Recover(Random& random) const;

  Coverage* const coverage_;
  LogObserver* const observer_;
  const SimSpace* space_ = nullptr;
  raft::NodeId node_;
  bool deferred_ = false;
  Status fail_next_;

  raft::EntryId compacted_;
  std::deque<raft::Entry> entries_;
  raft::HardState hard_;
  raft::HardState durable_hard_;
  std::vector<Undo> in_flight_;
  uint64_t calls_ = 0;
  uint64_t garbage_bytes_ = 0;   // on the disk, and of no use any more
  uint64_t memtable_bytes_ = 0;  // to be flushed one day
  bool stopped_ = false;
};

}  // namespace raftkv::sim
