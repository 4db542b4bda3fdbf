// What is left of the Limits of one check, whatever parts it consists of.
//
// Thread-safety: none; one instance per check.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "tests/linearizability/checker.h"

namespace raftkv::linearizability {

class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits), start_(Clock::System().Now()) {}

  // Counts one operation tried. False, then and for ever after, once a limit is reached.
  bool Step() {
    ++steps_;
    // The clock costs more than a step.
    if (steps_ % kStepsPerLook == 0 && Clock::System().Now() - start_ > limits_.max_time) {
      Reach("the time limit");
    }
    if (steps_ > limits_.max_steps) Reach("the limit of steps");
    return reached_.empty();
  }

  // Counts what a search has begun to remember, or gives it back.
  void Remember(size_t bytes) {
    memory_bytes_ += bytes;
    if (memory_bytes_ > limits_.max_memory_bytes) Reach("the memory limit");
  }
  void Forget(size_t bytes) { memory_bytes_ -= bytes; }

  // Which limit was reached; empty: none.
  const std::string& reached() const { return reached_; }
  uint64_t steps() const { return steps_; }

 private:
  static constexpr uint64_t kStepsPerLook = 1024;

  void Reach(const char* limit) {
    if (reached_.empty()) reached_ = limit;
  }

  const Limits limits_;
  const MonotonicTime start_;
  uint64_t steps_ = 0;
  size_t memory_bytes_ = 0;
  std::string reached_;
};

}  // namespace raftkv::linearizability
