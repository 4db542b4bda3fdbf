// World: what the parts of one simulation share.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "node/runtime/options.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/network.h"
#include "tests/simulation/scheduler.h"

namespace raftkv::sim {

class SimNode;

struct World {
  World(uint64_t seed, size_t hosts);
  ~World();

  // Null if nobody has this address, or is this member now.
  SimNode* ByAddress(const std::string& address) const;
  SimNode* ById(raft::NodeId id) const;
  // The leader with the highest term among the running; null if there is none.
  SimNode* Leader() const;

  Scheduler scheduler;
  SeededRandom random;  // seeds of the parts
  Coverage coverage;
  Checker checker;
  Network network;
  runtime::Options options;   // of every node; name and addresses are its own
  uint64_t flush_every = 0;   // see SimState
  int64_t max_drift_ppm = 0;  // how far the clocks' speeds are from the simulation's
  bool print_events = false;  // to stderr, one a line
  std::vector<std::unique_ptr<SimNode>> nodes;
  // A process has ended, whatever the reason.
  std::function<void(SimNode&)> on_process_end = [](SimNode&) {};
};

}  // namespace raftkv::sim
