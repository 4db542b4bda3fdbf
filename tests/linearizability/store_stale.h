// Stale reads whose answers do not tell the revision (404, 412): whether each fits some revision of
// a complete order that it may have seen. Those that tell it are checked with the order itself.
//
// Thread-safety: pure functions.
#pragma once

#include <vector>

#include "tests/linearizability/budget.h"
#include "tests/linearizability/store_problem.h"

namespace raftkv::linearizability {

// `order`: a linearization of all other operations.
Finding CheckStaleReads(const StoreProblem& problem, const std::vector<size_t>& order,
                        Budget* budget);

}  // namespace raftkv::linearizability
