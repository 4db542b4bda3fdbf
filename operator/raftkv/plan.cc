#include "operator/raftkv/plan.h"

#include <chrono>
#include <utility>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

// The first that has something to do, or to wait for, decides (plan.h, order of precedence).
constexpr Rule kRules[] = {
    PlanDeletion,         PlanFinalizer,   PlanPaused,     PlanForeign,
    PlanObjects,          PlanStatefulSet, PlanStuckPods,  PlanBootstrap,
    PlanDisruptionBudget, PlanLeaderMark,  PlanClaimMarks, PlanWake,
    PlanHibernate,        PlanNoQuorum,    PlanJoint,      PlanLeave,
    PlanReplace,          PlanScale,       PlanRoll,       PlanResize,
    PlanServiceAccount,
};

Decision Decide(const Facts& facts) {
  for (const Rule rule : kRules) {
    if (std::optional<Decision> decision = rule(facts)) return *std::move(decision);
  }
  Decision rest = Wait(Operation{});
  rest.at_rest = true;
  return rest;
}

// Nodes are not watched: whatever they do next is seen only by asking again.
Duration LookAgain(const Facts& facts, const Decision& decision) {
  using std::chrono::seconds;
  if (facts.seen.deleting && !facts.seen.finalizer) return Duration::zero();
  if (!decision.at_rest && decision.blocked.empty()) return seconds(1);
  if (facts.spec.replicas == 0) return Duration::zero();
  if (!decision.blocked.empty()) return seconds(5);
  // A member that comes back does so within seconds, and only its answers tell.
  return Healthy(facts) ? seconds(30) : seconds(1);
}

}  // namespace

Operation Op(Operation::Type type, std::string step) {
  Operation operation;
  operation.type = type;
  operation.step = std::move(step);
  return operation;
}

Operation Continue(const Facts& facts, Operation::Type type, std::string step) {
  Operation operation = facts.seen.operation;
  if (operation.type != type) operation = Op(type, "");
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

}  // namespace raftkv::op
