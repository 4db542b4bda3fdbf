// A new pod template: in which order pods get it, and what stops it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::Not;
using Role = NodeReport::Role;

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

// Its pod was deleted, and came back on the same claim.
TEST(Roll, APodOnSomebodyElsesClaimIsLeftAlone) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.slots[2].claim.reset();
  given.slots[2].hidden_claim = HiddenClaim::kForeign;
  for (const int slot : {0, 1}) given.Pod(slot).ready = true;
  EXPECT_EQ(Do(given), "DeletePod slot=1 uid=pod-uid-1");
  for (const int slot : {0, 1}) given.Pod(slot).revision = "rev-2";
  EXPECT_EQ(Do(given), "Nothing");
  given.slots[2].hidden_claim = HiddenClaim::kUnknown;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.step, "WaitForClaim") << "it is not done";
  given.slots[2].hidden_claim = HiddenClaim::kForeign;
  given.Silent(2, 60);
  given.Pod(2).waiting = "ImagePullBackOff";
  EXPECT_EQ(Do(given), "Nothing") << "nor where it cannot start";
}

// It was said to be finished.
TEST(Roll, IsNotDoneWhileAPodOnSomebodyElsesClaimHasTheOldTemplate) {
  Given given = Given::Cluster(3);
  given.objects.update_revision = "rev-2";
  given.slots[2].claim.reset();
  given.slots[2].hidden_claim = HiddenClaim::kForeign;
  for (const int slot : {0, 1, 2}) given.Pod(slot).ready = true;
  given.Wrote(MakePlan(given));
  ASSERT_EQ(given.operation.type, Operation::Type::kRoll);
  for (const int slot : {0, 1}) given.Pod(slot).revision = "rev-2";
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kRoll);
  EXPECT_EQ(plan.status.operation.slot, 2);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-ForeignObject");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ForeignObject");
  EXPECT_EQ(plan.status.phase, "Degraded");
  EXPECT_THAT(EventReasons(plan), Not(Contains("RollFinished")));
  EXPECT_EQ(plan.look_again, std::chrono::seconds(30));
  // It holds nothing up.
  given.spec.storage_bytes *= 2;
  EXPECT_EQ(Do(given).substr(0, 11), "ResizeClaim");
  // It waited for a member that waited for a larger volume.
  Given full = given;
  full.Wrote(plan);
  full.Silent(0, 60);
  EXPECT_EQ(Do(full).substr(0, 11), "ResizeClaim");
  given.spec.storage_bytes /= 2;
  given.spec.update_paused = true;
  EXPECT_EQ(MakePlan(given).status.operation.type, Operation::Type::kNone);
  given.spec.update_paused = false;
  given.slots[2].hidden_claim = HiddenClaim::kNone;
  given.Claim(2).member = Id(2);
  EXPECT_EQ(Do(given), "DeletePod slot=2 uid=pod-uid-2");
  given.Pod(2).revision = "rev-2";
  plan = MakePlan(given);
  EXPECT_THAT(EventReasons(plan), Contains("RollFinished"));
}

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

}  // namespace
}  // namespace raftkv::op
