#include "tests/simulation/host_clock.h"

#include <gtest/gtest.h>

namespace raftkv::sim {
namespace {

using std::chrono::seconds;

class HostClockTest : public ::testing::Test {
 protected:
  void RunFor(Duration duration) {
    const SimTime end = scheduler_.now() + duration;
    while (scheduler_.RunOne(end)) {
    }
  }

  Scheduler scheduler_;
  SeededRandom random_{1};
  HostClock clock_{&scheduler_, random_, 0};
  const MonotonicTime begin_ = clock_.Now();
};

TEST_F(HostClockTest, GainsWhatItsSpeedSays) {
  clock_.SetSpeed(1'000'000);
  RunFor(seconds(3));
  EXPECT_EQ(clock_.Now() - begin_, seconds(6));
  clock_.SetUsualSpeed();
  RunFor(seconds(3));
  EXPECT_EQ(clock_.Now() - begin_, seconds(9));
}

TEST_F(HostClockTest, WakesBySpeedsThatItTakesOnLater) {
  SimTime woken{0};
  clock_.SetSpeed(-990'000);
  clock_.After(seconds(2), Duration(7), [&] { woken = scheduler_.now(); });
  RunFor(seconds(100));
  EXPECT_EQ(woken, SimTime(0)) << "the clock has moved by a second";
  clock_.SetUsualSpeed();
  RunFor(seconds(10));
  EXPECT_EQ(woken, seconds(101) + Duration(7));
}

TEST_F(HostClockTest, AJumpWakesNobody) {
  int woken = 0;
  clock_.After(seconds(2), Duration(0), [&] { ++woken; });
  clock_.Jump(seconds(60));
  EXPECT_EQ(clock_.Now() - begin_, seconds(60));
  clock_.SetSpeed(1'000'000);
  EXPECT_EQ(woken, 0);
  RunFor(seconds(1));
  EXPECT_EQ(woken, 1);
  RunFor(seconds(10));
  EXPECT_EQ(woken, 1);
}

}  // namespace
}  // namespace raftkv::sim
