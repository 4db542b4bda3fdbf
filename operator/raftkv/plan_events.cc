// What people read of it: an event for each act, each refusal and each end of an operation.

#include <utility>

#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

// Reason and note of an action; an empty reason: none worth an event.
std::pair<std::string, std::string> Describe(const Facts& facts, const Decision& decision) {
  const std::string& name = facts.seen.name;
  const auto pod = [&](int slot) { return "pod " + PodName(name, slot); };
  const auto claim = [&](int slot) { return "claim data-" + PodName(name, slot); };
  const std::string what = ToString(decision.action);
  using Pair = std::pair<std::string, std::string>;
  return std::visit(
      Overloaded{
          [](const Nothing&) { return Pair{}; },
          [](const AddFinalizer&) { return Pair{}; },
          [](const RemoveFinalizer&) { return Pair{"Deleted", "nothing is left to be done here"}; },
          [](const ApplyObjects&) {
            return Pair{"ObjectsApplied",
                        "Services, ServiceAccount and NetworkPolicies are as the spec asks"};
          },
          [](const ApplyStatefulSet& a) {
            return Pair{"StatefulSetApplied",
                        "pod template of the spec, " + std::to_string(a.replicas) + " replicas"};
          },
          [](const ApplyDisruptionBudget& a) {
            return Pair{"DisruptionBudgetApplied",
                        a.min_available < 0 ? "no budget"
                                            : "minAvailable " + std::to_string(a.min_available)};
          },
          [](const MarkLeader& a) {
            return Pair{"LeaderMarked", "the leader Service points to " + a.pod};
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
      decision.action);
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

std::vector<PlannedEvent> MakeEvents(const Facts& facts, const Decision& decision,
                                     const PlannedStatus& status) {
  std::vector<PlannedEvent> events;
  const Operation& before = facts.seen.operation;
  const std::string name = OperationName(status.operation.type);
  if (auto [reason, note] = Describe(facts, decision); !reason.empty()) {
    events.push_back({false, reason, name == "None" ? "Maintain" : name, note});
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
