// The races that operators of consensus systems are known for, as far as the planner decides them.
// The other halves of R4, R10 and R13 are the nodes' and the actor's; docs/design/operator.md names
// their tests.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Role = NodeReport::Role;
using Type = Operation::Type;

TEST(Races, R1_OnlyOneClusterForms) {
  Given given = Given::BlankNodes(3);
  given.slots[2].report.reset();
  EXPECT_EQ(Do(given), "Nothing") << "all nodes have to answer";
  given.Node(2, Role::kBlank, Id(2));
  const Plan first = MakePlan(given);
  given.Wrote(first);
  EXPECT_EQ(ToString(MakePlan(given).action), ToString(first.action))
      << "repeated, it is the same call";
  // The seed has it, the others do not know yet.
  given.slots[0].report->role = Role::kLeader;
  given.slots[0].report->cluster = given.operation.cluster;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).status.cluster, given.operation.cluster);
}

TEST(Races, R1_AnotherSeedOnlyIfTheFirstIsKnownToBeGone) {
  Given given = Given::BlankNodes(3);
  given.Wrote(MakePlan(given));
  const ClusterId first = given.operation.cluster;
  given.slots[0].report.reset();
  EXPECT_EQ(Do(given), "Nothing") << "it may be the one that was initialized";
  given.Node(0, Role::kBlank, 0xB0);
  const Plan again = MakePlan(given);
  EXPECT_EQ(again.status.operation.seed, 0xB0U);
  EXPECT_NE(again.status.operation.cluster, first);
}

// With the data of its only member a cluster was gone that nobody had written down, and another one
// was begun in its place without a word.
TEST(Races, R1_NoOtherClusterBeginsWhereTheFirstMayHaveAcknowledgedWrites) {
  Given given = Given::BlankNodes(1);
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.initializing, std::vector{Id(0)});
  EXPECT_TRUE(Do(given).starts_with("Initialize")) << "its directory is there, and blank";
  given.Node(0, Role::kBlank, 0xB0);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+BootstrapInDoubt");
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-BootstrapInDoubt");
  EXPECT_EQ(plan.status.phase, "Blocked");
  EXPECT_THAT(EventReasons(plan), Contains("BootstrapInDoubt"));
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("kubectl -n prod patch rkv db --subresource=status --type=json -p "
                        R"('[{"op":"remove","path":"/status/initializing"}]')"));
  given.Wrote(plan);
  EXPECT_THAT(EventReasons(MakePlan(given)), IsEmpty()) << "said once";
  // A size of more, or of none at all, is no answer.
  given.spec.replicas = 0;
  given.Wrote(MakePlan(given));
  given.StatefulSet(0);
  given.slots.erase(0);
  given.Wrote(MakePlan(given));
  given.spec.replicas = 3;
  given.StatefulSet(3);
  for (const int slot : {0, 1, 2}) given.Node(slot, Role::kBlank, 0xB0 + slot);
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+BootstrapInDoubt");
  // The volume is back.
  Given back = given;
  back.Node(0, Role::kLeader, Id(0));
  EXPECT_EQ(MakePlan(back).status.cluster, kCluster);
  EXPECT_EQ(MakePlan(back).status.initializing, std::vector<MemberId>{});
  // Or people have said that nothing is missed.
  given.initializing.clear();
  plan = MakePlan(given);
  EXPECT_TRUE(ToString(plan.action).starts_with("Initialize slot=0")) << ToString(plan.action);
  EXPECT_EQ(plan.status.initializing, (std::vector<MemberId>{0xB0, 0xB1, 0xB2}));
}

