// replicas: 0 and back: pods go, volumes stay.

#include <algorithm>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {

std::optional<Decision> PlanHibernate(const Facts& facts) {
  if (facts.spec.replicas != 0) return std::nullopt;
  const ObjectsView& objects = facts.seen.objects;
  if (objects.stateful_set_replicas == 0) {
    for (const auto& [slot, view] : facts.seen.slots) {
      if (view.pod) return Wait(Continue(facts, Operation::Type::kHibernate, "WaitForPods"));
    }
    if (auto spare = PlanServiceAccount(facts)) return spare;
    Decision asleep = Wait(Operation{});
    asleep.at_rest = true;
    return asleep;
  }
  // While a change is not settled, or members are missing, nothing more is switched off. Where no
  // member runs, nothing is.
  const bool settled = facts.has_leader() && !facts.config()->joint();
  if (!settled && !NobodyKnows(facts)) return std::nullopt;
  return Do(WithReplicas(facts, 0), Continue(facts, Operation::Type::kHibernate, "StopPods"));
}

// Everybody who was there comes back first; a change of size is for afterwards.
std::optional<Decision> PlanWake(const Facts& facts) {
  if (facts.spec.replicas == 0 || facts.seen.cluster == 0) return std::nullopt;
  int slots = 0;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (view.claim) slots = std::max(slots, slot + 1);
  }
  const int replicas = facts.seen.objects.stateful_set_replicas;
  const bool waking = facts.seen.operation.type == Operation::Type::kWake && !facts.has_leader();
  // A claim may be seen late.
  if (replicas == 0 || (waking && replicas < slots)) {
    return Do(WithReplicas(facts, slots == 0 ? facts.spec.replicas : slots),
              Continue(facts, Operation::Type::kWake, "StartPods"));
  }
  if (waking) {
    return Wait(Continue(facts, Operation::Type::kWake, "WaitForQuorum"));
  }
  return std::nullopt;
}

}  // namespace raftkv::op
