#include "tests/bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace raftkv::bench {
namespace {

TEST(HistogramTest, EmptyIsAllZero) {
  Histogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.min(), 0u);
  EXPECT_EQ(h.max(), 0u);
  EXPECT_EQ(h.Mean(), 0);
  EXPECT_EQ(h.Percentile(99), 0u);
}

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram h;
  for (uint64_t v = 1; v <= 1000; ++v) h.Record(v);
  EXPECT_EQ(h.Percentile(50), 500u);
  EXPECT_EQ(h.Percentile(99), 990u);
  EXPECT_EQ(h.Percentile(99.9), 999u);
  EXPECT_EQ(h.Percentile(100), 1000u);
  EXPECT_EQ(h.min(), 1u);
  EXPECT_EQ(h.max(), 1000u);
  EXPECT_DOUBLE_EQ(h.Mean(), 500.5);
}

TEST(HistogramTest, OneValueIsEveryPercentile) {
  Histogram h;
  h.Record(123'456'789);
  EXPECT_EQ(h.Percentile(0.001), 123'456'789u);
  EXPECT_EQ(h.Percentile(50), 123'456'789u);
  EXPECT_EQ(h.Percentile(100), 123'456'789u);
}

TEST(HistogramTest, ZeroAndTheHighestValueHaveBuckets) {
  Histogram h;
  h.Record(0);
  h.Record(Histogram::kHighest);
  h.Record(~uint64_t{0});
  EXPECT_EQ(h.count(), 3u);
  EXPECT_EQ(h.Percentile(1), 0u);
  EXPECT_EQ(h.max(), Histogram::kHighest);
}

// Every boundary between runs of buckets: the reported value is never below the recorded one and at
// most 0.1 % above it.
TEST(HistogramTest, PowersOfTwoKeepThreeDigits) {
  for (int bit = 0; bit < 37; ++bit) {
    for (int64_t delta : {-1, 0, 1}) {
      uint64_t value = (uint64_t{1} << bit) + static_cast<uint64_t>(delta);
      Histogram h;
      h.Record(value);
      h.Record(Histogram::kHighest);
      uint64_t seen = h.Percentile(50);
      EXPECT_GE(seen, value);
      EXPECT_LE(static_cast<double>(seen), static_cast<double>(value) * 1.001);
    }
  }
}

TEST(HistogramTest, PercentilesAgreeWithSorting) {
  SeededRandom random(7);
  Histogram h;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    // Spread over eight orders of magnitude.
    uint64_t v = random.Next() >> (27 + random.Uniform(30));
    values.push_back(std::min(v, Histogram::kHighest));
    h.Record(v);
  }
  std::sort(values.begin(), values.end());
  for (size_t permille : {10, 250, 500, 900, 990, 999, 1000}) {
    double p = static_cast<double>(permille) / 10;
    uint64_t want = values[values.size() * permille / 1000 - 1];
    EXPECT_GE(h.Percentile(p), want) << p;
    EXPECT_LE(static_cast<double>(h.Percentile(p)), static_cast<double>(want) * 1.001) << p;
  }
}

TEST(HistogramTest, MergeIsAsIfRecordedTogether) {
  Histogram a, b, both;
  for (uint64_t v = 0; v < 5'000; ++v) {
    (v % 3 == 0 ? a : b).Record(v * v);
    both.Record(v * v);
  }
  a.Merge(b);
  EXPECT_EQ(a.count(), both.count());
  EXPECT_EQ(a.min(), both.min());
  EXPECT_EQ(a.max(), both.max());
  EXPECT_DOUBLE_EQ(a.Mean(), both.Mean());
  for (double p : {10.0, 50.0, 99.0, 99.99}) EXPECT_EQ(a.Percentile(p), both.Percentile(p));
}

}  // namespace
}  // namespace raftkv::bench