TEST(Races, R1_WhoeverIsBlankHasAcknowledgedNothing) {
  Given given = Given::BlankNodes(3);
  given.Wrote(MakePlan(given));
  // Without a quorum the seed alone can have acknowledged nothing.
  Given seed_gone = given;
  seed_gone.Node(0, Role::kBlank, 0xB0);
  EXPECT_TRUE(Do(seed_gone).starts_with("Initialize slot=0")) << Do(seed_gone);
  EXPECT_EQ(MakePlan(seed_gone).status.initializing, (std::vector<MemberId>{0xB0, Id(1), Id(2)}));
  // The seed alone begins it.
  Given others_gone = given;
  others_gone.Node(1, Role::kBlank, 0xB1);
  others_gone.Node(2, Role::kBlank, 0xB2);
  EXPECT_TRUE(Do(others_gone).starts_with("Initialize slot=0")) << Do(others_gone);
  Given quorum_gone = seed_gone;
  quorum_gone.Node(2, Role::kBlank, 0xB2);
  EXPECT_EQ(ReasonOf(MakePlan(quorum_gone), "Degraded"), "+BootstrapInDoubt");
  quorum_gone.Silent(2, 60);
  EXPECT_EQ(ReasonOf(MakePlan(quorum_gone), "Progressing"), "+Bootstrap") << "it may know";
  // Blank ones that the operator itself takes away are not missed.
  Given fewer = seed_gone;
  fewer.spec.replicas = 1;
  EXPECT_EQ(Do(fewer), "DeleteClaim slot=1 uid=claim-uid-1 member=none");
  EXPECT_EQ(MakePlan(fewer).status.initializing, std::vector<MemberId>{});
}

TEST(Races, R2_EmptyOrdinalZeroNeverBootstrapsAgain) {
  Given given = Given::Cluster(3);
  given.membership.reset();
  for (int slot = 0; slot < 3; ++slot) given.Node(slot, Role::kBlank, 0xB0 + slot);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "+DataLost");
}

TEST(Races, R2_ClaimsOfAnEarlierLifeAreAskedBeforeANewClusterForms) {
  Given given = Given::BlankNodes(1);
  given.Claim(2);
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.StatefulSet(3);
  given.Node(1, Role::kBlank, Id(1));
  given.Pod(2);
  EXPECT_EQ(Do(given), "Nothing") << "it has not answered yet";
  given.Node(2, Role::kFollower, Id(2));
  EXPECT_EQ(MakePlan(given).status.cluster, kCluster) << "the earlier cluster goes on";
  given.Node(2, Role::kBlank, Id(2));
  EXPECT_EQ(Do(given), "DeleteClaim slot=1 uid=claim-uid-1 member=none");
  given.Claim(1).deleting = true;
  given.Claim(2).deleting = true;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=1");
}

TEST(Races, R2_ClaimsOfAnEarlierLifeAreGoneBeforeANewClusterForms) {
  Given given = Given::BlankNodes(1);
  given.Claim(1, 0xB1).deleting = true;
  EXPECT_EQ(Do(given), "Nothing");
  given.slots.erase(1);
  EXPECT_TRUE(Do(given).starts_with("Initialize slot=0")) << Do(given);
}

// The silent one had been initialized, and its claim was being deleted (model run, seed 39030).
TEST(Races, R2_NoBlankClaimGoesWhileASilentOneIsBeingDeleted) {
  Given given = Given::BlankNodes(1);
  given.StatefulSet(2);
  given.Node(1, NodeReport::Role::kBlank, Id(1));
  given.Silent(0, 10);
  given.Claim(0).deleting = true;
  EXPECT_EQ(Do(given), "Nothing");
  given.slots.erase(0);
  EXPECT_EQ(Do(given), "DeleteClaim slot=1 uid=claim-uid-1 member=none");
}

// The pod that could tell what its claim holds had not been started yet, and a cluster formed
// without it (model run, seed 7794).
TEST(Races, R2_AClaimWithoutAPodIsWaitedForBeforeANewClusterForms) {
  Given given = Given::BlankNodes(1);
  given.StatefulSet(2);
  given.Claim(1);
  EXPECT_EQ(Do(given), "Nothing");
  given.Node(1, NodeReport::Role::kFollower, 0xB1);
  EXPECT_EQ(MakePlan(given).status.cluster, kCluster) << "and what it holds is taken up";
}

