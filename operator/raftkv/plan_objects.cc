// The Kubernetes objects that are as they should be at any time: nothing here takes anything away.

#include <algorithm>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

int SlotsInUse(const Facts& facts) {
  int slots = 0;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (view.pod || view.claim) slots = slot + 1;
  }
  return slots;
}

int MemberSlots(const Facts& facts) {
  int slots = 0;
  if (facts.config() == nullptr) return slots;
  for (const auto& [id, view] : facts.config()->members) {
    slots = std::max(slots, facts.SlotOf(id) + 1);
  }
  return slots;
}

}  // namespace

bool NobodyKnows(const Facts& facts) {
  const int slots = facts.seen.objects.stateful_set_replicas;
  for (int slot = 0; slot < slots; ++slot) {
    const SlotView& view = facts.slot(slot);
    // A member may answer for a while from a volume that is lost.
    const bool lost = view.claim && view.claim->lost && !view.report;
    const bool ended = lost || (view.pod && view.pod->finished);
    if (!facts.Blank(slot) && !ended) return false;
  }
  return slots > 0;
}

std::optional<Decision> PlanForeign(const Facts& facts) {
  if (facts.seen.objects.foreign.empty()) return std::nullopt;
  return Blocked(facts.seen.operation, "ForeignObject", facts.seen.objects.foreign);
}

// A cluster that is there goes on with what is in force; none is begun.
std::optional<Decision> PlanInvalidSpec(const Facts& facts) {
  if (facts.seen.spec_error.empty() || facts.seen.cluster != 0) return std::nullopt;
  return Blocked(facts.seen.operation, "InvalidSpec", InvalidSpec(facts));
}

std::string InvalidSpec(const Facts& facts) {
  const std::string& error = facts.seen.spec_error;
  if (error.empty()) return "";
  return "The spec cannot be read: " + error +
         ". Mend it, or use the operator that knows it; until then the objects stay as they are.";
}

std::string ForeignClaims(const Facts& facts) {
  std::string out;
  const std::string& name = facts.seen.name;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (view.hidden_claim != HiddenClaim::kForeign) continue;
    const std::string pod = PodName(name, slot);
    out +=
        (out.empty() ? "" : " ") +
        ("Pod " + pod + (view.pod ? " uses" : " would use") + " claim data-" + pod +
         ", which is not labelled as this RaftKV's; neither is touched. If its data is not "
         "wanted here, delete it and the pod; if it is, label it app.kubernetes.io/name=raftkv and "
         "app.kubernetes.io/instance=" +
         name + ".");
  }
  return out;
}

std::optional<Decision> PlanObjects(const Facts& facts) {
  if (facts.seen.objects.others_current) return std::nullopt;
  return Do(ApplyObjects{}, facts.seen.operation);
}

// A StatefulSet that was deleted comes back with room for everybody who may have been there; one
// that somebody shrank, with room for every member. Before there is a cluster the bootstrap makes
// it. Nothing can be done to one that is being deleted.
std::optional<Decision> PlanStatefulSet(const Facts& facts) {
  const ObjectsView& objects = facts.seen.objects;
  if (objects.stateful_set_deleting) return Wait(facts.seen.operation);
  if (facts.seen.cluster == 0) return std::nullopt;
  // Nobody knows what its pods are to be.
  if (!objects.stateful_set && !facts.seen.spec_error.empty()) return Wait(facts.seen.operation);
  if (!objects.stateful_set) {
    const int replicas =
        facts.spec.replicas == 0 ? 0 : std::max(facts.needed_slots(), SlotsInUse(facts));
    return Do(ApplyStatefulSet{replicas}, facts.seen.operation);
  }
  // Where nobody knows the cluster, whoever has a claim and no pod may.
  if (facts.spec.replicas > 0 && NobodyKnows(facts) &&
      objects.stateful_set_replicas < SlotsInUse(facts)) {
    return Do(WithReplicas(facts, SlotsInUse(facts)), facts.seen.operation);
  }
  const bool asleep = facts.spec.replicas == 0 && objects.stateful_set_replicas == 0;
  if (!asleep && objects.stateful_set_replicas < MemberSlots(facts)) {
    return Do(WithReplicas(facts, MemberSlots(facts)), facts.seen.operation);
  }
  if (!objects.template_current) {
    return Do(ApplyStatefulSet{objects.stateful_set_replicas}, WithNewTemplate(facts));
  }
  return std::nullopt;
}

bool TemplateRefused(const Facts& facts) {
  const ObjectsView& objects = facts.seen.objects;
  return objects.stateful_set && !objects.template_current && Refused(facts, ApplyStatefulSet{});
}

Action WithReplicas(const Facts& facts, int replicas) {
  if (TemplateRefused(facts) || !facts.seen.spec_error.empty()) return ScaleStatefulSet{replicas};
  return ApplyStatefulSet{replicas};
}

