// Latencies counted in buckets, without a lock: for the raft thread, whose counts are published
// every tick.
//
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace raftkv::runtime {

class LatencyCounts {
 public:
  // Bucket i holds what took up to 50 us << i (6.5 s at most); the last one what took longer.
  static constexpr size_t kBounds = 18;
  static constexpr int64_t kFirstBoundNs = 50'000;

  void Add(Duration took, uint64_t times) {
    const auto ns = static_cast<uint64_t>(std::max<int64_t>(took.count(), 1));
    const auto bucket = static_cast<size_t>(std::bit_width((ns - 1) / kFirstBoundNs));
    counts_[std::min(bucket, kBounds)] += times;
    sum_ns_ += ns * times;
  }

  const std::array<uint64_t, kBounds + 1>& counts() const { return counts_; }
  uint64_t sum_ns() const { return sum_ns_; }

 private:
  std::array<uint64_t, kBounds + 1> counts_{};
  uint64_t sum_ns_ = 0;
};

}  // namespace raftkv::runtime
