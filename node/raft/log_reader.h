// What the core asks of the stable log. The core calls it while it steps, so every call must be
// answered from memory (node/storage keeps recent entries cached; older ones are read before they
// are asked for).
//
// Thread-safety: called from the thread that owns the core only. The state between two steps may
// only change by what the core handed out itself (StorageAppend), by compaction up to the applied
// index, or by an installed snapshot.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "node/raft/entry.h"

namespace raftkv::raft {

// Why a read of the log failed. Anything else is a fault of the disk and stops the process before
// it reaches the core.
enum class LogError {
  kCompacted,                       // the index lies before first_index(): send a snapshot instead
  kUnavailable,                     // the index lies beyond last_index()
  kSnapshotTemporarilyUnavailable,  // a snapshot is being made; ask again later
};

template <typename T>
using LogResult = std::expected<T, LogError>;

class LogReader {
 public:
  virtual ~LogReader() = default;

  struct InitialState {
    HardState hard_state;
    ConfState conf_state;
  };
  // As recovered at start-up; read once, by the constructor of the core.
  virtual InitialState initial_state() const = 0;

  // Entries [first_index, last_index] are present; last_index + 1 == first_index if there are none.
  virtual Index first_index() const = 0;
  virtual Index last_index() const = 0;

  // The term of an entry. Also answers for first_index - 1 (the compaction point, so that the
  // first append after it can be checked).
  virtual LogResult<Term> term(Index index) const = 0;

  // Whether entries from `low` on can be had from memory. If not, the owner has them read
  // meanwhile, and calls Core::EntriesRead when they are there: peers that lack them, and the state
  // machine, get nothing until then.
  virtual bool AtHand(Index low) const {
    (void)low;
    return true;
  }

  // Entries [low, high), cut so that the sum of their sizes (EntrySize) stays within max_bytes, but
  // at least one. low >= first_index, high <= last_index + 1.
  virtual LogResult<std::vector<Entry>> entries(Index low, Index high,
                                                uint64_t max_bytes) const = 0;

  // The most recent snapshot, for a follower that the log no longer reaches.
  virtual LogResult<Snapshot> snapshot() const = 0;
};

}  // namespace raftkv::raft
