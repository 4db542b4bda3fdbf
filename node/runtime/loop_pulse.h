// LoopPulse: whether a loop still turns, for /livez.
//
// Thread-safety: Beat from the loop's thread, Check from any.
#pragma once

#include <atomic>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace raftkv::runtime {

class LoopPulse {
 public:
  // A loop ticks many times a second; one that did not turn for this long hangs.
  static constexpr Duration kHangs = std::chrono::seconds(10);

  void Beat(MonotonicTime now) { last_.store(now, std::memory_order_relaxed); }
  // Ok before the first beat, too: a loop that has not begun does not hang.
  Status Check(MonotonicTime now) const {
    const MonotonicTime last = last_.load(std::memory_order_relaxed);
    if (last == MonotonicTime{} || now - last < kHangs) return Status::Ok();
    return {Code::kInternal, "the node's own loop has not turned for " +
                                 std::to_string((now - last) / std::chrono::seconds(1)) + " s"};
  }

 private:
  std::atomic<MonotonicTime> last_{MonotonicTime{}};
};

}  // namespace raftkv::runtime
