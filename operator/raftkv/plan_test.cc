// Table tests: one observation, one plan, for each operation and each refusal. The known races have
// their own in plan_races_test.cc.

#include "operator/raftkv/plan_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <utility>

#include "operator/raftkv/plan_facts.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Role = NodeReport::Role;
using Type = Operation::Type;

// --- At rest
// ----------------------------------------------------------------------------------------

class AtRest : public ::testing::TestWithParam<int> {};

TEST_P(AtRest, NothingIsDoneAndNothingChanges) {
  Given given = Given::Cluster(GetParam());
  const Plan first = MakePlan(given);
  EXPECT_EQ(ToString(first.action), "Nothing");
  EXPECT_EQ(first.status.operation.type, Type::kNone);
  EXPECT_EQ(first.status.phase, "Available");
  EXPECT_EQ(ReasonOf(first, "Available"), "+QuorumHealthy");
  EXPECT_EQ(ReasonOf(first, "Progressing"), "-Reconciled");
  EXPECT_EQ(ReasonOf(first, "Degraded"), "-AsExpected");
  EXPECT_EQ(ReasonOf(first, "QuorumLost"), "-QuorumPresent");
  EXPECT_EQ(ReasonOf(first, "Paused"), "-NotPaused");
  EXPECT_EQ(first.look_again, std::chrono::seconds(30));
  EXPECT_THAT(first.events, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Sizes, AtRest, ::testing::Range(1, 10));

// --- Events
// -------------------------------------------------------------------------------------------

template <size_t... I>
std::vector<Action> OneOfEach(std::index_sequence<I...>) {
  return {Action(std::variant_alternative_t<I, Action>{})...};
}

// A new kind of action without an event of its own, or without a row in the documentation, fails
// here.
TEST(Events, EveryStepHasOneOfItsOwnThatIsDocumented) {
  std::ifstream file(RAFTKV_EVENTS);
  const std::string documented{std::istreambuf_iterator<char>(file), {}};
  ASSERT_NE(documented.find("| Event | Meaning |"), std::string::npos) << RAFTKV_EVENTS;
  std::set<std::string> reasons;
  for (const Action& action : OneOfEach(std::make_index_sequence<std::variant_size_v<Action>>())) {
    const auto event = EventOf("db", action);
    ASSERT_EQ(event.has_value(), !std::holds_alternative<Nothing>(action)) << ToString(action);
    if (!event) continue;
    EXPECT_TRUE(reasons.insert(event->reason).second) << event->reason;
    EXPECT_FALSE(event->note.empty());
    EXPECT_NE(documented.find(event->reason), std::string::npos) << event->reason;
  }
}

// One with its rows, up to the empty line behind it.
std::string TableOf(const std::string& documented, const std::string& head) {
  const size_t begin = documented.find(head);
  return begin == std::string::npos
             ? ""
             : documented.substr(begin, documented.find("\n\n", begin) - begin);
}

// "QuorumLost" also stands in "QuorumLost=True" and in "RaftKVQuorumLost".
bool HasWord(const std::string& text, const std::string& word) {
  return std::regex_search(text, std::regex("[|, ]" + word + "[ ,(]"));
}

// The warnings that a person meets in kubectl describe had no row: QuorumLost, MembersDown,
// DataLost, DeadlineExceeded and more.
TEST(Events, EachReasonOfAConditionIsDocumentedAndAWarningAmongTheEventsToo) {
  std::ifstream file(RAFTKV_EVENTS);
  const std::string documented{std::istreambuf_iterator<char>(file), {}};
  const std::string conditions = TableOf(documented, "| Condition | Reason |");
  const std::string events = TableOf(documented, "| Event | Meaning |");
  for (const auto& [reason, warning] : kConditionReasons) {
    EXPECT_TRUE(HasWord(conditions, std::string(reason))) << reason;
    EXPECT_TRUE(!warning || HasWord(events, std::string(reason))) << reason;
  }
}

// They were those of the log: "ChangeMembership add= promote= remove=00000000000000a1".
TEST(Events, SayInWordsWhatIsDone) {
  const auto note = [](const Action& action) { return EventOf("db", action)->note; };
  EXPECT_EQ(note(MarkClaim{1, "uid", Id(1)}), "claim data-db-1 holds the data of 00000000000000a1");
  EXPECT_EQ(note(MarkClaim{1, "uid", 0}), "claim data-db-1 holds no member's data any more");
  EXPECT_EQ(note(Initialize{0, 7, {{.id = Id(0)}, {.id = Id(1)}}}),
            "pod db-0 makes cluster 0000000000000007 of members 00000000000000a0, "
            "00000000000000a1");
  ChangeMembership change;
  change.add_learners = {{.id = Id(3)}};
  EXPECT_EQ(note(change), "new learners: 00000000000000a3");
  change = {};
  change.promote = {Id(3)};
  change.remove = {Id(0), Id(1)};
  EXPECT_EQ(note(change),
            "learners that become voters: 00000000000000a3; removed: 00000000000000a0, "
            "00000000000000a1");
  EXPECT_EQ(note(TransferLeadership{Id(0), Id(1)}), "from 00000000000000a0 to 00000000000000a1");
}

// --- Bootstrap
// --------------------------------------------------------------------------------------

TEST(Beginning, FinalizerThenObjectsThenStatefulSet) {
  Given given;
  given.finalizer = false;
  given.objects.others_current = false;
  EXPECT_EQ(Do(given), "AddFinalizer");
  given.finalizer = true;
  EXPECT_EQ(Do(given), "ApplyObjects");
  given.objects.others_current = true;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
}

class Bootstrap : public ::testing::TestWithParam<int> {};

TEST_P(Bootstrap, OneInitializeOfAllNodes) {
  Given given = Given::BlankNodes(GetParam());
  const Plan plan = MakePlan(given);
  const auto* initialize = std::get_if<Initialize>(&plan.action);
  ASSERT_NE(initialize, nullptr) << ToString(plan.action);
  EXPECT_EQ(initialize->slot, 0);
  EXPECT_EQ(initialize->members.size(), static_cast<size_t>(GetParam()));
  EXPECT_EQ(initialize->members.front().id, Id(0));
  EXPECT_EQ(initialize->members.front().peer_address, "db-0.db-peers.prod.svc:7071");
  EXPECT_NE(initialize->cluster, 0U);
  // The intent is in the status that is written first.
  EXPECT_EQ(plan.status.operation.type, Type::kBootstrap);
  EXPECT_EQ(plan.status.operation.cluster, initialize->cluster);
  EXPECT_EQ(plan.status.operation.seed, Id(0));
  EXPECT_EQ(plan.status.operation.target, GetParam());
  EXPECT_EQ(ReasonOf(plan, "Available"), "-Bootstrapping");
}

INSTANTIATE_TEST_SUITE_P(Sizes, Bootstrap, ::testing::Range(1, 10));

// --- Scale
// ------------------------------------------------------------------------------------------

TEST(Scale, UpWaitsForNodesAddsAllAndPromotesAll) {
  Given given = Given::Cluster(1);
  given.spec.replicas = 3;
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=2");
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.Wrote(MakePlan(given));
  given.StatefulSet(3);
  EXPECT_EQ(Do(given), "Nothing");
  given.Node(1, Role::kBlank, Id(1));
  EXPECT_EQ(Do(given), "MarkClaim slot=1 member=00000000000000a1");
  given.slots[1].claim->member = Id(1);
  EXPECT_EQ(Do(given), "Nothing") << "one node is missing";
  given.Node(2, Role::kBlank, Id(2));
  given.slots[2].claim->member = Id(2);
  EXPECT_EQ(Do(given), "ChangeMembership add=00000000000000a1,00000000000000a2 promote= remove=");
  given.Learner(1);
  given.Learner(2);
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote=00000000000000a1,00000000000000a2 remove=");
}

// A normal change of size is no reason for a warning: each step that it goes through.
TEST(Scale, UpGivesNoWarningMembersDown) {
  Given given = Given::Cluster(3);
  const auto expect_well = [&](const std::string& when) {
    const Plan plan = MakePlan(given);
    EXPECT_EQ(ReasonOf(plan, "Degraded"), "-AsExpected") << when;
    for (const PlannedEvent& event : plan.events) EXPECT_FALSE(event.warning) << when;
    given.Wrote(plan);
  };
  given.spec.replicas = 5;
  given.objects.min_available = 2;
  expect_well("the budget is first");
  given.objects.min_available = 3;
  expect_well("the StatefulSet is next");
  given.StatefulSet(5);
  expect_well("no pod yet");
  for (const int slot : {3, 4}) {
    given.Pod(slot).created_s = kNow;
    given.Pod(slot).unschedulable = true;
  }
  expect_well("volumes are being made");
  given.Pod(3).unschedulable = given.Pod(4).unschedulable = false;
  given.Pod(3).waiting = given.Pod(4).waiting = "ContainerCreating";
  expect_well("containers are being made");
  given.Pod(3).waiting = given.Pod(4).waiting = "";
  for (const int slot : {3, 4}) given.Node(slot, Role::kBlank, Id(slot));
  expect_well("blank nodes");
  for (const int slot : {3, 4}) given.Learner(slot);
  given.objects.min_available = 4;
  given.membership->leader_commit = 9000;
  for (const int slot : {0, 1, 2}) given.membership->members[Id(slot)].match = 9000;
  expect_well("learners catch up");
  given.membership->voters_outgoing = given.membership->voters;
  for (const int slot : {3, 4}) {
    given.membership->learners.erase(Id(slot));
    given.membership->voters.insert(Id(slot));
    given.membership->members[Id(slot)].match = 9000;
    given.slots[slot].report->role = Role::kFollower;
  }
  given.membership->config_index = 9001;
  expect_well("joint, and no follower has that entry yet");
}

// Seen on a real cluster: the first election, and followers that have not got the log yet.
TEST(Beginning, GivesNoWarningMembersDown) {
  Given given = Given::Cluster(3);
  for (const int slot : {0, 1, 2}) given.Pod(slot).created_s = kNow - 3;
  for (const int slot : {1, 2}) {
    given.slots[slot].report->role = Role::kJoining;
    given.membership->members[Id(slot)].match = 0;
    given.membership->members[Id(slot)].active = false;
  }
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "-AsExpected");
  given.now_s += 60;
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+MembersDown") << "they have had their time";
}

