// Keeps the data directory's file system from filling up: refuses commands that would make the
// store grow in time, and keeps a file of zeros (DIR/reserve) whose space is given back when the
// disk is full nevertheless, so that deletes, compaction and the log's truncation go through.
//
// Free space is looked at once in a while; between two looks what was admitted is charged against
// it, several times its size, because it goes to the log, to the state and through compactions.
//
// Thread-safety: any thread. MakeRoom and Look work on the disk and are for a thread that may wait;
// Admit asks for the free space at most (one statvfs in kBetweenLooks, of all threads) and waits
// for no other thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "raftkv/v1/command.pb.h"

namespace raftkv::runtime {

// Whether a command stores something. Deletes and compactions are let through on a full disk.
bool Grows(const v1::Command& command);
// The same of a serialized one; false if it is none.
bool GrowsSerialized(std::string_view command);

class SpaceGuard {
 public:
  struct Limits {
    // A state so small that it could be compacted in one go needs as much as itself if that is
    // more.
    uint64_t min_free_bytes = 0;
    uint64_t quota_bytes = 0;  // of the state; 0: none
    uint64_t reserve_bytes = 0;
  };
  // What the state database last said of itself.
  struct StateSize {
    uint64_t disk_bytes = 0;
    uint64_t unflushed_bytes = 0;
  };
  // Free bytes of the file system; nullopt: cannot be told.
  using Probe = std::function<std::optional<uint64_t>()>;
  // The file of zeros.
  struct Reserve {
    std::function<uint64_t()> held;  // bytes that it takes now
    std::function<Status(uint64_t bytes)> make;
    std::function<void()> give_back;
  };

  // `probe` empty: statvfs of `dir`. `reserve` empty: DIR/reserve.
  SpaceGuard(std::string dir, Limits limits, const Clock* clock, Probe probe = {},
             Reserve reserve = {});

  // Before anything in the directory is opened: gives the reserve back if the disk is full. The
  // first look.
  void MakeRoom();
  // Looks at the disk, makes or gives back the reserve, and logs when writes begin or cease to be
  // refused. Of looks that follow each other too closely the first alone asks for the free space.
  void Look(StateSize state);
  // Whether a command of `bytes` that makes the store grow may be proposed; charges it.
  bool Admit(uint64_t bytes);

  // Whether so much is free right now. Asks the disk only near the limit; cheap otherwise.
  bool HasRoom(uint64_t bytes) const;

  bool full() const { return full_.load(std::memory_order_relaxed); }
  // Full, or so close to it that a write was refused in the last half minute because of its size.
  bool refuses() const;
  // So little is free that the reserve is given back: whatever can be spared should go.
  bool scarce() const { return scarce_.load(std::memory_order_relaxed); }
  uint64_t free_bytes() const { return free_.load(std::memory_order_relaxed); }
  // By how much the store may grow before a write can be refused, above what has to stay free and
  // what a compaction takes for a while; of the quota, if less is left of that. For people: one who
  // writes fast enough is refused earlier, because what is under way counts several times.
  uint64_t left_bytes() const { return left_.load(std::memory_order_relaxed); }
  // Full or close to it: look more often.
  bool is_near_limit() const { return near_limit_.load(std::memory_order_relaxed); }
  std::string reserve_path() const { return dir_ + "/reserve"; }

  // Charged for each byte of a command; and for a command whatever its size.
  static constexpr uint64_t kCostPerByte = 3;
  static constexpr uint64_t kCostPerCommand = 256;
  static constexpr Duration kBetweenLooks = std::chrono::milliseconds(50);
  static constexpr Duration kRefusalCounts = std::chrono::seconds(30);

 private:
  // False: cannot be told, or it was looked at just now.
  bool LookLocked();
  void KeepReserve(uint64_t usable);
  uint64_t UsableOf(uint64_t free) const;
  uint64_t LeftOf(uint64_t usable) const;
  uint64_t ReleaseBelow() const;

  const std::string dir_;
  const Limits limits_;
  const Clock* const clock_;
  const Probe probe_;
  const Reserve reserve_;

  std::atomic<bool> full_{false};
  std::atomic<bool> scarce_{false};
  std::atomic<bool> near_limit_{false};
  std::atomic<uint64_t> free_{0};
  std::atomic<uint64_t> left_{0};
  std::atomic<uint64_t> budget_{UINT64_MAX};  // what may be charged until the next look
  std::atomic<uint64_t> charged_{0};
  std::atomic<MonotonicTime::rep> last_refusal_{0};  // 0: none

  std::mutex mutex_;  // of what follows
  StateSize state_;
  uint64_t reserve_held_ = 0;  // bytes, when it was last looked at
  std::optional<MonotonicTime> last_look_;
  bool reserve_failed_ = false;  // and it was logged
};

}  // namespace raftkv::runtime
