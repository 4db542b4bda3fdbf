// Histogram: how often each latency was seen, with three significant digits, in the manner of
// HdrHistogram: exact up to 2,047, then 1,024 buckets for each power of two, so that a value is
// known to within 0.1 % whatever its size.
//
// Thread-safety: none; one instance per thread, merged at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace raftkv::bench {

class Histogram {
 public:
  // Values above this (137 s in nanoseconds) are counted as this.
  static constexpr uint64_t kHighest = (uint64_t{1} << 37) - 1;

  void Record(uint64_t value);
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  // 0 when empty.
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  double Mean() const;
  // The smallest value that at least `percent` % of the recorded ones do not exceed (nearest rank),
  // rounded up to the end of its bucket but never above max(). percent in (0, 100]. 0 when empty.
  uint64_t Percentile(double percent) const;

 private:
  static constexpr int kHalfBits = 10;
  static constexpr uint64_t kHalf = uint64_t{1} << kHalfBits;
  static constexpr size_t kBuckets = (37 - kHalfBits) * kHalf + kHalf;

  static size_t BucketOf(uint64_t value);
  static uint64_t HighestIn(size_t bucket);

  std::vector<uint64_t> buckets_ = std::vector<uint64_t>(kBuckets);
  uint64_t count_ = 0;
  uint64_t min_ = ~uint64_t{0};
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace raftkv::bench
