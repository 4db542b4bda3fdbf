// Simulation: one run from one seed: a cluster, its clients, its faults, then healing and the
// demand that everything works again.
//
// Thread-safety: none; runs are independent.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/coverage.h"
#include "tests/simulation/faults.h"

namespace raftkv::sim {

struct RunOptions {
  uint64_t seed = 1;
  // A profile for this run, whatever its seed would choose (profiles.h); empty: as the seed says.
  std::string profile;
  // Positions in the drawn list of faults that happen; nothing: all.
  std::optional<std::vector<size_t>> keep;
  bool print_events = false;
  // The history of the clients is written here, for ./dev linearizability; empty: nowhere.
  std::string history_file;
};

struct RunResult {
  std::string failure;  // empty: none
  SimTime failed_at{0};
  SimTime simulated{0};
  uint64_t hash = 0;  // of everything that happened
  uint64_t events = 0;
  uint64_t operations = 0;
  uint64_t members = 0;  // of the first configuration
  size_t faults = 0;     // drawn
  Coverage coverage;
};

RunResult Run(const RunOptions& options);

// The faults that Run draws for this seed and profile.
std::vector<Fault> FaultsOf(const RunOptions& options);

}  // namespace raftkv::sim
