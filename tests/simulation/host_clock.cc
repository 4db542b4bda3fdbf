#include "tests/simulation/host_clock.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace raftkv::sim {

HostClock::HostClock(Scheduler* scheduler, Random& random, int64_t max_drift_ppm)
    : scheduler_(scheduler),
      jumped_(std::chrono::hours(1) * static_cast<int64_t>(1 + random.Uniform(1000))),
      usual_(static_cast<int64_t>(random.Uniform(static_cast<uint64_t>(2 * max_drift_ppm + 1))) -
             max_drift_ppm),
      parts_per_million_(usual_) {}

Duration HostClock::Elapsed() const {
  const Duration passed = scheduler_->now() - since_;
  return elapsed_ + passed + passed * parts_per_million_ / 1'000'000;
}

MonotonicTime HostClock::Now() const { return MonotonicTime(jumped_ + Elapsed()); }

void HostClock::After(Duration delay, Duration late, Scheduler::Event event) {
  const uint64_t number = next_sleeper_++;
  Arm(number,
      sleepers_.emplace(number, Sleeper{Elapsed() + delay, late, std::move(event)}).first->second);
}

void HostClock::Arm(uint64_t number, const Sleeper& sleeper) {
  const Duration left = std::max(sleeper.until - Elapsed(), Duration(0));
  const Duration simulated(left.count() * 1'000'000 / (1'000'000 + parts_per_million_));
  scheduler_->After(simulated + sleeper.late, [this, number, speed = speeds_] {
    if (speed != speeds_) return;  // it was armed anew
    Scheduler::Event event = std::move(sleepers_.extract(number).mapped().event);
    event();
  });
}

void HostClock::SetSpeed(int64_t parts_per_million) {
  CHECK(parts_per_million > -1'000'000, "a clock that stands still wakes nobody");
  elapsed_ = Elapsed();
  since_ = scheduler_->now();
  parts_per_million_ = parts_per_million;
  ++speeds_;
  for (const auto& [number, sleeper] : sleepers_) Arm(number, sleeper);
}

}  // namespace raftkv::sim