TEST(Races, R3_LostDiskIsANewMember) {
  Given given = Given::Cluster(3);
  given.Blanked(1, 0xB1);
  EXPECT_EQ(Do(given), "MarkClaim slot=1 member=00000000000000b1");
  given.Claim(1).member = 0xB1;
  EXPECT_EQ(Do(given),
            "ChangeMembership add=00000000000000b1 promote= remove= update=00000000000000a1");
  given.Wrote(MakePlan(given));
  given.Learner(1, 0xB1);
  given.objects.min_available = 3;
  given.membership->members[0xB1].match = 0;
  EXPECT_EQ(Do(given), "Nothing") << "it has to catch up";
  EXPECT_EQ(MakePlan(given).status.operation.new_member, 0xB1U);
  given.membership->members[0xB1].match = 100;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote=00000000000000b1 remove=00000000000000a1");
}

TEST(Races, R4_ClusterIdsFollowTheSeedAndTheResource) {
  Given given = Given::BlankNodes(1);
  const ClusterId first = MakePlan(given).status.operation.cluster;
  given.uid = "another-resource-uid";
  EXPECT_NE(MakePlan(given).status.operation.cluster, first);
  given.uid = "resource-uid";
  given.Node(0, Role::kBlank, 0xB0);
  EXPECT_NE(MakePlan(given).status.operation.cluster, first);
}

// A cluster of three that had five: the claim of slot 3 holds a removed member.
Given AfterScaleDown() {
  Given given = Given::Cluster(3);
  given.membership->removed = {Id(3)};
  given.Claim(3, Id(3));
  given.spec.replicas = 4;
  given.objects.min_available = 3;
  return given;
}

// Seed 1347 of the model run: the one member was in a slot that the StatefulSet, which somebody had
// deleted, was not made again for, and a pod whose volume was lost counted as one that may know it.
TEST(Races, R2_WhereNobodyKnowsTheClusterWhoeverHasAClaimIsAsked) {
  Given given = Given::Cluster(3);
  given.membership.reset();
  given.slots.clear();
  for (const int slot : {1, 2}) given.Node(slot, Role::kBlank, 0xB0 + slot);
  given.Pod(0);
  given.Claim(0).lost = true;
  given.Claim(3, Id(3));
  given.objects.min_available = 2;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=4");
  given.slots[0].claim->lost = false;
  EXPECT_EQ(Do(given), "Nothing") << "it may know";
}

TEST(Races, R5_RetainedClaimOfARemovedMemberIsRefused) {
  Given given = AfterScaleDown();
  given.spec.on_scale_down = Retention::kRetain;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClaimOfRemovedMember");
  EXPECT_EQ(plan.status.phase, "Blocked");
  EXPECT_THAT(EventReasons(plan), Contains("ClaimOfRemovedMember"));
}

// Its volume object was deleted under it, and it leads on: the StatefulSet grew to the retained
// claims and shrank again, for ever.
TEST(Races, R2_AMemberThatAnswersFromALostVolumeKnowsTheCluster) {
  Given given = Given::Cluster(1);
  given.Claim(0).lost = true;
  given.Claim(1).member = Id(1);
  given.Remove(Id(1));
  given.StatefulSet(1);
  EXPECT_THAT(Do(given), Not(HasSubstr("replicas=2")));
  given.slots[0].report.reset();
  given.membership.reset();
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=2");
}

// Seed 5327 of the model run: it was to sleep, and the pods that were there, blank, ran for ever.
TEST(Races, R2_WhereNobodyKnowsTheClusterItMaySleep) {
  Given given = Given::Cluster(3);
  given.membership.reset();
  given.slots.clear();
  for (const int slot : {0, 1}) given.Node(slot, Role::kBlank, 0xB0 + slot);
  given.StatefulSet(2);
  given.spec.replicas = 0;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=0");
  given.slots[1].report.reset();
  EXPECT_EQ(Do(given), "Nothing") << "it may know";
}

