// What people read of it: an event for each act, each refusal and each end of an operation.

#include <utility>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

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
  const std::string what = ToString(action);
  using Pair = std::pair<std::string, std::string>;
  auto [reason, note] = std::visit(
      Overloaded{
          [](const Nothing&) { return Pair{}; },
          [](const AddFinalizer&) {
            return Pair{"FinalizerAdded", "its deletion waits for the operator from now on"};
          },
          [](const RemoveFinalizer&) { return Pair{"Deleted", "nothing is left to be done here"}; },
          [](const ApplyObjects&) {
            return Pair{"ObjectsApplied",
                        "Services, ServiceAccount and NetworkPolicies are as the spec asks"};
          },
          [](const ApplyStatefulSet& a) {
            return Pair{"StatefulSetApplied",
                        "pod template of the spec, " + std::to_string(a.replicas) + " replicas"};
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
          [&](const MarkClaim& a) { return Pair{"ClaimMarked", claim(a.slot) + ": " + what}; },
          [&](const Initialize& a) {
            return Pair{"Initialized", pod(a.slot) + " makes the cluster: " + what};
          },
          [&](const ChangeMembership&) { return Pair{"MembershipChanged", what}; },
          [&](const TransferLeadership&) { return Pair{"LeadershipTransferred", what}; },
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
  if (auto step = EventOf(facts.seen.name, decision.action)) {
    step->action = name == "None" ? "Maintain" : name;
    events.push_back(*std::move(step));
  }
  if (before.type != Operation::Type::kNone && before.type != status.operation.type &&
      !facts.spec.paused) {
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
    if (bad) events.push_back({true, condition.reason, name, condition.message});
  }
  return events;
}

}  // namespace raftkv::op
