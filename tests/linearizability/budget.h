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

  // Lets the part that begins now try so many operations.
  void LimitPart(uint64_t steps) {
    part_end_ = steps_ + steps;
    if (!used_up_) reached_.clear();
  }

  // Counts one operation tried. False once a limit is reached.
  bool Step() {
    ++steps_;
    // The clock costs more than a step.
    if (steps_ % kStepsPerLook == 0 && Clock::System().Now() - start_ > limits_.max_time) {
      Reach("the time limit");
    }
    if (steps_ > limits_.max_steps) Reach("the limit of steps");
    if (steps_ > part_end_ && reached_.empty()) reached_ = "the limit of steps of a part";
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
  // Whether it was a limit of the whole, and not only of the part.
  bool is_used_up() const { return used_up_; }
  uint64_t steps() const { return steps_; }

 private:
  static constexpr uint64_t kStepsPerLook = 1024;

  void Reach(const char* limit) {
    if (used_up_) return;
    used_up_ = true;
    reached_ = limit;
  }

  const Limits limits_;
  const MonotonicTime start_;
  uint64_t steps_ = 0;
  uint64_t part_end_ = UINT64_MAX;
  bool used_up_ = false;
  size_t memory_bytes_ = 0;
  std::string reached_;
};

}  // namespace raftkv::linearizability
