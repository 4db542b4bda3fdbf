#include "tests/linearizability/checker.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <set>

#include "base/check.h"
#include "tests/linearizability/budget.h"
#include "tests/linearizability/shrink.h"
#include "tests/linearizability/store_problem.h"
#include "tests/linearizability/timeline.h"

namespace raftkv::linearizability {
namespace {

constexpr size_t kMaxCore = 30;  // more do not explain anything

Finding Find(const History& history, Budget* budget) {
  StoreProblem problem = Prepare(history);
  Finding finding = CheckRevisions(&problem);
  if (finding.verdict != Verdict::kLinearizable) return finding;
  return SearchOrder(problem, budget);
}

Finding Find(const History& history, const Limits& limits) {
  Budget budget(limits);
  return Find(history, &budget);
}

bool IsViolation(const History& history, const Limits& limits) {
  return Find(history, limits).verdict == Verdict::kNotLinearizable;
}

bool IsWrite(const Operation& op) { return op.kind == Kind::kPut || op.kind == Kind::kDelete; }

void DropAnswer(Operation* op) {
  op->completed.reset();
  op->outcome = Outcome::kUnknown;
  op->revision = 0;
  op->created.reset();
  op->key_revision.reset();
  op->items.clear();
  op->count = 0;
  op->more = false;
}

// What had been called and answered at the time.
History PrefixUntil(const History& history, int64_t time) {
  History prefix{history.initial_revision, history.initial_items, {}};
  for (const Operation& op : history.operations) {
    if (op.call > time) continue;
    prefix.operations.push_back(op);
    if (op.completed && *op.completed > time) DropAnswer(&prefix.operations.back());
  }
  return prefix;
}

// A history that allows more: whatever is not in `kept` only keeps its place in the order of
// revisions.
History Weaken(const History& history, const std::vector<size_t>& kept) {
  History weaker = history;
  std::vector<bool> is_kept(history.operations.size());
  for (const size_t op : kept) is_kept[op] = true;
  for (size_t i = 0; i < weaker.operations.size(); ++i) {
    Operation& op = weaker.operations[i];
    if (is_kept[i]) continue;
    const bool placed = IsWrite(op) && op.outcome == Outcome::kOk && op.revision != 0;
    const bool may_happen = op.outcome == Outcome::kOk || op.outcome == Outcome::kUnknown;
    op.call = std::numeric_limits<int64_t>::min();
    if (placed) {
      op.completed = std::numeric_limits<int64_t>::max() - 1;
      op.created.reset();
      op.condition = {};
      continue;
    }
    DropAnswer(&op);
    if (!IsWrite(op) || !may_happen) op.outcome = Outcome::kFail;
  }
  return weaker;
}

std::vector<size_t> EndingAt(const History& history, int64_t time) {
  std::vector<size_t> found;
  for (size_t i = 0; i < history.operations.size(); ++i) {
    if (history.operations[i].completed == time) found.push_back(i);
  }
  return found;
}

std::vector<int64_t> EndsOf(const History& history) {
  std::set<int64_t> ends;
  for (const Operation& op : history.operations) {
    if (op.completed) ends.insert(*op.completed);
  }
  return {ends.begin(), ends.end()};
}

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kLinearizable:
      return "linearizable";
    case Verdict::kNotLinearizable:
      return "not-linearizable";
    case Verdict::kUnknown:
      return "unknown";
  }
  return "?";
}

Result<Report> Check(const History& history, const Limits& limits) {
  for (size_t i = 0; i < history.operations.size(); ++i) {
    if (const Status status = Validate(history.operations[i]); !status.ok()) {
      return Error(status.code(), "operation " + std::to_string(i) + ": " + status.message());
    }
  }
  Budget budget(limits);
  Finding finding = Find(history, &budget);
  return Report{finding.verdict, std::move(finding.reason), budget.steps()};
}

Violation Explain(const History& history, const Limits& limits, Duration max_time) {
  const Patience patience(max_time);
  const std::vector<int64_t> ends = EndsOf(history);
  CHECK(!ends.empty(), "without an answer there is no violation");
  const size_t shortest = SmallestThatHolds(ends.size(), patience, [&](size_t count) {
    return IsViolation(PrefixUntil(history, ends[count - 1]), patience.Within(limits));
  });
  Violation violation{.prefix = PrefixUntil(history, ends[shortest - 1])};
  violation.out_of_time = patience.is_over();
  const History& prefix = violation.prefix;
  const Limits tight = LimitsOfATry(limits, prefix.operations.size());
  const Patience shrinking(std::min(kMaxShrinkTime, patience.left()));
  std::vector<size_t> kept =
      SmallestSubset(prefix.operations.size(), shrinking, [&](const std::vector<size_t>& subset) {
        return IsViolation(Weaken(prefix, subset), shrinking.Within(tight));
      });
  // With what is left, the reason is about those that matter. Where shrinking did not succeed, it
  // is about the operations that the search could not get past, the last answer among them.
  Finding finding = Find(Weaken(prefix, kept), patience.Within(limits));
  if (kept.size() > kMaxCore || finding.verdict != Verdict::kNotLinearizable) {
    finding = Find(prefix, patience.Within(limits));
    kept = EndingAt(prefix, ends[shortest - 1]);
  }
  if (finding.verdict == Verdict::kNotLinearizable) violation.reason = std::move(finding.reason);
  kept.insert(kept.end(), finding.involved.begin(), finding.involved.end());
  std::ranges::sort(kept);
  kept.erase(std::ranges::unique(kept).begin(), kept.end());
  violation.core = std::move(kept);
  return violation;
}

std::string OutOfTime(Duration max_time) {
  return "\n  the time for explaining it (" +
         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(max_time).count()) +
         " s) is over: the prefix may not be the smallest";
}

Status WriteViolation(const History& history, const Violation& violation,
                      const std::filesystem::path& folder, const std::string& name) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Status(Code::kIoError, folder.string() + ": " + error.message());
  RETURN_IF_ERROR(WriteHistory(history, folder / (name + ".jsonl")));
  RETURN_IF_ERROR(WriteHistory(violation.prefix, folder / (name + ".prefix.jsonl")));
  return WriteTimeline(TimelineOf(violation, name), folder / (name + ".html"));
}

Status CheckAndExplain(const History& history, const std::filesystem::path& folder,
                       const std::string& name, const Limits& limits) {
  ASSIGN_OR_RETURN_STATUS(const Report report, Check(history, limits));
  if (report.verdict == Verdict::kLinearizable) return Status::Ok();
  if (report.verdict == Verdict::kUnknown) {
    return Status(Code::kResourceExhausted, "no verdict: " + report.reason);
  }
  std::fprintf(stderr, "%s is not linearizable: %s\n", name.c_str(), report.reason.c_str());
  Violation violation = Explain(history, limits);
  if (violation.reason.empty()) violation.reason = report.reason;
  RETURN_IF_ERROR(WriteViolation(history, violation, folder, name));
  return Status(Code::kConflict, "not linearizable: " + violation.reason + " See " +
                                     (folder / (name + ".html")).string() +
                                     (violation.out_of_time ? OutOfTime(kMaxExplainTime) : ""));
}

}  // namespace raftkv::linearizability
