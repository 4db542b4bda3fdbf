// Pods of an old template are deleted one at a time and come back with the new one.

#include <algorithm>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

bool MayRoll(const Facts& facts) {
  return facts.spec.strategy == UpdateStrategy::kRollingUpdate && !facts.spec.update_paused;
}

Operation Rolling(const Facts& facts, int slot, std::string step) {
  Operation operation = Continue(facts, Operation::Type::kRoll, std::move(step));
  operation.slot = slot;
  return operation;
}

bool Settled(const Facts& facts, MemberId voter) {
  const int slot = facts.SlotOf(voter);
  if (slot < 0) return facts.Active(voter);
  const std::optional<PodView>& pod = facts.slot(slot).pod;
  return pod && pod->ready && !pod->deleting && facts.CaughtUp(voter) && facts.TakesPart(voter);
}

Decision Delete(const Facts& facts, int slot) {
  const SlotView& view = facts.slot(slot);
  const bool data_stays = view.claim && !view.claim->deleting && !view.claim->lost;
  const bool replaceable = facts.spec.replacement_enabled && facts.config()->voters.size() > 2;
  if (!data_stays && facts.VoterIn(slot) && !replaceable) {
    return Blocked(
        Rolling(facts, slot, "DeletePod"), "ClaimGoes",
        "the claim of pod " + PodName(facts.seen.name, slot) +
            " is lost or being deleted, and with the pod its data would be gone: scale up first");
  }
  return Do(DeletePod{slot, view.pod->uid, "its template is outdated", false},
            Rolling(facts, slot, "DeletePod"));
}

}  // namespace

bool Outdated(const Facts& facts, int slot) {
  const ObjectsView& objects = facts.seen.objects;
  const std::optional<PodView>& pod = facts.slot(slot).pod;
  // While the spec's template is refused, the one before it is in force.
  const bool in_force = objects.template_current || TemplateRefused(facts);
  return pod && in_force && !objects.update_revision.empty() &&
         pod->revision != objects.update_revision;
}

Operation NewTemplate(const Facts& facts) {
  if (!MayRoll(facts) || facts.seen.objects.stateful_set_replicas == 0) return Operation{};
  return Rolling(facts, -1, "ApplyTemplate");
}

Operation WithNewTemplate(const Facts& facts) {
  const Operation& running = facts.seen.operation;
  return running.type == Operation::Type::kNone ? NewTemplate(facts) : running;
}

// Pods that will never start as they are. They hold no process, so that no quorum is needed and
// none is touched: this heals a cluster whose every pod got a broken template.
std::optional<Decision> PlanStuckPods(const Facts& facts) {
  for (int slot = 0; slot < facts.seen.objects.stateful_set_replicas; ++slot) {
    const SlotView& view = facts.slot(slot);
    if (!view.pod || view.pod->deleting || view.report || facts.AnotherPodMoves(slot)) continue;
    if (facts.AliveIn(slot)) continue;
    const PodView& pod = *view.pod;
    // The StatefulSet makes a claim only together with a pod, before it; and what a cache does not
    // show yet a live look has found.
    const bool no_claim = !view.claim && view.hidden_claim == HiddenClaim::kNone;
    // What others have put there is theirs.
    const bool hidden = view.hidden_claim != HiddenClaim::kNone;
    const bool not_started = pod.node.empty() || pod.unschedulable || !pod.waiting.empty();
    if (no_claim) {
      return Do(DeletePod{slot, pod.uid, "its claim is gone", false, true}, facts.seen.operation);
    }
    if (not_started && !hidden && Outdated(facts, slot) && MayRoll(facts)) {
      return Do(DeletePod{slot, pod.uid, "it cannot start, and its template is outdated", false},
                facts.seen.operation);
    }
  }
  return std::nullopt;
}

// Dead ones first, then followers, the leader last, after it has handed over; between two pods
// everybody takes part and has caught up.
std::optional<Decision> PlanRoll(const Facts& facts) {
  const int pods = facts.seen.objects.stateful_set_replicas;
  // Its controller has not seen the template yet: nobody knows which pods are outdated.
  if (pods > 0 && facts.seen.objects.update_revision.empty() && MayRoll(facts)) {
    return Wait(facts.seen.operation);
  }
  std::vector<int> outdated;
  bool unknown = false;
  for (int slot = pods - 1; slot >= 0; --slot) {
    if (!Outdated(facts, slot)) continue;
    unknown = unknown || facts.slot(slot).hidden_claim == HiddenClaim::kUnknown;
    // Neither somebody else's claim nor its pod is touched.
    if (facts.slot(slot).hidden_claim == HiddenClaim::kNone) outdated.push_back(slot);
  }
  const Operation& running = facts.seen.operation;
  const bool rolling = running.type == Operation::Type::kRoll;
  if (outdated.empty() && !rolling && !unknown) return std::nullopt;
  if (!MayRoll(facts)) return std::nullopt;
  if (outdated.empty() && unknown) return Wait(Rolling(facts, running.slot, "WaitForClaim"));
  // It has come to its rest (PlanRestOfRoll), and holds up nothing that may help a member since.
  const bool at_rest = rolling && facts.slot(running.slot).hidden_claim == HiddenClaim::kForeign;
  if (outdated.empty() && at_rest) return std::nullopt;

  const bool begun = rolling && running.slot >= 0;
  const int current = begun || outdated.empty() ? running.slot : outdated.front();
  for (int slot = 0; slot < pods; ++slot) {
    const std::optional<PodView>& pod = facts.slot(slot).pod;
    if (!pod || pod->deleting) return Wait(Rolling(facts, slot, "WaitForPod"));
  }
  for (const int slot : outdated) {
    // What cleans the slot after it may be held up.
    if (facts.Removed(facts.Occupant(slot)) && !facts.Ended(slot)) {
      return Wait(Rolling(facts, slot, "WaitForLeaving"));
    }
    if (!facts.AliveIn(slot)) return Delete(facts, slot);
  }
  for (const MemberId voter : facts.config()->voters) {
    if (!Settled(facts, voter)) return Wait(Rolling(facts, current, "WaitForMember"));
  }
  if (outdated.empty()) return std::nullopt;
  const MemberId leader = facts.config()->leader;
  for (const int slot : outdated) {
    if (facts.Occupant(slot) != leader) return Delete(facts, slot);
  }
  const int last = outdated.front();
  if (facts.config()->voters.size() > 1) {
    return HandOver(facts, {leader}, Rolling(facts, last, "TransferLeadership"));
  }
  return Delete(facts, last);
}

// It waits at rest: only people can say what becomes of what a roll passes over.
std::optional<Decision> PlanRestOfRoll(const Facts& facts) {
  if (!MayRoll(facts)) return std::nullopt;
  for (int slot = 0; slot < facts.seen.objects.stateful_set_replicas; ++slot) {
    const bool foreign = facts.slot(slot).hidden_claim == HiddenClaim::kForeign;
    if (!foreign || !Outdated(facts, slot)) continue;
    Decision waits = Wait(Rolling(facts, slot, "WaitForClaim"));
    waits.at_rest = true;
    return waits;
  }
  return std::nullopt;
}

}  // namespace raftkv::op