// Our own ServiceAccount has to outlive the last pod that was made with it. A controller that has
// not seen the new template yet could still make one.
std::optional<Decision> PlanServiceAccount(const Facts& facts) {
  const ObjectsView& objects = facts.seen.objects;
  if (!objects.spare_account) return std::nullopt;
  if (objects.stateful_set && (!objects.template_current || objects.update_revision.empty())) {
    return std::nullopt;
  }
  for (const auto& [slot, view] : facts.seen.slots) {
    if (view.pod && view.pod->own_account) return std::nullopt;
  }
  return Do(DeleteServiceAccount{}, facts.seen.operation);
}

// minAvailable counts pods, and a pod that is no voter yet must not stand in for one: learners are
// added to the voters' quorum. -1: no budget.
int WantedMinAvailable(const Facts& facts) {
  const ObjectsView& objects = facts.seen.objects;
  const bool asleep =
      objects.stateful_set ? objects.stateful_set_replicas == 0 : facts.spec.replicas == 0;
  if (!facts.spec.disruption_budget || facts.seen.cluster == 0 || asleep) return -1;
  if (facts.config() == nullptr) return objects.min_available;
  const Membership& config = *facts.config();
  const size_t voters = std::max(config.voters.size(), config.voters_outgoing.size());
  if (voters == 0) return -1;
  // A growth that cannot be written is not begun.
  const bool written = facts.seen.operation.type == Operation::Type::kScale;
  const int size = facts.seen.status_refused && !written ? 0 : facts.target();
  const size_t wanted = std::max(voters, static_cast<size_t>(size));
  return std::max(Quorum(wanted), Quorum(voters) + static_cast<int>(config.learners.size()));
}

std::optional<Decision> PlanDisruptionBudget(const Facts& facts) {
  const int wanted = WantedMinAvailable(facts);
  if (wanted == facts.seen.objects.min_available) return std::nullopt;
  return Do(ApplyDisruptionBudget{wanted}, facts.seen.operation);
}

// Without a leader the mark stays: the next one is marked as soon as it is known.
std::optional<Decision> PlanLeaderMark(const Facts& facts) {
  if (!facts.has_leader()) return std::nullopt;
  const int slot = facts.SlotOf(facts.config()->leader);
  if (slot < 0 || !facts.slot(slot).pod) return std::nullopt;
  const std::string& pod = facts.slot(slot).pod->name;
  if (pod == facts.seen.objects.leader_pod) return std::nullopt;
  return Do(MarkLeader{pod}, facts.seen.operation);
}

std::optional<Decision> PlanClaimMarks(const Facts& facts) {
  AnyOf marks(facts);
  for (const auto& [slot, view] : facts.seen.slots) {
    if (!view.claim || view.claim->deleting || !view.report) continue;
    const MemberId member = view.report->member;
    if (!facts.TakesPart(member) || !facts.InConfig(member) || view.claim->member == member)
      continue;
    if (marks.Add(Do(MarkClaim{slot, view.claim->uid, member}, facts.seen.operation))) break;
  }
  return std::move(marks).Chosen();
}

bool Grows(const Facts& facts, int slot) {
  const std::optional<ClaimView>& claim = facts.slot(slot).claim;
  return claim && claim->bound && !claim->deleting &&
         slot < facts.seen.objects.stateful_set_replicas &&
         claim->capacity_bytes < facts.spec.storage_bytes;
}

std::optional<ResizeClaim> Resize(const Facts& facts, int slot) {
  if (!Grows(facts, slot)) return std::nullopt;
  const ClaimView& claim = *facts.slot(slot).claim;
  if (claim.requested_bytes >= facts.spec.storage_bytes) return std::nullopt;
  return ResizeClaim{slot, claim.uid, facts.spec.storage_bytes};
}

// Each claim is compared with the spec, never with a template that may have been changed already.
// It is done when the volume has grown, not when that was asked for; whatever else there is to do
// comes before.
std::optional<Decision> PlanResize(const Facts& facts) {
  AnyOf growing(facts);
  for (const auto& [slot, view] : facts.seen.slots) {
    const std::optional<ResizeClaim> resize = Resize(facts, slot);
    if (!resize) continue;
    Operation operation = Continue(facts, Operation::Type::kResize, "ResizeClaim");
    operation.slot = slot;
    if (growing.Add(Do(*resize, operation))) break;
  }
  std::optional<Decision> asked = std::move(growing).Chosen();
  if (asked && !Refused(facts, asked->action)) return asked;
  for (const auto& [slot, view] : facts.seen.slots) {
    if (!Grows(facts, slot)) continue;
    Decision grows = Wait(Continue(facts, Operation::Type::kResize, "WaitForVolume"));
    grows.operation.slot = slot;
    grows.at_rest = true;
    if (asked) grows = Beside(facts, *asked, std::move(grows));
    return grows;
  }
  return std::nullopt;
}

}  // namespace raftkv::op
