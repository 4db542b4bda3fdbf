#include "operator/raftkv/plan.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

// The first that has something to do, or to wait for, decides (plan.h, order of precedence).
constexpr Rule kRules[] = {
    PlanDeletion,   PlanFinalizer,      PlanPaused,    PlanInvalidSpec, PlanForeign,
    PlanObjects,    PlanStatefulSet,    PlanStuckPods, PlanBootstrap,   PlanDisruptionBudget,
    PlanLeaderMark, PlanClaimMarks,     PlanWake,      PlanHibernate,   PlanNoQuorum,
    PlanJoint,      PlanAddresses,      PlanLeave,     PlanReplace,     PlanScale,
    PlanRoll,       PlanServiceAccount, PlanResize,    PlanRestOfRoll,
};

// What depends on a step of the membership that is refused: a size that is not there yet is no
// reason for another one, and pods of live members go only where nothing else is in the way. A lost
// member is replaced nevertheless.
bool ChangesMembership(const Rule rule) {
  return rule == PlanWake || rule == PlanHibernate || rule == PlanAddresses || rule == PlanLeave ||
         rule == PlanReplace || rule == PlanScale;
}
bool NeedsMembershipDone(const Rule rule) { return rule == PlanScale || rule == PlanRoll; }

// Starts pods, or lets them start anew, for which Services, policies or the account may be missing.
bool NeedsObjects(const Rule rule, const Facts& facts) {
  return rule == PlanWake || rule == PlanScale || rule == PlanRoll ||
         (rule == PlanStatefulSet && !facts.seen.objects.stateful_set);
}

// More voters than the budget knows of: evictions could take the quorum.
bool AddsVoters(const Rule rule, const Facts& facts) {
  return rule == PlanScale && static_cast<int>(facts.config()->voters.size()) < facts.target();
}

// Before a growth that waits for its budget. Not where the growth gives the cluster the member that
// can be missed, nor where the budget counts pods that are no voters: they would stand in for the
// one that is rolled.
bool CanRollBeforeGrowth(const Facts& facts) {
  const Membership& config = *facts.config();
  return config.voters.size() > 2 && config.learners.empty() &&
         facts.seen.objects.stateful_set_replicas <= static_cast<int>(config.voters.size());
}

// The operation that what is refused is a part of, when everything else is done. Of upkeep (marks,
// the budget, Services) there is none: what was going on beside it may be finished.
Operation Remainder(const Facts& facts, const Rule rule, const Decision& held) {
  const bool in_order = facts.seen.cluster == 0 || facts.seen.deleting;
  if (rule == PlanStatefulSet && !facts.seen.objects.template_current) return NewTemplate(facts);
  const bool upkeep = std::holds_alternative<DeleteServiceAccount>(held.action);
  const bool part = in_order || rule == PlanStatefulSet || rule == PlanStuckPods ||
                    ChangesMembership(rule) || rule == PlanRoll || rule == PlanResize;
  return part && !upkeep ? held.operation : Operation{};
}

Decision BesideAll(const Facts& facts, const std::vector<Decision>& refused, Decision decision) {
  for (const Decision& one : refused) decision = Beside(facts, one, std::move(decision));
  if (decision.retry) decision.action = *decision.retry;
  return decision;
}

// Of a resource that goes only its finalizer is upkeep, where that destroys nothing.
Decision DecideUpkeep(const Facts& facts) {
  Decision nothing = Wait(facts.seen.operation);
  if (const std::optional<Decision> deletion = PlanDeletion(facts)) {
    if (!std::holds_alternative<RemoveFinalizer>(deletion->action)) return nothing;
    return Refused(facts, deletion->action) ? BesideAll(facts, {*deletion}, nothing) : *deletion;
  }
  for (const Rule in_the_way : {PlanPaused, PlanInvalidSpec, PlanForeign}) {
    if (in_the_way(facts)) return nothing;
  }
  std::vector<Decision> refused;
  for (const Rule rule : {PlanObjects, PlanDisruptionBudget, PlanLeaderMark}) {
    std::optional<Decision> decision = rule(facts);
    if (!decision) continue;
    if (!Refused(facts, decision->action)) return BesideAll(facts, refused, *std::move(decision));
    refused.push_back(*std::move(decision));
  }
  return BesideAll(facts, refused, nothing);
}

