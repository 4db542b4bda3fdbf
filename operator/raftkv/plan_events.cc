// What people read of it: an event for each act, each refusal and each end of an operation.

#include <utility>

#include "base/hex_id.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

std::string Describe(const ChangeMembership& change) {
  std::string out;
  const auto add = [&](const char* what, const std::string& ids) {
    if (!ids.empty()) out += (out.empty() ? "" : "; ") + (what + ids);
  };
  add("new learners: ", ListIds(change.add_learners, ", "));
  add("learners that become voters: ", ListIds(change.promote, ", "));
  add("removed: ", ListIds(change.remove, ", "));
  std::vector<MemberView> taken;
  std::vector<MemberView> given;
  for (const MemberView& view : change.update) {
    (view.peer_address == FormerPeerAddress(view.id) ? taken : given).push_back(view);
  }
  add("give their names and peer addresses up: ", ListIds(taken, ", "));
  add("get their names and peer addresses back: ", ListIds(given, ", "));
  return out.empty() ? "nobody" : out;
}

}  // namespace

std::string OperationName(Operation::Type type) {
  switch (type) {
    case Operation::Type::kNone:
      return "None";
    case Operation::Type::kBootstrap:
      return "Bootstrap";
    case Operation::Type::kScale:
      return "Scale";
    case Operation::Type::kReplace:
      return "Replace";
    case Operation::Type::kRoll:
      return "Roll";
    case Operation::Type::kHibernate:
      return "Hibernate";
    case Operation::Type::kWake:
      return "Wake";
    case Operation::Type::kResize:
      return "Resize";
    case Operation::Type::kDelete:
      return "Delete";
  }
  return "None";
}

std::optional<PlannedEvent> EventOf(const std::string& name, const Action& action) {
  const auto pod = [&](int slot) { return "pod " + PodName(name, slot); };
  const auto claim = [&](int slot) { return "claim data-" + PodName(name, slot); };
  using Pair = std::pair<std::string, std::string>;
  auto [reason, note] = std::visit(
      Overloaded{
          [](const Nothing&) { return Pair{}; },
          [](const AddFinalizer&) {
            return Pair{"FinalizerAdded", "its deletion waits for the operator from now on"};
          },
          [](const RemoveFinalizer& a) { return Pair{"Deleted", a.why}; },
          [](const ApplyObjects&) {
            return Pair{"ObjectsApplied",
                        "Services, ServiceAccount and NetworkPolicies are as the spec asks"};
          },
          [](const ApplyStatefulSet& a) {
            return Pair{"StatefulSetApplied",
                        "pod template of the spec, replicas: " + std::to_string(a.replicas)};
          },
          [](const ScaleStatefulSet& a) {
            return Pair{"StatefulSetScaled", "with the pod template that it has, replicas: " +
                                                 std::to_string(a.replicas)};
          },
          [&](const DeleteServiceAccount&) {
            return Pair{"ServiceAccountDeleted",
                        "no pod uses ServiceAccount " + name + " any more: the spec names another"};
          },
          [](const ApplyDisruptionBudget& a) {
            return Pair{"DisruptionBudgetApplied",
                        a.min_available < 0 ? "no budget"
                                            : "minAvailable " + std::to_string(a.min_available)};
          },
          [](const MarkLeader& a) {
            return Pair{"LeaderMarked",
                        "the leader Service points to " + (a.pod.empty() ? "no pod" : a.pod)};
          },
          [&](const MarkClaim& a) {
            return Pair{"ClaimMarked",
                        claim(a.slot) + (a.member == 0 ? " holds no member's data any more"
                                                       : " holds the data of " + HexId(a.member))};
          },
          [&](const Initialize& a) {
            return Pair{"Initialized", pod(a.slot) + " makes cluster " + HexId(a.cluster) +
                                           " of members " + ListIds(a.members, ", ")};
          },
          [](const ChangeMembership& a) { return Pair{"MembershipChanged", Describe(a)}; },
          [](const TransferLeadership& a) {
            return Pair{"LeadershipTransferred",
                        "from " + HexId(a.from) + (a.to == 0 ? "" : " to " + HexId(a.to))};
          },
          [&](const DeletePod& a) { return Pair{"PodDeleted", pod(a.slot) + ": " + a.why}; },
          [&](const DeleteClaim& a) { return Pair{"ClaimDeleted", claim(a.slot) + ": " + a.why}; },
          [&](const ResizeClaim& a) {
            return Pair{"ClaimResized", claim(a.slot) + ": " + std::to_string(a.bytes) + " bytes"};
          },
      },
      action);
  if (reason.empty()) return std::nullopt;
  return PlannedEvent{.warning = false, .reason = reason, .action = "", .note = note};
}

std::vector<PlannedEvent> MakeEvents(const Facts& facts, const Decision& decision,
                                     const PlannedStatus& status) {
  std::vector<PlannedEvent> events;
  const Operation& before = facts.seen.operation;
  const std::string name = OperationName(status.operation.type);
  const std::string action = name == "None" ? "Maintain" : name;
  if (auto step = EventOf(facts.seen.name, decision.action)) {
    step->action = action;
    step->step = true;
    events.push_back(*std::move(step));
  }
  // What a deletion interrupts does not go on after it.
  if (before.type != Operation::Type::kNone && before.type != status.operation.type &&
      !facts.spec.paused && !facts.seen.deleting) {
    const bool done = status.operation.type == Operation::Type::kNone;
    events.push_back({false, OperationName(before.type) + (done ? "Finished" : "Interrupted"),
                      OperationName(before.type), done ? "done" : "goes on after: " + name});
  }
  // Conditions that changed for the worse are said once.
  for (const PlannedCondition& condition : status.conditions) {
    const auto said = facts.seen.reasons.find(condition.type);
    if (said != facts.seen.reasons.end() && said->second == condition.reason) continue;
    const bool bad =
        (condition.type == "Degraded" || condition.type == "QuorumLost")
            ? condition.status
            : condition.type == "Progressing" && condition.reason == "DeadlineExceeded";
    if (bad) events.push_back({true, condition.reason, action, condition.message});
    if (condition.reason == "WaitingForSnapshot") {
      events.push_back({false, condition.reason, action, condition.message});
    }
  }
  return events;
}

}  // namespace raftkv::op
