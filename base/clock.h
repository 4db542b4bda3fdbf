// The time, behind an interface so that tests and the simulator own it.
#pragma once

#include <chrono>

namespace raftkv {

// Measures intervals only: unaffected by wall-clock jumps. Never compare values across processes.
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
using Duration = std::chrono::nanoseconds;

// Thread-safety: Now() may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime Now() const = 0;

  // CLOCK_MONOTONIC; lives for ever.
  static const Clock& System();
};

}  // namespace raftkv
