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

// Processor time of this process and its runs apart: what they cost, however busy the machine is.
double ProcessorSeconds();

// A list as short as delta debugging finds (Zeller and Hildebrandt, TSE 2002) for which `fails`
// holds still; it holds for `whole`. Nothing more is tried when `more` returns false; it hears the
// length.
std::vector<size_t> Shortest(std::vector<size_t> whole,
                             const std::function<bool(const std::vector<size_t>&)>& fails,
                             const std::function<bool(size_t left)>& more);

// What kind of failure this is: its first line without the names, times and numbers of one run.
std::string KindOf(const std::string& failure);

// Leaves out faults as long as the run still fails in the same way as `failure`; returns the
// positions of those that are left. `progress` hears how many are left. Stops after `limit` of real
// time.
std::vector<size_t> Shrink(const RunOptions& options, const std::string& failure, Duration limit,
                           const std::function<void(size_t left)>& progress);

}  // namespace raftkv::sim