// A shrink that is taken back in the moment after its members have left: their slots have pods.
TEST(Races, R5_RetainedClaimIsKeptAlsoInASlotThatHasAPod) {
  Given given = Given::Cluster(3);
  given.spec.on_scale_down = Retention::kRetain;
  given.Voter(3);
  given.Remove(Id(3));
  given.Silent(3, 60);
  given.Pod(3).finished = true;
  given.StatefulSet(4);
  given.operation = {.type = Operation::Type::kScale, .step = "Remove", .target = 3};
  given.spec.replicas = 4;
  given.objects.min_available = 3;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClaimOfRemovedMember");
  EXPECT_THAT(Condition(plan, "Degraded").message, HasSubstr("data-db-3"));
  // What is damaged is not what anybody wants to have kept; silence says nothing of that.
  Given lost = given;
  lost.Node(3, Role::kDamaged, Id(3));
  EXPECT_EQ(Do(lost), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  Given silent = given;
  silent.Silent(3, 3600);
  silent.Pod(3).finished = false;
  EXPECT_EQ(Do(silent), "Nothing");
  EXPECT_EQ(ReasonOf(MakePlan(silent), "Degraded"), "+ClaimOfRemovedMember");
  EXPECT_THAT(Condition(MakePlan(silent), "Degraded").message,
              HasSubstr("its pod is deleted by the operator"));
  // When somebody has deleted the claim, as the message says: the pod goes when it is certain that
  // its process does not vote.
  silent.Claim(3).deleting = true;
  EXPECT_EQ(Do(silent), "DeletePod slot=3 uid=pod-uid-3");
  silent.Silent(3, 5);
  EXPECT_EQ(Do(silent), "Nothing") << "it may vote";
  EXPECT_EQ(ReasonOf(MakePlan(silent), "Degraded"), "-AsExpected");
  given.spec.on_scale_down = Retention::kDelete;
  EXPECT_EQ(Do(given), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
}

TEST(Races, R5_ClaimOfARemovedMemberIsGoneBeforeItsSlotIsUsed) {
  Given given = AfterScaleDown();
  EXPECT_EQ(Do(given), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  given.slots[3].claim->deleting = true;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).status.operation.step, "WaitForClaim");
  given.slots.erase(3);
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=4");
}

TEST(Races, R6_CrashAfterAddingLearners) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.objects.min_available = 4;
  given.StatefulSet(5);
  given.Learner(3);
  given.Learner(4);
  EXPECT_EQ(given.operation.type, Type::kNone) << "nothing is remembered";
  EXPECT_EQ(Do(given), "ChangeMembership add= promote=00000000000000a3,00000000000000a4 remove=");
}

TEST(Races, R6_CrashAfterRemoving) {
  Given given = Given::Cluster(3);
  given.StatefulSet(5);
  given.membership->removed = {Id(3), Id(4)};
  for (const int slot : {3, 4}) {
    given.Pod(slot).finished = true;
    given.Claim(slot, Id(slot));
  }
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
}

TEST(Races, R7_WedgedLearnerDoesNotBlockTheRepairOfAVoter) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.objects.min_available = 4;
  given.StatefulSet(5);
  given.Learner(3);
  given.Learner(4);
  given.membership->members[Id(4)].match = 0;
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.step, "CatchUp");
  given.Blanked(1, 0xB1);
  given.Claim(1).member = 0xB1;
  EXPECT_EQ(Do(given),
            "ChangeMembership add=00000000000000b1 promote= remove= update=00000000000000a1");
}

TEST(Races, R7_LearnerThatLostItsDiskIsReplaced) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 4;
  given.objects.min_available = 3;
  given.StatefulSet(4);
  given.Learner(3);
  given.Blanked(3, 0xB3);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a3");
}

TEST(Races, R8_OneToThreeNeverPassesTwo) {
  Given given = Given::Cluster(1);
  given.spec.replicas = 3;
  given.objects.min_available = 3;
  given.StatefulSet(3);
  given.Learner(1);
  given.Learner(2);
  given.membership->members[Id(2)].active = false;
  EXPECT_EQ(Do(given), "Nothing");
  given.membership->members[Id(2)].active = true;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote=00000000000000a1,00000000000000a2 remove=");
}

