// The store as the model has it: one revision for all keys, and the newest version of each.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/linearizability/store_problem.h"

namespace raftkv::linearizability {

struct KeyState {
  bool exists = false;
  uint64_t create_revision = 0;
  uint64_t mod_revision = 0;  // also of the delete that ended it
  uint64_t version = 0;
  const std::string* value = nullptr;
  size_t writer = kNoOp;  // the operation; kNoOp: the initial state
};

struct StoreState {
  uint64_t revision = 0;
  std::vector<KeyState> keys;  // by number
};

StoreState InitialState(const StoreProblem& problem);

// Whether the write can have done what it says (or, if its outcome is unknown, would do anything)
// in this state.
bool CanWrite(const Operation& op, const KeyState& key);
// The key after the write `number`, which makes `revision`.
KeyState AfterWrite(const Operation& op, size_t number, uint64_t revision, const KeyState& before);

// Whether an operation on one key that changes nothing fits this state of it.
bool FitsKey(const Operation& op, const KeyState& key);
// Whether the key is as the item shows it.
bool ShowsKey(const Item& item, const KeyState& key);

// Whether no answer can tell the two states of a key apart, now or later: what they differ in is
// nowhere mentioned.
bool LookAlike(const StoreProblem& problem, size_t key, const KeyState& a, const KeyState& b);

// "a" is "x" (created at 3, changed at 5, version 2)
std::string DescribeKey(const std::string& name, const KeyState& key);

// Whether a read, a delete of nothing or a refused write fits this state. The revision is compared
// by the caller.
bool Fits(const Operation& op, const PreparedOp& prepared, const StoreProblem& problem,
          const StoreState& state);

}  // namespace raftkv::linearizability
