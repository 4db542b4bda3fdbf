// Making a violation small.
//
// Thread-safety: pure functions; the predicates are called from the calling thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "tests/linearizability/checker.h"

namespace raftkv::linearizability {

// What one try of many may use. Leaving out makes histories harder to check, and it is no loss if
// an operation stays in a violation because a try for it was given up.
Limits LimitsOfATry(const Limits& limits, size_t operations);

// Of the time for an explanation, what leaving out may take at most.
inline constexpr Duration kMaxShrinkTime = std::chrono::seconds(10);

// The time for an explanation.
class Patience {
 public:
  explicit Patience(Duration time) : end_(Clock::System().Now() + time) {}
  Duration left() const { return std::max(Duration(0), end_ - Clock::System().Now()); }
  bool is_over() const { return left() == Duration(0); }
  // What one check may use of it.
  Limits Within(Limits limits) const {
    limits.max_time = std::min(limits.max_time, left());
    return limits;
  }

 private:
  MonotonicTime end_;
};

// Of what follows, both stop early with what they have, once the patience is over.

// The smallest n in [1, count] for which holds(n), where holds(count) is known and holds(n)
// implies holds(n + 1).
size_t SmallestThatHolds(size_t count, const Patience& patience,
                         const std::function<bool(size_t)>& holds);

// A subset of {0, ..., count - 1} from which no single element can be left out: holds(subset),
// where holds(everything) is known (Zeller's delta debugging).
std::vector<size_t> SmallestSubset(size_t count, const Patience& patience,
                                   const std::function<bool(const std::vector<size_t>&)>& holds);

}  // namespace raftkv::linearizability