// What the API server refuses holds up nothing but itself, and what depends on it. Before there is
// a cluster, and while it is taken down, the order of the rules is the order of what is done: there
// it is waited for.
Decision Decide(const Facts& facts) {
  const bool in_order = facts.seen.cluster == 0 || facts.seen.deleting;
  std::vector<Decision> refused;
  Operation left;  // of these, and of what depends on them
  // The one that runs already has values that are latched.
  const Operation::Type running = facts.seen.operation.type;
  const auto keep = [&](const Operation& operation) {
    const bool none = left.type == Operation::Type::kNone;
    if (none || (operation.type == running && left.type != running)) left = operation;
  };
  const auto rest_of = [&](Decision decision) {
    // Of no operation itself, it is no end of that one.
    const bool waits = std::holds_alternative<Nothing>(decision.action);
    if (decision.operation.type == Operation::Type::kNone) {
      decision.operation = left;
      decision.at_rest = decision.at_rest || (waits && left.type != Operation::Type::kNone);
    }
    return BesideAll(facts, refused, std::move(decision));
  };
  bool membership_held = false;
  bool objects_held = false;
  bool budget_held = false;
  for (const Rule rule : kRules) {
    std::optional<Decision> decision = rule(facts);
    if (!decision) continue;
    const bool without_budget = budget_held && AddsVoters(rule, facts);
    const bool depends = (membership_held && NeedsMembershipDone(rule)) ||
                         (objects_held && NeedsObjects(rule, facts)) || without_budget;
    if (depends) {
      keep(decision->operation);
      const bool not_begun = without_budget && CanRollBeforeGrowth(facts);
      membership_held = membership_held || (ChangesMembership(rule) && !not_begun);
      continue;
    }
    if (!Refused(facts, decision->action)) {
      // Whether a cluster wakes or sleeps is all that there is to wait for without a leader.
      if (rule == PlanNoQuorum && membership_held) decision->at_rest = true;
      return rest_of(*std::move(decision));
    }
    keep(Remainder(facts, rule, *decision));
    membership_held = membership_held || ChangesMembership(rule);
    objects_held = objects_held || rule == PlanObjects;
    budget_held = budget_held || rule == PlanDisruptionBudget;
    refused.push_back(*std::move(decision));
    if (in_order) break;
  }
  Decision rest = Wait(left);
  rest.at_rest = true;
  return rest_of(std::move(rest));
}

Duration UntilDue(const Facts& facts, const std::vector<std::string>& held) {
  int64_t seconds = 0;
  for (const std::string& name : held) {
    const int64_t left = facts.seen.refusals.at(name).again_s - facts.seen.now_s;
    if (left > 0) seconds = seconds == 0 ? left : std::min(seconds, left);
  }
  return std::chrono::seconds(seconds);
}

// Nodes are not watched: whatever they do next is seen only by asking again.
Duration WithoutRefusals(const Facts& facts, const Decision& decision) {
  using std::chrono::seconds;
  if (facts.seen.deleting && !facts.seen.finalizer) return Duration::zero();
  if (!decision.at_rest && decision.blocked.empty()) return seconds(1);
  if (facts.spec.replicas == 0) return Duration::zero();
  if (!decision.blocked.empty()) return seconds(5);
  // A member that comes back does so within seconds, and only its answers tell.
  return Healthy(facts) ? seconds(30) : seconds(1);
}

Duration LookAgain(const Facts& facts, const Decision& decision) {
  const Duration usual = WithoutRefusals(facts, decision);
  if (decision.held.empty()) return usual;
  const Duration due = UntilDue(facts, decision.held);
  if (due == Duration::zero()) return usual;
  return usual == Duration::zero() ? due : std::min(usual, due);
}

}  // namespace

