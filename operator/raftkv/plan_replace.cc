// Members that will not come back as themselves get a successor with a new identity in their slot.
//
// Where the slot is empty already (data gone), the successor comes in as a learner and one joint
// change puts it in the old one's place. Where the old data is still there (damaged, or out of
// reach with its node), the member is removed first: its claim may go only when it belongs to no
// member (P3), and a voter that does not answer is no loss to the quorum. So it is with a member
// whose claim somebody deletes under its running pod: it goes in order, before its data does. But
// it still counts, so it goes when no other is missing: of those that live, replacements take one
// at a time (P4).

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

Operation Replacing(const Facts& facts, int slot, MemberId old_member, std::string step) {
  Operation operation = Continue(facts, Operation::Type::kReplace, std::move(step));
  if (operation.slot != slot) operation.old_member = 0;
  operation.slot = slot;
  if (old_member != 0) operation.old_member = old_member;
  operation.new_member = facts.LearnerIn(slot);
  return operation;
}

std::optional<Decision> TakeOut(const Facts& facts, MemberId member) {
  const Membership& config = *facts.config();
  const int slot = facts.SlotOf(member);
  Operation operation = Replacing(facts, slot, member, "Remove");
  if (auto note = NoteClaim(facts, member, operation)) return note;
  if (!facts.SafeWithout(member)) {
    return Blocked(
        operation, "WouldLoseQuorum",
        "a member is lost, and the others are not enough to go on without it: bring one back");
  }
  if (auto hand_over = HandOver(facts, {member}, operation)) return hand_over;
  ChangeMembership change;
  change.expected_config_index = config.config_index;
  change.epoch = facts.seen.epoch;
  change.remove = {member};
  return Do(std::move(change), operation);
}

std::optional<Decision> ReplaceOne(const Facts& facts, MemberId lost) {
  if (facts.LossOf(lost) != Loss::kDataGone) return TakeOut(facts, lost);
  const int slot = facts.SlotOf(lost);
  return BringIn(facts, {slot}, {lost}, Replacing(facts, slot, lost, "WaitForNodes"));
}

// Of a slot whose member was taken out.
std::optional<Decision> FillAgain(const Facts& facts, int slot) {
  return BringIn(facts, {slot}, {}, Replacing(facts, slot, 0, "WaitForNodes"));
}

bool DoesSomething(const Action& action) { return !std::holds_alternative<Nothing>(action); }

bool Waits(const Decision& decision) { return !DoesSomething(decision.action); }

// It is the members' own affair.
bool TouchesNoPod(const Action& action) {
  return std::holds_alternative<ChangeMembership>(action) ||
         std::holds_alternative<MarkClaim>(action);
}

// Of a slot without a voter. Below one, and below the slot that is being replaced, every slot has
// had one: a change of size adds them above. So the slot of the operation is the highest of
// several.
bool WasTakenOut(const Facts& facts, int slot) {
  const std::set<MemberId>& voters = facts.config()->voters;
  return slot < facts.seen.operation.slot ||
         std::ranges::any_of(voters, [&](MemberId voter) { return slot < facts.SlotOf(voter); });
}

// With its own slot filled there are as many voters as there were when it began: a slot that is
// empty beside it has been left by a change of size (one that hibernation has interrupted leaves
// voters above it).
bool IsFull(const Facts& facts) {
  const Operation& running = facts.seen.operation;
  const size_t own = facts.VoterIn(running.slot) ? 0 : 1;
  return running.target > 0 &&
         static_cast<int>(facts.config()->voters.size() + own) >= running.target;
}

// `next` is done while another slot is waited for, and all else is said of that one.
Decision Meanwhile(Decision waits, Decision next) {
  if (next.operation.slot > waits.operation.slot) return next;
  waits.action = std::move(next.action);
  return waits;
}

}  // namespace

std::optional<Decision> PlanReplace(const Facts& facts) {
  const Operation& running = facts.seen.operation;
  const bool replacing = running.type == Operation::Type::kReplace && running.slot >= 0 &&
                         running.slot < facts.target();
  if (!facts.spec.replacement_enabled) return std::nullopt;

  std::vector<MemberId> lost;
  std::vector<MemberId> going;
  for (const MemberId voter : facts.config()->voters) {
    const int slot = facts.SlotOf(voter);
    if (slot < 0 || slot >= facts.target()) continue;
    if (facts.LossOf(voter) != Loss::kNone) {
      lost.push_back(voter);
    } else if (facts.ClaimGoes(voter) && facts.SafeWithout(voter)) {
      // Where the others are not enough yet, a scale-up or a repair has to come first.
      going.push_back(voter);
    }
  }
  // The one that was begun is finished first.
  for (std::vector<MemberId>* voters : {&lost, &going}) {
    std::ranges::stable_sort(*voters, {}, [&](MemberId voter) {
      const int slot = facts.SlotOf(voter);
      return std::tuple(!replacing || slot != running.slot, slot);
    });
  }

  AnyOf repairs(facts);
  bool missing = false;
  std::optional<Decision> first;
  // What is refused of one keeps no other from being repaired, nor does one that waits, if the
  // other's action may be done meanwhile.
  const auto add = [&](std::optional<Decision> repair, bool (*may_go)(const Action&)) {
    if (!repair) return;
    missing = true;
    if (Refused(facts, repair->action)) {
      repairs.Add(*std::move(repair));
    } else if (!first) {
      first = std::move(repair);
    } else if (Waits(*first) && may_go(repair->action)) {
      first = Meanwhile(*first, *std::move(repair));
    }
  };
  // A slot that the StatefulSet lacks, because somebody deleted it and it was made again for the
  // members there are, gets its pod by a change of size.
  const bool has_pod = running.slot < facts.seen.objects.stateful_set_replicas;
  if (replacing && has_pod && !facts.VoterIn(running.slot)) {
    add(FillAgain(facts, running.slot), DoesSomething);
  }
  for (const MemberId voter : lost) add(ReplaceOne(facts, voter), TouchesNoPod);
  // Those that were taken out before this one was, and are not back. Without the operation nobody
  // can tell a lost member's slot above all voters from a new one: both are waited for.
  const int pods = std::min(facts.target(), facts.seen.objects.stateful_set_replicas);
  const bool full = IsFull(facts);
  for (int slot = 0; slot < pods; ++slot) {
    if (facts.VoterIn(slot) || facts.Retained(slot)) continue;
    missing = true;
    if (!replacing || full || slot == running.slot || !WasTakenOut(facts, slot)) continue;
    add(FillAgain(facts, slot), DoesSomething);
  }
  if (!missing && !going.empty()) add(ReplaceOne(facts, going.front()), DoesSomething);
  if (first) repairs.Add(*std::move(first));
  return std::move(repairs).Chosen();
}

}  // namespace raftkv::op
