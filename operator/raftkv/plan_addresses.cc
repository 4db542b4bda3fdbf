// Where members are found. The members of a slot follow each other, and names and peer addresses
// are unique: one that seems to have lost its data gives both up to its successor (BringIn), and
// gets them back when it is there after all: a disk that was mounted late, an answer of another's
// pod. So does one whose name or address somebody else has changed: what its pod is called and
// where it is found follows from its slot.

#include <algorithm>
#include <utility>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {

std::vector<MemberView> OutOfTheWay(const Facts& facts, const std::vector<MemberView>& wanted,
                                    const std::vector<MemberId>& removed) {
  std::vector<MemberView> out;
  for (const auto& [id, view] : facts.config()->members) {
    const bool stays = std::ranges::find(removed, id) == removed.end() &&
                       std::ranges::find(wanted, id, &MemberView::id) == wanted.end();
    const bool in_the_way = std::ranges::any_of(wanted, [&](const MemberView& other) {
      return view.name == other.name || view.peer_address == other.peer_address;
    });
    if (!stays || !in_the_way) continue;
    out.push_back({.id = id,
                   .name = FormerName(PodOfMember(view.name), id),
                   .peer_address = FormerPeerAddress(id)});
  }
  return out;
}

std::optional<Decision> PlanAddresses(const Facts& facts) {
  const Membership& config = *facts.config();
  ChangeMembership change;
  change.expected_config_index = config.config_index;
  change.epoch = facts.seen.epoch;
  int slot = -1;
  for (const auto& [id, view] : config.members) {
    if (!facts.TakesPart(id)) continue;
    const int its_slot = facts.SlotOf(id);
    MemberView right = facts.View(its_slot);
    if (view.name == right.name && view.peer_address == right.peer_address) continue;
    for (const MemberId learner : config.learners) {
      if (learner != id && facts.SlotOf(learner) == its_slot) change.remove.push_back(learner);
    }
    slot = std::max(slot, its_slot);
    change.update.push_back(std::move(right));
  }
  if (change.update.empty()) return std::nullopt;
  for (MemberView& other : OutOfTheWay(facts, change.update, change.remove)) {
    change.update.push_back(std::move(other));
  }
  // One of another kind has steps of its own, from which it goes on.
  const Operation& running = facts.seen.operation;
  if (running.type != Operation::Type::kNone && running.type != Operation::Type::kReplace) {
    return Do(std::move(change), running);
  }
  Operation operation = Continue(facts, Operation::Type::kReplace, "GiveAddressBack");
  if (operation.slot != slot) operation.old_member = operation.new_member = 0;
  operation.slot = slot;
  return Do(std::move(change), std::move(operation));
}

}  // namespace raftkv::op