TEST(Scale, UpToAPodThatDoesNotStartIsReported) {
  Given given = Given::Cluster(1);
  given.spec.replicas = 3;
  given.StatefulSet(3);
  given.objects.min_available = 2;
  given.Wrote(MakePlan(given));
  for (const int slot : {1, 2}) {
    given.Pod(slot).created_s = kNow;
    given.Claim(slot);
  }
  given.Pod(1).unschedulable = true;
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "-AsExpected");
  given.now_s += 60;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+MembersDown");
  EXPECT_EQ(Condition(plan, "Degraded").message, "Pod db-1 cannot be scheduled.");
  EXPECT_THAT(EventReasons(plan), Contains("MembersDown"));
  given.slots.erase(1);
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message,
            "Pod db-1 does not exist; if it does not come, the events of StatefulSet db say why.")
      << "somebody's quota refuses it";
}

TEST(Scale, UpWithAMemberDownIsReported) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.Silent(1, 3);
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+MembersDown");
}

TEST(Scale, DownHandsOverRemovesStopsPodsAndDeletesClaims) {
  Given given = Given::Cluster(5);
  given.Leader(4);
  given.membership->members[Id(2)].match = 101;
  given.spec.replicas = 3;
  EXPECT_EQ(Do(given), "TransferLeadership from=00000000000000a4 to=00000000000000a2");
  given.Leader(2);
  given.slots[4].report->role = Role::kFollower;
  given.Wrote(MakePlan(given));
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a3,00000000000000a4");
  given.Remove(Id(3));
  given.Remove(Id(4));
  given.slots[3].report->role = Role::kRemoved;
  given.slots[4].report->role = Role::kRemoved;
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "Nothing") << "they still vote";
  EXPECT_EQ(MakePlan(given).status.operation.step, "WaitForLeaving");
  for (const int slot : {3, 4}) {
    given.Silent(slot, 1);
    given.Pod(slot).finished = true;
  }
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.Wrote(MakePlan(given));
  given.StatefulSet(3);
  EXPECT_EQ(Do(given), "Nothing") << "pods are there";
  given.slots[3].pod.reset();
  given.slots[4].pod.reset();
  EXPECT_EQ(Do(given), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  given.slots.erase(3);
  EXPECT_EQ(Do(given), "DeleteClaim slot=4 uid=claim-uid-4 member=00000000000000a4");
  given.Wrote(MakePlan(given));
  given.slots.erase(4);
  const Plan done = MakePlan(given);
  EXPECT_EQ(ToString(done.action), "Nothing");
  EXPECT_EQ(done.status.operation.type, Type::kNone);
  EXPECT_THAT(EventReasons(done), Contains("ScaleFinished"));
}

