#include "node/kv/header_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/random.h"
#include "node/kv/test_support.h"

namespace raftkv::kv {
namespace {

RecordHeader Live(uint64_t revision) {
  RecordHeader header{.kind = RecordKind::kValue,
                      .mod = {revision, 3},
                      .create = 1,
                      .version = revision,
                      .steps = static_cast<uint32_t>(1 + revision % kJump)};
  if (revision % 2 == 0) header.kind = RecordKind::kLargeValue;
  if (revision > kJump) header.jump = {revision - kJump / 2, 9};
  return header;
}

TEST(HeaderCache, FindsTheLastHeader) {
  HeaderCache cache;
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  cache.Set("a", Live(5));
  cache.Set("b", Live(6));
  cache.Set("a", Live(7));
  EXPECT_EQ(cache.Find("a"), Live(7));
  EXPECT_EQ(cache.Find("b"), Live(6));
  EXPECT_EQ(cache.Find(""), std::nullopt);
}

TEST(HeaderCache, KeepsNoTombstones) {
  HeaderCache cache;
  cache.Set("a", Live(5));
  cache.Set("a", {.kind = RecordKind::kTombstone, .mod = {6, 0}});
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  cache.Set("a", RecordHeader());
  EXPECT_EQ(cache.Find("a"), std::nullopt);
}

TEST(HeaderCache, HidesEverythingWhileItChanges) {
  HeaderCache cache;
  cache.Set("a", Live(5));
  cache.BeginChange();
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  EXPECT_EQ(cache.FindAsWriter("a"), Live(5));
  cache.EndChange();
  EXPECT_EQ(cache.Find("a"), Live(5));
  cache.Clear();
  EXPECT_EQ(cache.Find("a"), std::nullopt);
}

// What has no room in a record is not kept; nor is what it was before.
TEST(HeaderCache, ForgetsWhatItCannotHold) {
  HeaderCache cache;
  RecordHeader header = Live(5);
  cache.Set("a", header);
  header.version = uint64_t{1} << 32;
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  header.version = (uint64_t{1} << 32) - 1;
  header.mod.sub = 65'535;
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), header);
  header.mod.sub = 65'536;
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  header = Live(uint64_t{1} << 33);
  header.version = 1;
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  header.create = header.mod.main - 1;
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), header);
  header.jump = {1, 0};
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), std::nullopt);
  header.jump = {header.mod.main - 2, 65'536};
  cache.Set("a", header);
  EXPECT_EQ(cache.Find("a"), std::nullopt);
}

// Keys of all sizes through a ring of a few records: whatever is found is what was set last.
TEST(HeaderCache, IsExactWhenItForgets) {
  for (size_t bytes : {size_t{1024}, size_t{1500}, size_t{20'000}}) {
    HeaderCache cache(bytes);
    SeededRandom random(bytes);
    std::map<std::string, RecordHeader> headers;
    size_t found = 0;
    for (uint64_t i = 1; i < 100'000; ++i) {
      const uint64_t number = random.Next() % 100;
      const std::string key(number, static_cast<char>('a' + number % 3));
      if (random.Next() % 8 == 0) {
        headers.erase(key);
        cache.Set(key, RecordHeader());
      } else {
        headers[key] = Live(i);
        cache.Set(key, Live(i));
      }
      const std::string other(random.Next() % 100, 'a');
      const auto header = cache.Find(other);
      if (!header) continue;
      ++found;
      ASSERT_TRUE(headers.contains(other)) << other.size();
      EXPECT_EQ(*header, headers.at(other));
    }
    EXPECT_GT(found, 1000u);
  }
}

TEST(HeaderCache, AHugeKeyPushesOutNobody) {
  HeaderCache cache(1024);
  cache.Set("a", Live(5));
  cache.Set(std::string(4096, 'x'), Live(6));
  EXPECT_EQ(cache.Find(std::string(4096, 'x')), std::nullopt);
  EXPECT_EQ(cache.Find("a"), Live(5));
}

TEST(HeaderCache, HoldsWhatItPromises) {
  HeaderCache cache;
  for (uint64_t i = 0; i < 100'000; ++i) cache.Set("key/" + std::to_string(i), Live(i));
  size_t found = 0;
  for (uint64_t i = 0; i < 100'000; ++i) {
    const auto header = cache.Find("key/" + std::to_string(i));
    if (!header) continue;
    EXPECT_EQ(*header, Live(i));
    ++found;
  }
  EXPECT_GT(found, 98'000u);
}

}  // namespace
}  // namespace raftkv::kv
