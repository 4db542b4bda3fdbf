// What the preloaded library (shim.cc) does, changed while a node runs: a file that both sides map.
//
// Thread-safety: any thread and process.
#pragma once

#include <atomic>
#include <cstdint>

namespace raftkv::faults {

struct ShimControl {
  // Every sync of a file or directory fails with EIO from the n-th on, n counted from now. 0: none.
  std::atomic<int32_t> fail_sync_after = 0;
  std::atomic<int32_t> sync_delay_ms = 0;  // of each sync
  // Every write to a data file (not to RocksDB's own protocol) fails with EIO from the n-th on.
  std::atomic<int32_t> fail_write_after = 0;
  // The n-th write to a write-ahead log writes so much of its bytes, one at least and not all, and
  // the process dies.
  std::atomic<int32_t> cut_write_after = 0;
  std::atomic<int32_t> cut_permille = 500;
  // Writes to files fail with ENOSPC, and the file system says that nothing is free.
  std::atomic<int32_t> no_space = 0;
  std::atomic<int64_t> clock_offset_ms = 0;  // added to the wall clock
  // Added to the monotonic clock, for reading it and for waiting by it; only ever more.
  std::atomic<int64_t> monotonic_ahead_ms = 0;
  // While not 0 the monotonic clock stands still, and waits by it do not end by themselves. -1:
  // from the next reading on, which writes down here what it is, in nanoseconds.
  std::atomic<int64_t> monotonic_frozen_ns = 0;
  std::atomic<int32_t> no_threads = 0;  // a new thread fails with EAGAIN
  // Counted by the library.
  std::atomic<uint64_t> syncs = 0;
  std::atomic<uint64_t> syncs_failed = 0;
  std::atomic<uint64_t> writes_failed = 0;  // with EIO
  std::atomic<uint64_t> threads_refused = 0;
  std::atomic<uint64_t> writes_refused = 0;  // no space
  std::atomic<uint64_t> waits_shifted = 0;   // by the monotonic clock, while that is ahead
  std::atomic<uint64_t> waits_frozen = 0;    // while it stands still
};
static_assert(std::atomic<int64_t>::is_always_lock_free, "shared between processes");

// Environment variables of the node.
inline constexpr const char* kShimControl = "RAFTKV_SHIM_CONTROL";  // the file
// A directory that gets what a disk would have if the power failed: of each file what was synced,
// of each directory the names that were there when it was synced. Absent: syncs are left alone.
//   inodes/KEY   content; KEY names a file for its life (inode and time of birth)
//   dirs/KEY     lines: f|d KEY NAME
inline constexpr const char* kShimShadow = "RAFTKV_SHIM_SHADOW";

}  // namespace raftkv::faults