// --- Roll
// -------------------------------------------------------------------------------------------

TEST(Roll, FollowersFirstTheLeaderLastAfterAHandover) {
  Given given = Given::Cluster(3);
  given.Leader(2);
  given.objects.update_revision = "rev-2";
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1");
  given.Wrote(MakePlan(given));
  given.slots[1].pod.reset();
  given.Silent(1, 1);
  EXPECT_EQ(Do(given), "Nothing");
  given.Voter(1);
  given.Pod(1).revision = "rev-2";
  given.Pod(1).ready = false;
  EXPECT_EQ(Do(given), "Nothing") << "it is not ready";
  given.Pod(1).ready = true;
  given.membership->leader_commit = 5000;
  given.membership->members[Id(0)].match = 5000;
  EXPECT_EQ(Do(given), "Nothing") << "it has not caught up";
  given.membership->members[Id(1)].match = 4500;
  EXPECT_EQ(Do(given), "DeletePod slot=0 uid=pod-uid-0");
  given.Pod(0).revision = "rev-2";
  EXPECT_EQ(Do(given), "TransferLeadership from=00000000000000a2 to=00000000000000a0");
  given.Leader(0);
  given.slots[2].report->role = Role::kFollower;
  given.membership->members[Id(2)].match = 5000;
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  given.Wrote(MakePlan(given));
  given.Pod(2).revision = "rev-2";
  const Plan done = MakePlan(given);
  EXPECT_EQ(ToString(done.action), "Nothing");
  EXPECT_THAT(EventReasons(done), Contains("RollFinished"));
}

// --- Delete
// -----------------------------------------------------------------------------------------

TEST(Delete, RetainLetsGoAtOnce) {
  Given given = Given::Cluster(3);
  given.deleting = true;
  EXPECT_EQ(Do(given), "RemoveFinalizer");
}

TEST(Delete, DeleteStopsPodsThenClaims) {
  Given given = Given::Cluster(2);
  given.spec.on_delete = Retention::kDelete;
  given.deleting = true;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=0");
  given.StatefulSet(0);
  EXPECT_EQ(Do(given), "Nothing");
  given.slots[0].pod.reset();
  given.slots[1].pod.reset();
  EXPECT_EQ(Do(given), "DeleteClaim slot=0 uid=claim-uid-0 member=00000000000000a0");
  given.slots[0].claim->deleting = true;
  EXPECT_EQ(Do(given), "DeleteClaim slot=1 uid=claim-uid-1 member=00000000000000a1");
  given.slots[1].claim->deleting = true;
  EXPECT_EQ(Do(given), "RemoveFinalizer");
}

// `kubectl delete --cascade=orphan` leaves the pods running; their claims were deleted under them.
TEST(Delete, ClaimsOfPodsThatAreLeftRunningStay) {
  Given orphans = Given::Cluster(3);
  orphans.spec.on_delete = Retention::kDelete;
  orphans.deleting = true;
  orphans.orphans = true;
  EXPECT_EQ(Do(orphans), "RemoveFinalizer");
  // When the garbage collector has taken the owner off, neither set nor pods are ours.
  Given taken = Given::Cluster(3);
  taken.spec.on_delete = Retention::kDelete;
  taken.deleting = true;
  taken.objects.stateful_set = false;
  taken.objects.stateful_set_replicas = 0;
  taken.objects.foreign_set = true;
  for (auto& [slot, view] : taken.slots) view.pod.reset();
  EXPECT_EQ(Do(taken), "RemoveFinalizer");
}

