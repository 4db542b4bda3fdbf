// The resource's beginning and end, and its pause.

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {

std::optional<Decision> PlanFinalizer(const Facts& facts) {
  if (facts.seen.finalizer || facts.seen.deleting) return std::nullopt;
  return Do(AddFinalizer{}, facts.seen.operation);
}

// The whole cluster goes: nobody has to leave it in order. Kubernetes' garbage collection takes
// what we own; claims are owned by nobody and go here, if the spec says so, after the pods that use
// them.
std::optional<Decision> PlanDeletion(const Facts& facts) {
  const Observation& seen = facts.seen;
  if (!seen.deleting) return std::nullopt;
  if (!seen.finalizer) return Wait(Op(Operation::Type::kDelete, "WaitForGarbageCollection"));
  if (facts.spec.on_delete == Retention::kRetain) {
    return Do(RemoveFinalizer{}, Op(Operation::Type::kDelete, "KeepClaims"));
  }
  // Whoever left the pods running, or gave them to somebody else, did not mean their data.
  if (seen.orphans || seen.objects.foreign_set) {
    return Do(RemoveFinalizer{"the claims stay, because the StatefulSet does"},
              Op(Operation::Type::kDelete, "KeepClaims"));
  }
  if (seen.objects.stateful_set && seen.objects.stateful_set_replicas > 0 &&
      !seen.objects.stateful_set_deleting) {
    // In a foreground deletion it is deleted in this moment, and takes its pods with it.
    if (seen.foreground) return Wait(Op(Operation::Type::kDelete, "StopPods"));
    return Do(WithReplicas(facts, 0), Op(Operation::Type::kDelete, "StopPods"));
  }
  for (const auto& [slot, view] : seen.slots) {
    if (!view.pod) continue;
    if (facts.OutOfReach(slot)) {
      return Do(DeletePod{slot, view.pod->uid, "its node is lost", true},
                Op(Operation::Type::kDelete, "StopPods"));
    }
    return Wait(Op(Operation::Type::kDelete, "StopPods"));
  }
  for (const auto& [slot, view] : seen.slots) {
    if (!view.claim || view.claim->deleting) continue;
    return Do(DeleteClaim{slot, view.claim->uid, "storage.retention.onDelete is Delete",
                          view.claim->member},
              Op(Operation::Type::kDelete, "DeleteClaims"));
  }
  return Do(RemoveFinalizer{}, Op(Operation::Type::kDelete, "DeleteClaims"));
}

std::optional<Decision> PlanPaused(const Facts& facts) {
  if (!facts.spec.paused) return std::nullopt;
  Decision paused = Wait(facts.seen.operation);
  paused.at_rest = true;
  return paused;
}

}  // namespace raftkv::op
