// The search for a linearization of the operations on one object: Wing and Gong's ("Testing and
// verifying concurrent objects", 1993) with Lowe's memory of configurations ("Testing for
// linearizability", 2017).
//
// An operation whose outcome is unknown has no end: it may take effect at any time after its call,
// or never. A linearization is complete when all others are in it.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "tests/linearizability/budget.h"
#include "tests/linearizability/checker.h"

namespace raftkv::linearizability {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// Two operations overlap unless one ends before (not when) the other begins.
struct Interval {
  int64_t call = 0;
  int64_t end = kNever;
  bool operator==(const Interval&) const = default;
};

// The object. States and operations are numbers, whose meaning only the model knows; equal states
// have equal numbers.
class Model {
 public:
  using State = uint32_t;
  virtual ~Model() = default;

  virtual State Initial() = 0;
  // The state after the operation; nullopt if it cannot have had its outcome in this state. An
  // operation of unknown outcome that would do nothing in this state leaves it as it is.
  virtual std::optional<State> Step(State state, size_t op) = 0;
  // Whether it leaves every state as it is.
  virtual bool IsReadOnly(size_t op) const = 0;
  // Whether two operations of unknown outcome do the same in every state.
  virtual bool AreTwins(size_t a, size_t b) const = 0;

  // For looking ahead. Whether its answer shows the whole state; which state an operation leaves
  // if it changes anything, whatever was before (nullopt: that depends on the state before); and
  // whether operations of the latter kind may lead from the state to the answer of `read` (true
  // also if nothing has to happen).
  virtual bool ShowsState(size_t op) const = 0;
  virtual std::optional<State> Leaves(size_t op) const = 0;
  virtual bool CanLeadTo(State state, size_t read) = 0;
};

struct SearchResult {
  Verdict verdict = Verdict::kUnknown;
  // kLinearizable: the linearization. Otherwise the longest beginning of one that was found.
  std::vector<size_t> order;
};

SearchResult Search(std::span<const Interval> intervals, Model* model, Budget* budget);

}  // namespace raftkv::linearizability
