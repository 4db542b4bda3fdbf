#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>

#include "tests/simulation/shrink.h"

namespace raftkv::sim {
namespace {

// Long enough to meet nearly everything, short enough for every build.
constexpr uint64_t kFixedSeeds = 150;

TEST(Simulation, SameSeedSameRun) {
  for (const uint64_t seed : {3, 17, 42, 99}) {
    const RunResult first = RunApart({.seed = seed});
    const RunResult again = RunApart({.seed = seed});
    EXPECT_EQ(first.hash, again.hash) << seed;
    EXPECT_EQ(first.events, again.events) << seed;
    EXPECT_GT(first.events, 1000u) << seed;
    // Whatever lies elsewhere in memory, or ran before in the same process, makes no difference.
    const RunResult here = sim::Run({.seed = seed});
    EXPECT_EQ(first.hash, here.hash) << seed;
  }
}

TEST(Simulation, OtherSeedOtherRun) {
  EXPECT_NE(RunApart({.seed = 1}).hash, RunApart({.seed = 2}).hash);
}

TEST(Simulation, FixedSeedsHold) {
  Coverage coverage;
  for (uint64_t seed = 1; seed <= kFixedSeeds; ++seed) {
    const RunResult result = RunApart({.seed = seed});
    ASSERT_EQ(result.failure, "") << "again: ./dev sim --seed " << seed;
    coverage.Add(result.coverage);
  }
  for (const Path path : {Path::conflicting_suffix, Path::snapshot_installed, Path::joint_left,
                          Path::crash_in_append, Path::crash_lost_state, Path::member_replaced,
                          Path::read_lease, Path::write_after_unknown, Path::states_compared}) {
    EXPECT_GT(coverage.count(path), 0u) << Name(path);
  }
}

// Seeds that failed once, because of what they broke.
TEST(Simulation, PastSeedsHold) {
  const std::pair<uint64_t, const char*> seeds[] = {
      {59, "a read at the only voter went behind an acknowledged write after a restart"},
      {67, "a learner whose seeds were gone never got the log"},
      {103, "a member that missed the addition of the leader refused it for ever"},
      {155, "the same kept a majority from electing a leader"},
  };
  for (const auto& [seed, what] : seeds) {
    EXPECT_EQ(RunApart({.seed = seed}).failure, "") << what << "; again: ./dev sim --seed " << seed;
  }
}

TEST(Simulation, WithoutFaultsNothingIsRefusedForLong) {
  const RunResult calm = RunApart({.seed = 7, .keep = std::vector<size_t>()});
  EXPECT_EQ(calm.failure, "");
  EXPECT_EQ(calm.coverage.count(Path::message_lost), 0u);
  EXPECT_GT(calm.coverage.count(Path::write_acknowledged),
            calm.coverage.count(Path::write_refused) / 4);
}

}  // namespace
}  // namespace raftkv::sim
