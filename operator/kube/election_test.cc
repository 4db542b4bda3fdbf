// The Lease: who holds it, when it is lost, and what the fence says meanwhile.
#include "operator/kube/election.h"

#include <gtest/gtest.h>

#include <thread>

#include "operator/kube/test_api.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

const Key kLease{"sys", "op"};

class ElectionTest : public testing::Test {
 protected:
  Election Make(const std::string& identity, Timing* timing) {
    return Election(&api_, {.lease = kLease, .identity = identity}, timing, 1);
  }
  Object Lease() { return api_.Get(resources::kLeases, kLease).value(); }
  void PutLease(const std::string& holder, const std::string& renew_time) {
    Object lease(resources::kLeases, kLease);
    lease.Set("/spec/holderIdentity", holder);
    lease.Set("/spec/leaseDurationSeconds", 15);
    lease.Set("/spec/renewTime", renew_time);
    lease.Set("/spec/leaseTransitions", 4);
    ASSERT_TRUE(api_.Create(resources::kLeases, lease));
  }
  // Runs until elected, then until `renewals` more writes have been seen.
  Election::End RunFor(Election& election, int renewals) {
    std::stop_source stop;
    int writes = 0;
    api_.before = [&, renewals](const std::string& call) -> ApiResult<void> {
      if (election.IsLeader() && call == "UPDATE leases/op" && ++writes > renewals) {
        stop.request_stop();
      }
      return {};
    };
    return election.Run([] {}, stop.get_token());
  }

  FakeTiming timing_{FakeTiming::Mode::kJump};
  MemoryApi api_;
};

TEST_F(ElectionTest, TakesAFreeLeaseRenewsItEveryTwoSecondsAndReleasesIt) {
  Election election = Make("me", &timing_);
  EXPECT_EQ(RunFor(election, 5), Election::End::kStopped);
  EXPECT_EQ(api_.CountCalls("CREATE leases/op"), 1u);
  for (Duration wait : timing_.slept()) EXPECT_EQ(wait, seconds(2));
  Object lease = Lease();
  EXPECT_EQ(lease.String("/spec/holderIdentity"), "");
  EXPECT_EQ(lease.Int("/spec/leaseDurationSeconds"), 1);
  EXPECT_EQ(lease.Int("/spec/leaseTransitions"), 0);
  EXPECT_FALSE(election.IsLeader());
  EXPECT_FALSE(election.MayWrite());
}

TEST_F(ElectionTest, TransitionsAreRaisedByARenewal) {
  Election election = Make("me", &timing_);
  election.RaiseTransitions(7);
  EXPECT_EQ(RunFor(election, 2), Election::End::kStopped);
  EXPECT_EQ(election.transitions(), 7u);
  EXPECT_EQ(Lease().Int("/spec/leaseTransitions"), 7);
}