bool Refused(const Facts& facts, const Action& action) {
  return facts.seen.refusals.contains(RefusalKey(action));
}

Decision Beside(const Facts& facts, const Decision& refused, Decision next) {
  const std::string key = RefusalKey(refused.action);
  next.held.push_back(key);
  next.held.insert(next.held.end(), refused.held.begin(), refused.held.end());
  const bool due = facts.seen.refusals.at(key).again_s <= facts.seen.now_s;
  if (!next.retry && due) next.retry = refused.action;
  if (!next.retry) next.retry = refused.retry;
  return next;
}

bool AnyOf::Add(Decision decision) {
  if (Refused(facts_, decision.action)) {
    refused_.push_back(std::move(decision));
    return false;
  }
  chosen_ = std::move(decision);
  return true;
}

std::optional<Decision> AnyOf::Chosen() && {
  if (!chosen_ && refused_.empty()) return std::nullopt;
  if (!chosen_) {
    chosen_ = std::move(refused_.front());
    refused_.erase(refused_.begin());
  }
  for (const Decision& refused : refused_) {
    chosen_ = Beside(facts_, refused, *std::move(chosen_));
  }
  return std::move(chosen_);
}

Operation Op(Operation::Type type, std::string step) {
  Operation operation;
  operation.type = type;
  operation.step = std::move(step);
  return operation;
}

Operation Continue(const Facts& facts, Operation::Type type, std::string step) {
  Operation operation = facts.seen.operation;
  if (operation.type != type) {
    operation = Op(type, "");
    const bool replaces = type == Operation::Type::kReplace && facts.config() != nullptr;
    if (replaces) operation.target = static_cast<int>(facts.config()->voters.size());
  }
  if (type == Operation::Type::kScale) operation.target = facts.target();
  operation.step = std::move(step);
  return operation;
}

Decision Do(Action action, Operation operation) {
  Decision decision;
  decision.action = std::move(action);
  decision.operation = std::move(operation);
  return decision;
}

Decision Wait(Operation operation) { return Do(Nothing{}, std::move(operation)); }

Decision Blocked(Operation operation, std::string reason, std::string message) {
  Decision decision = Wait(std::move(operation));
  decision.operation.step = reason;
  decision.blocked = std::move(reason);
  decision.blocked_message = std::move(message);
  return decision;
}

std::optional<Decision> PlanNoQuorum(const Facts& facts) {
  if (facts.has_leader()) return std::nullopt;
  return Wait(facts.seen.operation);
}

std::optional<Decision> PlanJoint(const Facts& facts) {
  if (!facts.config()->joint()) return std::nullopt;
  return Wait(facts.seen.operation);
}

Plan MakePlan(const Observation& seen) {
  const Facts facts(seen);
  Decision decision = Decide(facts);
  Plan plan;
  plan.status = MakeStatus(facts, decision);
  plan.events = MakeEvents(facts, decision, plan.status);
  plan.look_again = LookAgain(facts, decision);
  plan.action = std::move(decision.action);
  return plan;
}

namespace {

// What is right whatever else goes on, and part of no operation.
Plan MakeUpkeepPlan(const Observation& seen) {
  const Facts facts(seen);
  Decision decision = DecideUpkeep(facts);
  decision.operation = seen.operation;
  Plan plan;
  plan.status = MakeStatus(facts, decision);
  if (auto step = EventOf(seen.name, decision.action)) {
    step->action = "Maintain";
    step->step = true;
    plan.events.push_back(*std::move(step));
  }
  plan.look_again = LookAgain(facts, decision);
  plan.action = std::move(decision.action);
  return plan;
}

}  // namespace

Plan MakeUnsaidPlan(const Observation& seen) {
  Observation unsaid = seen;
  unsaid.status_refused = true;
  Plan plan = MakePlan(unsaid);
  const bool said = plan.status.operation == seen.operation && plan.status.cluster == seen.cluster;
  return said ? plan : MakeUpkeepPlan(unsaid);
}

}  // namespace raftkv::op
