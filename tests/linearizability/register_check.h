// Registers with read, write, compare-and-set and append, one or many: each key is checked for
// itself, since a history is linearizable exactly if it is for each object (Herlihy and Wing 1990,
// locality).
//
// Thread-safety: pure functions.
#pragma once

#include <span>
#include <vector>

#include "tests/linearizability/checker.h"
#include "tests/linearizability/register_history.h"

namespace raftkv::linearizability {

// `initial`: what every register holds at first. In a map, where that is "", nil is the same.
Report CheckRegisters(std::span<const RegisterOp> ops, const RegisterValue& initial,
                      const Limits& limits = {});

struct RegisterViolation {
  std::string reason;              // empty: there was no time left to find one
  std::vector<RegisterOp> prefix;  // of one key; later answers count as unknown
  std::vector<size_t> core;        // indexes into prefix: those that contradict each other
  bool out_of_time = false;        // as Violation's; then the prefix may be of all keys
};

// For ops that CheckRegisters calls not linearizable.
RegisterViolation ExplainRegisters(std::span<const RegisterOp> ops, const RegisterValue& initial,
                                   const Limits& limits = {}, Duration max_time = kMaxExplainTime);

}  // namespace raftkv::linearizability
