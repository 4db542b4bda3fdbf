// HostClock: the monotonic clock of a simulated host, and what waits for it.
//
// It may drift, jump, stand still and race. Who sleeps is woken when the clock has moved far
// enough, whatever speeds it has had meanwhile. A jump is in what the clock shows alone: it wakes
// nobody.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>

#include "base/clock.h"
#include "base/random.h"
#include "tests/simulation/scheduler.h"

namespace raftkv::sim {

class HostClock final : public Clock {
 public:
  // It usually drifts by at most `max_drift_ppm`; how much, and when its host was started, is
  // drawn.
  HostClock(Scheduler* scheduler, Random& random, int64_t max_drift_ppm);

  MonotonicTime Now() const override;

  // Runs `event` once the clock has moved by `delay`, and by `late` of the simulation's time.
  void After(Duration delay, Duration late, Scheduler::Event event);

  // From now on it gains so much on the simulation's time; -1'000'000 is not allowed.
  void SetSpeed(int64_t parts_per_million);
  void SetUsualSpeed() { SetSpeed(usual_); }
  void Jump(Duration by) { jumped_ += by; }

 private:
  struct Sleeper {
    Duration until;  // of Elapsed()
    Duration late;
    Scheduler::Event event;
  };

  Duration Elapsed() const;
  void Arm(uint64_t number, const Sleeper& sleeper);

  Scheduler* const scheduler_;
  Duration jumped_;      // how far what it shows is from Elapsed()
  Duration elapsed_{0};  // when it took on its speed
  SimTime since_{0};     // then
  uint64_t speeds_ = 0;  // that it has had
  const int64_t usual_;
  int64_t parts_per_million_;
  uint64_t next_sleeper_ = 0;
  std::map<uint64_t, Sleeper> sleepers_;
};

}  // namespace raftkv::sim
