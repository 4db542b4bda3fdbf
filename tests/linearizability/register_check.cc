#include "tests/linearizability/register_check.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/check.h"
#include "tests/linearizability/shrink.h"

namespace raftkv::linearizability {
namespace {

using Function = RegisterOp::Function;
using Outcome = RegisterOp::Outcome;

constexpr uint64_t kFirstSteps = 20'000;
constexpr uint64_t kMoreSteps = 8;

// One register; states are the numbers of the values seen so far.
class RegisterModel final : public Model {
 public:
  RegisterModel(std::span<const RegisterOp> ops, RegisterValue initial, Budget* budget)
      : ops_(ops), initial_(std::move(initial)), budget_(budget) {
    Number(initial_);
    for (const RegisterOp& op : ops) {
      has_appends_ |= op.function == Function::kAppend;
      values_of_.push_back({Number(op.expected), Number(op.value)});
    }
  }

  ~RegisterModel() override { budget_->Forget(accounted_bytes_); }

  State Initial() override { return 0; }

  std::optional<State> Step(State state, size_t op) override {
    const auto [expected, value] = values_of_[op];
    const bool unknown = ops_[op].outcome == Outcome::kUnknown;
    switch (ops_[op].function) {
      case Function::kRead:
        if (unknown || state == value) return state;
        return std::nullopt;
      case Function::kWrite:
        return value;
      case Function::kAppend:
        return Append(state, op);
      case Function::kCas:
        if (unknown) return state == expected ? value : state;
        if ((state == expected) != (ops_[op].outcome == Outcome::kOk)) return std::nullopt;
        return ops_[op].outcome == Outcome::kOk ? value : state;
    }
    return std::nullopt;
  }

  bool IsReadOnly(size_t op) const override {
    return ops_[op].function == Function::kRead || ops_[op].outcome == Outcome::kMismatch;
  }

  bool AreTwins(size_t a, size_t b) const override {
    return ops_[a].function == ops_[b].function && values_of_[a] == values_of_[b];
  }

  bool ShowsState(size_t op) const override { return ops_[op].function == Function::kRead; }

  std::optional<State> Leaves(size_t op) const override {
    if (IsReadOnly(op) || ops_[op].function == Function::kAppend) return std::nullopt;
    return values_of_[op].value;
  }

  bool CanLeadTo(State state, size_t read) override {
    const State answer = values_of_[read].value;
    if (state == answer || !has_appends_) return state == answer;
    return values_[answer]->value_or("").starts_with(values_[state]->value_or(""));
  }

  std::string Text(State state) const {
    return *values_[state] ? "\"" + **values_[state] + "\"" : "nil";
  }

 private:
  struct Values {
    State expected;
    State value;
    bool operator==(const Values&) const = default;
  };

  // nil is what the register holds at first, also where that is a string.
  State Number(const RegisterValue& value) {
    const RegisterValue& known = value ? value : initial_;
    const auto [at, is_new] = numbers_.try_emplace(known ? "+" + *known : "nil", values_.size());
    if (is_new) {
      values_.push_back(std::make_unique<RegisterValue>(known));
      // Twice the text, and what the containers need.
      Account(2 * known.value_or("").size() + 200);
    }
    return at->second;
  }

  State Append(State state, size_t op) {
    const uint64_t key = uint64_t{state} << 32 | values_of_[op].value;
    const auto [at, is_new] = appended_.try_emplace(key, 0);
    if (is_new) {
      Account(64);
      at->second = Number(values_[state]->value_or("") + ops_[op].value.value_or(""));
    }
    return at->second;
  }

  void Account(size_t bytes) {
    budget_->Remember(bytes);
    accounted_bytes_ += bytes;
  }