// kubectl delete --cascade=foreground: the StatefulSet goes before the resource. It was to be
// scaled to 0, which is refused for what is being deleted.
TEST(Delete, AStatefulSetThatGoesByItselfIsWaitedFor) {
  Given given = Given::Cluster(2);
  given.spec.on_delete = Retention::kDelete;
  given.deleting = true;
  given.foreground = true;
  EXPECT_EQ(Do(given), "Nothing") << "garbage collection is about to delete it";
  given.objects.stateful_set_deleting = true;
  EXPECT_EQ(Do(given), "Nothing") << "its pods go with it";
  EXPECT_EQ(MakePlan(given).status.operation.step, "StopPods");
  given.slots[0].pod.reset();
  given.slots[1].pod.reset();
  EXPECT_EQ(Do(given), "DeleteClaim slot=0 uid=claim-uid-0 member=00000000000000a0");
}

TEST(Objects, AStatefulSetThatSomebodyDeletesIsWaitedForAndMadeAgain) {
  Given given = Given::Cluster(3);
  given.objects.stateful_set_deleting = true;
  given.objects.template_current = false;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing") << "it would be refused";
  EXPECT_EQ(plan.look_again, std::chrono::seconds(1));
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "-AsExpected") << "every member answers";
  given.Silent(2, 1);
  given.slots[2].pod.reset();
  EXPECT_THAT(Condition(MakePlan(given), "Degraded").message,
              HasSubstr("StatefulSet db is being deleted; it is made again when it is gone."));
  given.objects.stateful_set = given.objects.stateful_set_deleting = false;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
}

// --- Replace
// ----------------------------------------------------------------------------------------

TEST(Replace, DamagedMemberIsRemovedThenItsClaimThenItsPod) {
  Given given = Given::Cluster(3);
  given.slots[1].report->role = Role::kDamaged;
  given.membership->members[Id(1)].active = false;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
  const Plan plan = MakePlan(given);
  EXPECT_EQ(plan.status.operation.type, Type::kReplace);
  EXPECT_EQ(plan.status.operation.slot, 1);
  EXPECT_EQ(plan.status.operation.old_member, Id(1));
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+MemberLost");
}

// Not even who it was can be read: the note on its claim tells.
TEST(Replace, DamagedMemberWithoutAnIdentity) {
  Given given = Given::Cluster(3);
  given.Silent(2, 5);
  NodeReport& report = given.Node(2, Role::kDamaged, 0);
  report.cluster = 0;
  report.warnings = {"identity: checksum does not match; delete the claim"};
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ChangeMembership add= promote= remove=00000000000000a2");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+MemberLost");
  EXPECT_NE(Condition(plan, "Degraded").message.find("identity: checksum"), std::string::npos);
  given.Wrote(plan);
  given.Remove(Id(2));
  EXPECT_EQ(Do(given), "DeleteClaim slot=2 uid=claim-uid-2 member=00000000000000a2");
}

TEST(Replace, SilentMemberOnlyIfItsNodeIsLostForLong) {
  Given given = Given::Cluster(3);
  given.Silent(1, 3600);
  EXPECT_EQ(Do(given), "Nothing") << "its pod may come back";
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+MembersDown");
  EXPECT_EQ(MakePlan(given).look_again, std::chrono::seconds(1));
  given.NodeLost(1, 299);
  EXPECT_EQ(Do(given), "Nothing");
  given.NodeLost(1, 300);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
}

TEST(Replace, VolumeLostWhileTheMemberAnswersIsNoLossYet) {
  Given given = Given::Cluster(3);
  given.Claim(1).lost = true;
  EXPECT_EQ(Do(given), "Nothing");
  given.Silent(1, 300);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
}

// It was waited for through all of replacement.after, for nothing.
TEST(Replace, AMemberWhoseClaimIsLostAndWhosePodCannotStartIsReplacedAtOnce) {
  Given given = Given::Cluster(3);
  given.Claim(1).lost = true;
  given.Silent(1, 2);
  EXPECT_EQ(Do(given), "Nothing") << "its container may come back on the volume that it has";
  given.Pod(1).node = "";
  given.Pod(1).unschedulable = true;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ChangeMembership add= promote= remove=00000000000000a1");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+MemberLost");
  EXPECT_EQ(Condition(plan, "Degraded").message, "The claim of pod db-1 has lost its volume.");
  given.membership->members[Id(1)].active = true;
  EXPECT_EQ(Do(given), "Nothing") << "it is heard of, whatever the caches say";
  given.membership->members[Id(1)].active = false;
  given.slots[1].pod.reset();
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
  given.Silent(2, 2);
  EXPECT_EQ(ReasonOf(MakePlan(given), "QuorumLost"), "-QuorumPresent");
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+WouldLoseQuorum");
}

TEST(Replace, SwitchedOff) {
  Given given = Given::Cluster(3);
  given.spec.replacement_enabled = false;
  given.Blanked(1, 0xB1);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ReplacementDisabled");
}

TEST(Replace, NeverWithoutAQuorumOfTheRest) {
  Given given = Given::Cluster(2);
  given.slots[1].report->role = Role::kDamaged;
  given.membership->members[Id(1)].active = false;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+WouldLoseQuorum");
  EXPECT_THAT(EventReasons(plan), Contains("WouldLoseQuorum"));
  given.Wrote(plan);
  EXPECT_THAT(EventReasons(MakePlan(given)), IsEmpty()) << "said once";
}

TEST(Replace, ReplacementWaitsForNobodyElseButGoesBeforeScaling) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.objects.min_available = 3;
  given.StatefulSet(5);
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.type, Type::kScale);
  given.Blanked(2, 0xB2);
  EXPECT_EQ(Do(given), "MarkClaim slot=2 member=00000000000000b2");
  EXPECT_EQ(MakePlan(given).status.operation.type, Type::kReplace);
}

