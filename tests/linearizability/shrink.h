// Making a violation small.
//
// Thread-safety: pure functions; the predicates are called from the calling thread.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "tests/linearizability/checker.h"

namespace raftkv::linearizability {

// What one try of many may use. Leaving out makes histories harder to check, and it is no loss if
// an operation stays in a violation because a try for it was given up.
Limits LimitsOfATry(const Limits& limits, size_t operations);

inline constexpr Duration kMaxShrinkTime = std::chrono::seconds(10);

// The smallest n in [1, count] for which holds(n), where holds(count) is known and holds(n)
// implies holds(n + 1).
size_t SmallestThatHolds(size_t count, const std::function<bool(size_t)>& holds);

// A subset of {0, ..., count - 1} from which no single element can be left out: holds(subset),
// where holds(everything) is known (Zeller's delta debugging). Stops early, with what it has, once
// `max_time` has passed.
std::vector<size_t> SmallestSubset(size_t count, Duration max_time,
                                   const std::function<bool(const std::vector<size_t>&)>& holds);

}  // namespace raftkv::linearizability
