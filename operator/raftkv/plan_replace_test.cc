// Members that will not come back as themselves; data that nobody knows in their slots.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "operator/raftkv/plan_rules.h"
#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Role = NodeReport::Role;
using Type = Operation::Type;

void AdaptBudget(Given* given) { given->objects.min_available = WantedMinAvailable(Facts(*given)); }

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

// The whole of replacement.after was counted anew by each new operator: one that ended more often
// than that, perhaps with the very nodes that were lost, replaced nobody.
TEST(Replace, ANewOperatorAsksAMemberOfALostNodeForAWhileOnly) {
  Given given = Given::Cluster(3);
  given.NodeLost(1, 300);
  given.Silent(1, 29);
  EXPECT_EQ(Do(given), "Nothing");
  given.Silent(1, 30);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
  given.NodeLost(1, 299);
  EXPECT_EQ(Do(given), "Nothing");
  given.spec.replacement_after = std::chrono::seconds(10);
  given.NodeLost(1, 10);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
  // Without a node that says so it is the whole.
  given.spec.replacement_after = std::chrono::minutes(5);
  given.Silent(1, 299);
  given.Pod(1).node_lost_since_s = 0;
  given.Claim(1).lost = true;
  EXPECT_EQ(Do(given), "Nothing");
}

// Its claim says for ever where its volume was made, which others may reach: after 30 s without a
// place a member was given up, with a volume that was well.
TEST(Replace, APodWithoutAPlaceHasAllOfItsTimeWhateverBecameOfTheNodeOfItsVolume) {
  Given given = Given::Cluster(3);
  given.NodeLost(1, 86'400);
  given.Pod(1).node.clear();
  given.Silent(1, 299);
  EXPECT_EQ(Do(given), "Nothing");
  given.Silent(1, 300);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
}

// A wall clock that was set was enough for it.
TEST(Replace, APodIsForcedOffOnlyIfItIsSilentToo) {
  Given given = Given::Cluster(3);
  given.Remove(Id(1));
  given.operation.type = Type::kReplace;
  given.operation.slot = 1;
  given.operation.old_member = Id(1);
  given.Claim(1).deleting = true;
  given.NodeLost(1, 300);
  given.Pod(1).finished = true;
  given.Silent(1, 29);
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1");
  given.Pod(1).deleting = true;
  EXPECT_EQ(Do(given), "Nothing");
  given.Silent(1, 30);
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1 force");
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

// Its claim was waited for through the first 30 s of the pod, for nothing: it is made before the
// pod.
TEST(Replace, AYoungPodWhoseClaimIsGoneIsMadeAgainAtOnce) {
  Given given = Given::Cluster(3);
  given.Silent(1, 2);
  given.Pod(1).node = "";
  given.Pod(1).created_s = kNow - 1;
  given.operation.type = Type::kReplace;
  given.operation.slot = 1;
  given.operation.old_member = Id(1);
  given.Remove(Id(1));
  EXPECT_EQ(Do(given), "DeleteClaim slot=1 uid=claim-uid-1 member=00000000000000a1");
  given.slots[1].claim.reset();
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1");
  EXPECT_TRUE(std::get<DeletePod>(MakePlan(given).action).without_claim);
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

// Seed 148 of the model run: five voters were four, and then three, when the claims of two of them
// were deleted at once, and three were one.
TEST(Replace, OfTheMembersThatLiveOneIsMissingAtATime) {
  for (const int size : {3, 5}) {
    Given given = Given::Cluster(size);
    given.Claim(1).deleting = given.Claim(2).deleting = true;
    EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a1");
    given.Wrote(MakePlan(given));
    given.Remove(Id(1));
    AdaptBudget(&given);
    given.slots[1].report->role = Role::kRemoved;
    EXPECT_EQ(Do(given), "Nothing");
    Given lost_operation = given;
    lost_operation.operation = {};
    EXPECT_EQ(Do(lost_operation), "Nothing") << "whatever became of what was written";
    // Seed 17364: another operation was written, and the slot filled as by a growth.
    Given top = Given::Cluster(size);
    top.Claim(1).deleting = true;
    top.Remove(Id(size - 1));
    top.slots.erase(size - 1);
    top.Node(size - 1, Role::kBlank, 0xBB);
    top.Claim(size - 1).member = 0xBB;
    AdaptBudget(&top);
    EXPECT_EQ(Do(top), "ChangeMembership add=00000000000000bb promote= remove=");
    given.Silent(1, 1);
    given.Pod(1).finished = true;
    EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1");
    given.Refuse(DeletePod{1, "pod-uid-1", "", false}, "Pod db-1: no", 5);
    EXPECT_EQ(Do(given), "Nothing") << "what is refused of one is no reason to take another";
    given.refusals.clear();
    given.slots.erase(1);
    given.Node(1, Role::kBlank, 0xB1);
    given.Claim(1).member = 0xB1;
    EXPECT_EQ(Do(given), "ChangeMembership add=00000000000000b1 promote= remove=");
    given.Learner(1, 0xB1);
    given.membership->members[0xB1].match = 0;
    given.membership->leader_commit = 5000;
    for (const MemberId id : given.membership->voters) given.membership->members[id].match = 5000;
    AdaptBudget(&given);
    EXPECT_EQ(Do(given), "Nothing") << "it catches up";
    // One that does not live is no loss, and does not wait.
    Given damaged = given;
    damaged.Node(0, Role::kDamaged, Id(0));
    damaged.membership->members[Id(0)].active = false;
    damaged.Leader(2);
    if (size == 5) {
      EXPECT_EQ(Do(damaged), "ChangeMembership add= promote= remove=00000000000000a0");
    }
    given.membership->learners.erase(0xB1);
    given.membership->members[0xB1].match = 5000;
    given.Voter(1, 0xB1);
    given.membership->members[0xB1].match = 5000;
    AdaptBudget(&given);
    EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a2");
  }
}

// The first was held up by the second, for as long as the cleaning up behind that was refused.
TEST(Replace, TwoLostMembersOfWhichOneCannotBeCleanedUpBehind) {
  Given given = Given::Cluster(5);
  for (const int slot : {3, 4}) given.Node(slot, Role::kDamaged, Id(slot));
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a3");
  given.Wrote(MakePlan(given));
  given.Remove(Id(3));
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  given.Refuse(DeleteClaim{3, "claim-uid-3", "", Id(3)}, "PersistentVolumeClaim data-db-3: no", 5);
  EXPECT_EQ(Do(given), "ChangeMembership add= promote= remove=00000000000000a4");
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.slot, 4);
  given.Remove(Id(4));
  given.Refuse(DeleteClaim{4, "claim-uid-4", "", Id(4)}, "PersistentVolumeClaim data-db-4: no", 5);
  EXPECT_EQ(Do(given), "Nothing");
  given.Wrote(MakePlan(given));
  EXPECT_EQ(given.operation.type, Type::kReplace);
  given.refusals.erase(RefusalKey(DeleteClaim{3, "claim-uid-3", "", Id(3)}));
  EXPECT_EQ(Do(given), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  EXPECT_EQ(MakePlan(given).status.operation.slot, 3);
  // Seed 13058 of the model run: there is no pod to wait for.
  Given made_again = given;
  made_again.StatefulSet(3);
  EXPECT_EQ(Do(made_again), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  EXPECT_EQ(MakePlan(made_again).status.operation.type, Type::kScale);
  // What is to be kept is none of its business.
  given.spec.on_scale_down = Retention::kRetain;
  given.Silent(3, 5);
  given.Pod(3).finished = true;
  EXPECT_EQ(Do(given), "Nothing");
}

// The one that was begun first was held up for as long as the pod of the other one found no node,
// or its learner was catching up.
TEST(Replace, TwoLostMembersOfWhichOneOnlyWaits) {
  Given given = Given::Cluster(5);
  given.Node(3, Role::kDamaged, Id(3));
  given.Remove(Id(3));
  given.Remove(Id(4));
  given.slots.erase(4);
  given.Pod(4).node.clear();
  given.Pod(4).unschedulable = true;
  given.Claim(4).bound = false;
  given.operation.type = Type::kReplace;
  given.operation.step = "WaitForNodes";
  given.operation.slot = 4;
  given.operation.old_member = Id(4);
  given.Claim(3).member = Id(3);
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  EXPECT_EQ(plan.status.operation.slot, 4) << "the other one still is what is waited for";
  EXPECT_EQ(plan.status.operation.step, "WaitForNodes");
  // What is refused of it is said.
  given.Refuse(DeleteClaim{3, "claim-uid-3", "", Id(3)}, "PersistentVolumeClaim data-db-3: no", 5);
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("PersistentVolumeClaim data-db-3: no"));
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ApplyRefused");
  given.refusals.clear();
  // To the end.
  given.slots.erase(3);
  given.Node(3, Role::kBlank, 0xB3);
  EXPECT_EQ(Do(given), "MarkClaim slot=3 member=00000000000000b3");
  given.Claim(3).member = 0xB3;
  EXPECT_EQ(Do(given), "ChangeMembership add=00000000000000b3 promote= remove=");
  given.Learner(3, 0xB3);
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "ChangeMembership add= promote=00000000000000b3 remove=");
  given.membership->learners.erase(0xB3);
  given.Voter(3, 0xB3);
  EXPECT_EQ(Do(given), "Nothing");
  // The one above all members, too, while the lower one only waits.
  Given other = Given::Cluster(5);
  other.Node(4, Role::kDamaged, Id(4));
  other.Remove(Id(3));
  other.slots.erase(3);
  other.Learner(3, 0xB3);
  other.membership->members[0xB3].match = 0;
  other.objects.min_available = 4;
  other.operation.type = Type::kReplace;
  other.operation.slot = 3;
  plan = MakePlan(other);
  EXPECT_EQ(ToString(plan.action), "ChangeMembership add= promote= remove=00000000000000a4");
  EXPECT_EQ(plan.status.operation.slot, 4);
  other.Wrote(plan);
  other.Remove(Id(4));
  other.objects.min_available = 3;
  EXPECT_EQ(Do(other), "DeleteClaim slot=4 uid=claim-uid-4 member=00000000000000a4");
  EXPECT_EQ(MakePlan(other).status.operation.slot, 4);
  other.Wrote(MakePlan(other));
  other.slots[4].claim->deleting = true;
  other.slots[4].pod->deleting = true;
  other.membership->members[0xB3].match = 100;
  EXPECT_EQ(Do(other), "ChangeMembership add= promote=00000000000000b3 remove=");
}

// Found by the model run (seed 2997): the StatefulSet was made again for two members while the
// third was being replaced, and the replacement waited for its pod for ever.
TEST(Replace, ASlotThatTheStatefulSetLacksIsFilledByAChangeOfSize) {
  Given given = Given::Cluster(3);
  given.Remove(Id(2));
  given.slots.erase(2);
  given.StatefulSet(2);
  given.operation.type = Type::kReplace;
  given.operation.slot = 2;
  given.operation.old_member = Id(2);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ApplyStatefulSet replicas=3");
  EXPECT_EQ(plan.status.operation.type, Type::kScale);
}

// Seed 1084 of the model run: the slots that a change from five to three had left were taken for
// those of members that were lost beside another one, and filled one by one: three voters were
// four.
TEST(Replace, SlotsThatAShrinkHasLeftAreFilledByOneChangeOfSize) {
  Given given = Given::Cluster(5);
  for (const int slot : {3, 4}) {
    given.Silent(slot, 5);
    given.Pod(slot).finished = true;
    given.Remove(Id(slot));
  }
  given.Blanked(1, 0xB1);
  given.Learner(1, 0xB1);
  given.membership->members[0xB1].match = 0;
  given.operation.type = Type::kReplace;
  given.operation.slot = 1;
  AdaptBudget(&given);
  EXPECT_EQ(Do(given), "Nothing");
  EXPECT_EQ(MakePlan(given).status.operation.slot, 1);
  given.Remove(Id(1));
  given.membership->learners.erase(0xB1);
  given.Voter(1, 0xB1);
  AdaptBudget(&given);
  EXPECT_EQ(Do(given), "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3");
  EXPECT_EQ(MakePlan(given).status.operation.type, Type::kScale);
}

// Seed 4719 of the model run: a change of size that hibernation had interrupted had left a voter in
// a high slot. Beside the member that was replaced, a slot that had never had one was filled: three
// voters were four.
TEST(Replace, NoMoreSlotsAreFilledThanThereWereVoters) {
  Given given = Given::Cluster(2);
  given.spec.replicas = 3;
  given.StatefulSet(5);
  given.Voter(4);
  given.Leader(4);
  given.Node(2, Role::kBlank, Id(2));
  given.Claim(2).member = Id(2);
  given.Node(0, Role::kDamaged, Id(0));
  given.membership->members[Id(0)].active = false;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ChangeMembership add= promote= remove=00000000000000a0");
  EXPECT_EQ(plan.status.operation.type, Type::kReplace);
  EXPECT_EQ(plan.status.operation.target, 3);
  given.Wrote(plan);
  given.Remove(Id(0));
  AdaptBudget(&given);
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "DeleteClaim slot=0 uid=claim-uid-0 member=00000000000000a0");
  EXPECT_EQ(plan.status.operation.target, 3) << "of when it began";
  given.Wrote(plan);
  given.slots[0].claim->deleting = true;
  given.slots[0].pod->deleting = true;
  EXPECT_EQ(Do(given), "Nothing") << "slot 2 is not its own";
  given.slots.erase(0);
  given.Voter(0, 0xB0);
  AdaptBudget(&given);
  plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "ChangeMembership add=00000000000000a2 promote= remove=");
  EXPECT_EQ(plan.status.operation.type, Type::kScale) << "slot 2 for slot 4, in one change";
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

}  // namespace
}  // namespace raftkv::op
