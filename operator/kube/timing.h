// Time as the operator needs it: what the monotonic clock measures, waiting, and the date.
//
// One interface, so that a test owns the time of a whole controller with its real threads
// (test_timing.h). Intervals are measured with Now() alone; the date is only ever written into
// objects that people read.
//
// Thread-safety: every method from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace raftkv::kube {

class Timing : public Clock {
 public:
  // Waits on `wake`, with `lock` held, until it is notified or `deadline` has come; may wake early.
  // MonotonicTime::max(): only until it is notified.
  virtual void WaitUntil(std::unique_lock<std::mutex>& lock, std::condition_variable& wake,
                         MonotonicTime deadline) = 0;
  // Microseconds since the epoch, UTC. May jump.
  virtual int64_t WallMicros() const = 0;

  // False as soon as `stop` is requested, true when `duration` has passed.
  bool Sleep(Duration duration, std::stop_token stop);

  // CLOCK_MONOTONIC and CLOCK_REALTIME; lives for ever.
  static Timing& System();
};

// `time` + `duration` without overflow: far in the future is for ever.
MonotonicTime SaturatingAdd(MonotonicTime time, Duration duration);

// "2026-01-31T12:00:00.123456Z", Kubernetes' MicroTime; and without the fraction, its Time.
std::string FormatMicroTime(int64_t wall_micros);
std::string FormatTime(int64_t wall_micros);
// Both forms, any number of fractional digits, "Z" or an offset, from 1970 to 9999; nullopt if it
// is none of that.
std::optional<int64_t> ParseTime(std::string_view text);

}  // namespace raftkv::kube