// --- Roll: what stops it
// ----------------------------------------------------------------------------

TEST(Roll, BrokenImageStopsAtOnePodAndGoingBackHealsIt) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "broken";
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  given.Wrote(MakePlan(given));
  given.Silent(2, 5);
  given.Pod(2).revision = "broken";
  given.Pod(2).waiting = "ImagePullBackOff";
  for (const int64_t later : {0, 3600}) {
    given.now_s = kNow + later;
    EXPECT_EQ(Do(given), "Nothing");
    given.Wrote(MakePlan(given));
  }
  EXPECT_EQ(ReasonOf(MakePlan(given), "Progressing"), "-DeadlineExceeded");
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message,
            "Pod db-2 cannot start: ImagePullBackOff.");
  given.objects.update_revision = "rev-1";
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
}

TEST(Roll, DeadOutdatedPodsGoFirst) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.Silent(1, 60);
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1");
}

// Seed 177775 of the model run: a pod that was deleted on a machine that is gone is on its way
// back.
TEST(Roll, WaitsForAPodOfANodeThatIsGoneButNotOfOneThatIsSilent) {
  Given given = Given::Cluster(5);
  given.objects.update_revision = "rev-2";
  given.NodeLost(1, 60);
  given.Pod(1).deleting = true;
  given.Silent(2, 60);
  given.Pod(2).waiting = "ImagePullBackOff";
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  given.Pod(1).node_gone = true;
  EXPECT_EQ(Do(given), "Nothing");
}

// Seed 68749 of the model run: a follower that was heard of, did not answer just then, and whose
// claim had not been noted yet, was taken for a dead one, while another member was down.
TEST(Roll, WhoIsHeardOfIsNotDeadThoughItDoesNotAnswer) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.Silent(1, 60);
  given.Pod(1).revision = "rev-2";
  given.slots[2].report.reset();
  given.Claim(2).member = 0;
  EXPECT_EQ(Do(given), "Nothing");
}

TEST(Roll, NotWhenAnotherMemberIsDown) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.Silent(1, 60);
  given.Pod(1).revision = "rev-2";
  EXPECT_EQ(Do(given), "Nothing");
}

TEST(Roll, ANewTemplateIsNotReportedAsSeenBeforeTheRollBegins) {
  Given given = Given::Cluster(3);
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.observed_generation, 1);
  given.generation = 2;
  given.objects.others_current = given.objects.template_current = false;
  EXPECT_EQ(Do(given), "ApplyObjects");
  EXPECT_EQ(MakePlan(given).status.observed_generation, 1);
  given.objects.others_current = true;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  EXPECT_EQ(MakePlan(given).status.observed_generation, 2);
  EXPECT_EQ(MakePlan(given).status.phase, "Rolling");
  given.Wrote(MakePlan(given));
  given.objects.template_current = true;
  given.objects.update_revision = "";
  EXPECT_EQ(Do(given), "Nothing") << "the StatefulSet's controller has not seen it";
  EXPECT_EQ(MakePlan(given).status.phase, "Rolling");
  given.Wrote(MakePlan(given));
  given.objects.update_revision = "rev-2";
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  EXPECT_EQ(MakePlan(given).status.operation.slot, 2);
}

TEST(Roll, AnotherNewTemplateInItsMiddleDoesNotEndIt) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.Wrote(MakePlan(given));
  given.objects.update_revision = "";
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).status.phase, "Rolling");
}

TEST(Roll, PausedOrOnDeleteLeavesPodsAlone) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.spec.update_paused = true;
  EXPECT_EQ(Do(given), "Nothing");
  given.spec.update_paused = false;
  given.spec.strategy = UpdateStrategy::kOnDelete;
  EXPECT_EQ(Do(given), "Nothing");
  given.objects.template_current = false;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3")
      << "the template follows the spec all the same";
}

TEST(Roll, TheOnlyVoterIsDeletedWithoutAHandover) {
  Given given = Given::Cluster(1);
  given.objects.update_revision = "rev-2";
  EXPECT_EQ(Do(given), "DeletePod slot=0 uid=pod-uid-0");
}

TEST(Roll, NotWhenTheOnlyVoterWouldLoseItsData) {
  Given given = Given::Cluster(1);
  given.objects.update_revision = "rev-2";
  given.Claim(0).deleting = true;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClaimGoes");
}

// --- Hibernate and wake
// -----------------------------------------------------------------------------

TEST(Hibernate, PodsGoClaimsStay) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 0;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=0");
  given.Wrote(MakePlan(given));
  given.StatefulSet(0);
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=none");
  given.objects.min_available = -1;
  EXPECT_EQ(MakePlan(given).status.phase, "Hibernating");
  for (auto& [slot, view] : given.slots) {
    view.pod.reset();
    view.report.reset();
  }
  given.membership.reset();
  const Plan asleep = MakePlan(given);
  EXPECT_EQ(ToString(asleep.action), "Nothing");
  EXPECT_EQ(asleep.status.phase, "Hibernated");
  EXPECT_EQ(ReasonOf(asleep, "Available"), "-Hibernated");
  EXPECT_EQ(ReasonOf(asleep, "QuorumLost"), "-Hibernated");
  EXPECT_EQ(asleep.look_again, Duration::zero());
}

TEST(Wake, EverybodyWhoWasThereComesBackBeforeAChangeOfSize) {
  Given given = Given::Cluster(3);
  given.StatefulSet(0);
  given.objects.min_available = -1;
  for (auto& [slot, view] : given.slots) {
    view.pod.reset();
    view.report.reset();
  }
  given.membership.reset();
  given.spec.replicas = 1;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  EXPECT_EQ(MakePlan(given).status.operation.type, Type::kWake);
}

