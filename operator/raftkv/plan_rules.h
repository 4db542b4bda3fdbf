// The rules of the planner: each looks at the facts and decides, or leaves it to the next. plan.cc
// has their order. Internal to op_plan.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "operator/raftkv/plan.h"
#include "operator/raftkv/plan_facts.h"

namespace raftkv::op {

// What a rule wants: an action (or to wait), the operation that it belongs to, and whether
// something is in the way that people have to know of.
struct Decision {
  Action action = Nothing{};
  Operation operation;  // without times
  // status.clusterID to write; 0: as it is.
  ClusterId cluster = 0;
  // status.initializing to write; nullopt: as it is, until there is a cluster.
  std::optional<std::vector<MemberId>> initializing;
  // CamelCase, and a sentence that says what to do; empty: nothing is in the way.
  std::string blocked;
  std::string blocked_message;
  // Nothing to do and nothing to wait for but the nodes' health, or the API server's consent.
  bool at_rest = false;
  // RefusalKeys of actions that went before this one and wait, because the API server refused them.
  std::vector<std::string> held;
  // One of these whose time it is to be tried again: it is done instead of `action`, and all the
  // rest is as if it still waited, so that a status says the same until a try has succeeded.
  std::optional<Action> retry;
};

using Rule = std::optional<Decision> (*)(const Facts&);

Operation Op(Operation::Type type, std::string step);
// The running operation if it is of this type, else a new one; in any case at this step.
Operation Continue(const Facts& facts, Operation::Type type, std::string step);
Decision Do(Action action, Operation operation);
Decision Wait(Operation operation);
Decision Blocked(Operation operation, std::string reason, std::string message);

// plan_delete.cc
std::optional<Decision> PlanFinalizer(const Facts& facts);
std::optional<Decision> PlanDeletion(const Facts& facts);
std::optional<Decision> PlanPaused(const Facts& facts);
// plan_objects.cc
std::optional<Decision> PlanInvalidSpec(const Facts& facts);
std::optional<Decision> PlanForeign(const Facts& facts);
std::optional<Decision> PlanObjects(const Facts& facts);
std::optional<Decision> PlanStatefulSet(const Facts& facts);
std::optional<Decision> PlanServiceAccount(const Facts& facts);
std::optional<Decision> PlanDisruptionBudget(const Facts& facts);
std::optional<Decision> PlanLeaderMark(const Facts& facts);
std::optional<Decision> PlanClaimMarks(const Facts& facts);
std::optional<Decision> PlanResize(const Facts& facts);
// The volume of a slot that is in use is smaller than the spec asks for.
bool Grows(const Facts& facts, int slot);
// Asks for that; nullopt: it grows already, or has to be there first.
std::optional<ResizeClaim> Resize(const Facts& facts, int slot);
int WantedMinAvailable(const Facts& facts);
// There are pods, and each is blank, has ended or has lost its volume: none of them knows the
// cluster.
bool NobodyKnows(const Facts& facts);
// What of the spec cannot be read; empty: all of it can.
std::string InvalidSpec(const Facts& facts);
// A sentence for each pod that uses, or would use, somebody else's claim.
std::string ForeignClaims(const Facts& facts);
// There is a StatefulSet, and the API server refused to give it the pod template of the spec.
bool TemplateRefused(const Facts& facts);
// The StatefulSet of this size; with the pod template of the spec, unless that is refused.
Action WithReplicas(const Facts& facts, int replicas);
// plan_bootstrap.cc
std::optional<Decision> PlanBootstrap(const Facts& facts);
// One that a snapshot can be given to; empty: none is there yet.
std::string FirstBlankPod(const Facts& facts);
// plan_hibernate.cc
std::optional<Decision> PlanHibernate(const Facts& facts);
std::optional<Decision> PlanWake(const Facts& facts);
// plan_roll.cc
std::optional<Decision> PlanStuckPods(const Facts& facts);
std::optional<Decision> PlanRoll(const Facts& facts);
// Pods of an old template that it leaves alone, because they are on somebody else's claims.
std::optional<Decision> PlanRestOfRoll(const Facts& facts);
bool Outdated(const Facts& facts, int slot);
// The roll that a new template begins, if there is anything to roll.
Operation NewTemplate(const Facts& facts);
// The running operation, or else the roll that a new template begins.
Operation WithNewTemplate(const Facts& facts);
// plan_replace.cc
std::optional<Decision> PlanReplace(const Facts& facts);
// plan_addresses.cc
// A member that takes part in its slot has the slot's name and peer address. The learner that was
// to follow it, because its data seemed to be gone, goes.
std::optional<Decision> PlanAddresses(const Facts& facts);
// The members that have the names and addresses that `wanted` are to have, without them; those in
// `wanted` and `removed` are not among them.
std::vector<MemberView> OutOfTheWay(const Facts& facts, const std::vector<MemberView>& wanted,
                                    const std::vector<MemberId>& removed);
// plan_leave.cc
std::optional<Decision> PlanLeave(const Facts& facts);
// plan_scale.cc
std::optional<Decision> PlanScale(const Facts& facts);
// plan.cc
// The API server refused it. Rules go on beside it; the time to try it again is Decide's business.
bool Refused(const Facts& facts, const Action& action);
// `next` goes on beside what is refused, which is tried again when it is time.
Decision Beside(const Facts& facts, const Decision& refused, Decision next);
// Several things of which each can be done without the others: what is refused of them keeps none
// of the others away.
class AnyOf {
 public:
  explicit AnyOf(const Facts& facts) : facts_(facts) {}
  // True: this one is not refused, so that no other is needed.
  bool Add(Decision decision);
  // That one, beside those that are refused; or else one of these. nullopt: none was added.
  std::optional<Decision> Chosen() &&;

