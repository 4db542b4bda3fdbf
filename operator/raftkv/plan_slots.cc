// Steps that several rules share: cleaning a slot, bringing members in, handing over.

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/hex_id.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

Operation At(Operation operation, std::string step) {
  operation.step = std::move(step);
  return operation;
}

// The pod that holds a claim that is going keeps it from going (Kubernetes protects claims in use).
// One that no node has taken yet does not, and would only be made again too early.
bool HoldsGoingClaim(const SlotView& view) {
  return view.pod && view.claim && view.claim->deleting && !view.pod->node.empty();
}

// Data in a slot that is to be filled, of which the cluster knows nothing: whether it is wanted
// only people can tell.
std::optional<Decision> StrangerIn(const Facts& facts, int slot, const Operation& operation) {
  if (!facts.Stranger(slot)) return std::nullopt;
  const NodeReport& report = *facts.slot(slot).report;
  const std::string claim = "claim data-" + PodName(facts.seen.name, slot) + " holds ";
  const char* what_to_do = " not wanted any more, delete the claim and its pod";
  if (report.cluster != 0 && report.cluster != facts.seen.cluster) {
    return Blocked(
        operation, "ClaimOfAnotherCluster",
        claim + "data of another cluster (" + HexId(report.cluster) + "): if it is" + what_to_do);
  }
  const MemberId member = facts.Occupant(slot);
  return Blocked(operation, "ClaimOfUnknownMember",
                 claim +
                     (member == 0 ? std::string("data that cannot be read: if it is")
                                  : "member " + HexId(member) +
                                        ", which this cluster does not know: if its data is") +
                     what_to_do);
}

}  // namespace

std::optional<Decision> CleanSlot(const Facts& facts, int slot, const Operation& operation) {
  const SlotView& view = facts.slot(slot);
  const bool deleting = view.claim && view.claim->deleting;
  if (facts.Blank(slot) && !deleting) return std::nullopt;
  if (view.claim && !deleting) {
    const ClaimView& claim = *view.claim;
    if (claim.member == 0 && view.report && facts.Removed(view.report->member)) {
      return Do(MarkClaim{slot, claim.uid, view.report->member}, At(operation, "MarkClaim"));
    }
    if (facts.spec.replacement_enabled && (claim.lost || facts.OutOfReach(slot)) &&
        !facts.InConfig(claim.member)) {
      return Do(DeleteClaim{slot, claim.uid, "it holds no member, and its volume is out of reach",
                            claim.member},
                At(operation, "DeleteClaim"));
    }
    if (facts.Removed(claim.member)) {
      if (!facts.Ended(slot)) return Wait(At(operation, "WaitForLeaving"));
      return Do(
          DeleteClaim{slot, claim.uid, "it holds the data of removed member " + HexId(claim.member),
                      claim.member},
          At(operation, "DeleteClaim"));
    }
  }
  if (HoldsGoingClaim(view) && (!view.pod->deleting || facts.OutOfReach(slot))) {
    if (facts.Removed(facts.Occupant(slot)) && !facts.Ended(slot)) {
      return Wait(At(operation, "WaitForLeaving"));
    }
    if (facts.AnotherPodMoves(slot)) return Wait(At(operation, "WaitForPod"));
    return Do(DeletePod{slot, view.pod->uid, "its claim goes", facts.OutOfReach(slot)},
              At(operation, "DeletePod"));
  }
  if (deleting) return Wait(At(operation, "WaitForClaim"));
  return std::nullopt;
}

std::optional<Decision> NoteClaim(const Facts& facts, MemberId member, const Operation& operation) {
  const int slot = facts.SlotOf(member);
  const std::optional<ClaimView>& claim = facts.slot(slot).claim;
  if (facts.slot(slot).hidden_claim != HiddenClaim::kNone) {
    return Wait(At(operation, "WaitForClaim"));
  }
  if (!claim || claim->member != 0) return std::nullopt;
  return Do(MarkClaim{slot, claim->uid, member}, At(operation, "MarkClaim"));
}