// --- Quorum lost, paused, foreign
// -------------------------------------------------------------------

// What an uncommitted change of the membership, or a network between the members, can do: it was
// NoLeader for ever.
TEST(QuorumLost, WhenAQuorumAnswersAndElectsNobody) {
  Given given = Given::Cluster(3);
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.leaderless_since_s = kNow - kElectionSeconds + 1;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "-Electing");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-NoLeader");
  given.leaderless_since_s = kNow - kElectionSeconds;
  plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+ElectionsFail");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-QuorumLost");
  EXPECT_EQ(plan.status.phase, "QuorumLost");
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_THAT(EventReasons(plan), Contains("ElectionsFail"));
  given.Wrote(plan);
  EXPECT_THAT(MakePlan(given).events, IsEmpty()) << "said once";
}

// --- Learners that do not get there
// ------------------------------------------------------------------

// One to three: slot 1 is a learner that has caught up, slot 2 one that has not.
Given WithLearners() {
  Given given = Given::Cluster(1);
  given.spec.replicas = 3;
  given.StatefulSet(3);
  given.Learner(1);
  given.Learner(2);
  given.membership->leader_commit = 9000;
  given.membership->members[Id(0)].match = 9000;
  given.membership->members[Id(1)].match = 9000;
  given.objects.min_available = 3;
  return given;
}

TEST(Learner, ThatDoesNotCatchUpIsReportedAndKept) {
  Given given = WithLearners();
  Plan plan = MakePlan(given);
  EXPECT_EQ(plan.status.operation.step, "CatchUp");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "-AsExpected") << "it has time";
  given.Wrote(plan);
  given.now_s += 3600;
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+LearnerBehind");
  EXPECT_NE(Condition(plan, "Degraded").message.find("Pod db-2"), std::string::npos);
  EXPECT_NE(Condition(plan, "Degraded").message.find("8192"), std::string::npos);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-DeadlineExceeded");
  EXPECT_THAT(EventReasons(plan), Contains("LearnerBehind"));
  given.Wrote(plan);
  given.membership->leader_commit += 100;
  EXPECT_THAT(MakePlan(given).events, IsEmpty()) << "said once";
  given.membership->members[Id(2)].match = given.membership->leader_commit;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote=00000000000000a1,00000000000000a2 remove=");
}

TEST(Learner, ThatIsSilentIsReportedThenMadeAnew) {
  Given given = WithLearners();
  given.spec.progress_deadline = std::chrono::seconds(60);
  given.Silent(2, 10);
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.step, "CatchUp");
  given.now_s += 100;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+LearnerSilent");
  EXPECT_THAT(EventReasons(plan), Contains("LearnerSilent"));
  given.now_s += 300;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a2");
  given.Wrote(MakePlan(given));
  given.Remove(Id(2));
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "DeleteClaim slot=2 uid=claim-uid-2 member=00000000000000a2");
  given.Claim(2).deleting = true;
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
}

TEST(Learner, ThatIsSilentIsKeptIfReplacementIsOffOrItsPodIsYoung) {
  Given given = WithLearners();
  given.Silent(2, 600);
  given.Pod(2).created_s = kNow - 10;
  EXPECT_EQ(Do(given), "Nothing") << "it was asleep, and wakes";
  given.Pod(2).created_s = kNow - 600;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a2");
  given.spec.replacement_enabled = false;
  EXPECT_EQ(Do(given), "Nothing");
}

// Seed 46355 of the model run, when it could: a node that took itself for a member whose addition
// was never committed. It was waited for without a word.
// Seed 12114 of the model run: the claim of a member that runs was deleted, and nothing was said or
// done until its pod, and its data, went.
TEST(Replace, AMemberWhoseClaimIsDeletedGoesInOrderBeforeItsData) {
  Given given = Given::Cluster(3);
  given.Claim(0).deleting = true;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "TransferLeadership from=00000000000000a0 to=00000000000000a2");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClaimGoes");
  EXPECT_EQ(Condition(plan, "Degraded").message,
            "The claim of pod db-0 is being deleted, and its data goes with the pod. The member is "
            "replaced.");
  EXPECT_THAT(EventReasons(plan), Contains("ClaimGoes"));
  given.Wrote(plan);
  given.Leader(2);
  given.slots[0].report->role = Role::kFollower;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a0");
  given.Remove(Id(0));
  given.objects.min_available = 2;
  given.slots[0].report->role = Role::kRemoved;
  EXPECT_EQ(Do(given), "Nothing") << "a removed member ends by itself before its pod goes";
  given.Silent(0, 1);
  given.Pod(0).finished = true;
  EXPECT_EQ(Do(given), "DeletePod slot=0 uid=pod-uid-0");
}

TEST(Replace, AClaimThatGoesWaitsForOthersWithoutHoldingThemUp) {
  Given given = Given::Cluster(1);
  given.Claim(0).deleting = true;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(
      Condition(plan, "Degraded").message,
      "The claim of pod db-0 is being deleted, and its data goes with the pod. The others are "
      "not enough to go on without it: bring them back, or scale up.");
  given.spec.replicas = 3;
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");

  Given two = Given::Cluster(3);
  two.Claim(1).deleting = true;
  two.Blanked(2, 0xB2);
  EXPECT_EQ(Do(two), "MarkClaim slot=2 member=00000000000000b2") << "data that is gone goes first";

  Given off = Given::Cluster(3);
  off.spec.replacement_enabled = false;
  off.Claim(1).deleting = true;
  EXPECT_EQ(Do(off), "Nothing");
  EXPECT_EQ(ReasonOf(MakePlan(off), "Degraded"), "+ClaimGoes");
}

