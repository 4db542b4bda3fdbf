// From any number of voters to any other by one joint change.

#include <algorithm>
#include <utility>

#include "base/hex_id.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

// Members in slots above the target leave in one change.
Decision ScaleDown(const Facts& facts, const std::vector<MemberId>& leaving,
                   const Operation& operation) {
  const Membership& config = *facts.config();
  std::set<MemberId> staying = config.voters;
  for (const MemberId id : leaving) staying.erase(id);
  if (!facts.SafeChange(staying)) {
    return Blocked(operation, "WouldLoseQuorum",
                   "the members that would stay are not a quorum of themselves: bring them back "
                   "first, or take the change of replicas back");
  }
  if (auto hand_over = HandOver(facts, {leaving.begin(), leaving.end()}, operation)) {
    return *hand_over;
  }
  ChangeMembership change;
  change.expected_config_index = config.config_index;
  change.epoch = facts.seen.epoch;
  change.remove = leaving;
  Operation remove = operation;
  remove.step = "Remove";
  return Do(std::move(change), remove);
}

// What a former member left in a slot that is to be filled anew. Where there is a pod already, its
// member may have been one that was lost.
std::optional<Decision> OldClaims(const Facts& facts, const std::vector<int>& slots,
                                  const Operation& operation) {
  for (const int slot : slots) {
    const SlotView& view = facts.slot(slot);
    if (!view.claim) continue;
    const ClaimView& claim = *view.claim;
    const bool has_pod = slot < facts.seen.objects.stateful_set_replicas;
    const std::string name = "data-" + PodName(facts.seen.name, slot);
    if (claim.deleting || claim.member == 0) continue;
    if (!has_pod && !facts.Removed(claim.member)) {
      return Blocked(
          operation, "ClaimOfUnknownMember",
          "claim " + name + " is noted to hold member " + HexId(claim.member) +
              ", which this cluster does not know: delete the claim, or choose fewer replicas");
    }
    const bool retained =
        has_pod ? facts.Retained(slot) : facts.spec.on_scale_down == Retention::kRetain;
    if (retained) {
      // Its process may still vote, and hang: to end it is not for people.
      const char* pod = has_pod ? "; its pod is deleted by the operator, once its process has "
                                  "ended or is silent"
                                : "";
      return Blocked(
          operation, "ClaimOfRemovedMember",
          "claim " + name + " was retained and holds removed member " + HexId(claim.member) +
              ", which cannot come back: delete the claim when its data is not needed any more" +
              pod);
    }
  }
  return std::nullopt;
}

// The pods of new slots would mount whatever has the name of their claims.
std::optional<Decision> HiddenClaims(const Facts& facts, Operation operation) {
  for (int slot = facts.seen.objects.stateful_set_replicas; slot < facts.target(); ++slot) {
    switch (facts.slot(slot).hidden_claim) {
      case HiddenClaim::kNone:
        break;
      case HiddenClaim::kForeign:
        return Blocked(std::move(operation), "ForeignObject", ForeignClaims(facts));
      case HiddenClaim::kUnknown:
        operation.step = "WaitForClaim";
        return Wait(std::move(operation));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Decision> PlanScale(const Facts& facts) {
  std::vector<int> missing;
  for (int slot = 0; slot < facts.target(); ++slot) {
    if (!facts.VoterIn(slot)) missing.push_back(slot);
  }
  const Operation operation = Continue(facts, Operation::Type::kScale, "StartPods");

  std::vector<MemberId> leaving;
  for (const auto& [id, view] : facts.config()->members) {
    if (facts.SlotOf(id) >= facts.target()) leaving.push_back(id);
  }
  if (missing.empty() && leaving.empty()) return std::nullopt;
  for (const MemberId id : leaving) {
    if (auto note = NoteClaim(facts, id, operation)) return note;
  }
  if (missing.empty()) return ScaleDown(facts, leaving, operation);
  if (auto old = OldClaims(facts, missing, operation)) return old;
  for (const int slot : missing) {
    // A claim that is going has to be gone before its name is used again.
    const SlotView& view = facts.slot(slot);
    if (slot < facts.seen.objects.stateful_set_replicas || !view.claim) continue;
    if (auto clean = CleanSlot(facts, slot, operation)) return clean;
  }
  if (auto hidden = HiddenClaims(facts, operation)) return hidden;
  if (facts.seen.objects.stateful_set_replicas < facts.target()) {
    return Do(WithReplicas(facts, facts.target()), operation);
  }
  // Who is missing comes in and who is too many goes out in the same change.
  return BringIn(facts, missing, leaving, operation);
}

}  // namespace raftkv::op