TEST(Races, R8_ThreeToOneNeverPassesTwo) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 1;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1,00000000000000a2");
}

TEST(Races, R9_OneSlotIsTakenApartAtATime) {
  Given given = Given::Cluster(5);
  for (const int slot : {1, 2}) {
    given.slots[slot].report->role = Role::kDamaged;
    given.membership->members[Id(slot)].active = false;
  }
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
  given.Wrote(MakePlan(given));
  given.Remove(Id(1));
  EXPECT_EQ(Do(given), "DeleteClaim slot=1 uid=claim-uid-1 member=00000000000000a1");
  given.Claim(1).deleting = true;
  given.Pod(2).deleting = true;
  const std::string next = Do(given);
  EXPECT_EQ(next.find("DeletePod"), std::string::npos) << next;
  EXPECT_EQ(next.find("DeleteClaim"), std::string::npos) << next;
}

TEST(Races, R10_ObjectsOfAnotherResourceAreRefused) {
  Given given = Given::Cluster(3);
  given.objects.foreign = "StatefulSet db belongs to another resource.";
  given.spec.replicas = 1;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ForeignObject");
}

TEST(Races, R10_WhatIsDeletedIsNamedByItsUidAndItsNote) {
  Given given = AfterScaleDown();
  const Plan plan = MakePlan(given);
  const auto* action = std::get_if<DeleteClaim>(&plan.action);
  ASSERT_NE(action, nullptr);
  EXPECT_EQ(action->uid, "claim-uid-3");
  EXPECT_EQ(action->member, Id(3));
  EXPECT_TRUE(NeedsLiveLook(plan.action));
}

TEST(Races, R11_EachClaimIsComparedWithTheSpec) {
  Given given = Given::Cluster(3);
  given.spec.storage_bytes = 20 * kGiB;
  given.Claim(0).requested_bytes = 20 * kGiB;
  EXPECT_EQ(Do(given), "ResizeClaim slot=1 bytes=21474836480");
  given.Claim(1).requested_bytes = 20 * kGiB;
  EXPECT_EQ(Do(given), "ResizeClaim slot=2 bytes=21474836480");
  given.Claim(2).requested_bytes = 30 * kGiB;
  EXPECT_EQ(Do(given), "Nothing") << "claims do not shrink";
}

TEST(Races, R12_RemoveThenClaimThenPodThenWaitForANewNode) {
  Given given = Given::Cluster(3);
  given.NodeLost(2, 600);
  given.Pod(2).deleting = true;  // evicted, and stuck: its machine does not answer
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a2");
  given.Wrote(MakePlan(given));
  given.Remove(Id(2));
  EXPECT_EQ(Do(given), "DeleteClaim slot=2 uid=claim-uid-2 member=00000000000000a2");
  given.Claim(2).deleting = true;
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2 force");
  given.slots[2].pod.reset();
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).status.operation.step, "WaitForClaim");
  // The StatefulSet was quicker than the claim: a pod that never gets one.
  given.slots[2].claim.reset();
  given.Pod(2).node.clear();
  given.Pod(2).created_s = kNow - 31;
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  given.Node(2, Role::kBlank, 0xB2);
  given.Claim(2).member = 0xB2;
  EXPECT_EQ(Do(given), "ChangeMembership add=00000000000000b2 promote= remove=");
}

TEST(Races, R13_DataOfTwoClustersIsNotMixed) {
  Given given = Given::BlankNodes(3);
  given.slots[0].report->role = Role::kFollower;
  given.slots[0].report->cluster = 0xC1;
  given.slots[1].report->role = Role::kFollower;
  given.slots[1].report->cluster = 0xC2;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.cluster, 0U);
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClustersDiffer");
}

TEST(Races, R13_ANodeOfAnotherClusterIsNotTakenIn) {
  Given given = Given::Cluster(3);
  given.Silent(2, 60);
  given.Node(2, Role::kFollower, 0xB2).cluster = 0xC2;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(Condition(MakePlan(given), "Degraded").message,
            "Pod db-2 holds data of another cluster.");
}

