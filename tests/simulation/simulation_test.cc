#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>

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
  for (uint64_t seed = 1; seed <= kFixedSeeds; ++seed) {
    const RunResult result = RunApart({.seed = seed});
    ASSERT_EQ(result.failure, "") << "again: ./dev sim --seed " << seed;
    coverage.Add(result.coverage);
  }
  for (const Profile& profile : Profiles()) {
    const uint64_t seeds = profile.full_at_last ? kSeedsOfSpace : kSeedsOfProfiles;
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
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

// Runs that find again what was broken once, if it comes back: each is the first that sees the
// mutation named (mutations.cc). The seeds that found these bugs first mean other runs by now.
TEST(Simulation, PastBugsStayFixed) {
  const struct {
    uint64_t seed;
    const char* profile;
    const char* mutation;
    const char* what;
  } runs[] = {
      {1, "", "read_before_first_commit",
       "a read at the only voter went behind an acknowledged write after a restart"},
      {23, "departure", "no_introduction",
       "a member that missed the addition of others refused them, and never came back"},
      {1386, "departure", "introduce_once",
       "a member that did not know yet that it is one never learned its leader's address"},
      {7, "departure", "leave_at_once",
       "removed members stopped before those who stay knew, and left them without a majority"},
      {41, "departure", "refuse_before_durable",
       "a member told others that they are removed, and forgot it in a crash"},
      {24, "damage", "agree_unconfirmed",
       "members gave up their data although a majority was damaged"},
      {572723043, "", "refusal_names_nobody",
       "a damaged member that knew the address of a follower alone never found the leader"},
      {991217565, "", "",
       "writes that were under way for long came behind those of the last phase, which no history "
       "held: a wrong alarm"},
      {991217831, "", "",
       "who slept while its clock stood still slept on when it went again: a wrong alarm"},
      {790208542, "", "",
       "a worker met a store that a full disk had stopped when there was space again, and the "
       "simulation slept in its place for ever"},
      {15, "space", "hand_over_in_step", "a leader that waited for space never found a successor"},
      {20, "space", "go_on_after_giving_up",
       "a node that stopped while it waited for space wrote behind a gap"},
  };
  for (const auto& run : runs) {
    EXPECT_EQ(RunApart({.seed = run.seed, .profile = run.profile}).failure, "")
        << run.what << " (" << run.mutation << "); again: ./dev sim --seed " << run.seed;
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