 private:
  const Facts& facts_;
  std::vector<Decision> refused_;
  std::optional<Decision> chosen_;
};
// Nothing can be changed now.
std::optional<Decision> PlanNoQuorum(const Facts& facts);
std::optional<Decision> PlanJoint(const Facts& facts);

// plan_slots.cc: steps that several rules share.

// Takes what a former member left in a slot away, in an order that Kubernetes cannot undo: the
// claim, then the pod, then both are gone. nullopt: the slot is clean. Only for slots without a
// member in the configuration.
std::optional<Decision> CleanSlot(const Facts& facts, int slot, const Operation& operation);
// Brings new members into `slots`, which have no voter: nodes, claims' notes, learners, and one
// change that makes them voters and takes `remove` out. nullopt: nothing to do.
std::optional<Decision> BringIn(const Facts& facts, const std::vector<int>& slots,
                                const std::vector<MemberId>& remove, const Operation& operation);
// Before a member is removed its claim is noted to be its own, in case that was missed: afterwards
// nobody could tell what it holds. nullopt: it is.
std::optional<Decision> NoteClaim(const Facts& facts, MemberId member, const Operation& operation);
// Hands leadership to a voter outside `leaving` if the leader is one of them; a decision as long as
// it is.
std::optional<Decision> HandOver(const Facts& facts, const std::set<MemberId>& leaving,
                                 const Operation& operation);

// plan_status.cc
PlannedStatus MakeStatus(const Facts& facts, const Decision& decision);
// The nodes and the quorum are as the spec wants them.
bool Healthy(const Facts& facts);
// Every reason that a condition can have; those of warnings are also the reasons of events. The
// documentation explains each (plan_events_test), and no plan has another (model_test).
struct ConditionReason {
  std::string_view reason;
  bool warning = false;
};
inline constexpr ConditionReason kConditionReasons[] = {
    // Available
    {"QuorumHealthy"},
    {"QuorumAvailable"},
    {"Bootstrapping"},
    {"WaitingForSnapshot"},
    {"NoLeader"},
    // Progressing
    {"Bootstrap"},
    {"Scale"},
    {"Replace"},
    {"Roll"},
    {"Resize"},
    {"Hibernate"},
    {"Wake"},
    {"Delete"},
    {"Reconciled"},
    {"DeadlineExceeded", true},
    // Degraded
    {"AsExpected"},
    {"QuorumLost", true},
    {"MembersDown", true},
    {"MemberLost", true},
    {"ReplacementDisabled", true},
    {"LearnerBehind", true},
    {"LearnerSilent", true},
    {"ClaimGoes", true},
    {"VolumeCannotGrow", true},
    {"ForeignObject", true},
    {"InvalidSpec", true},
    {"ApplyRefused", true},
    {"StatusRefused", true},  // in events and metrics alone
    {"WouldLoseQuorum", true},
    {"ClaimOfRemovedMember", true},
    {"ClaimOfUnknownMember", true},
    {"ClaimOfAnotherCluster", true},
    {"ClustersDiffer", true},
    {"BootstrapInDoubt", true},
    // QuorumLost
    {"QuorumPresent"},
    {"Electing"},
    {"NotBootstrapped"},
    {"DataLost", true},
    {"ClusterUnreachable", true},
    {"ElectionsFail", true},
    // Paused, and more than one
    {"Paused"},
    {"NotPaused"},
    {"Hibernated"},
    {"Deleting"},
};
// plan_events.cc
// Of a step that was taken, without its `action`; nullopt: Nothing is none.
std::optional<PlannedEvent> EventOf(const std::string& name, const Action& action);
std::vector<PlannedEvent> MakeEvents(const Facts& facts, const Decision& decision,
                                     const PlannedStatus& status);
std::string OperationName(Operation::Type type);

}  // namespace raftkv::op
