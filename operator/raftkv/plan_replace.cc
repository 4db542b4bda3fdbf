// Members that will not come back as themselves get a successor with a new identity in their slot.
//
// Where the slot is empty already (data gone), the successor comes in as a learner and one joint
// change puts it in the old one's place. Where the old data is still there (damaged, or out of
// reach with its node), the member is removed first: its claim may go only when it belongs to no
// member (P3), and a voter that does not answer is no loss to the quorum.

#include <algorithm>
#include <set>

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
  std::set<MemberId> rest = config.voters;
  rest.erase(member);
  if (!facts.SafeChange(rest)) {
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

}  // namespace

std::optional<Decision> PlanReplace(const Facts& facts) {
  const Operation& running = facts.seen.operation;
  const bool replacing = running.type == Operation::Type::kReplace && running.slot >= 0 &&
                         running.slot < facts.target();
  if (!facts.spec.replacement_enabled) return std::nullopt;

  std::vector<MemberId> lost;
  for (const MemberId voter : facts.config()->voters) {
    const int slot = facts.SlotOf(voter);
    if (slot < 0 || slot >= facts.target() || facts.LossOf(voter) == Loss::kNone) continue;
    lost.push_back(voter);
  }
  // The one that was begun is finished first.
  std::ranges::stable_sort(lost, {}, [&](MemberId voter) {
    const int slot = facts.SlotOf(voter);
    return std::pair(!(replacing && slot == running.slot), slot);
  });

  std::optional<Decision> first;
  if (replacing && !facts.VoterIn(running.slot)) {
    first = BringIn(facts, {running.slot}, {}, Replacing(facts, running.slot, 0, "WaitForNodes"));
  }
  for (const MemberId voter : lost) {
    if (first && !std::holds_alternative<Nothing>(first->action)) break;
    std::optional<Decision> next = ReplaceOne(facts, voter);
    // One that waits does not hold up the repair of another, as long as that is the members' own
    // affair.
    if (!first || (next && std::holds_alternative<ChangeMembership>(next->action))) first = next;
  }
  return first;
}

}  // namespace raftkv::op
