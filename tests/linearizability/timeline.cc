// Which operations of a violation to show. timeline_html.cc draws them.
#include "tests/linearizability/timeline.h"

#include <algorithm>
#include <set>

#include "tests/linearizability/describe.h"

namespace raftkv::linearizability {
namespace {

constexpr size_t kMaxOps = 150;
constexpr size_t kLabelBytes = 16;
constexpr size_t kDetailBytes = 300;

std::string ShortLabel(const Operation& op) {
  const std::string key = Quote(op.key, kLabelBytes);
  switch (op.kind) {
    case Kind::kPut:
      return "put " + key + "=" + Quote(op.value, kLabelBytes);
    case Kind::kDelete:
      return "delete " + key;
    case Kind::kGet: {
      std::string label = "get " + key;
      if (op.outcome == Outcome::kNotFound) label += ": none";
      if (op.outcome == Outcome::kOk && op.items[0].value) {
        label += ": " + Quote(*op.items[0].value, kLabelBytes);
      }
      return label;
    }
    case Kind::kRange:
      return "range " + key;
  }
  return "?";
}

std::string RevisionLabel(const Operation& op) {
  if (op.outcome == Outcome::kConflict) return " conflict";
  return op.revision != 0 ? " @" + std::to_string(op.revision) : "";
}

TimelineOp ToTimelineOp(const Operation& op) {
  TimelineOp out{.lane = "client " + std::to_string(op.client),
                 .lane_order = op.client,
                 .label = ShortLabel(op) + RevisionLabel(op),
                 .call = op.call,
                 .end = op.completed};
  out.details = {{"asked", DescribeQuestion(op)}, {"answer", DescribeAnswer(op)}};
  if (op.kind == Kind::kPut) out.details.emplace_back("value", Quote(op.value, kDetailBytes));
  for (const Item& item : op.items) {
    if (out.details.size() > 12) break;
    std::string text = item.value ? Quote(*item.value, kDetailBytes) : "(value not told)";
    const auto told = [&](const char* name, uint64_t number) {
      if (number != 0) text += std::string(", ") + name + " " + std::to_string(number);
    };
    told("created at", item.create_revision);
    told("changed at", item.mod_revision);
    told("version", item.version);
    out.details.emplace_back(Quote(item.key), text);
  }
  if (!op.node.empty()) out.details.emplace_back("node", op.node);
  if (op.outcome == Outcome::kUnknown) out.mark = TimelineOp::Mark::kUnknown;
  return out;
}

TimelineOp ToTimelineOp(const RegisterOp& op) {
  const bool open = op.interval.end == kNever;
  TimelineOp out{.lane = "process " + std::to_string(op.process),
                 .lane_order = op.process,
                 .label = Describe(op),
                 .call = op.interval.call};
  if (!open) out.end = op.interval.end;
  std::string outcome = "ok";
  if (op.outcome == RegisterOp::Outcome::kMismatch) outcome = "the register had another value";
  if (op.outcome == RegisterOp::Outcome::kUnknown) outcome = "outcome unknown";
  out.details = {{"asked", Describe(op)}, {"answer", outcome}};
  if (!op.key.empty()) out.details.emplace_back("key", Quote(op.key));
  if (op.outcome == RegisterOp::Outcome::kMismatch) out.label += " (refused)";
  if (op.outcome == RegisterOp::Outcome::kUnknown) out.mark = TimelineOp::Mark::kUnknown;
  return out;
}

bool Touches(const Operation& op, const std::string& key) {
  if (op.kind != Kind::kRange) return op.key == key;
  return key >= op.key && (op.end.empty() || key < op.end);
}

std::set<std::string> CoreKeys(const Violation& violation) {
  std::set<std::string> keys;
  for (const size_t op : violation.core) {
    const Operation& each = violation.prefix.operations[op];
    if (each.kind != Kind::kRange) keys.insert(each.key);
    for (const Item& item : each.items) keys.insert(item.key);
  }
  return keys;
}

// How far an operation is, in time, from the nearest one of the core.
int64_t Distance(const TimelineOp& op, const std::vector<TimelineOp>& core) {
  int64_t nearest = INT64_MAX;
  for (const TimelineOp& other : core) {
    const int64_t other_end = other.end.value_or(other.call);
    const int64_t end = op.end.value_or(op.call);
    const int64_t gap = std::max<int64_t>({0, other.call - end, op.call - other_end});
    nearest = std::min(nearest, gap);
  }
  return nearest;
}

// All of the core, and the nearest of the others.
Timeline Assemble(std::string title, std::string reason, std::vector<TimelineOp> core,
                  std::vector<TimelineOp> others) {
  if (!reason.ends_with('.')) reason += '.';
  for (TimelineOp& op : core) op.mark = TimelineOp::Mark::kCore;
  const size_t room = core.size() < kMaxOps ? kMaxOps - core.size() : 0;
  if (others.size() > room) {
    std::ranges::stable_sort(others, {}, [&](const TimelineOp& op) { return Distance(op, core); });
    reason +=
        " (" + std::to_string(others.size() - room) + " operations further away are left out.)";
    others.resize(room);
  }
  core.insert(core.end(), others.begin(), others.end());
  std::ranges::stable_sort(core, {}, &TimelineOp::call);
  return {std::move(title), std::move(reason), std::move(core)};
}

}  // namespace

Timeline TimelineOf(const Violation& violation, const std::string& name) {
  const std::set<std::string> keys = CoreKeys(violation);
  const std::set<size_t> in_core(violation.core.begin(), violation.core.end());
  std::vector<TimelineOp> core;
  std::vector<TimelineOp> others;
  for (size_t i = 0; i < violation.prefix.operations.size(); ++i) {
    const Operation& op = violation.prefix.operations[i];
    if (in_core.contains(i)) {
      core.push_back(ToTimelineOp(op));
    } else if (op.outcome != Outcome::kFail &&
               std::ranges::any_of(keys, [&](const auto& key) { return Touches(op, key); })) {
      others.push_back(ToTimelineOp(op));
    }
  }
  return Assemble(name, violation.reason, std::move(core), std::move(others));
}

Timeline TimelineOf(const RegisterViolation& violation, const std::string& name) {
  const std::set<size_t> in_core(violation.core.begin(), violation.core.end());
  std::vector<TimelineOp> core;
  std::vector<TimelineOp> others;
  for (size_t i = 0; i < violation.prefix.size(); ++i) {
    (in_core.contains(i) ? core : others).push_back(ToTimelineOp(violation.prefix[i]));
  }
  return Assemble(name, violation.reason, std::move(core), std::move(others));
}

}  // namespace raftkv::linearizability
