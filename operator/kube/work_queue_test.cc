// Backoff, token bucket, work queue, controller: on a clock of the test's.
#include "operator/kube/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <thread>

#include <prometheus/registry.h>

#include "operator/kube/controller.h"
#include "operator/kube/metrics.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const Key kA{"n", "a"};
const Key kB{"n", "b"};

// Smallest possible jitter.
class NoRandom final : public Random {
 public:
  uint64_t Next() override { return 0; }
};

TEST(Backoff, DoublesToItsCapAndForgetsAfterTwoQuietMinutes) {
  Backoff backoff({});
  NoRandom random;
  MonotonicTime now{};
  std::vector<int64_t> delays;
  for (int i = 0; i < 8; ++i) {
    Duration delay = backoff.Next(now, random);
    delays.push_back(delay / milliseconds(1));
    now += delay;
  }
  EXPECT_EQ(delays, (std::vector<int64_t>{800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}));
  now += minutes(3);
  EXPECT_EQ(backoff.Next(now, random), milliseconds(800));
}

TEST(Backoff, JitterIsUpToAsMuchAgain) {
  SeededRandom random(1);
  Duration longest{};
  for (int i = 0; i < 1000; ++i) {
    Duration delay = Backoff({}).Next({}, random);
    EXPECT_GE(delay, milliseconds(800));
    EXPECT_LT(delay, milliseconds(1600));
    longest = std::max(longest, delay);
  }
  EXPECT_GT(longest, milliseconds(1500));
}

TEST(TokenBucket, LetsABurstThroughAndThenItsRate) {
  TokenBucket bucket(5, 10);  // client-go's defaults
  MonotonicTime now{};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(bucket.Reserve(now), Duration::zero());
  EXPECT_EQ(bucket.Reserve(now), milliseconds(200));
  EXPECT_EQ(bucket.Reserve(now), milliseconds(400));
  now += seconds(60);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.TryTake(now));
  EXPECT_FALSE(bucket.TryTake(now));
}

class WorkQueueTest : public testing::Test {
 protected:
  FakeTiming timing_{FakeTiming::Mode::kManual};
  WorkQueue queue_{{}, &timing_};
};

TEST_F(WorkQueueTest, AKeyWaitsOnce) {
  for (int i = 0; i < 5; ++i) queue_.Add(kA);
  EXPECT_EQ(queue_.depth(), 1u);
  EXPECT_EQ(queue_.Get(), kA);
  queue_.Done(kA);
  EXPECT_EQ(queue_.depth(), 0u);
}

TEST_F(WorkQueueTest, AKeyThatIsAddedWhileWorkedOnComesOnceMore) {
  queue_.Add(kA);
  EXPECT_EQ(queue_.Get(), kA);
  queue_.Add(kA);
  queue_.Add(kA);
  EXPECT_EQ(queue_.depth(), 0u) << "another worker could get the same key";
  queue_.Done(kA);
  EXPECT_EQ(queue_.Get(), kA);
  queue_.Done(kA);
  EXPECT_EQ(queue_.depth(), 0u);
}

TEST_F(WorkQueueTest, NoTwoWorkersHaveTheSameKey) {
  std::mutex mutex;
  std::multiset<Key> busy;
  std::atomic<int> handled{0};
  std::atomic<bool> twice{false};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      while (auto key = queue_.Get()) {
        {
          std::lock_guard lock(mutex);
          busy.insert(*key);
          if (busy.count(*key) > 1) twice = true;
        }
        std::this_thread::yield();
        {
          std::lock_guard lock(mutex);
          busy.erase(*key);
        }
        ++handled;
        queue_.Done(*key);
      }
    });
  }
  for (int i = 0; i < 2000; ++i) queue_.Add(i % 3 == 0 ? kA : kB);
  EXPECT_TRUE(Eventually([&] { return handled >= 2 && queue_.depth() == 0; }));
  queue_.Shutdown();
  for (std::thread& worker : workers) worker.join();
  EXPECT_FALSE(twice);
}

TEST_F(WorkQueueTest, DelayedAddsComeInTimeAndTheEarliestCounts) {
  queue_.AddAfter(kA, seconds(10));
  queue_.AddAfter(kA, seconds(5));
  queue_.AddAfter(kA, seconds(20));
  queue_.AddAfter(kB, seconds(1));
  std::vector<Key> got;
  std::atomic<size_t> count{0};
  std::thread worker([&] {
    while (auto key = queue_.Get()) {
      got.push_back(*key);
      ++count;
      queue_.Done(*key);
    }
  });
  timing_.Advance(seconds(1));
  EXPECT_TRUE(Eventually([&] { return count == 1; }));
  timing_.Advance(seconds(4));
  EXPECT_TRUE(Eventually([&] { return count == 2; }));
  timing_.Advance(seconds(60));  // the other two for kA must be gone
  std::this_thread::sleep_for(milliseconds(20));
  queue_.Shutdown();
  worker.join();
  EXPECT_EQ(got, (std::vector<Key>{kB, kA}));
}

