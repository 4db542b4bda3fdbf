#include "tests/linearizability/store_stale.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "tests/linearizability/describe.h"
#include "tests/linearizability/store_state.h"

namespace raftkv::linearizability {
namespace {

bool IsWriteRole(Role role) {
  return role == Role::kWrite || role == Role::kFreeWrite || role == Role::kOpenWrite;
}

class StaleCheck {
 public:
  StaleCheck(const StoreProblem& problem, Budget* budget) : problem_(problem), budget_(budget) {}

  bool HasWork() const {
    return std::ranges::any_of(problem_.ops, [](const PreparedOp& op) { return IsLoose(op); });
  }

  void Replay(const std::vector<size_t>& order) {
    StoreState state = InitialState(problem_);
    first_revision_ = state.revision;
    history_of_.resize(problem_.keys.size());
    for (size_t key = 0; key < state.keys.size(); ++key) {
      history_of_[key].emplace(state.revision, state.keys[key]);
    }
    int64_t earliest = std::numeric_limits<int64_t>::min();
    earliest_.push_back(earliest);
    for (const size_t number : order) {
      const PreparedOp& prepared = problem_.ops[number];
      const bool newest_read = prepared.held_at != 0 && problem_.op(number).at_revision == 0;
      if (newest_read) earliest = std::max(earliest, prepared.interval.call);
      if (!IsWriteRole(prepared.role)) continue;
      earliest = std::max(earliest, prepared.interval.call);
      earliest_.push_back(earliest);
      KeyState& key = state.keys[prepared.key];
      key = AfterWrite(problem_.op(number), number, ++state.revision, key);
      history_of_[prepared.key].emplace(state.revision, key);
    }
  }

  // Each read takes the first revision that it can have seen, which leaves the most to those that
  // come after it on the same node.
  Finding Run() {
    std::vector<std::tuple<int64_t, bool, size_t>> events;  // time, is an end, operation
    for (size_t op = 0; op < problem_.ops.size(); ++op) {
      const Interval& interval = problem_.ops[op].interval;
      if (!IsLoose(problem_.ops[op]) && !IsOnNode(op)) continue;
      events.emplace_back(interval.call, false, op);
      events.emplace_back(interval.end, true, op);
    }
    std::ranges::sort(events);
    for (const auto& [time, is_end, op] : events) {
      Seen& node = nodes_[problem_.op(op).node];
      if (is_end) {
        if (IsOnNode(op) && seen_at_[op] > node.revision) node = {seen_at_[op], op};
      } else if (!Begin(op, node)) {
        return Misfit(op, node);
      }
    }
    return {};
  }

 private:
  struct Seen {
    uint64_t revision = 0;
    size_t op = kNoOp;
  };

  static bool IsLoose(const PreparedOp& op) {
    return op.role == Role::kStaleRead && op.held_at == 0;
  }

  bool IsOnNode(size_t op) const {
    const PreparedOp& prepared = problem_.ops[op];
    const bool read = prepared.role == Role::kRead || prepared.role == Role::kStaleRead;
    return read && !problem_.op(op).node.empty() && (prepared.held_at != 0 || IsLoose(prepared));
  }

  bool Begin(size_t op, const Seen& node) {
    const PreparedOp& prepared = problem_.ops[op];
    if (!IsLoose(prepared)) {
      seen_at_[op] = prepared.held_at;
      return problem_.op(op).at_revision != 0 || prepared.held_at >= node.revision;
    }
    const std::optional<uint64_t> revision = FirstFit(op, node.revision);
    seen_at_[op] = revision.value_or(0);
    return revision.has_value();
  }

  // The first revision from `from` on that existed before the read ended and that it fits.
  std::optional<uint64_t> FirstFit(size_t op, uint64_t from) {
    const PreparedOp& prepared = problem_.ops[op];
    const std::map<uint64_t, KeyState>& history = history_of_[prepared.key];
    StoreState state;
    state.keys.resize(problem_.keys.size());
    for (auto version = history.begin(); version != history.end(); ++version) {
      budget_->Step();
      const auto next = std::next(version);
      if (next != history.end() && next->first <= from) continue;
      const uint64_t revision = std::max(version->first, from);
      if (revision - first_revision_ >= earliest_.size() ||
          earliest_[revision - first_revision_] > prepared.interval.end) {
        return std::nullopt;
      }
      state.keys[prepared.key] = version->second;
      if (Fits(problem_.op(op), prepared, problem_, state)) return revision;
    }
    return std::nullopt;
  }

  Finding Misfit(size_t op, const Seen& node) const {
    std::string reason =
        Describe(problem_.op(op)) + " fits no revision that existed before its answer";
    Finding finding{Verdict::kNotLinearizable, "", {op}, {}};
    if (node.op != kNoOp) {
      reason += " and is not older than revision " + std::to_string(node.revision) +
                ", which the same node had shown before to " + Describe(problem_.op(node.op));
      finding.involved.push_back(node.op);
    }
    finding.reason = std::move(reason);
    return finding;
  }

  const StoreProblem& problem_;
  Budget* const budget_;
  uint64_t first_revision_ = 0;
  std::vector<std::map<uint64_t, KeyState>> history_of_;  // by key, then revision
  // For each revision from the first: it cannot have existed earlier.
  std::vector<int64_t> earliest_;
  std::map<size_t, uint64_t> seen_at_;
  std::map<std::string, Seen> nodes_;
};

}  // namespace

Finding CheckStaleReads(const StoreProblem& problem, const std::vector<size_t>& order,
                        Budget* budget) {
  StaleCheck check(problem, budget);
  if (!check.HasWork()) return {};
  check.Replay(order);
  return check.Run();
}

}  // namespace raftkv::linearizability
