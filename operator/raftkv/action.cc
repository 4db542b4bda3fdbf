#include "operator/raftkv/action.h"

#include "base/hex_id.h"

namespace raftkv::op {
namespace {

std::string Slot(int slot) { return " slot=" + std::to_string(slot); }

// Afterwards nobody could tell what the claim holds, if that is there after all.
bool HidesAMember(const Observation& seen, const MarkClaim& note) {
  const auto slot = seen.slots.find(note.slot);
  if (slot == seen.slots.end() || !slot->second.claim || !seen.membership) return false;
  const MemberId noted = slot->second.claim->member;
  return noted != note.member && seen.membership->members.contains(noted);
}

}  // namespace

std::string ListIds(const std::vector<MemberId>& ids, const char* separator) {
  std::string out;
  for (const MemberId id : ids) out += (out.empty() ? "" : separator) + HexId(id);
  return out;
}

std::string ListIds(const std::vector<MemberView>& members, const char* separator) {
  std::vector<MemberId> ids;
  for (const MemberView& member : members) ids.push_back(member.id);
  return ListIds(ids, separator);
}

std::string ToString(const Action& action) {
  return std::visit(
      Overloaded{
          [](const Nothing&) -> std::string { return "Nothing"; },
          [](const AddFinalizer&) -> std::string { return "AddFinalizer"; },
          [](const ApplyObjects&) -> std::string { return "ApplyObjects"; },
          [](const ApplyStatefulSet& a) {
            return "ApplyStatefulSet replicas=" + std::to_string(a.replicas);
          },
          [](const ScaleStatefulSet& a) {
            return "ScaleStatefulSet replicas=" + std::to_string(a.replicas);
          },
          [](const DeleteServiceAccount&) -> std::string { return "DeleteServiceAccount"; },
          [](const ApplyDisruptionBudget& a) {
            return "ApplyDisruptionBudget minAvailable=" +
                   (a.min_available < 0 ? "none" : std::to_string(a.min_available));
          },
          [](const MarkLeader& a) { return "MarkLeader pod=" + (a.pod.empty() ? "none" : a.pod); },
          [](const MarkClaim& a) {
            return "MarkClaim" + Slot(a.slot) +
                   " member=" + (a.member == 0 ? "none" : HexId(a.member));
          },
          [](const Initialize& a) {
            return "Initialize" + Slot(a.slot) + " cluster=" + HexId(a.cluster) +
                   " members=" + ListIds(a.members, ",");
          },
          [](const ChangeMembership& a) {
            return "ChangeMembership add=" + ListIds(a.add_learners, ",") +
                   " promote=" + ListIds(a.promote, ",") + " remove=" + ListIds(a.remove, ",") +
                   (a.update.empty() ? "" : " update=" + ListIds(a.update, ","));
          },
          [](const TransferLeadership& a) {
            return "TransferLeadership from=" + HexId(a.from) + " to=" + HexId(a.to);
          },
          [](const DeletePod& a) {
            return "DeletePod" + Slot(a.slot) + " uid=" + a.uid + (a.force ? " force" : "");
          },
          [](const DeleteClaim& a) {
            return "DeleteClaim" + Slot(a.slot) + " uid=" + a.uid +
                   " member=" + (a.member == 0 ? "none" : HexId(a.member));
          },
          [](const ResizeClaim& a) {
            return "ResizeClaim" + Slot(a.slot) + " bytes=" + std::to_string(a.bytes);
          },
          [](const RemoveFinalizer&) -> std::string { return "RemoveFinalizer"; },
      },
      action);
}

std::string ActionName(const Action& action) {
  const std::string text = ToString(action);
  return text.substr(0, text.find(' '));
}

std::string RefusalKey(const Action& action) {
  return std::holds_alternative<ApplyStatefulSet>(action) ? ActionName(action) : ToString(action);
}

std::optional<int> ReplicasOf(const Action& action) {
  if (const auto* apply = std::get_if<ApplyStatefulSet>(&action)) return apply->replicas;
  if (const auto* scale = std::get_if<ScaleStatefulSet>(&action)) return scale->replicas;
  return std::nullopt;
}

bool NeedsLiveLook(const Action& action) {
  if (const auto* change = std::get_if<ChangeMembership>(&action)) {
    return !change->promote.empty() || !change->remove.empty() || !change->update.empty();
  }
  if (const auto* note = std::get_if<MarkClaim>(&action)) return note->member == 0;
  if (std::holds_alternative<Initialize>(action)) return true;
  return std::holds_alternative<DeletePod>(action) || std::holds_alternative<DeleteClaim>(action) ||
         std::holds_alternative<DeleteServiceAccount>(action) ||
         std::holds_alternative<RemoveFinalizer>(action);
}

bool NeedsConfirmation(const Observation& seen, const Action& action) {
  const std::optional<int> replicas = ReplicasOf(action);
  const bool resizes = replicas && *replicas != seen.objects.stateful_set_replicas;
  const auto* note = std::get_if<MarkClaim>(&action);
  return resizes || NeedsLiveLook(action) || (note != nullptr && HidesAMember(seen, *note));
}

}  // namespace raftkv::op