TEST(Races, R14_BudgetFollowsVotersAndTargetAndCountsNoLearner) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=3") << "of five, before they are there";
  given.StatefulSet(5);
  given.Learner(3);
  given.Learner(4);
  EXPECT_EQ(Do(given), "ApplyDisruptionBudget minAvailable=4") << "two pods are no voters";
  Given down = Given::Cluster(5);
  down.spec.replicas = 1;
  EXPECT_EQ(Do(down),
            "ChangeMembership add= promote= remove=00000000000000a1,00000000000000a2,"
            "00000000000000a3,00000000000000a4")
      << "the budget stays at three of five until they have left";
  EXPECT_EQ(Do(Given::BlankNodes(3)).find("DisruptionBudget"), std::string::npos) << "no voters";
}

TEST(Races, R15_AnEditWaitsForThoseWhoLeave) {
  Given given = Given::Cluster(3);
  given.membership->removed = {Id(3), Id(4)};
  given.StatefulSet(5);
  for (const int slot : {3, 4}) given.Node(slot, Role::kRemoved, Id(slot));
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.step, "WaitForLeaving");
  given.spec.replicas = 5;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).status.operation.target, 3);
  for (const int slot : {3, 4}) {
    given.Silent(slot, 1);
    given.Pod(slot).finished = true;
    given.Claim(slot).member = Id(slot);
  }
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
}

TEST(Races, R15_AnEditTurnsRoundWhatOnlyWaits) {
  Given given = Given::Cluster(3);
  given.spec.replicas = 5;
  given.objects.min_available = 4;
  given.StatefulSet(5);
  given.Learner(3);
  given.Learner(4);
  given.membership->members[Id(4)].active = false;
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.step, "CatchUp");
  given.spec.replicas = 3;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a3,00000000000000a4");
}

// The StatefulSet mounts data-db-1 whosever it is: the pod was deleted as one without a claim.
TEST(Races, ForeignClaimIsNeitherAdoptedNorItsPodDeleted) {
  Given given = Given::Cluster(3);
  given.Silent(1, 60);
  given.slots[1].claim.reset();
  given.Pod(1).unschedulable = true;
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1") << "there is none at all";
  EXPECT_TRUE(std::get<DeletePod>(MakePlan(given).action).without_claim);

  given.slots[1].hidden_claim = HiddenClaim::kUnknown;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+MembersDown");

  given.slots[1].hidden_claim = HiddenClaim::kForeign;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+ForeignObject");
  EXPECT_THAT(Condition(MakePlan(given), "Degraded").message,
              HasSubstr("Pod db-1 uses claim data-db-1, which is not labelled"));
  given.Blanked(1, 0xBB);
  given.slots[1].claim.reset();
  given.Pod(1).unschedulable = false;
  EXPECT_EQ(Do(given), "Nothing") << "no member on it";
  given.objects.leader_pod = "db-2";
  EXPECT_EQ(Do(given), "MarkLeader pod=db-0") << "the others go on";
}

TEST(Races, NoClusterBeginsOnAForeignClaim) {
  Given given = Given::BlankNodes(3);
  given.slots[1].claim.reset();
  EXPECT_EQ(Do(given), "Nothing") << "nobody has seen whose volume it is";
  given.slots[1].hidden_claim = HiddenClaim::kForeign;
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(ReasonOf(MakePlan(given), "Degraded"), "+ForeignObject");
  given.Node(1, NodeReport::Role::kFollower, 0xBB);
  given.slots[1].claim.reset();
  EXPECT_EQ(MakePlan(given).status.cluster, 0U) << "nor is one taken from there";
  given.slots[1].hidden_claim = HiddenClaim::kUnknown;
  EXPECT_EQ(MakePlan(given).status.cluster, 0U) << "not for one look that failed either";
  given.slots[1].hidden_claim = HiddenClaim::kNone;
  given.Node(1, NodeReport::Role::kBlank, Id(1));
  EXPECT_EQ(Do(given).substr(0, 10), "Initialize");
}

}  // namespace
}  // namespace raftkv::op
