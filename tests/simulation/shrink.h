// Runs in processes of their own, so that a failed CHECK is a failure like any other, and the
// search for the shortest schedule that still fails.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/simulation.h"

namespace raftkv::sim {

// As Run, in a child process. A run that dies, or takes more than `limit` of processor time, has
// failed.
RunResult RunApart(const RunOptions& options, Duration limit = std::chrono::seconds(60));

// Leaves out faults as long as the run still fails; returns the positions of those that are left.
// `progress` hears how many are left. Stops after `limit` of real time.
std::vector<size_t> Shrink(const RunOptions& options, Duration limit,
                           const std::function<void(size_t left)>& progress);

}  // namespace raftkv::sim