TEST(Stranger, DataThatNobodyKnowsInASlotThatIsToBeFilledIsRefused) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 4;
  given.objects.min_available = 3;
  given.StatefulSet(4);
  given.Node(3, Role::kLearner, 0xB3);
  given.Claim(3).member = 0xB3;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClaimOfUnknownMember");
  EXPECT_EQ(Condition(plan, "Degraded").message,
            "claim data-db-3 holds member 00000000000000b3, which this cluster does not know: if "
            "its data is not wanted any more, delete the claim and its pod");
  EXPECT_THAT(EventReasons(plan), Contains("ClaimOfUnknownMember"));
  given.Wrote(plan);
  EXPECT_THAT(EventReasons(MakePlan(given)), IsEmpty()) << "said once";

  given.slots[3].report->cluster = 0xC2;
  plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClaimOfAnotherCluster");
  EXPECT_EQ(Condition(plan, "Degraded").message,
            "claim data-db-3 holds data of another cluster (00000000000000c2): if it is not wanted "
            "any more, delete the claim and its pod");

  given.slots[3].report->role = Role::kDamaged;
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+ClaimOfAnotherCluster");
  given.slots[3].report->cluster = kCluster;
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+ClaimOfUnknownMember");

  given.slots[3].report->member = 0;
  given.slots[3].report->cluster = 0;
  given.Claim(3).member = 0;
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message,
            "claim data-db-3 holds data that cannot be read: if it is not wanted any more, delete "
            "the claim and its pod");

  given.Blanked(3, 0xB4);
  EXPECT_EQ(Do(given), "MarkClaim slot=3 member=00000000000000b4") << "as told";
}

// Where a member is known by its slot alone, it is not for the operator to say what goes.
TEST(Stranger, DataThatNobodyKnowsInAMembersSlotIsReported) {
  Given given = Given::Cluster(3);
  given.Silent(2, 60);
  given.Node(2, Role::kFollower, 0xB2);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+MembersDown");
  EXPECT_EQ(Condition(plan, "Degraded").message,
            "Pod db-2 holds member 00000000000000b2, which this cluster does not know.");
}

// A learner that has just been added and has not got the log yet.
TEST(Stranger, AMemberThatJoinsIsNone) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 4;
  given.objects.min_available = 3;
  given.StatefulSet(4);
  given.Learner(3);
  given.slots[3].report->role = Role::kJoining;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(plan.status.operation.step, "CatchUp");
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "+Scale");
}

TEST(Learner, AVoterThatIsSilentIsKept) {
  Given given = Given::Cluster(3);
  given.Silent(2, 3600);
  EXPECT_EQ(Do(given), "Nothing");
}

TEST(QuorumLost, NothingIsDone) {
  Given given = Given::Cluster(3);
  given.slots[0].report->applied_index = 99;
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.NodeLost(1, 3600);
  given.NodeLost(2, 3600);
  given.objects.update_revision = "rev-2";
  given.spec.replicas = 1;
  given.objects.min_available = 2;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+DataLost");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-QuorumLost");
  EXPECT_EQ(plan.status.phase, "QuorumLost");
  EXPECT_THAT(EventReasons(plan), Contains("DataLost"));
  EXPECT_THAT(Condition(plan, "QuorumLost").message,
              HasSubstr("Of those that answer, pod db-0 has the newest state (index 99)."));
  given.Silent(1, 3);
  given.Silent(2, 3);
  given.Pod(1).node_lost_since_s = given.Pod(2).node_lost_since_s = 0;
  EXPECT_EQ(ReasonOf(MakePlan(given), "QuorumLost"), "+MembersDown") << "they may come back";
}

// All three conditions said "Less than a quorum of the members answers", none said which, and
// Progressing said that nothing was left to be done.
TEST(QuorumLost, TheStatusNamesThePodsAndWhatIsWrongWithEach) {
  Given given = Given::Cluster(3);
  given.membership->leader = 0;
  given.slots[0].report->role = Role::kFollower;
  given.Silent(1, 3);
  given.Pod(1).unschedulable = true;
  given.Silent(2, 3);
  Plan plan = MakePlan(given);
  const std::string what =
      "2 of 3 voters do not answer, which leaves no quorum; they may come back. Pod db-1 cannot "
      "be scheduled. Pod db-2 does not answer.";
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+MembersDown");
  EXPECT_EQ(Condition(plan, "QuorumLost").message, what);
  EXPECT_EQ(Condition(plan, "Degraded").message, what);
  EXPECT_EQ(Condition(plan, "Available").message, what);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-QuorumLost");
  for (const PlannedEvent& event : plan.events) EXPECT_EQ(event.action, "Maintain");

  given.NodeLost(1, 3600);
  given.NodeLost(2, 3600);
  plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+DataLost");
  EXPECT_THAT(Condition(plan, "QuorumLost").message,
              EndsWith(" Pod db-1: its node is lost. Pod db-2: its node is lost."));

  given.Silent(0, 3);
  given.membership.reset();
  plan = MakePlan(given);
  EXPECT_EQ(Condition(plan, "QuorumLost").message,
            "No member answers. Pod db-0 does not answer. Pod db-1: its node is lost. Pod db-2: "
            "its node is lost.");
}

TEST(QuorumLost, ABrokenTemplateCanStillBeTakenBack) {
  Given given = Given::Cluster(1);
  given.Silent(0, 60);
  given.membership.reset();
  given.Pod(0).waiting = "ImagePullBackOff";
  given.Pod(0).revision = "broken";
  EXPECT_EQ(Do(given), "DeletePod slot=0 uid=pod-uid-0");
}

