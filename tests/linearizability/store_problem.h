// A store's history, prepared for the search: what each operation is to it, and what the answers
// tell of each revision, whoever learned it and when.
//
// Thread-safety: immutable after Prepare.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tests/linearizability/budget.h"
#include "tests/linearizability/history.h"
#include "tests/linearizability/search.h"

namespace raftkv::linearizability {

inline constexpr size_t kNoOp = SIZE_MAX;

enum class Role {
  kIdle,       // says nothing: failed, or a read without an answer
  kWrite,      // made a known revision
  kFreeWrite,  // happened, but did not tell its revision
  kOpenWrite,  // may happen or not
  // Changes nothing and has its place in the order: linearizable reads, deletes of nothing, writes
  // whose condition did not hold.
  kRead,
  kStaleRead,
};

struct PreparedOp {
  Role role = Role::kIdle;
  Interval interval;
  size_t key = 0;        // number of its key; of a range: of the first key in it
  size_t end_key = 0;    // one behind the last
  uint64_t held_at = 0;  // reads: the revision that the answer holds for; 0: not told
  // The greatest revision that had been seen when it was called. Reads hold at it or later, writes
  // make a greater one.
  uint64_t after = 0;
  // And the greatest one that can have existed when it ended: what was called later has greater
  // ones, or saw this one.
  uint64_t before = UINT64_MAX;
};

// What is known of the one change that a revision is.
struct Evidence {
  size_t key;
  const std::string* value;  // of the put; null: not told. Always a put
};

struct StoreProblem {
  const History* history = nullptr;
  std::vector<std::string> keys;  // all that occur, sorted
  std::vector<PreparedOp> ops;    // parallel to history->operations
  // By revision. If two writes claim the same one, the first.
  std::unordered_map<uint64_t, size_t> writer;
  std::unordered_map<uint64_t, std::vector<size_t>> held;  // reads that hold at it
  std::unordered_map<uint64_t, std::vector<Evidence>> evidence;
  // For each key: {first, last}: it did not change at first + 1 ... last.
  std::vector<std::map<uint64_t, uint64_t>> unchanged;
  // For each key: what it is above this revision makes no difference to any answer.
  std::vector<uint64_t> observed_until;
  uint64_t max_revision = 0;  // that anybody saw
  // Revisions that an answer shows or a condition names. Of any other nobody can tell when it was,
  // nor what was written.
  std::unordered_set<uint64_t> mentioned;
  // Keys of which an answer shows a value without its revision.
  std::vector<bool> shows_value_alone;

  const Operation& op(size_t number) const { return history->operations[number]; }
  bool IsUnchanged(size_t key, uint64_t revision) const;
};

// The history must outlive the problem.
StoreProblem Prepare(const History& history);

// The greatest revision that an answer shows to exist; 0: none.
uint64_t SeenRevision(const Operation& op);

// A contradiction, or an order without one.
struct Finding {
  Verdict verdict = Verdict::kLinearizable;
  std::string reason;
  std::vector<size_t> involved;  // operations that the reason is about
  std::vector<size_t> order;     // of the operations as far as they could be ordered
};

// Whether the revisions alone contradict real time or each other: O(n log n). Also sets `after`
// and `before` of the problem's operations.
Finding CheckRevisions(StoreProblem* problem);

// The search for an order. `problem` must have passed CheckRevisions.
Finding SearchOrder(const StoreProblem& problem, Budget* budget);

}  // namespace raftkv::linearizability
