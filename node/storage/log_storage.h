// LogStorage: the durable raft log and hard state. Narrow on purpose, so that a segmented
// write-ahead log can take the place of the log database (OpenRocksLog) where it measures better.
//
// Thread-safety: Append, Reset and TruncatePrefix are called from one thread at a time (the append
// thread); everything const may be called from any thread at the same time and sees only what a
// finished call wrote. No lock is held while the disk works. Resume from any thread.
//
// Errors of what writes: kOutOfSpace says that nothing was written, and that the same call works
// once there is space and Resume has returned. After any other error nothing more may be written:
// the owner stops the process (a failed fsync is never retried).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "node/raft/entry.h"
#include "node/raft/log_reader.h"

namespace raftkv::storage {

// One append as the core asks for it. If entries start at or before the last index, the log is cut
// there first (a conflicting suffix, paper section 5.3), in the same atomic write.
struct LogWrite {
  std::vector<raft::Entry> entries;
  std::optional<raft::HardState> hard_state;
  // false: a changed commit index alone need not be durable; it is written with the next durable
  // write. Entries, terms and votes are synced whatever this says.
  bool sync = true;
};

struct LogStats {
  uint64_t bytes = 0;           // on disk, estimated
  uint64_t memtable_bytes = 0;  // of the database, to be flushed one day
  uint64_t cached_entries = 0;
  uint64_t cached_bytes = 0;
};

class LogStorage {
 public:
  virtual ~LogStorage() = default;

  // Makes all writes durable with one write and at most one fsync (group commit).
  virtual Status Append(std::span<const LogWrite> writes) = 0;

  // Drops all entries; the log continues after `snapshot`. Durable on return. Idempotent.
  virtual Status Reset(raft::EntryId snapshot, const raft::HardState& hard_state) = 0;

  // Drops entries up to and including `index` (<= the flushed applied index of the state store).
  // Durable on return (files must not go before the record that says so). Idempotent.
  virtual Status TruncatePrefix(raft::Index index) = 0;

  // Gives back at once what truncated entries still take on the disk, although that costs work.
  // Blocks on the disk. For a disk that is full.
  virtual Status GiveBackSpace() { return Status::Ok(); }

  // Takes up what a full disk has stopped; to be called when there is space. kOutOfSpace: there was
  // too little, and the disk may be asked again. Blocks on the disk, unless nothing was stopped.
  virtual Status Resume() { return Status::Ok(); }

  virtual raft::HardState hard_state() const = 0;
  // As raft::LogReader: last + 1 == first if empty. `compacted` is the entry before first.
  virtual raft::Index first_index() const = 0;
  virtual raft::Index last_index() const = 0;
  virtual raft::EntryId compacted() const = 0;
  virtual raft::LogResult<raft::Term> term(raft::Index index) const = 0;
  // Entries from here on are in memory.
  virtual raft::Index memory_begin() const = 0;
  // Recent entries come from memory, older ones from disk. A record that is damaged is reported to
  // the fatal-error handler given at opening (which does not return).
  virtual raft::LogResult<std::vector<raft::Entry>> entries(raft::Index low, raft::Index high,
                                                            uint64_t max_bytes) const = 0;
  virtual LogStats stats() const = 0;
};

struct LogOptions {
  // false: the log was made before, and what is missing or empty is lost: kCorruption.
  bool create = true;
  // The ID of the member whose log this is; 0: whoever's it is. A log of another member is refused,
  // kFailedPrecondition: its votes are not this member's, and its entries may be another cluster's.
  uint64_t owner = 0;
  // Entries kept in memory for peers that lag a little.
  uint64_t cache_bytes = 8 << 20;
  // One memtable of the log database; up to three are in memory while the disk is slow.
  uint64_t write_buffer_bytes = 4 << 20;
  // Called when a stored record turns out damaged while running. Must not return.
  void (*on_fatal)(const Status&) = nullptr;
  // Called after each durable write, on the thread that wrote: how long the write to the operating
  // system and the sync took.
  std::function<void(std::chrono::nanoseconds write, std::chrono::nanoseconds sync)> on_append;
  // Called while opening with what a person should know: a torn tail was cut.
  std::function<void(std::string_view)> on_notice;
};

// Opens (or makes) the log database under `path` and verifies what it holds: a torn tail is cut and
// reported in the log, a hole or a damaged record in the middle is kCorruption that names the file
// and the remedy; an unknown format version, or a directory in use, is kFailedPrecondition.
Result<std::unique_ptr<LogStorage>> OpenRocksLog(const std::string& path,
                                                 const LogOptions& options);

}  // namespace raftkv::storage