TEST_F(ElectionTest, AnotherHolderExpiresByOurClockAlone) {
  // Its date is from the future; dates must not matter, nor may ours, which jumps.
  PutLease("other", FormatMicroTime(timing_.WallMicros() + 3'600'000'000));
  Election election = Make("me", &timing_);
  MonotonicTime start = timing_.Now();
  timing_.JumpWall(hours(48));
  EXPECT_EQ(RunFor(election, 0), Election::End::kStopped);
  Duration waited{};
  for (Duration wait : timing_.slept()) waited += wait;
  EXPECT_GE(waited, seconds(15));
  EXPECT_LT(waited, seconds(15 + 5 + 2));
  EXPECT_GE(timing_.Now() - start, seconds(15));
  EXPECT_EQ(Lease().Int("/spec/leaseTransitions"), 5);
}

TEST_F(ElectionTest, AHolderThatRenewsKeepsItsLease) {
  PutLease("other", "x");
  Election election = Make("me", &timing_);
  std::stop_source stop;
  int reads = 0;
  api_.before = [&](const std::string& call) -> ApiResult<void> {
    if (call != "GET leases/op") return {};
    if (++reads > 200) stop.request_stop();
    // Written without changing a field: its version alone is a sign of life.
    if (reads % 3 == 0) api_.Touch(resources::kLeases, kLease);
    return {};
  };
  EXPECT_EQ(election.Run([] { FAIL(); }, stop.get_token()), Election::End::kStopped);
  EXPECT_GT(reads, 200);
  api_.before = nullptr;
  EXPECT_EQ(Lease().String("/spec/holderIdentity"), "other");
}

TEST_F(ElectionTest, RetriesAreJittered) {
  PutLease("other", "x");
  Election election = Make("me", &timing_);
  RunFor(election, 0);
  bool longer = false;
  for (Duration wait : timing_.slept()) {
    EXPECT_GE(wait, seconds(2));
    EXPECT_LE(wait, std::chrono::milliseconds(4400));
    longer = longer || wait > seconds(2);
  }
  EXPECT_TRUE(longer);
}

TEST_F(ElectionTest, IsLostTenSecondsAfterTheLastRenewal) {
  Election election = Make("me", &timing_);
  bool down = false;
  api_.before = [&](const std::string&) -> ApiResult<void> {
    if (down) return Fail(Reason::kConnection, "test");
    return {};
  };
  MonotonicTime elected;
  auto end = election.Run(
      [&] {
        elected = timing_.Now();
        down = true;
      },
      {});
  EXPECT_EQ(end, Election::End::kLost);
  EXPECT_EQ(timing_.Now() - elected, seconds(10));
  EXPECT_FALSE(election.IsLeader());
  down = false;
  EXPECT_EQ(Lease().String("/spec/holderIdentity"), "me") << "what is lost must not be released";
}

// The write and the read behind it had five seconds each, after the pause: 12 s.
TEST_F(ElectionTest, ARenewalThatHangsIsGivenUpTenSecondsAfterTheLastOne) {
  Election election = Make("me", &timing_);
  bool hangs = false;
  std::vector<Duration> allowed;
  api_.before = [&](const std::string& call) -> ApiResult<void> {
    if (!hangs) {
      // Its answer takes a while: the time counts from when it was sent.
      if (call == "CREATE leases/op") timing_.Advance(seconds(1));
      return {};
    }
    allowed.push_back(api_.last_timeout());
    // As RestClient does for the Lease (manager.cc).
    timing_.Advance(std::min<Duration>(seconds(5), api_.last_timeout()));
    return Fail(Reason::kDeadline, "test");
  };
  MonotonicTime elected;
  auto end = election.Run(
      [&] {
        elected = timing_.Now();
        hangs = true;
      },
      {});
  EXPECT_EQ(end, Election::End::kLost);
  EXPECT_EQ(timing_.Now() - elected, seconds(9)) << "it was sent a second before";
  EXPECT_EQ(allowed, (std::vector<Duration>{seconds(7), seconds(2)}));
}

// A renewal that was cut short by the end arrives all the same, between our read and our write.
TEST_F(ElectionTest, AReleaseIsTriedOnceMoreAfterAConflict) {
  Election election = Make("me", &timing_);
  std::stop_source stop;
  auto end = election.Run(
      [&] {
        api_.Touch(resources::kLeases, kLease);
        stop.request_stop();
      },
      stop.get_token());
  EXPECT_EQ(end, Election::End::kStopped);
  EXPECT_EQ(Lease().String("/spec/holderIdentity"), "");
}

TEST_F(ElectionTest, IsLostAtOnceWhenAnotherHasTakenIt) {
  Election election = Make("me", &timing_);
  auto end = election.Run(
      [&] {
        Object lease = Lease();
        lease.Set("/spec/holderIdentity", "other");
        ASSERT_TRUE(api_.Update(resources::kLeases, lease));
      },
      {});
  EXPECT_EQ(end, Election::End::kLost);
  EXPECT_EQ(election.holder(), "other");
}

TEST_F(ElectionTest, AForeignWriteThatLeavesUsTheHolderDoesNoHarm) {
  Election election = Make("me", &timing_);
  std::stop_source stop;
  int renewals = 0;
  auto end = election.Run(
      [&] {
        Object lease = Lease();
        lease.Set("/metadata/labels/a", "b");
        ASSERT_TRUE(api_.Update(resources::kLeases, lease));
        api_.before = [&](const std::string& call) -> ApiResult<void> {
          if (call == "UPDATE leases/op" && ++renewals == 4) stop.request_stop();
          return {};
        };
      },
      stop.get_token());
  EXPECT_EQ(end, Election::End::kStopped);
  EXPECT_EQ(Lease().Int("/spec/leaseTransitions"), 0);
}

TEST_F(ElectionTest, TheFenceFallsByTimeAloneWhenTheProcessWasStopped) {
  FakeTiming timing(FakeTiming::Mode::kManual);
  Election election = Make("me", &timing);
  EXPECT_FALSE(election.MayWrite());
  std::stop_source stop;
  std::thread runner([&] { election.Run([] {}, stop.get_token()); });
  EXPECT_TRUE(Eventually([&] { return election.MayWrite(); }));
  // Asleep for longer than the lease: until the election's thread has run, nobody knows that it is
  // over, and yet no write may leave.
  api_.before = [](const std::string&) -> ApiResult<void> {
    return Fail(Reason::kConnection, "test");
  };
  timing.Advance(seconds(15));
  EXPECT_FALSE(election.MayWrite());
  stop.request_stop();
  runner.join();
}

TEST_F(ElectionTest, OnlyOneOfTwoIsElected) {
  FakeTiming timing(FakeTiming::Mode::kManual);
  Election first = Make("first", &timing);
  Election second = Make("second", &timing);
  std::stop_source stop_first;
  std::stop_source stop_second;
  std::thread a([&] { first.Run([] {}, stop_first.get_token()); });
  EXPECT_TRUE(Eventually([&] { return first.IsLeader(); }));
  std::thread b([&] { second.Run([] {}, stop_second.get_token()); });
  EXPECT_TRUE(Eventually([&] { return timing.waiting() == 2; }));
  for (int i = 0; i < 60; ++i) {
    size_t writes = api_.CountCalls("UPDATE leases/op");
    timing.Advance(seconds(2));
    EXPECT_TRUE(Eventually([&] { return api_.CountCalls("UPDATE leases/op") > writes; }));
    EXPECT_TRUE(Eventually([&] { return timing.waiting() == 2; }));
    EXPECT_TRUE(first.IsLeader());
    EXPECT_FALSE(second.IsLeader());
  }
  // Released on stop: the other need not wait for 15 s.
  stop_first.request_stop();
  a.join();
  timing.Advance(seconds(5));
  EXPECT_TRUE(Eventually([&] { return second.IsLeader(); }));
  EXPECT_EQ(Lease().Int("/spec/leaseTransitions"), 1);
  stop_second.request_stop();
  b.join();
}

TEST(ElectionOptions, AreChecked) {
  ElectionOptions good{.lease = kLease, .identity = "me"};
  EXPECT_TRUE(good.Check().ok());
  ElectionOptions bad = good;
  bad.renew_deadline = bad.lease_duration;
  EXPECT_FALSE(bad.Check().ok());
  bad = good;
  bad.retry_period = seconds(9);  // 1.2 times that is more than the renew deadline
  EXPECT_FALSE(bad.Check().ok());
  bad = good;
  bad.identity.clear();
  EXPECT_FALSE(bad.Check().ok());
}

}  // namespace
}  // namespace raftkv::kube
