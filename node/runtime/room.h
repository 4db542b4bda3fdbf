// Room: where the storage workers wait while the disk is full.
//
// A leader refuses what would fill its own disk, but does not know those of the others: whoever has
// less room takes its time, as if the disk were slow. Nothing has been said of what waits.
//
// Thread-safety: any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "node/runtime/space_guard.h"
#include "node/storage/log_storage.h"
#include "node/storage/state_store.h"

namespace raftkv::runtime {

class Room {
 public:
  enum class For { kLog, kState };

  // All must outlive the room. `sleep`: how a worker spends the time between two looks at the disk;
  // empty: its thread sleeps.
  using Sleep = std::function<void(Duration)>;
  Room(const SpaceGuard* space, storage::LogStorage* log, storage::StateStore* state,
       Sleep sleep = {});

  // Comes back when the disk has room for `bytes` more, beside what the databases hold in memory
  // and will write one day, and the database goes on that a full disk had stopped. The state goes
  // first: what it has applied and flushed makes the log shorter. While it waits it calls `tidy`,
  // which gives space back if it can, again and again. `failed`: a write has just found the disk
  // full, so it is not tried again at once. False: Close was called.
  bool Await(For what, uint64_t bytes, bool failed, const std::function<void()>& tidy);
  // Whether there is room to write what the state holds in memory, which makes room itself.
  bool HasRoomForFlush() const;
  // Lets both databases go on if a full disk has stopped them and there is room by now: also those
  // that nobody writes to. To be called once in a while. Blocks on the disk if one was stopped.
  void Resume();
  // Nobody waits any more.
  void Close() { closed_.store(true); }

  // Somebody waits, or would soon: space is to be given back.
  bool is_short() const { return is_full() || space_->scarce(); }
  // Somebody waits.
  bool is_full() const { return waiting_.load(std::memory_order_relaxed) > 0; }

 private:
  const SpaceGuard* const space_;
  storage::LogStorage* const log_;
  storage::StateStore* const state_;
  const Sleep sleep_;
  std::atomic<int> waiting_{0};
  std::atomic<bool> state_waits_{false};  // the log leaves it what there is
  std::atomic<bool> closed_{false};
};

}  // namespace raftkv::runtime
