// What a run of the load generator prints.
#pragma once

#include <string>

#include "tests/bench/load.h"

namespace raftkv::bench {

// One JSON object, on several lines: settings, counts, latencies in microseconds
// (docs/performance.md).
std::string JsonReport(const LoadOptions& options, const LoadResult& result);

// For people: a few lines with a table of percentiles.
std::string TextReport(const LoadOptions& options, const LoadResult& result);

}  // namespace raftkv::bench
