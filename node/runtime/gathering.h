// Gathering: whether a leader's next batch waits a moment for more commands.
//
// Each batch costs every member messages, an fsync and wake-ups of several threads, whatever its
// size. When one is committed, those whose commands were in it get their answers; if they write
// again soon, one batch takes all instead of two that alternate. So the next one waits for as many
// commands as there were, but no longer than the last round took. (A disk scheduler waits in the
// same way for the next request of the reader that it has just served: Iyer and Druschel,
// Anticipatory scheduling, SOSP 2001.)
//
// Commands that come whenever they like gain nothing by it. They are told apart by what comes
// during the round of a batch that has waited: little if everybody was in it, but half as many as
// it holds if commands come as evenly as before. Then waiting is tried the less often, the more
// often that happens.
//
// Thread-safety: none; belongs to the replica.
#pragma once

#include <cstddef>
#include <optional>

#include "base/clock.h"

namespace raftkv::runtime {

class Gathering {
 public:
  // However long a round takes: on a slow network or disk nobody waits much for this.
  static constexpr Duration kLongest = std::chrono::milliseconds(1);
  // Fewer clients do not fill a machine, and chance would tell them apart.
  static constexpr size_t kFewest = 4;
  // So many batches do not wait after one has waited in vain; twice as many after the next, and
  // half as many after one that has not.
  static constexpr unsigned kFirstPause = 2;
  static constexpr unsigned kLongestPause = 64;

  // The last batch under way, of so many commands, was committed after `took`; `waiting` wait.
  void RoundEnded(size_t commands, Duration took, size_t waiting, MonotonicTime now);
  // Until when those that wait should stay for others; nullopt: they may leave.
  std::optional<MonotonicTime> Until(size_t waiting, MonotonicTime now) const;
  // Those that wait leave, as the only batch under way or another one.
  void Left();

 private:
  size_t expected_ = 0;  // 0: not gathering
  MonotonicTime until_{};
  bool waited_ = false;  // the batch under way
  unsigned pause_ = 0;
  unsigned left_of_pause_ = 0;
};

}  // namespace raftkv::runtime
