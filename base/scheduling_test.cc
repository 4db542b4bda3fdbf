#include "base/scheduling.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace raftkv {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Duration kShort = microseconds(200);
constexpr Duration kSlice = milliseconds(3);

// Every `nth` of so many probes waits for a slice. Whether it is crowded in the end.
bool Probe(CrowdGauge& gauge, int probes, int nth) {
  bool crowded = false;
  for (int i = 1; i <= probes; ++i) crowded = gauge.Probe(i % nth == 0 ? kSlice : kShort);
  return crowded;
}

TEST(CrowdGauge, ThreadsThatWorkForEachOtherAreNoCrowd) {
  CrowdGauge gauge;
  EXPECT_FALSE(Probe(gauge, 1000, 1001));
  // A compaction now and then.
  EXPECT_FALSE(Probe(gauge, 1000, 20));
}

TEST(CrowdGauge, ThreadsThatComputeAre) {
  CrowdGauge gauge;
  EXPECT_TRUE(Probe(gauge, 200, 4));
}

TEST(CrowdGauge, DoesNotChangeItsMindAtOnce) {
  CrowdGauge gauge;
  EXPECT_FALSE(Probe(gauge, 8, 1));
  EXPECT_TRUE(Probe(gauge, 200, 2));
  EXPECT_TRUE(Probe(gauge, 20, 1000));
  // Between the two limits it stays what it was.
  EXPECT_TRUE(Probe(gauge, 1000, 9));
  EXPECT_FALSE(Probe(gauge, 400, 1000));
  EXPECT_FALSE(Probe(gauge, 1000, 9));
}

// On a thread of its own, which takes what it has set with it.
void OnThread(void (*test)()) { std::thread(test).join(); }

TEST(WakeupPolicy, ThreadsInheritIt) {
  OnThread([] {
    if (sched_getscheduler(0) != SCHED_OTHER) GTEST_SKIP();
    const WakeupPolicy policy;
    int inherited = -1;
    std::thread([&] { inherited = sched_getscheduler(0); }).join();
    EXPECT_EQ(inherited, SCHED_BATCH);
    EXPECT_LT(policy.period(), std::chrono::seconds(1));
  });
}

TEST(WakeupPolicy, FollowsTheCrowd) {
  OnThread([] {
    if (sched_getscheduler(0) != SCHED_OTHER) GTEST_SKIP();
    WakeupPolicy policy;
    for (int i = 0; i < 100; ++i) policy.Woke(kSlice);
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
    for (int i = 0; i < 400; ++i) policy.Woke(kShort);
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  });
}

TEST(WakeupPolicy, EndsWithItsObject) {
  OnThread([] {
    if (sched_getscheduler(0) != SCHED_OTHER) GTEST_SKIP();
    {
      const WakeupPolicy policy;
    }
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
    const WakeupPolicy again;
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  });
}

TEST(WakeupPolicy, LeavesAnotherPolicyAlone) {
  OnThread([] {
    const sched_param none{};
    ASSERT_EQ(sched_setscheduler(0, SCHED_IDLE, &none), 0);
    WakeupPolicy policy;
    EXPECT_GT(policy.period(), std::chrono::minutes(1));
    for (int i = 0; i < 100; ++i) policy.Woke(kSlice);
    EXPECT_EQ(sched_getscheduler(0), SCHED_IDLE);
  });
}

}  // namespace
}  // namespace raftkv
