// Histories for tests: from a correct store that is simulated, and a checker that tries everything.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/linearizability/history.h"

namespace raftkv::linearizability {

struct WorkloadOptions {
  size_t operations = 100;
  size_t clients = 5;
  size_t keys = 3;
  size_t values = 1000;          // different ones; few make histories ambiguous
  unsigned unknown_percent = 5;  // of all operations
  unsigned silent_percent = 0;   // of the answers of writes lack the revision
  bool stale_reads = true;
};

// What clients of a linearizable store could have recorded: each operation takes effect at one
// moment between its call and its answer (or later, or never, if there is no answer).
History SimulateStore(const WorkloadOptions& options, Random* random);

// Tries all orders, with a model of the store of its own. For histories of a few operations.
bool IsLinearizableByBruteForce(const History& history);

// The seeds of a random test: 1 to `usual`, unless RAFTKV_RANDOM_SEEDS says otherwise: 17 is that
// one alone, 17-40 are these, 17+ as many as usual from that one on.
std::vector<uint64_t> Seeds(uint64_t usual);
// What a failure says of its seed.
std::string Again(uint64_t seed);

}  // namespace raftkv::linearizability