std::optional<Decision> HandOver(const Facts& facts, const std::set<MemberId>& leaving,
                                 const Operation& operation) {
  const Membership& config = *facts.config();
  if (!leaving.contains(config.leader)) return std::nullopt;
  // Rather to a pod that does not have to be replaced itself, then to the furthest.
  std::tuple<bool, uint64_t, MemberId> best{false, 0, 0};
  for (const MemberId voter : config.voters) {
    if (leaving.contains(voter) || !facts.CaughtUp(voter) || !facts.TakesPart(voter)) continue;
    best = std::max(best,
                    {!Outdated(facts, facts.SlotOf(voter)), config.members.at(voter).match, voter});
  }
  const MemberId successor = std::get<2>(best);
  if (successor == 0) return Wait(At(operation, "WaitForSuccessor"));
  return Do(TransferLeadership{.from = config.leader,
                               .to = successor,
                               .expected_config_index = config.config_index,
                               .epoch = facts.seen.epoch},
            At(operation, "TransferLeadership"));
}

std::optional<Decision> BringIn(const Facts& facts, const std::vector<int>& slots,
                                const std::vector<MemberId>& remove, const Operation& operation) {
  const Membership& config = *facts.config();
  const auto change = [&] {
    ChangeMembership out;
    out.expected_config_index = config.config_index;
    out.epoch = facts.seen.epoch;
    return out;
  };
  // A learner that will not come back as itself would be waited for in vain.
  ChangeMembership dead = change();
  for (const MemberId learner : config.learners) {
    const bool here = std::ranges::find(slots, facts.SlotOf(learner)) != slots.end();
    const bool lost = facts.LossOf(learner) != Loss::kNone || facts.ClaimGoes(learner);
    if (here && lost) dead.remove.push_back(learner);
  }
  if (!dead.remove.empty()) return Do(std::move(dead), At(operation, "RemoveLostLearner"));

  // The first thing that a slot waits for; a missing node goes before one that catches up.
  std::optional<Decision> node_missing;
  bool catching_up = false;
  ChangeMembership add = change();
  ChangeMembership promote = change();
  promote.remove = remove;
  for (const int slot : slots) {
    if (const MemberId learner = facts.LearnerIn(slot); learner != 0) {
      promote.promote.push_back(learner);
      if (!facts.CaughtUp(learner) || !facts.TakesPart(learner)) catching_up = true;
      continue;
    }
    if (std::optional<Decision> clean = CleanSlot(facts, slot, operation)) {
      if (!std::holds_alternative<Nothing>(clean->action)) return clean;
      node_missing = clean;
    } else if (auto stranger = StrangerIn(facts, slot, operation)) {
      return stranger;
    } else if (facts.Blank(slot) && facts.slot(slot).claim) {
      const ClaimView& claim = *facts.slot(slot).claim;
      const MemberView member = facts.View(slot);
      // Noted first: a claim without a note has never held a member.
      if (claim.member != member.id) {
        return Do(MarkClaim{slot, claim.uid, member.id}, At(operation, "MarkClaim"));
      }
      add.add_learners.push_back(member);
    } else {
      node_missing = Wait(At(operation, "WaitForNodes"));
    }
  }
  if (node_missing) return node_missing;
  if (!add.add_learners.empty()) {
    add.update = OutOfTheWay(facts, add.add_learners, {});
    return Do(std::move(add), At(operation, "AddLearners"));
  }
  if (catching_up) return Wait(At(operation, "CatchUp"));
  std::set<MemberId> voters = config.voters;
  for (const MemberId gone : promote.remove) voters.erase(gone);
  if (voters.empty()) {
    // Nobody who stays could take over yet: the leader goes in a change of its own.
    std::erase(promote.remove, config.leader);
    voters.insert(config.leader);
  }
  voters.insert(promote.promote.begin(), promote.promote.end());
  if (!facts.SafeChange(voters)) return Wait(At(operation, "WaitForQuorum"));
  const std::set<MemberId> leaving(promote.remove.begin(), promote.remove.end());
  if (auto hand_over = HandOver(facts, leaving, operation)) return hand_over;
  return Do(std::move(promote), At(operation, "Promote"));
}

}  // namespace raftkv::op
