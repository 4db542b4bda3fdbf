// StateStore: the ordered map of bytes under the replicated state machine. Its writes are not
// synced: after a crash it holds some earlier batch's state, whole, and the log replays the rest.
//
// Thread-safety: Write, WriteToMemory, CatchUp, GiveBackSpace, Flush, Checkpoint, Replace,
// installing and FinishInstallation from one thread at a time (the one that applies); reads and
// Resume from any thread at any time, also while Replace swaps the database beneath (a view keeps
// what it looks at alive).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/raft/types.h"

namespace raftkv::storage {

// A list of changes, applied in order as one.
class StateBatch {
 public:
  virtual ~StateBatch() = default;
  virtual void Put(std::string_view key, std::string_view value) = 0;
  virtual void Delete(std::string_view key) = 0;
  virtual void Clear() = 0;
  virtual size_t bytes() const = 0;
};

// Walks keys in [lower, upper) in order. Errors end the walk and stay in status().
class StateIterator {
 public:
  virtual ~StateIterator() = default;
  virtual void SeekToFirst() = 0;
  virtual void SeekToLast() = 0;
  virtual void Seek(std::string_view key) = 0;         // first key >= key
  virtual void SeekForPrev(std::string_view key) = 0;  // last key <= key
  virtual bool Valid() const = 0;
  virtual void Next() = 0;
  virtual void Prev() = 0;
  // Valid until the iterator moves.
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual Status status() const = 0;
};

// A consistent picture of the map at one moment.
class StateView {
 public:
  virtual ~StateView() = default;
  virtual Result<std::optional<std::string>> Get(std::string_view key) const = 0;
  // upper empty: to the end.
  virtual std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                                     std::string_view upper) const = 0;
};

struct StateStats {
  uint64_t disk_bytes = 0;
  uint64_t live_bytes = 0;  // of disk_bytes: what would stay if everything was compacted; estimated
  uint64_t memtable_bytes = 0;
  uint64_t pending_compaction_bytes = 0;
  bool write_stalled = false;
};

class StateStore {
 public:
  virtual ~StateStore() = default;

  // Reads of the newest state, without the cost of a view.
  virtual Result<std::optional<std::string>> Get(std::string_view key) const = 0;
  // As Get, without waiting for a disk. kUnavailable: only the disk can tell.
  virtual Result<std::optional<std::string>> GetFromMemory(std::string_view key) const;
  virtual std::shared_ptr<const StateView> View() const = 0;

  virtual std::unique_ptr<StateBatch> NewBatch() const = 0;
  // kOutOfSpace: nothing was written; works again once there is space and Resume has returned
  // (reads always do). Other errors are for ever.
  virtual Status Write(StateBatch& batch) = 0;
  // As Write, if memory is all that it takes. kUnavailable: it is not, and nothing was changed.
  virtual Status WriteToMemory(StateBatch& batch);
  // Does what writes have put off, if that is worth it by now: called when nobody waits for the
  // writer. The errors are those of Write.
  virtual Status CatchUp() { return Status::Ok(); }

  // To be called when much has been deleted: what that took leaves the disk soon, in the
  // background. Does nothing if it is not worth it. The errors are those of Write.
  virtual Status GiveBackSpace() { return Status::Ok(); }

  // As LogStorage::Resume.
  virtual Status Resume() { return Status::Ok(); }

  // The value that `key` has on disk, as it would be found after a crash now.
  virtual Result<std::optional<std::string>> FlushedGet(std::string_view key) const = 0;
  // Makes everything written so far durable. Blocks on the disk.
  virtual Status Flush() = 0;

  // Writes a consistent copy of everything written so far as files into `dir` (made by the call,
  // must not exist). Cheap: hard links.
  virtual Status Checkpoint(const std::string& dir) = 0;
  // Puts the copy in `dir` (a complete, verified checkpoint of `snapshot` on the same file system)
  // in the place of the current state: a crash at any moment leaves the old or the new state.
  // Consumes `dir`. From the same moment on installing() is `snapshot`, durably.
  virtual Status Replace(const std::string& dir, raft::EntryId snapshot) = 0;
  // The snapshot that Replace put here and whose installation was not finished: the log may not
  // continue it yet. The only reason for which a state may be ahead of its log.
  virtual std::optional<raft::EntryId> installing() const = 0;
  // The log continues `snapshot` durably. Does nothing if another one is being installed by now.
  virtual Status FinishInstallation(raft::EntryId snapshot) = 0;

  virtual StateStats stats() const = 0;
};

inline Result<std::optional<std::string>> StateStore::GetFromMemory(std::string_view) const {
  return Error(Code::kUnavailable, "this store reads its disk");
}
inline Status StateStore::WriteToMemory(StateBatch&) {
  return {Code::kUnavailable, "this store writes to its disk"};
}

struct StateOptions {
  // Two at most are in memory: one being filled, one being flushed.
  uint64_t memtable_bytes = 6 << 20;
  uint64_t block_cache_bytes = 8 << 20;
  // Read every block when it is opened, and refuse if a checksum does not match.
  bool verify = false;
};

// Opens (or makes) the state database under `path`; finishes or undoes an interrupted Replace.
Result<std::unique_ptr<StateStore>> OpenRocksState(const std::string& path,
                                                   const StateOptions& options);

}  // namespace raftkv::storage
