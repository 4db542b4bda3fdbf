#include "tests/linearizability/store_problem.h"

#include <algorithm>
#include <set>

namespace raftkv::linearizability {
namespace {

bool IsWrite(const Operation& op) { return op.kind == Kind::kPut || op.kind == Kind::kDelete; }

Role RoleOf(const Operation& op) {
  if (op.outcome == Outcome::kFail) return Role::kIdle;
  if (IsWrite(op)) {
    if (op.outcome == Outcome::kUnknown) return Role::kOpenWrite;
    if (op.outcome != Outcome::kOk) return Role::kRead;
    return op.revision != 0 ? Role::kWrite : Role::kFreeWrite;
  }
  if (op.outcome == Outcome::kUnknown) return Role::kIdle;
  return op.consistency == Consistency::kStale ? Role::kStaleRead : Role::kRead;
}

std::vector<std::string> AllKeys(const History& history) {
  std::set<std::string> keys;
  for (const Item& item : history.initial_items) keys.insert(item.key);
  for (const Operation& op : history.operations) {
    if (op.kind != Kind::kRange) keys.insert(op.key);
    for (const Item& item : op.items) keys.insert(item.key);
  }
  return {keys.begin(), keys.end()};
}

class Preparation {
 public:
  explicit Preparation(const History& history) {
    problem_.history = &history;
    problem_.keys = AllKeys(history);
    problem_.unchanged.resize(problem_.keys.size());
    problem_.observed_until.resize(problem_.keys.size());
    problem_.shows_value_alone.resize(problem_.keys.size());
    problem_.max_revision = history.initial_revision;
  }

  StoreProblem Run() {
    for (size_t i = 0; i < problem_.history->operations.size(); ++i) Add(i);
    return std::move(problem_);
  }

 private:
  size_t NumberOf(const std::string& key) const {
    const auto at = std::ranges::lower_bound(problem_.keys, key);
    return static_cast<size_t>(at - problem_.keys.begin());
  }

  void Add(size_t number) {
    const Operation& op = problem_.op(number);
    PreparedOp prepared{.role = RoleOf(op)};
    prepared.interval.call = op.call;
    if (op.completed && prepared.role != Role::kOpenWrite) prepared.interval.end = *op.completed;
    prepared.key = NumberOf(op.key);
    prepared.end_key = op.kind != Kind::kRange ? prepared.key + 1
                       : op.end.empty()        ? problem_.keys.size()
                                               : std::max(prepared.key, NumberOf(op.end));
    if (prepared.role == Role::kRead || prepared.role == Role::kStaleRead) {
      prepared.held_at = op.at_revision != 0 ? op.at_revision : op.revision;
      if (prepared.held_at != 0) problem_.held[prepared.held_at].push_back(number);
    }
    if (prepared.role == Role::kWrite) problem_.writer.try_emplace(op.revision, number);
    if (prepared.role != Role::kIdle) {
      problem_.max_revision = std::max(problem_.max_revision, SeenRevision(op));
      AddEvidence(op, prepared);
      AddObserver(op, prepared);
    }
    problem_.ops.push_back(prepared);
  }

  void AddEvidence(const Operation& op, const PreparedOp& prepared) {
    problem_.mentioned.insert(op.condition.revision);
    problem_.mentioned.insert(op.key_revision.value_or(0));
    for (const Item& item : op.items) {
      problem_.mentioned.insert(item.mod_revision);
      problem_.mentioned.insert(item.create_revision);
      const size_t key = NumberOf(item.key);
      if (item.mod_revision == 0) {
        if (item.value) problem_.shows_value_alone[key] = true;
        continue;
      }
      problem_.evidence[item.mod_revision].push_back({key, item.value ? &*item.value : nullptr});
      if (item.create_revision != 0 && item.create_revision != item.mod_revision) {
        problem_.evidence[item.create_revision].push_back({key, nullptr});
      }
      AddUnchanged(key, item.mod_revision, prepared.held_at);
    }
    if (op.key_revision.value_or(0) != 0) {
      problem_.evidence[*op.key_revision].push_back({prepared.key, nullptr});
    }
    const bool held = op.outcome == Outcome::kOk && op.condition.type == Condition::Type::kRevision;
    if (held) {
      problem_.evidence[op.condition.revision].push_back({prepared.key, nullptr});
      if (IsWrite(op) && op.revision != 0) {
        AddUnchanged(prepared.key, op.condition.revision, op.revision - 1);
      }
    }
  }

  // Whether the operation could have been answered as it was depends on its keys.
  void AddObserver(const Operation& op, const PreparedOp& prepared) {
    const bool blind = op.kind == Kind::kPut && op.condition.type == Condition::Type::kNone &&
                       !op.created && prepared.role != Role::kRead;
    if (blind) return;
    uint64_t until = prepared.role == Role::kWrite ? op.revision : prepared.held_at;
    if (until == 0) until = UINT64_MAX;  // at any time
    for (size_t key = prepared.key; key < prepared.end_key; ++key) {
      problem_.observed_until[key] = std::max(problem_.observed_until[key], until);
    }
  }

  void AddUnchanged(size_t key, uint64_t first, uint64_t last) {
    uint64_t& known = problem_.unchanged[key][first];
    known = std::max(known, last);
  }

  StoreProblem problem_;
};

}  // namespace

bool StoreProblem::IsUnchanged(size_t key, uint64_t revision) const {
  const auto after = unchanged[key].lower_bound(revision);
  return after != unchanged[key].begin() && std::prev(after)->second >= revision;
}

uint64_t SeenRevision(const Operation& op) {
  uint64_t seen = std::max(op.revision, op.key_revision.value_or(0));
  const bool answered = op.outcome == Outcome::kOk || op.outcome == Outcome::kNotFound ||
                        op.outcome == Outcome::kConflict;
  if (answered) seen = std::max(seen, op.at_revision);
  for (const Item& item : op.items) seen = std::max(seen, item.mod_revision);
  if (op.outcome == Outcome::kOk && op.condition.type == Condition::Type::kRevision) {
    seen = std::max(seen, op.condition.revision);
  }
  return seen;
}

StoreProblem Prepare(const History& history) { return Preparation(history).Run(); }

}  // namespace raftkv::linearizability
