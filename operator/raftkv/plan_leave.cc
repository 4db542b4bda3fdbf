// Slots above all members: what is left there of members that were removed.

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

// A blank node that was noted but never added: its claim holds nothing.
std::optional<Decision> TakeNoteBack(const Facts& facts, int slot, const Operation& operation) {
  const SlotView& view = facts.slot(slot);
  if (!view.claim || view.claim->deleting || view.claim->member == 0 || !facts.Blank(slot)) {
    return std::nullopt;
  }
  if (view.report->member != view.claim->member) return std::nullopt;
  return Do(MarkClaim{slot, view.claim->uid, 0}, operation);
}

std::optional<Decision> StopPods(const Facts& facts, int needed) {
  const Operation operation = Continue(facts, Operation::Type::kScale, "WaitForLeaving");
  for (int slot = needed; slot < facts.seen.objects.stateful_set_replicas; ++slot) {
    if (auto note = TakeNoteBack(facts, slot, operation)) return note;
    if (!facts.Ended(slot)) return Wait(operation);
  }
  return Do(WithReplicas(facts, needed), Continue(facts, Operation::Type::kScale, "RemovePods"));
}

std::optional<Decision> WaitForPods(const Facts& facts, int needed) {
  const Operation operation = Continue(facts, Operation::Type::kScale, "RemovePods");
  for (int slot = needed; slot < facts.slot_count(); ++slot) {
    const std::optional<PodView>& pod = facts.slot(slot).pod;
    if (!pod) continue;
    if (facts.OutOfReach(slot) && !facts.AnotherPodMoves(slot)) {
      return Do(DeletePod{slot, pod->uid, "its node is lost", true}, operation);
    }
    return Wait(operation);
  }
  return std::nullopt;
}

// Claims with a note of somebody who is neither member nor removed are not ours to judge.
std::optional<Decision> DeleteClaims(const Facts& facts, int needed) {
  if (facts.spec.on_scale_down == Retention::kRetain) return std::nullopt;
  AnyOf claims(facts);
  for (int slot = needed; slot < facts.slot_count(); ++slot) {
    const std::optional<ClaimView>& claim = facts.slot(slot).claim;
    if (!claim || claim->deleting) continue;
    if (claim->member != 0 && !facts.Removed(claim->member)) continue;
    const bool done = claims.Add(
        Do(DeleteClaim{slot, claim->uid, "its member was removed from the cluster", claim->member},
           Continue(facts, Operation::Type::kScale, "DeleteClaims")));
    if (done) break;
  }
  return std::move(claims).Chosen();
}

}  // namespace

std::optional<Decision> PlanLeave(const Facts& facts) {
  const int needed = facts.needed_slots();
  if (facts.seen.objects.stateful_set_replicas > needed) return StopPods(facts, needed);
  if (auto pods = WaitForPods(facts, needed)) return pods;
  return DeleteClaims(facts, needed);
}

}  // namespace raftkv::op
