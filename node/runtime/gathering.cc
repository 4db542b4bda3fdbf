#include "node/runtime/gathering.h"

#include <algorithm>
#include <utility>

namespace raftkv::runtime {

void Gathering::RoundEnded(size_t commands, Duration took, size_t waiting, MonotonicTime now) {
  if (std::exchange(waited_, false)) {
    const bool worth_it = 3 * waiting <= commands;
    pause_ = worth_it ? pause_ / 2 : std::clamp(2 * pause_, kFirstPause, kLongestPause);
    left_of_pause_ = pause_;
  } else if (left_of_pause_ > 0) {
    --left_of_pause_;
  }
  if (left_of_pause_ > 0 || commands < kFewest) return;
  expected_ = waiting + commands;
  until_ = now + std::min(took, kLongest);
}

std::optional<MonotonicTime> Gathering::Until(size_t waiting, MonotonicTime now) const {
  if (waiting >= expected_ || now >= until_) return std::nullopt;
  return until_;
}

void Gathering::Left() { waited_ = std::exchange(expected_, 0) > 0; }

}  // namespace raftkv::runtime