TEST_F(WorkQueueTest, LongDelaysComeTogetherAndNeverEarly) {
  const Duration step = milliseconds(3750);  // an eighth of 30 s
  timing_.Advance(step - timing_.Now().time_since_epoch() % step + milliseconds(1));
  queue_.AddAfter(kA, seconds(30));
  timing_.Advance(seconds(3));
  queue_.AddAfter(kB, seconds(30));
  std::atomic<int> got{0};
  std::thread worker([&] {
    while (auto key = queue_.Get()) {
      ++got;
      queue_.Done(*key);
    }
  });
  timing_.Advance(seconds(27) + milliseconds(3748));
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_EQ(got, 0);
  timing_.Advance(milliseconds(1));
  EXPECT_TRUE(Eventually([&] { return got == 2; }));
  queue_.Shutdown();
  worker.join();
}

TEST_F(WorkQueueTest, FailuresWaitFrom5MsTo1000SAndAreForgotten) {
  FakeTiming timing(FakeTiming::Mode::kJump);
  WorkQueue queue({.retries_per_second = 0}, &timing);
  std::vector<int64_t> waits;
  for (int i = 0; i < 20; ++i) {
    queue.AddRateLimited(kA);
    EXPECT_EQ(queue.Get(), kA);
    queue.Done(kA);
    waits.push_back(timing.slept().back() / milliseconds(1));
  }
  EXPECT_EQ(waits[0], 5);
  EXPECT_EQ(waits[1], 10);
  EXPECT_EQ(waits[10], 5 << 10);
  EXPECT_EQ(waits[17], 655'360);
  EXPECT_EQ(waits[18], 1'000'000);
  EXPECT_EQ(waits[19], 1'000'000);
  EXPECT_EQ(queue.Failures(kA), 20);
  queue.Forget(kA);
  queue.AddRateLimited(kA);
  EXPECT_EQ(queue.Get(), kA);
  EXPECT_EQ(timing.slept().back(), milliseconds(5));
}

TEST_F(WorkQueueTest, AllRetriesTogetherAreLimited) {
  FakeTiming timing(FakeTiming::Mode::kJump);
  WorkQueue queue({}, &timing);  // 10 a second after 100
  for (int i = 0; i < 121; ++i) queue.AddRateLimited({"n", std::to_string(i)});
  for (int i = 0; i < 121; ++i) queue.Done(*queue.Get());
  Duration all{};
  for (Duration wait : timing.slept()) all += wait;
  EXPECT_NEAR(static_cast<double>(all / milliseconds(1)), 2100, 10);
}

TEST_F(WorkQueueTest, ShutdownWakesAndDropsWhatWaits) {
  queue_.Add(kA);
  queue_.AddAfter(kB, seconds(1));
  EXPECT_EQ(queue_.Get(), kA);
  std::thread waiter([&] { EXPECT_FALSE(queue_.Get()); });
  queue_.Shutdown();
  waiter.join();
  EXPECT_EQ(queue_.Running().size(), 1u);
  queue_.Done(kA);
  EXPECT_TRUE(queue_.AwaitIdle(seconds(1)));
}

// --- Controller
// -----------------------------------------------------------------------------------

class ControllerTest : public testing::Test {
 protected:
  FakeTiming timing_{FakeTiming::Mode::kManual};
  prometheus::Registry registry_;
  Metrics metrics_{&registry_};
  Cache pods_{resources::kPods};
  std::mutex mutex_;
  std::vector<Key> seen_;

  size_t Seen() {
    std::lock_guard lock(mutex_);
    return seen_.size();
  }
  Reconcile Recording(std::function<ApiResult<ReconcileResult>(size_t call)> then) {
    return [this, then](const Key& key, std::stop_token) {
      size_t call = 0;
      {
        std::lock_guard lock(mutex_);
        seen_.push_back(key);
        call = seen_.size();
      }
      return then(call);
    };
  }
  Object Pod(const std::string& name, const std::string& version, const std::string& owner = "") {
    Object pod(resources::kPods, {"n", name});
    pod.Set("/metadata/resourceVersion", version);
    pod.Set("/metadata/uid", "u");
    if (!owner.empty()) {
      pod.Set("/metadata/labels/owner", owner);
    }
    return pod;
  }
};

ReconcileResult Done() { return {}; }

TEST_F(ControllerTest, ReconcilesTheOwnersOfWhatChanges) {
  Controller controller({.name = "c"}, Recording([](size_t) { return Done(); }), &timing_,
                        &metrics_);
  controller.Watch(&pods_, ToLabel("owner"));
  controller.Start();
  ASSERT_TRUE(pods_.Upsert(Pod("p", "1", "x")).ok());
  EXPECT_TRUE(Eventually([&] { return Seen() == 1; }));
  // An owner that loses it hears of it as well.
  ASSERT_TRUE(pods_.Upsert(Pod("p", "2", "y")).ok());
  EXPECT_TRUE(Eventually([&] { return Seen() == 3; }));
  EXPECT_TRUE(controller.Stop(seconds(5)));
  std::set<Key> keys(seen_.begin(), seen_.end());
  EXPECT_EQ(keys, (std::set<Key>{{"n", "x"}, {"n", "y"}}));
}

TEST_F(ControllerTest, AnErrorComesBackAndSuccessForgets) {
  Controller controller({.name = "c"}, Recording([](size_t call) -> ApiResult<ReconcileResult> {
                          if (call < 3) return Fail(Reason::kServer, "test");
                          return Done();
                        }),
                        &timing_, &metrics_);
  controller.Start();
  controller.queue().Add(kA);
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(milliseconds(5));
    return Seen() == 3;
  }));
  EXPECT_TRUE(Eventually([&] { return controller.queue().Failures(kA) == 0; }));
  EXPECT_TRUE(controller.Stop(seconds(5)));
  std::string text = metrics_.Render();
  for (const char* line :
       {"controller_runtime_reconcile_errors_total{controller=\"c\"} 2",
        "controller_runtime_reconcile_total{controller=\"c\",result=\"success\"} 1",
        "workqueue_retries_total{controller=\"c\",name=\"c\"} 2",
        "controller_runtime_max_concurrent_reconciles{controller=\"c\"} 1"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
}

TEST_F(ControllerTest, RequeueAfterIsNoFailure) {
  Controller controller({.name = "c"}, Recording([](size_t) -> ApiResult<ReconcileResult> {
                          return ReconcileResult{.requeue_after = minutes(1)};
                        }),
                        &timing_, &metrics_);
  controller.Start();
  controller.queue().Add(kA);
  EXPECT_TRUE(Eventually([&] { return Seen() == 1; }));
  EXPECT_EQ(controller.queue().Failures(kA), 0);
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(seconds(61));
    return Seen() >= 2;
  }));
  EXPECT_TRUE(controller.Stop(seconds(5)));
}

