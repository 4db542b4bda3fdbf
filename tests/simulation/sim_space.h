// SimSpace: how much room a simulated disk has.
//
// Whatever is stored takes kScale times its size: the simulated stores are small, and what the node
// compares with (node/runtime/room.cc, space_guard.h) is meant for real disks.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/status.h"

namespace raftkv::sim {

class SimSpace {
 public:
  static constexpr uint64_t kScale = 4096;

  // `stored`: what log and state take now, before it is scaled.
  explicit SimSpace(std::function<uint64_t()> stored) : stored_(std::move(stored)) {}

  // Others take the disk until so much is free; what the node takes and gives back changes that.
  void Leave(uint64_t free) { limit_ = Used() + free; }
  // There is plenty.
  void Clear() { limit_.reset(); }
  bool limited() const { return limit_.has_value(); }

  uint64_t free() const {
    if (!limit_) return kPlenty;
    const uint64_t used = Used();
    return *limit_ > used ? *limit_ - used : 0;
  }
  // Whether so much more could be stored.
  bool Fits(uint64_t bytes) const { return !limit_ || bytes * kScale <= free(); }

  // The file of zeros (node/runtime/space_guard.h).
  uint64_t reserve() const { return reserve_; }
  Status MakeReserve(uint64_t bytes) {
    if (free() < bytes) return {Code::kIoError, "no space for the reserve"};
    reserve_ = bytes;
    return Status::Ok();
  }
  void GiveBackReserve() { reserve_ = 0; }

 private:
  static constexpr uint64_t kPlenty = uint64_t{1} << 40;

  uint64_t Used() const { return stored_() * kScale + reserve_; }

  const std::function<uint64_t()> stored_;
  std::optional<uint64_t> limit_;  // of all that the node takes
  uint64_t reserve_ = 0;
};

}  // namespace raftkv::sim
