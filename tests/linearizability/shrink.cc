#include "tests/linearizability/shrink.h"

#include <algorithm>
#include <numeric>

namespace raftkv::linearizability {

Limits LimitsOfATry(const Limits& limits, size_t operations) {
  constexpr uint64_t kMinSteps = 100'000;
  constexpr uint64_t kStepsPerOperation = 10;
  constexpr size_t kMaxBytes = size_t{64} << 20;
  Limits tight = limits;
  tight.max_steps =
      std::min(limits.max_steps, std::max(kMinSteps, kStepsPerOperation * operations));
  tight.max_memory_bytes = std::min(limits.max_memory_bytes, kMaxBytes);
  return tight;
}

size_t SmallestThatHolds(size_t count, const Patience& patience,
                         const std::function<bool(size_t)>& holds) {
  size_t low = 1;
  size_t high = count;
  while (low < high && !patience.is_over()) {
    const size_t middle = low + (high - low) / 2;
    if (holds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high;
}

std::vector<size_t> SmallestSubset(size_t count, const Patience& patience,
                                   const std::function<bool(const std::vector<size_t>&)>& holds) {
  std::vector<size_t> kept(count);
  std::iota(kept.begin(), kept.end(), size_t{0});
  size_t chunk = std::max<size_t>(1, count / 2);
  while (!kept.empty()) {
    bool removed = false;
    for (size_t begin = 0; begin < kept.size();) {
      if (patience.is_over()) return kept;
      std::vector<size_t> rest(kept.begin(), kept.begin() + static_cast<ptrdiff_t>(begin));
      const size_t end = std::min(kept.size(), begin + chunk);
      rest.insert(rest.end(), kept.begin() + static_cast<ptrdiff_t>(end), kept.end());
      if (holds(rest)) {
        kept = std::move(rest);
        removed = true;
      } else {
        begin = end;
      }
    }
    if (chunk == 1 && !removed) break;
    chunk = std::max<size_t>(1, chunk / 2);
  }
  return kept;
}

}  // namespace raftkv::linearizability
