// ByteStream: a connection as HTTP needs it, and how its waits end. TlsStream is the one over a
// socket; tests have one in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <stop_token>
#include <string_view>

#include "operator/kube/api_error.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

// When a wait ends although nothing has come. Real time: the kernel waits, not a Timing.
struct Wait {
  MonotonicTime deadline = MonotonicTime::max();
  std::stop_token stop;

  static Wait For(Duration duration, std::stop_token stop = {}) {
    return {SaturatingAdd(std::chrono::steady_clock::now(), duration), std::move(stop)};
  }
  // The same, at most `duration` from now.
  Wait AtMost(Duration duration) const {
    return {std::min(deadline, For(duration).deadline), stop};
  }
  bool IsOver() const { return std::chrono::steady_clock::now() >= deadline; }
  Duration Left() const { return deadline - std::chrono::steady_clock::now(); }
};

// Thread-safety: none; stop tokens may be triggered from any thread.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Errors of both: kStopped and kDeadline as `wait` says, kConnection when the connection broke.
  virtual ApiResult<void> Write(std::string_view bytes, const Wait& wait) = 0;
  // At least one byte; 0 at the end of the stream. May be called again after kDeadline.
  virtual ApiResult<size_t> Read(char* buffer, size_t size, const Wait& wait) = 0;
  // The peer has closed, or sent something that nobody asked for: not to be used again.
  virtual bool IsStale() const = 0;
};

}  // namespace raftkv::kube
