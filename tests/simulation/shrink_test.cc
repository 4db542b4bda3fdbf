#include "tests/simulation/shrink.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace raftkv::sim {
namespace {

using List = std::vector<size_t>;

List Numbers(size_t count) {
  List list(count);
  std::iota(list.begin(), list.end(), size_t{0});
  return list;
}

bool Always(size_t) { return true; }

TEST(Shortest, LeavesWhatItTakes) {
  const List needed = {3, 17, 64};
  const auto fails = [&](const List& list) { return std::ranges::includes(list, needed); };
  EXPECT_EQ(Shortest(Numbers(100), fails, Always), needed);
  EXPECT_EQ(Shortest(Numbers(65), fails, Always), needed);
}

TEST(Shortest, OfWhatFailsAnywayNothingIsLeft) {
  EXPECT_EQ(Shortest(Numbers(10), [](const List&) { return true; }, Always), List());
}

TEST(Shortest, EitherOfTwoIsEnough) {
  const auto fails = [](const List& list) {
    return std::ranges::count(list, 5u) + std::ranges::count(list, 6u) > 0;
  };
  EXPECT_EQ(Shortest(Numbers(40), fails, Always).size(), 1u);
}

TEST(Shortest, OneMoreThanItLooksIsLeftOutInTheLastPass) {
  // Leaving out 9 becomes possible only after 2 has gone.
  const auto fails = [](const List& list) {
    const auto has = [&](size_t n) { return std::ranges::count(list, n) > 0; };
    return has(4) && (has(9) || !has(2));
  };
  EXPECT_EQ(Shortest(Numbers(12), fails, Always), List{4});
}

TEST(Shortest, EndsWhenItIsToldSo) {
  size_t asked = 0;
  const auto fails = [](const List& list) { return std::ranges::count(list, 7u) > 0; };
  const List left = Shortest(Numbers(64), fails, [&](size_t) { return ++asked <= 3; });
  EXPECT_GT(left.size(), 1u);
  EXPECT_TRUE(fails(left));
}

TEST(Shrink, ComparesTheKindOfAFailure) {
  EXPECT_EQ(KindOf("liveness: member n3 has applied 308 of 344\nn1: follower"),
            KindOf("liveness: member n1 has applied 7 of 51"));
  EXPECT_EQ(KindOf("durability: member 0a02ecbda3b674d1, index 25: acknowledged"),
            KindOf("durability: member 5c773aa8473158d9, index 3: acknowledged"));
  EXPECT_NE(KindOf("liveness: there is no leader"),
            KindOf("liveness: member n3 has applied 308 of 344"));
}

// A run that fails at once, for a reason outside of the simulation: the file cannot be written.
TEST(Shrink, SaysWhatARunDiedOf) {
  const RunResult result = RunApart({.seed = 2, .history_file = "/nonexistent/history"});
  EXPECT_NE(result.failure.find("/nonexistent/history"), std::string::npos) << result.failure;
}

}  // namespace
}  // namespace raftkv::sim