  const std::span<const RegisterOp> ops_;
  const RegisterValue initial_;
  Budget* const budget_;
  size_t accounted_bytes_ = 0;
  bool has_appends_ = false;
  std::vector<Values> values_of_;
  std::vector<std::unique_ptr<RegisterValue>> values_;  // by number
  std::unordered_map<std::string, State> numbers_;
  std::unordered_map<uint64_t, State> appended_;  // (state, added value) to state
};

// What constrains nothing: what certainly did not happen, and reads without an answer.
bool IsIdle(const RegisterOp& op) {
  return op.outcome == Outcome::kFail ||
         (op.function == Function::kRead && op.outcome == Outcome::kUnknown);
}

std::map<std::string, std::vector<RegisterOp>> ByKey(std::span<const RegisterOp> ops) {
  std::map<std::string, std::vector<RegisterOp>> keys;
  for (const RegisterOp& op : ops) {
    if (!IsIdle(op)) keys[op.key].push_back(op);
  }
  return keys;
}

struct OneKey {
  Verdict verdict;
  std::string reason;
};

std::string NameLine(const RegisterOp& op) {
  return Describe(op) + " (process " + std::to_string(op.process) + ", line " +
         std::to_string(op.interval.call) + ")";
}

// The state in which the longest linearization ends, and what could not follow it.
std::string ReasonOf(std::span<const RegisterOp> ops, const std::vector<size_t>& order,
                     RegisterModel* model) {
  Model::State state = model->Initial();
  std::vector<bool> done(ops.size());
  for (const size_t op : order) {
    state = model->Step(state, op).value_or(state);
    done[op] = true;
  }
  std::string reason = "no order of the " + std::to_string(ops.size()) + " operations ";
  if (!ops[0].key.empty()) reason += "on key \"" + ops[0].key + "\" ";
  reason += "fits; the one that comes furthest holds " + model->Text(state) + " after " +
            std::to_string(order.size()) + " and cannot go on with";
  int64_t first_end = kNever;
  for (size_t op = 0; op < ops.size(); ++op) {
    if (!done[op]) first_end = std::min(first_end, ops[op].interval.end);
  }
  for (size_t op = 0; op < ops.size(); ++op) {
    if (!done[op] && ops[op].interval.end != kNever && ops[op].interval.call <= first_end) {
      reason += " " + NameLine(ops[op]) + ";";
    }
  }
  reason.back() = '.';
  return reason;
}

OneKey CheckKey(std::span<const RegisterOp> ops, const RegisterValue& initial, Budget* budget) {
  if (ops.empty()) return {Verdict::kLinearizable, ""};
  RegisterModel model(ops, initial, budget);
  std::vector<Interval> intervals;
  for (const RegisterOp& op : ops) intervals.push_back(op.interval);
  const SearchResult result = Search(intervals, &model, budget);
  if (result.verdict != Verdict::kNotLinearizable) return {result.verdict, ""};
  return {result.verdict, ReasonOf(ops, result.order, &model)};
}

// What was called in the first `lines` lines of the log; what ended later has no known outcome.
std::vector<RegisterOp> Prefix(std::span<const RegisterOp> ops, int64_t line) {
  std::vector<RegisterOp> prefix;
  for (const RegisterOp& op : ops) {
    if (op.interval.call > line) continue;
    prefix.push_back(op);
    if (op.interval.end <= line) continue;
    prefix.back().interval.end = kNever;
    prefix.back().outcome = Outcome::kUnknown;
    if (op.function == Function::kRead) prefix.back().value.reset();
  }
  return prefix;
}

std::vector<RegisterOp> WithoutIdle(std::vector<RegisterOp> ops) {
  std::erase_if(ops, IsIdle);
  return ops;
}

// A history that allows more: reads that are not kept are gone, and writes may or may not happen.
std::vector<RegisterOp> Weaken(std::span<const RegisterOp> ops, const std::vector<size_t>& kept) {
  std::vector<RegisterOp> weaker(ops.begin(), ops.end());
  std::vector<bool> is_kept(ops.size());
  for (const size_t op : kept) is_kept[op] = true;
  for (size_t op = 0; op < weaker.size(); ++op) {
    if (is_kept[op]) continue;
    const bool happened =
        weaker[op].outcome == Outcome::kOk || weaker[op].outcome == Outcome::kUnknown;
    weaker[op].outcome = happened ? Outcome::kUnknown : Outcome::kFail;
    weaker[op].interval.end = kNever;
  }
  return WithoutIdle(std::move(weaker));
}

// `prefix` ends with the first answer that cannot be.
std::string ReasonOf(const RegisterViolation& violation) {
  constexpr size_t kMaxListed = 8;
  const auto last = std::ranges::max_element(violation.prefix, {}, [](const RegisterOp& op) {
    return op.interval.end == kNever ? 0 : op.interval.end;
  });
  std::string reason = "The answer " + NameLine(*last) + " contradicts what came before";
  if (!last->key.empty()) reason += " on key \"" + last->key + "\"";
  if (violation.core.size() > kMaxListed) return reason + ".";
  reason += ". Whether or not the others took effect, no order fits these:";
  for (const size_t op : violation.core) reason += " " + NameLine(violation.prefix[op]) + ";";
  reason.back() = '.';
  return reason;
}

bool IsViolation(std::span<const RegisterOp> ops, const RegisterValue& initial,
                 const Limits& limits) {
  Budget budget(limits);
  return CheckKey(ops, initial, &budget).verdict == Verdict::kNotLinearizable;
}

}  // namespace

Report CheckRegisters(std::span<const RegisterOp> ops, const RegisterValue& initial,
                      const Limits& limits) {
  Budget budget(limits);
  Report report{.verdict = Verdict::kLinearizable};
  std::map<std::string, std::vector<RegisterOp>> keys = ByKey(ops);
  // A violation of one key may be plain while another key's search has no end in sight: each gets
  // a few steps first, and those that need more get more.
  for (uint64_t steps = kFirstSteps; !keys.empty(); steps *= kMoreSteps) {
    for (auto key = keys.begin(); key != keys.end();) {
      budget.LimitPart(steps);
      OneKey result = CheckKey(key->second, initial, &budget);
      if (result.verdict == Verdict::kNotLinearizable || budget.is_used_up()) {
        report.verdict = result.verdict;
        report.reason = result.verdict == Verdict::kUnknown ? budget.reached() + " was reached"
                                                            : std::move(result.reason);
        report.steps = budget.steps();
        return report;
      }
      key = result.verdict == Verdict::kLinearizable ? keys.erase(key) : std::next(key);
    }
  }
  report.steps = budget.steps();
  return report;
}

RegisterViolation ExplainRegisters(std::span<const RegisterOp> ops, const RegisterValue& initial,
                                   const Limits& limits, Duration max_time) {
  const Patience patience(max_time);
  RegisterViolation violation;
  std::vector<int64_t> ends;
  for (const RegisterOp& op : ops) {
    if (op.interval.end != kNever) ends.push_back(op.interval.end);
  }
  std::ranges::sort(ends);
  CHECK(!ends.empty(), "without an answer there is no violation");
  const size_t shortest = SmallestThatHolds(ends.size(), patience, [&](size_t count) {
    return CheckRegisters(Prefix(ops, ends[count - 1]), initial, patience.Within(limits)).verdict ==
           Verdict::kNotLinearizable;
  });
  violation.out_of_time = patience.is_over();
  for (auto& [key, key_ops] : ByKey(Prefix(ops, ends[shortest - 1]))) {
    Budget budget(patience.Within(limits));
    if (CheckKey(key_ops, initial, &budget).verdict != Verdict::kNotLinearizable) continue;
    violation.prefix = std::move(key_ops);
    break;
  }
  if (violation.prefix.empty()) {  // whose key it is was not found out in time
    violation.out_of_time = true;
    violation.prefix = Prefix(ops, ends[shortest - 1]);
    return violation;
  }
  const Limits tight = LimitsOfATry(limits, violation.prefix.size());
  const Patience shrinking(std::min(kMaxShrinkTime, patience.left()));
  violation.core =
      SmallestSubset(violation.prefix.size(), shrinking, [&](const std::vector<size_t>& kept) {
        return IsViolation(Weaken(violation.prefix, kept), initial, shrinking.Within(tight));
      });
  violation.reason = ReasonOf(violation);
  return violation;
}

}  // namespace raftkv::linearizability
