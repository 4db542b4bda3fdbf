#include "node/storage/memory_state.h"

#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <string>

#include "base/random.h"

namespace raftkv::storage {
namespace {

void Put(MemoryState& store, std::string_view key, std::string_view value) {
  const auto batch = store.NewBatch();
  batch->Put(key, value);
  EXPECT_TRUE(store.Write(*batch).ok());
}

TEST(MemoryStateTest, ACrashGoesBackToTheLastFlush) {
  MemoryState store;
  Put(store, "a", "1");
  ASSERT_TRUE(store.Flush().ok());
  const auto batch = store.NewBatch();
  batch->Put("a", "2");
  batch->Put("b", "2");
  batch->Delete("b");
  batch->Put("c", "2");
  ASSERT_TRUE(store.Write(*batch).ok());
  EXPECT_EQ(store.Get("a"), "2");
  EXPECT_EQ(store.Get("b"), std::nullopt);
  EXPECT_EQ(store.FlushedGet("a"), "1");
  EXPECT_EQ(store.FlushedGet("c"), std::nullopt);
  store.LoseUnflushed();
  EXPECT_EQ(store.Dump(), (MemoryState::Contents{{"a", "1"}}));
  EXPECT_EQ(store.FlushedGet("a"), "1");
}

TEST(MemoryStateTest, ThereAreNoCheckpointDirectories) {
  MemoryState store;
  EXPECT_EQ(store.Checkpoint("d").code(), Code::kFailedPrecondition);
  EXPECT_EQ(store.Replace("d", {}).code(), Code::kFailedPrecondition);
}

void ExpectIterates(const StateView& view, const MemoryState::Contents& expected, Random& random) {
  const std::string lower = std::to_string(random.Uniform(100));
  const std::string upper = random.Uniform(4) == 0 ? "" : std::to_string(random.Uniform(100));
  const auto first = expected.lower_bound(lower);
  const auto last = upper.empty() ? expected.end() : expected.lower_bound(upper);
  const bool empty = !upper.empty() && upper <= lower;
  MemoryState::Contents range;
  if (!empty) range.insert(first, last);

  const auto it = view.NewIterator(lower, upper);
  MemoryState::Contents forward;
  for (it->SeekToFirst(); it->Valid(); it->Next()) forward.emplace(it->key(), it->value());
  EXPECT_EQ(forward, range);
  MemoryState::Contents backward;
  for (it->SeekToLast(); it->Valid(); it->Prev()) backward.emplace(it->key(), it->value());
  EXPECT_EQ(backward, range);

  const std::string seek = std::to_string(random.Uniform(100));
  it->Seek(seek);
  const auto at = range.lower_bound(seek);
  ASSERT_EQ(it->Valid(), at != range.end());
  if (it->Valid()) {
    EXPECT_EQ(it->key(), at->first);
  }
  it->SeekForPrev(seek);
  const auto after = range.upper_bound(seek);
  ASSERT_EQ(it->Valid(), after != range.begin());
  if (it->Valid()) {
    EXPECT_EQ(it->key(), std::prev(after)->first);
  }
}

TEST(MemoryStateTest, ViewsStayAsTheyWere) {
  SeededRandom random(3);
  MemoryState store;
  MemoryState::Contents newest;
  MemoryState::Contents flushed;
  std::vector<std::pair<std::shared_ptr<const StateView>, MemoryState::Contents>> views;
  for (int i = 0; i < 3000; ++i) {
    const auto batch = store.NewBatch();
    for (uint64_t n = random.Uniform(4); n > 0; --n) {
      const std::string key = std::to_string(random.Uniform(100));
      if (random.Uniform(3) == 0) {
        batch->Delete(key);
        newest.erase(key);
      } else {
        batch->Put(key, std::to_string(i));
        newest[key] = std::to_string(i);
      }
    }
    ASSERT_TRUE(store.Write(*batch).ok());
    switch (random.Uniform(40)) {
      case 0:
        ASSERT_TRUE(store.Flush().ok());
        flushed = newest;
        break;
      case 1:
        store.LoseUnflushed();
        newest = flushed;
        break;
      case 2:
        store.Install(newest);
        flushed = newest;
        break;
      case 3:
      case 4:
      case 5:
        views.emplace_back(store.View(), newest);
        if (views.size() > 5) views.erase(views.begin());
        break;
      default:
        break;
    }
    EXPECT_EQ(store.Dump(), newest);
    for (const auto& [view, contents] : views) ExpectIterates(*view, contents, random);
    const std::string key = std::to_string(random.Uniform(100));
    const auto expected = flushed.find(key);
    EXPECT_EQ(*store.FlushedGet(key),
              expected != flushed.end() ? std::optional(expected->second) : std::nullopt);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace raftkv::storage
