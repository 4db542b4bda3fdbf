#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "tests/simulation/past_bugs.h"
#include "tests/simulation/profiles.h"
#include "tests/simulation/shrink.h"

namespace raftkv::sim {
namespace {

// The address sanitizer takes several times as long, and finds what it looks for in the first runs.
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kShare = 4;
#else
constexpr uint64_t kShare = 1;
#endif
// Long enough to meet nearly everything, short enough for every build.
constexpr uint64_t kFixedSeeds = 150 / kShare;
// Takes a path that one run in hundreds takes: a crash that leaves a hole in the log.
constexpr uint64_t kRareSeed = 1013;
constexpr uint64_t kSeedsOfProfiles = 12 / kShare;
// One run in five of `space` takes its rarest path.
constexpr uint64_t kSeedsOfSpace = 20 / kShare;

TEST(Simulation, SameSeedSameRun) {
  for (const char* profile : {"", "copies", "clocks", "space"}) {
    const RunOptions run{.seed = 5, .profile = profile};
    EXPECT_EQ(RunApart(run).hash, RunApart(run).hash) << profile;
  }
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

// Each rare path is taken by one of these runs at least, if they are all there.
TEST(Simulation, FixedSeedsAndProfilesHoldAndTakeEveryPath) {
  Coverage coverage;
  std::vector<uint64_t> seeds = {kRareSeed};
  for (uint64_t seed = 1; seed <= kFixedSeeds; ++seed) seeds.push_back(seed);
  for (const uint64_t seed : seeds) {
    const RunResult result = RunApart({.seed = seed});
    ASSERT_EQ(result.failure, "") << "again: ./dev sim --seed " << seed;
    coverage.Add(result.coverage);
  }
  for (const Profile& profile : Profiles()) {
    const uint64_t most = profile.full_at_last ? kSeedsOfSpace : kSeedsOfProfiles;
    for (uint64_t seed = 1; seed <= most; ++seed) {
      const RunResult result = RunApart({.seed = seed, .profile = std::string(profile.name)});
      ASSERT_EQ(result.failure, "")
          << "again: ./dev sim --seed " << seed << " --profile " << profile.name;
      coverage.Add(result.coverage);
    }
  }
  if (kShare == 1) {
    EXPECT_EQ(coverage.Missing(), "");
  }
}

TEST(Simulation, PastBugsStayFixed) {
  for (const PastBug& run : kPastBugs) {
    EXPECT_EQ(RunApart({.seed = run.seed, .profile = run.profile}).failure, "")
        << run.what << " (" << run.mutation << "); again: ./dev sim --seed " << run.seed;
  }
}

// What is under way for long may follow them in the log: unless they are known, it seems wrong.
TEST(Simulation, TheWritesOfTheLastPhaseAreInTheHistory) {
  const std::string file = testing::TempDir() + "history-" + std::to_string(getpid()) + ".jsonl";
  EXPECT_EQ(RunApart({.seed = 7, .keep = std::vector<size_t>(), .history_file = file}).failure, "");
  std::stringstream history;
  history << std::ifstream(file).rdbuf();
  std::filesystem::remove(file);
  EXPECT_NE(history.str().find("\"alive-"), std::string::npos);
}

// A link kept what it had been given while it was clogged for ten seconds after the cluster counted
// as healed: a follower's write was said to be lost.
TEST(Simulation, WhatAClogHoldsBackIsThereBeforeAllCountsAsHealed) {
  EXPECT_EQ(RunApart({.seed = 700127}).failure, "");
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