TEST_F(ControllerTest, AnExceptionIsCountedAndTheWorkerGoesOn) {
  Controller controller({.name = "c"}, Recording([](size_t call) -> ApiResult<ReconcileResult> {
                          if (call == 1) throw std::runtime_error("bug");
                          return Done();
                        }),
                        &timing_, &metrics_);
  controller.Start();
  controller.queue().Add(kA);
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(milliseconds(5));
    return Seen() == 2;
  }));
  EXPECT_TRUE(controller.Stop(seconds(5)));
  EXPECT_NE(metrics_.Render().find("controller_runtime_reconcile_panics_total{controller=\"c\"} 1"),
            std::string::npos);
}

TEST_F(ControllerTest, StopAsksRunningWorkToEnd) {
  std::atomic<bool> started{false};
  Controller controller(
      {.name = "c"},
      [&](const Key&, std::stop_token stop) -> ApiResult<ReconcileResult> {
        started = true;
        while (!stop.stop_requested()) std::this_thread::yield();
        return ReconcileResult{};
      },
      &timing_);
  controller.Start();
  controller.queue().Add(kA);
  EXPECT_TRUE(Eventually([&] { return started.load(); }));
  EXPECT_TRUE(controller.Stop(seconds(30)));
}

TEST_F(ControllerTest, DrainsFor30SecondsAndNoLonger) {
  std::atomic<bool> started{false};
  std::atomic<bool> release{false};
  Controller controller(
      {.name = "c"},
      [&](const Key&, std::stop_token) -> ApiResult<ReconcileResult> {
        started = true;
        while (!release) std::this_thread::yield();
        return ReconcileResult{};
      },
      &timing_);
  controller.Start();
  controller.queue().Add(kA);
  EXPECT_TRUE(Eventually([&] { return started.load(); }));
  std::atomic<bool> stopped{false};
  MonotonicTime start = timing_.Now();
  std::thread stopper([&] {
    EXPECT_FALSE(controller.Stop(seconds(30)));
    stopped = true;
  });
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(seconds(1));
    return stopped.load();
  }));
  EXPECT_GE(timing_.Now() - start, seconds(30));
  stopper.join();
  release = true;
}

TEST_F(ControllerTest, StatusAloneIsNoReason) {
  Filter filter = OnlySpecChanges();
  auto change = [](int64_t before, int64_t after, const char* label) {
    Object a(resources::kPods, kA);
    a.Set("/metadata/generation", before);
    Object b(resources::kPods, kA);
    b.Set("/metadata/generation", after);
    if (label[0] != '\0') b.Set("/metadata/labels/x", label);
    return Change{.type = Change::Type::kModified,
                  .before = std::make_shared<const Object>(a),
                  .after = std::make_shared<const Object>(b)};
  };
  EXPECT_FALSE(filter(change(1, 1, "")));
  EXPECT_TRUE(filter(change(1, 2, "")));
  EXPECT_TRUE(filter(change(1, 1, "y")));
}

}  // namespace
}  // namespace raftkv::kube
