// Ambushes: faults that wait for a moment. A crash or a cut at a random time hardly ever falls
// between the acknowledgement of a change and its commit; one that waits for the change does.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {

class Injector;

// X(name): what happens then. "It" is the node that the moment names; its rival is another node
// that takes itself for the leader, or else the leader.
#define RAFTKV_SIM_BLOWS(X)                                                     \
  X(crash_it)                                                                   \
  X(crash_rival)                                                                \
  X(isolate_it)                                                                 \
  X(isolate_rival)                                                              \
  X(deafen)        /* nobody reaches it */                                      \
  X(silence)       /* it reaches nobody */                                      \
  X(silence_rival) /* nor does its rival, and what it would hear is held up */  \
  X(cut_some)      /* any links of it, each way by itself */                    \
  X(halves)        /* old voters on one side, the others there; it on either */ \
  X(half_deaf)     /* it does not reach some of the old voters */               \
  X(split)         /* anyhow */                                                 \
  X(pause_it)                                                                   \
  X(pause_rival)                                                                \
  X(slow_disk)  /* its own */                                                   \
  X(slow_apply) /* ... and its apply thread */

enum class Blow : uint8_t {
#define X(name) name,
  RAFTKV_SIM_BLOWS(X)
#undef X
      kCount
};

// What the ambushes of a run wait for and do: few things, so that they meet in the right order.
struct AmbushOptions {
  std::vector<Moment> moments;
  std::vector<Blow> blows;
};
AmbushOptions DrawAmbushOptions(Random& random);

class Ambushes {
 public:
  Ambushes(World* world, Injector* injector, AmbushOptions options)
      : world_(world), injector_(injector), options_(std::move(options)) {}

  // One more lies in wait for a while, for one moment or for every one of its kind.
  void Lay(Random& random);
  void OnMoment(Moment moment, SimNode& it);
  void Clear() { waiting_.clear(); }

 private:
  struct Ambush {
    Moment moment;
    SimTime until{0};
    uint64_t left = 0;     // so often
    uint64_t percent = 0;  // of the moments
    SeededRandom random;   // decides what happens
  };

  void Strike(Blow blow, SimNode& it, Random& random);
  SimNode& RivalOf(SimNode& it) const;
  void CutSome(const SimNode& it, Random& random, Duration lasts);
  void CutHalves(const SimNode& it, Random& random, Duration lasts, bool one_way);

  World* const world_;
  Injector* const injector_;
  const AmbushOptions options_;
  std::vector<Ambush> waiting_;
};

}  // namespace raftkv::sim
