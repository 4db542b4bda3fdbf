#include "node/runtime/space_guard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace raftkv::runtime {
namespace {

std::optional<uint64_t> FreeBytes(const std::string& dir) {
  struct statvfs fs{};
  if (statvfs(dir.c_str(), &fs) != 0) return std::nullopt;
  return uint64_t{fs.f_bavail} * fs.f_frsize;
}

SpaceGuard::Reserve FileOfZeros(const std::string& path) {
  return {.held =
              [path] {
                struct stat file{};
                if (stat(path.c_str(), &file) != 0) return uint64_t{0};
                return static_cast<uint64_t>(file.st_blocks) * 512;
              },
          .make =
              [path](uint64_t bytes) {
                const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                int error = fd < 0 ? errno : 0;
                if (fd >= 0) {
                  error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
                  close(fd);
                  if (error != 0) (void)unlink(path.c_str());
                }
                if (error == 0) return Status::Ok();
                return Status(Code::kIoError, path + ": " + std::strerror(error));
              },
          .give_back = [path] { (void)unlink(path.c_str()); }};
}

// The most that one compaction of the state reads: four flushed memtables and the level below.
constexpr uint64_t kMaxCompaction = 96 << 20;

uint64_t Minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

bool Grows(const v1::Command& command) {
  if (command.has_put()) return true;
  if (!command.has_txn()) return false;
  for (const auto* list : {&command.txn().success(), &command.txn().failure()}) {
    for (const v1::TxnCommand::Op& op : *list) {
      if (op.has_put()) return true;
    }
  }
  return false;
}

bool GrowsSerialized(std::string_view command) {
  v1::Command parsed;
  return parsed.ParseFromArray(command.data(), static_cast<int>(command.size())) && Grows(parsed);
}

SpaceGuard::SpaceGuard(std::string dir, Limits limits, const Clock* clock, Probe probe,
                       Reserve reserve)
    : dir_(std::move(dir)),
      limits_(limits),
      clock_(clock),
      probe_(probe ? std::move(probe) : [this] { return FreeBytes(dir_); }),
      reserve_(reserve.held ? std::move(reserve) : FileOfZeros(reserve_path())) {}

// Well before nothing is left: what has been given back is to last for a while.
uint64_t SpaceGuard::ReleaseBelow() const {
  return std::max(limits_.min_free_bytes, limits_.reserve_bytes) / 2;
}

// What the reserve has given back is not there to be filled again.
uint64_t SpaceGuard::UsableOf(uint64_t free) const {
  return Minus(free, Minus(limits_.reserve_bytes, reserve_held_));
}

// In such terms that a flush, which only moves bytes from memory to the disk, changes nothing.
uint64_t SpaceGuard::LeftOf(uint64_t usable) const {
  const uint64_t state_bytes = state_.disk_bytes + state_.unflushed_bytes;
  // While it lasts, less than the least may be free: writes are refused until it ends.
  const uint64_t compaction = std::min(state_bytes, kMaxCompaction);
  const uint64_t taken =
      state_.unflushed_bytes + std::max(limits_.min_free_bytes, compaction) + compaction;
  const uint64_t on_disk = Minus(usable, taken);
  return limits_.quota_bytes > 0 ? std::min(on_disk, Minus(limits_.quota_bytes, state_bytes))
                                 : on_disk;
}

void SpaceGuard::MakeRoom() {
  const std::optional<uint64_t> free = probe_();
  if (!free) return;
  const std::lock_guard lock(mutex_);
  free_ = *free;
  reserve_held_ = reserve_.held();
  left_ = LeftOf(UsableOf(*free));
  if (*free < ReleaseBelow()) reserve_.give_back();
}

void SpaceGuard::KeepReserve(uint64_t usable) {
  const bool held = reserve_held_ > 0;
  if (held && (limits_.reserve_bytes == 0 || free_bytes() < ReleaseBelow())) {
    reserve_.give_back();
    if (limits_.reserve_bytes > 0) {
      log::Warning("the reserve for a full disk is given back, so that deletes go on",
                   {{"file", reserve_path()}, {"bytes", limits_.reserve_bytes}});
    }
    return;
  }
  // With a margin, so that it does not come and go.
  if (held || limits_.reserve_bytes == 0 ||
      usable < std::max(limits_.min_free_bytes, ReleaseBelow()) + limits_.reserve_bytes / 4) {
    return;
  }
  const Status made = reserve_.make(limits_.reserve_bytes);
  if (!made.ok() && !std::exchange(reserve_failed_, true)) {
    log::Warning("no reserve for a full disk could be made; it is tried again",
                 {{"error", made.ToString()}});
  }
}

bool SpaceGuard::LookLocked() {
  const MonotonicTime now = clock_->Now();
  // A clock that went back says nothing of how long ago that was.
  if (last_look_ && now >= *last_look_ && now - *last_look_ < kBetweenLooks) return false;
  const std::optional<uint64_t> free = probe_();
  if (!free) return false;
  last_look_ = now;
  free_ = *free;
  scarce_ = *free < ReleaseBelow();
  const uint64_t usable = UsableOf(*free);
  const uint64_t state_bytes = state_.disk_bytes + state_.unflushed_bytes;
  // A compaction writes its result before it removes what it read.
  const uint64_t min_free = std::max(
      limits_.min_free_bytes, std::min(state_bytes + state_.unflushed_bytes, kMaxCompaction));
  const bool over_quota = limits_.quota_bytes > 0 && state_bytes > limits_.quota_bytes;
  const uint64_t margin = full() ? min_free / 16 : 0;
  const bool full = usable < min_free + margin || over_quota;
  left_ = full ? 0 : LeftOf(usable);
  // What was charged since the look before may still be on its way to the disk.
  const uint64_t under_way = charged_.exchange(0, std::memory_order_relaxed);
  const uint64_t spoken_for = min_free + under_way + state_.unflushed_bytes;
  const uint64_t budget = Minus(usable, spoken_for);
  budget_.store(budget, std::memory_order_relaxed);
  near_limit_ = full || budget < std::max<uint64_t>(min_free, 64 << 20) || under_way > budget / 4;
  if (full_.exchange(full) == full) return true;
  if (full) {
    log::Warning("out of space: writes that grow the store are refused; reads and deletes go on",
                 {{"free bytes", *free}, {"over quota", over_quota}});
  } else {
    log::Info("there is space again: writes are accepted", {{"free bytes", *free}});
  }
  return true;
}

void SpaceGuard::Look(StateSize state) {
  const std::lock_guard lock(mutex_);
  state_ = state;
  reserve_held_ = reserve_.held();
  (void)LookLocked();
  if (!last_look_) return;
  KeepReserve(UsableOf(free_bytes()));
  reserve_held_ = reserve_.held();
}

bool SpaceGuard::HasRoom(uint64_t bytes) const {
  if (!is_near_limit()) return true;
  const std::optional<uint64_t> free = probe_();
  return !free || *free >= bytes;
}

bool SpaceGuard::Admit(uint64_t bytes) {
  if (full()) return false;
  const uint64_t cost = kCostPerByte * bytes + kCostPerCommand;
  const auto charge = [&] {
    if (charged_.fetch_add(cost, std::memory_order_relaxed) + cost <=
        budget_.load(std::memory_order_relaxed)) {
      return true;
    }
    charged_.fetch_sub(cost, std::memory_order_relaxed);
    return false;
  };
  if (charge()) return true;
  // Most of what was charged may have been too dear: only the disk knows.
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock() && LookLocked() && !full() && charge()) return true;
  last_refusal_.store(clock_->Now().time_since_epoch().count(), std::memory_order_relaxed);
  return false;
}

bool SpaceGuard::refuses() const {
  if (full()) return true;
  const MonotonicTime::rep last = last_refusal_.load(std::memory_order_relaxed);
  return last != 0 &&
         clock_->Now().time_since_epoch() - MonotonicTime::duration(last) < kRefusalCounts;
}

}  // namespace raftkv::runtime
