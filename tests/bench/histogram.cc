#include "tests/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace raftkv::bench {

size_t Histogram::BucketOf(uint64_t value) {
  // Below 2 * kHalf the shift is 0 and the bucket is the value itself; above, each further bit of
  // length adds one run of kHalf buckets, indexed by the value's top eleven bits.
  int shift = std::max(0, static_cast<int>(std::bit_width(value)) - (kHalfBits + 1));
  return static_cast<size_t>(shift) * kHalf + (value >> shift);
}

uint64_t Histogram::HighestIn(size_t bucket) {
  if (bucket < 2 * kHalf) return bucket;
  uint64_t shift = bucket / kHalf - 1;
  uint64_t top = bucket - shift * kHalf;
  return ((top + 1) << shift) - 1;
}

void Histogram::Record(uint64_t value) {
  value = std::min(value, kHighest);
  ++buckets_[BucketOf(value)];
  ++count_;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

double Histogram::Mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

uint64_t Histogram::Percentile(double percent) const {
  CHECK(percent > 0 && percent <= 100);
  if (count_ == 0) return 0;
  // The small subtraction undoes binary rounding: 99.9 % of 1,000 is to be rank 999, not 1,000.
  double exact = percent / 100 * static_cast<double>(count_) - 1e-6;
  auto rank = std::clamp<uint64_t>(static_cast<uint64_t>(std::ceil(exact)), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min(HighestIn(i), max_);
  }
  return max_;
}

}  // namespace raftkv::bench
