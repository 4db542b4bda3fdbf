// FakeTiming: a clock that tests move.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "operator/kube/timing.h"

namespace raftkv::kube {

// Thread-safety: every method from any thread.
class FakeTiming final : public Timing {
 public:
  enum class Mode {
    kManual,  // time stands still until Advance
    kJump,    // whoever waits for a time makes it come: hours pass in microseconds
  };
  explicit FakeTiming(Mode mode) : mode_(mode) {}

  MonotonicTime Now() const override { return MonotonicTime(Duration(now_ns_.load())); }
  int64_t WallMicros() const override { return wall_micros_.load(); }

  void WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& wake,
                 MonotonicTime deadline) override {
    if (mode_ == Mode::kJump && deadline != MonotonicTime::max()) {
      Duration wait = deadline - Now();
      if (wait > Duration::zero()) {
        std::lock_guard guard(mutex_);
        slept_.push_back(wait);
        Advance(wait);
      }
      return;
    }
    // Looks again soon: whoever advances the clock does not know who waits.
    ++waiting_;
    wake.wait_for(lock, std::chrono::milliseconds(1));
    --waiting_;
  }

  void Advance(Duration duration) {
    now_ns_ += duration.count();
    wall_micros_ += duration.count() / 1000;
  }
  // As an administrator or NTP sets the date.
  void JumpWall(Duration duration) { wall_micros_ += duration.count() / 1000; }

  // kManual: how many threads wait at this moment; none of them has yet to look at the clock to
  // know for how long.
  int waiting() const { return waiting_; }
  // kJump: all waits so far.
  std::vector<Duration> slept() const {
    std::lock_guard guard(mutex_);
    return slept_;
  }

 private:
  const Mode mode_;
  std::atomic<int64_t> now_ns_{1'000'000'000'000};
  std::atomic<int64_t> wall_micros_{1'790'000'000'000'000};
  std::atomic<int> waiting_{0};
  mutable std::mutex mutex_;
  std::vector<Duration> slept_;
};

// Waits in real time until `condition` holds; false after two minutes: a machine may be busy with
// much else.
template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return condition();
}

}  // namespace raftkv::kube
