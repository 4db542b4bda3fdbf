// What revisions alone can contradict: each other, and real time.
#include <algorithm>
#include <map>
#include <tuple>

#include "tests/linearizability/describe.h"
#include "tests/linearizability/store_problem.h"

namespace raftkv::linearizability {
namespace {

struct Seen {
  uint64_t revision = 0;
  size_t op = kNoOp;
};

// Where a page may end: at its limit, or at its size; and at the last key, which the model knows.
// Empty: it does not end elsewhere.
std::string WrongCut(const Operation& op) {
  if (op.kind != Kind::kRange || op.outcome != Outcome::kOk || op.count_only) return "";
  if (op.limit != 0 && op.items.size() > op.limit) {
    return " shows " + std::to_string(op.items.size()) + " items, more than were asked for";
  }
  if (!op.more || (op.limit != 0 && op.items.size() == op.limit)) return "";
  size_t bytes = 0;
  for (const Item& item : op.items) {
    if (!item.value) return "";  // its size is not known
    bytes += item.key.size() + item.value->size();
  }
  if (bytes >= kLeastPageBytes) return "";
  return " is cut short: there are more keys, and neither the limit nor the size of a page ended "
         "it";
}

class Sweep {
 public:
  explicit Sweep(StoreProblem* problem) : problem_(problem) {}

  Finding Run() {
    for (size_t op = 0; op < problem_->ops.size() && ok(); ++op) CheckAlone(op);
    std::vector<std::tuple<int64_t, bool, size_t>> events;  // time, is an end, operation
    for (size_t op = 0; op < problem_->ops.size(); ++op) {
      const Interval& interval = problem_->ops[op].interval;
      events.emplace_back(interval.call, false, op);
      if (interval.end != kNever) events.emplace_back(interval.end, true, op);
    }
    std::ranges::sort(events);
    for (const auto& [time, is_end, op] : events) {
      if (!ok()) break;
      if (is_end) {
        End(op);
      } else {
        Call(op);
      }
    }
    for (auto event = events.rbegin(); event != events.rend(); ++event) {
      const auto& [time, is_end, op] = *event;
      if (is_end) {
        problem_->ops[op].before = least_later_;
      } else {
        least_later_ = std::min(least_later_, LatestBefore(op));
      }
    }
    return std::move(finding_);
  }

 private:
  // The greatest revision that can have existed when the operation was called.
  uint64_t LatestBefore(size_t op) const {
    const PreparedOp& prepared = problem_->ops[op];
    if (prepared.role == Role::kWrite) return problem_->op(op).revision - 1;
    return prepared.role == Role::kRead && IsNewestRead(op) ? prepared.held_at : UINT64_MAX;
  }

  bool ok() const { return finding_.verdict == Verdict::kLinearizable; }

  void Contradict(std::string reason, std::vector<size_t> involved) {
    finding_.verdict = Verdict::kNotLinearizable;
    finding_.reason = std::move(reason);
    finding_.involved = std::move(involved);
  }

  bool IsNewestRead(size_t op) const {
    const PreparedOp& prepared = problem_->ops[op];
    return prepared.held_at != 0 && problem_->op(op).at_revision == 0;
  }

  void CheckAlone(size_t number) {
    const Operation& op = problem_->op(number);
    const Role role = problem_->ops[number].role;
    const uint64_t initial = problem_->history->initial_revision;
    if (role == Role::kWrite && op.revision <= initial) {
      Contradict(Describe(op) + " has a revision that existed before (the history begins at " +
                     std::to_string(initial) + ")",
                 {number});
    } else if (role == Role::kWrite && problem_->writer.at(op.revision) != number) {
      const size_t other = problem_->writer.at(op.revision);
      Contradict("two writes have the same revision: " + Describe(problem_->op(other)) + " and " +
                     Describe(op),
                 {other, number});
    } else if (role == Role::kRead && IsNewestRead(number) &&
               problem_->ops[number].held_at < initial) {
      Contradict(Describe(op) + " holds for a revision before the history's first, " +
                     std::to_string(initial),
                 {number});
    } else if (const std::string wrong = WrongCut(op); !wrong.empty()) {
      Contradict(Describe(op) + wrong, {number});
    }
  }

  void Call(size_t number) {
    const Operation& op = problem_->op(number);
    PreparedOp& prepared = problem_->ops[number];
    prepared.after = seen_.revision;
    if (prepared.role == Role::kWrite && op.revision <= seen_.revision) {
      return Contradict(Describe(op) + " began after " + Describe(problem_->op(seen_.op)) +
                            " had already seen revision " + std::to_string(seen_.revision),
                        {seen_.op, number});
    }
    if (!IsNewestRead(number)) return;
    if (prepared.role == Role::kRead && prepared.held_at < seen_.revision) {
      return Contradict(Describe(op) + " is stale: it began after " +
                            Describe(problem_->op(seen_.op)) + " had seen revision " +
                            std::to_string(seen_.revision),
                        {seen_.op, number});
    }
    const auto node = node_seen_.find(op.node);
    if (node != node_seen_.end() && prepared.held_at < node->second.revision) {
      Contradict("node " + Quote(op.node) + " went back: " + Describe(op) + " began after " +
                     Describe(problem_->op(node->second.op)) + " on the same node",
                 {node->second.op, number});
    }
  }

  void End(size_t number) {
    const Operation& op = problem_->op(number);
    const PreparedOp& prepared = problem_->ops[number];
    if (prepared.role == Role::kIdle || prepared.role == Role::kOpenWrite) return;
    const uint64_t seen = SeenRevision(op);
    if (seen > seen_.revision) seen_ = {seen, number};
    if (op.node.empty()) return;
    Seen& on_node = node_seen_[op.node];
    if (seen > on_node.revision) on_node = {seen, number};
  }

  StoreProblem* const problem_;
  Finding finding_;
  Seen seen_;                              // by operations that have ended
  uint64_t least_later_ = UINT64_MAX;      // of LatestBefore, of those called later
  std::map<std::string, Seen> node_seen_;  // by reads that have ended, per node
};

}  // namespace

Finding CheckRevisions(StoreProblem* problem) { return Sweep(problem).Run(); }

}  // namespace raftkv::linearizability
