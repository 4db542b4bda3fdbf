#include "tests/linearizability/store_state.h"

#include <algorithm>
#include <string>

#include "tests/linearizability/describe.h"

namespace raftkv::linearizability {
namespace {

bool Holds(const Condition& condition, const KeyState& key) {
  switch (condition.type) {
    case Condition::Type::kNone:
      return true;
    case Condition::Type::kAbsent:
      return !key.exists;
    case Condition::Type::kPresent:
      return key.exists;
    case Condition::Type::kRevision:
      return (key.exists ? key.mod_revision : 0) == condition.revision;
  }
  return false;
}

bool Told(uint64_t told, uint64_t actual) { return told == 0 || told == actual; }

bool FitsRange(const Operation& op, const PreparedOp& prepared, const StoreProblem& problem,
               const StoreState& state) {
  uint64_t shown = 0;
  for (size_t i = prepared.key; i < prepared.end_key; ++i) {
    const size_t number = op.descending ? prepared.end_key - 1 - (i - prepared.key) : i;
    const KeyState& key = state.keys[number];
    if (!key.exists) continue;
    if (!op.count_only) {
      if (shown == op.items.size()) return op.more;
      const Item& item = op.items[shown];
      if (item.key != problem.keys[number] || !ShowsKey(item, key)) return false;
    }
    ++shown;
  }
  if (op.count_only) return shown == op.count;
  return shown == op.items.size() && !op.more;
}

}  // namespace

StoreState InitialState(const StoreProblem& problem) {
  StoreState state{.revision = problem.history->initial_revision, .keys = {}};
  state.keys.resize(problem.keys.size());
  for (const Item& item : problem.history->initial_items) {
    const auto at = std::ranges::lower_bound(problem.keys, item.key);
    state.keys[static_cast<size_t>(at - problem.keys.begin())] = {
        true, item.create_revision, item.mod_revision, item.version, &*item.value, kNoOp};
  }
  return state;
}

bool CanWrite(const Operation& op, const KeyState& key) {
  if (!Holds(op.condition, key)) return false;
  if (op.kind == Kind::kDelete) return key.exists;
  return !op.created || *op.created == !key.exists;
}

KeyState AfterWrite(const Operation& op, size_t number, uint64_t revision, const KeyState& before) {
  KeyState after{.mod_revision = revision, .writer = number};
  if (op.kind == Kind::kDelete) return after;
  after.exists = true;
  after.create_revision = before.exists ? before.create_revision : revision;
  after.version = before.exists ? before.version + 1 : 1;
  after.value = &op.value;
  return after;
}

bool ShowsKey(const Item& item, const KeyState& key) {
  return key.exists && (!item.value || *item.value == *key.value) &&
         Told(item.create_revision, key.create_revision) &&
         Told(item.mod_revision, key.mod_revision) && Told(item.version, key.version);
}

bool LookAlike(const StoreProblem& problem, size_t key, const KeyState& a, const KeyState& b) {
  const auto alike = [&](uint64_t one, uint64_t other) {
    return one == other || !(problem.mentioned.contains(one) || problem.mentioned.contains(other));
  };
  // Of a key that is not there nothing else is ever seen.
  if (!a.exists && !b.exists) return true;
  if (a.exists != b.exists || a.version != b.version ||
      !alike(a.create_revision, b.create_revision) || !alike(a.mod_revision, b.mod_revision)) {
    return false;
  }
  const bool shown = problem.mentioned.contains(a.mod_revision) || problem.shows_value_alone[key];
  return !shown || *a.value == *b.value;
}

bool FitsKey(const Operation& op, const KeyState& key) {
  switch (op.outcome) {
    case Outcome::kOk:  // a get
      return Holds(op.condition, key) && ShowsKey(op.items[0], key);
    case Outcome::kNotFound:
      // A delete is refused for its condition before it finds nothing.
      return !key.exists && (op.kind == Kind::kGet || Holds(op.condition, key));
    case Outcome::kConflict:
      return !Holds(op.condition, key) &&
             (!op.key_revision || *op.key_revision == (key.exists ? key.mod_revision : 0));
    default:
      return false;
  }
}

bool Fits(const Operation& op, const PreparedOp& prepared, const StoreProblem& problem,
          const StoreState& state) {
  if (op.kind == Kind::kRange) return FitsRange(op, prepared, problem, state);
  return FitsKey(op, state.keys[prepared.key]);
}

std::string DescribeKey(const std::string& name, const KeyState& key) {
  if (!key.exists) return Quote(name) + " does not exist";
  return Quote(name) + " is " + Quote(*key.value) + " (created at " +
         std::to_string(key.create_revision) + ", changed at " + std::to_string(key.mod_revision) +
         ", version " + std::to_string(key.version) + ")";
}

}  // namespace raftkv::linearizability
