// Each key for itself, along the revisions: which states it can have been in at which revision, if
// every write that may have made a revision is free to have made it. What no single key allows, the
// whole store does not allow either; so this finds most violations without a search, and takes from
// the gaps the writes that cannot have made them.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "tests/linearizability/store_problem.h"
#include "tests/linearizability/store_state.h"

namespace raftkv::linearizability {

// For each revision without a known writer: the writes that may have made it.
using Candidates = std::map<uint64_t, std::vector<size_t>>;

// By gap: of keys that may have changed there, the states that lead to all that was read of them
// later. Keys of which too little is known are left out.
struct Way {
  size_t key;
  std::vector<KeyState> states;
};
using Ways = std::unordered_map<uint64_t, std::vector<Way>>;

class Projection {
 public:
  explicit Projection(const StoreProblem& problem);

  // Takes from `candidates` what some key does not allow; a contradiction if a key has no way.
  // `changed` tells whether anything was taken. `beyond`: the writes that may have come after all
  // revisions that were seen. `ways`: what was found of each key.
  Finding Prune(Candidates* candidates, const std::vector<size_t>& beyond, Ways* ways,
                bool* changed) const;

 private:
  // Something that a key lives through at a revision.
  struct Event {
    enum class Type { kWrite, kGap, kObservation };
    uint64_t revision = 0;
    Type type = Type::kWrite;
    size_t op = kNoOp;           // of kWrite and kObservation
    const Item* item = nullptr;  // kObservation by a range; null: the key does not exist
    const std::vector<size_t>* candidates = nullptr;  // kGap: on this key
    bool others = false;                              // kGap: there are candidates on other keys
  };

  class Walk;  // of one key

  void Observe(size_t number);
  void ObserveRange(size_t number);

  const StoreProblem& problem_;
  std::vector<std::vector<Event>> events_;  // of each key: writes and observations
  std::vector<std::vector<size_t>> loose_;  // of each key: reads that do not tell their revision
  StoreState initial_;
};

}  // namespace raftkv::linearizability
