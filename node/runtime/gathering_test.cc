#include "node/runtime/gathering.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "base/random.h"

namespace raftkv::runtime {
namespace {

using std::chrono::microseconds;

constexpr MonotonicTime kNow{std::chrono::seconds(100)};
constexpr Duration kRound = microseconds(400);

TEST(GatheringTest, NobodyWaitsBeforeTheFirstRound) {
  const Gathering gathering;
  EXPECT_EQ(gathering.Until(1, kNow), std::nullopt);
}

TEST(GatheringTest, WaitsForThoseWhoWereAnswered) {
  Gathering gathering;
  gathering.RoundEnded(8, kRound, 5, kNow);
  EXPECT_EQ(gathering.Until(5, kNow), kNow + kRound);
  EXPECT_EQ(gathering.Until(12, kNow + microseconds(100)), kNow + kRound);
  EXPECT_EQ(gathering.Until(13, kNow + microseconds(100)), std::nullopt);
}

TEST(GatheringTest, WaitsNoLongerThanTheRoundTook) {
  Gathering gathering;
  gathering.RoundEnded(8, kRound, 5, kNow);
  EXPECT_EQ(gathering.Until(12, kNow + kRound), std::nullopt);
  Gathering slow;
  slow.RoundEnded(8, std::chrono::seconds(1), 5, kNow);
  EXPECT_EQ(slow.Until(12, kNow), kNow + Gathering::kLongest);
}

// Nobody waits for one client, or a few.
TEST(GatheringTest, FewCommandsLeaveAtOnce) {
  Gathering gathering;
  for (int i = 0; i < 10; ++i) {
    gathering.RoundEnded(3, kRound, 0, kNow);
    EXPECT_EQ(gathering.Until(1, kNow), std::nullopt);
    gathering.Left();
  }
}

// A leader whose rounds take kRound, in steps of 10 us.
class Leader {
 public:
  // `arrivals(answered)`: how many commands come in a step, if so many are answered in it.
  template <typename Arrivals>
  void Run(int steps, Arrivals arrivals) {
    for (int i = 0; i < steps; ++i, now_ += microseconds(10)) {
      size_t answered = 0;
      if (in_flight_ > 0 && now_ - left_at_ >= kRound) {
        answered = std::exchange(in_flight_, 0);
        gathering_.RoundEnded(answered, now_ - left_at_, waiting_, now_);
      }
      waiting_ += arrivals(answered);
      if (in_flight_ > 0 || waiting_ == 0) continue;
      if (gathering_.Until(waiting_, now_)) {
        ++steps_gathering_;
        continue;
      }
      gathering_.Left();
      ++batches_;
      in_flight_ = std::exchange(waiting_, 0);
      left_at_ = now_;
    }
  }

  int batches() const { return batches_; }
  int steps_gathering() const { return steps_gathering_; }

 private:
  Gathering gathering_;
  MonotonicTime now_ = kNow;
  MonotonicTime left_at_{};
  size_t in_flight_ = 0;
  size_t waiting_ = 0;
  int batches_ = 0;
  int steps_gathering_ = 0;
};

// As many clients as that, whose next command comes 200 to 300 us after the answer.
class Clients {
 public:
  explicit Clients(size_t count) : ready_(40, 0) { ready_[0] = count; }
  size_t operator()(size_t answered) {
    for (size_t i = 0; i < answered; ++i) ++ready_[(step_ + 20 + random_.Uniform(10)) % 40];
    const size_t come = std::exchange(ready_[step_ % 40], 0);
    ++step_;
    return come;
  }

 private:
  SeededRandom random_{1};
  std::vector<size_t> ready_;  // by step, round about
  size_t step_ = 0;
};

TEST(GatheringTest, ClientsThatWriteAgainShareOneBatch) {
  for (const size_t count : {8, 16, 64}) {
    Leader leader;
    leader.Run(100'000, Clients(count));
    // A round and 300 us, as for one client.
    EXPECT_NEAR(leader.batches(), 1'000'000 / 700, 100) << count;
  }
}

// Though there were none before.
TEST(GatheringTest, ClientsThatComeLaterAreNoticed) {
  SeededRandom random(1);
  Leader leader;
  leader.Run(20'000, [&](size_t) { return random.Uniform(100) < 20 ? 1 : 0; });
  const int before = leader.batches();
  leader.Run(100'000, Clients(16));
  EXPECT_NEAR(leader.batches() - before, 1'000'000 / 700, 200);
}

// Commands that come whenever they like wait only now and then.
TEST(GatheringTest, RandomArrivalsAreSoonNotWaitedFor) {
  for (const size_t percent : {2, 5, 10, 20, 40, 80}) {  // for each step of 10 us
    SeededRandom random(percent);
    Leader leader;
    leader.Run(100'000, [&](size_t) { return random.Uniform(100) < percent ? 1 : 0; });
    EXPECT_LE(leader.steps_gathering(), 10'000) << percent;
  }
}

}  // namespace
}  // namespace raftkv::runtime