TEST(Paused, OnlyTheStatusIsKept) {
  Given given = Given::Cluster(3);
  given.spec.paused = true;
  given.spec.replicas = 5;
  given.objects.others_current = given.objects.template_current = false;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Paused"), "+Paused");
  EXPECT_EQ(ReasonOf(plan, "Available"), "+QuorumAvailable");
  EXPECT_EQ(plan.status.phase, "Paused");
  given.deleting = true;
  EXPECT_EQ(Do(given), "RemoveFinalizer") << "a paused resource can be deleted";
}

TEST(Joint, MembershipIsLeftAlone) {
  Given given = Given::Cluster(3);
  given.membership->voters_outgoing = {Id(0)};
  given.Blanked(2, 0xB2);
  given.spec.replicas = 5;
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).look_again, std::chrono::seconds(1));
}

TEST(Scale, DownNotIfThoseWhoStayAreNoQuorum) {
  Given given = Given::Cluster(5);
  given.spec.replicas = 3;
  given.Silent(1, 60);
  given.Silent(2, 60);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+WouldLoseQuorum");
  given.spec.replicas = 5;
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+MembersDown") << "going back ends the refusal";
}

TEST(Objects, WhatSomebodyDeletedComesBack) {
  Given given = Given::Cluster(3);
  given.objects.stateful_set = false;
  given.objects.stateful_set_replicas = 0;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.StatefulSet(2);
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3") << "room for every member";
  given.StatefulSet(3);
  given.objects.leader_pod = "db-1,db-2";
  EXPECT_EQ(Do(given), "MarkLeader pod=db-0");
  given.objects.leader_pod = "db-0";
  given.Claim(1).member = 0;
  EXPECT_EQ(Do(given), "MarkClaim slot=1 member=00000000000000a1");
}

// spec.pod.serviceAccountName came later: the operator's own account outlives its last user.
TEST(Objects, TheServiceAccountThatNobodyUsesAnyMoreGoes) {
  Given given = Given::Cluster(3);
  for (const int slot : {0, 1, 2}) given.Pod(slot).own_account = true;
  given.objects.spare_account = true;
  given.objects.template_current = false;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.Wrote(MakePlan(given));
  given.objects.template_current = true;
  given.objects.update_revision = "";
  EXPECT_EQ(Do(given), "Nothing") << "its controller has not seen the template";
  given.objects.update_revision = "rev-2";
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2") << "the roll";
  for (const int slot : {1, 2}) {
    given.Pod(slot).own_account = false;
    given.Pod(slot).revision = "rev-2";
  }
  EXPECT_NE(Do(given), "DeleteServiceAccount") << "one pod uses it";
  given.Pod(0).own_account = false;
  given.Pod(0).revision = "rev-2";
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "DeleteServiceAccount");
  EXPECT_TRUE(NeedsLiveLook(plan.action)) << "a pod may have come meanwhile";
  EXPECT_THAT(EventReasons(plan), Contains("ServiceAccountDeleted"));
  given.objects.spare_account = false;
  given.Wrote(MakePlan(given));
  EXPECT_EQ(Do(given), "Nothing");
  // And back: it is there before a pod needs it.
  given.objects.others_current = given.objects.template_current = false;
  EXPECT_EQ(Do(given), "ApplyObjects");
  given.objects.others_current = true;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
}

TEST(Objects, TheSpareServiceAccountGoesAlsoFromAClusterThatSleeps) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 0;
  given.StatefulSet(0);
  given.membership.reset();
  given.slots.clear();
  given.objects.min_available = -1;
  given.objects.spare_account = true;
  EXPECT_EQ(Do(given), "DeleteServiceAccount");
}

// "Not every member takes part and has caught up": which?
TEST(Status, NamesThePodsThatDoNotAnswerOrHaveNotCaughtUp) {
  Given given = Given::Cluster(3);
  given.membership->members[Id(1)].active = false;
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message, "Does not answer: db-1.");
  given.membership->leader_commit += 5000;
  given.membership->members[Id(0)].match = given.membership->leader_commit;
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message,
            "Does not answer: db-1. Has not caught up: db-2.");
}

// Warnings QuorumLost, ClusterUnreachable and MembersDown told of pods that were to go.
TEST(Delete, IsNoReasonToWorry) {
  Given given = Given::Cluster(3);
  given.spec.on_delete = Retention::kDelete;
  given.deleting = true;
  given.StatefulSet(0);
  for (int slot = 0; slot < 3; ++slot) given.slots[slot].report.reset();
  given.membership.reset();
  const Plan plan = MakePlan(given);
  EXPECT_EQ(Condition(plan, "Available").reason, "Deleting");
  EXPECT_FALSE(Condition(plan, "QuorumLost").status);
  EXPECT_FALSE(Condition(plan, "Degraded").status);
  for (const PlannedEvent& event : plan.events) EXPECT_FALSE(event.warning) << event.reason;
  // "BootstrapInterrupted: goes on after: Delete".
  given.operation.type = Type::kBootstrap;
  EXPECT_THAT(EventReasons(MakePlan(given)), ::testing::Not(Contains("BootstrapInterrupted")));
}

TEST(Status, LagIsRoundedSoThatWritesDoNotMoveIt) {
  Given given = Given::Cluster(3);
  given.membership->leader_commit = 900;
  const Plan before = MakePlan(given);
  given.membership->leader_commit = 1050;
  const Plan after = MakePlan(given);
  EXPECT_EQ(before.status, after.status);
}

}  // namespace
}  // namespace raftkv::op
