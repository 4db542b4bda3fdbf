// Changes of size; learners that do not get there.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using Role = NodeReport::Role;
using Type = Operation::Type;

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

// The pod of a new slot mounted it, once, and wrote into it.
TEST(Scale, UpLooksFirstWhoseClaimsTheNewSlotsWouldMount) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.objects.min_available = 3;
  given.slots[4].hidden_claim = HiddenClaim::kUnknown;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.step, "WaitForClaim");
  given.slots[4].hidden_claim = HiddenClaim::kForeign;
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ForeignObject");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              testing::HasSubstr("Pod db-4 would use claim data-db-4"));
  given.spec.replicas = 4;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=4");
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
  EXPECT_EQ(plan.status.members.at(2).lag, 8192U);
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

TEST(Learner, AVoterThatIsSilentIsKept) {
  Given given = Given::Cluster(3);
  given.Silent(2, 3600);
  EXPECT_EQ(Do(given), "Nothing");
}

// A kubelet that is dead ends no pod, and where it answers still nobody was told what is waited
// for.
TEST(Scale, APodThatAnswersOnALostNodeIsNamedWhileItIsWaitedFor) {
  Given given = Given::Cluster(1);
  given.Node(1, NodeReport::Role::kBlank, Id(1));
  given.Pod(1).deleting = true;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(Condition(MakePlan(given), "Progressing").message, "Scale: RemovePods");
  given.Pod(1).node_lost_since_s = kNow - 7200;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(
      Condition(plan, "Progressing").message,
      "Scale: RemovePods. Pod db-1 answers and is being deleted, but its node node-1 is lost: "
      "end it there, then delete the pod by force.");
}

// A wall clock that was set was enough for it.
TEST(Scale, APodAboveTheSizeIsForcedOffALostNodeOnlyIfItIsSilentToo) {
  Given given = Given::Cluster(1);
  given.Claim(1, Id(1));
  given.Remove(Id(1));
  given.NodeLost(1, 300);
  given.Silent(1, 29);
  EXPECT_EQ(Do(given), "Nothing");
  given.Silent(1, 30);
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1 force");
}

}  // namespace
}  // namespace raftkv::op
