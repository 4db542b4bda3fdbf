// The clock and the event queue of a simulation, and the hash of everything that happened.
//
// Thread-safety: none; a simulation is one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"

namespace raftkv::sim {

// Time since the beginning of the simulation.
using SimTime = Duration;

class Scheduler {
 public:
  using Event = std::function<void()>;

  SimTime now() const { return now_; }
  uint64_t events() const { return events_; }

  // Events at the same time run in the order they were scheduled in.
  void At(SimTime time, Event event);
  void After(Duration delay, Event event) { At(now_ + delay, std::move(event)); }

  // Runs the next event; false if there is none before `end` (the time is `end` then).
  bool RunOne(SimTime end);

  // Folds what an event does into the hash of the run.
  void Trace(uint64_t what) {
    hash_ = (hash_ ^ what) * 0x9e3779b97f4a7c15;
    hash_ ^= hash_ >> 29;
  }
  uint64_t hash() const { return hash_; }

 private:
  struct Item {
    SimTime time;
    uint64_t sequence;
    Event event;
  };
  static bool Later(const Item& a, const Item& b) {
    return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
  }

  SimTime now_{0};
  uint64_t sequence_ = 0;
  uint64_t events_ = 0;
  uint64_t hash_ = 0x243f6a8885a308d3;
  std::vector<Item> heap_;  // by Later: the first is next
};

}  // namespace raftkv::sim
