// The Kubernetes objects around the pods.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

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

// A StatefulSet was made again while the claims of its members were not to be seen.
TEST(Objects, WhereNobodyKnowsTheClusterWhoHasAClaimIsAsked) {
  Given given = Given::BlankNodes(1);
  given.cluster = kCluster;
  given.Claim(2).member = Id(2);
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.Silent(0, 5);
  EXPECT_EQ(Do(given), "Nothing") << "that one may know it";
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

struct Unreadable : Given {
  explicit Unreadable(const Given& given) : Given(given) {
    spec_error = "spec.replicas is 'many', which is not a number from 0 to 9";
  }
};

TEST(InvalidSpec, IsSaidAndTheClusterGoesOn) {
  Unreadable given(Given::Cluster(3));
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+InvalidSpec");
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-InvalidSpec");
  EXPECT_EQ(ReasonOf(plan, "Available"), "+QuorumHealthy");
  EXPECT_EQ(plan.status.phase, "Degraded");
  EXPECT_THAT(Condition(plan, "Degraded").message, HasSubstr("spec.replicas is 'many'"));
  EXPECT_THAT(EventReasons(plan), Contains("InvalidSpec"));
  given.Wrote(plan);
  EXPECT_TRUE(MakePlan(given).events.empty()) << "it has been said";
  given.objects.leader_pod = "db-2";
  EXPECT_EQ(Do(given), "MarkLeader pod=db-0");
  given.objects.leader_pod = "db-0";
  given.Blanked(2, 0xBB);
  EXPECT_EQ(Do(given), "MarkClaim slot=2 member=00000000000000bb") << "the lost one is replaced";
}

TEST(InvalidSpec, ASizeThatIsUnderWayIsFinishedWithTheTemplateThatIsThere) {
  Unreadable given(Given::Cluster(3));
  given.spec.replicas = 5;
  given.operation = {.type = Operation::Type::kScale, .step = "StartPods", .target = 5};
  given.objects.min_available = 3;
  EXPECT_EQ(Do(given), "ScaleStatefulSet replicas=5");
  given.objects.stateful_set = false;
  given.objects.stateful_set_replicas = 0;
  EXPECT_EQ(Do(given), "Nothing") << "nobody knows what its pods are to be";
}

TEST(InvalidSpec, NoClusterIsBegun) {
  Unreadable given(Given::BlankNodes(3));
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+InvalidSpec");
  EXPECT_EQ(plan.status.phase, "Blocked");
}

// It was finished when the last claim had been asked to grow.
TEST(Resize, IsDoneWhenTheVolumesHaveGrown) {
  Given given = Given::Cluster(3);
  given.spec.storage_bytes = 20 * kGiB;
  EXPECT_EQ(Do(given), "ResizeClaim slot=0 bytes=21474836480");
  for (const int slot : {0, 1, 2}) given.Claim(slot).requested_bytes = 20 * kGiB;
  given.Claim(0).capacity_bytes = 20 * kGiB;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kResize);
  EXPECT_EQ(plan.status.operation.step, "WaitForVolume");
  EXPECT_EQ(plan.status.operation.slot, 1);
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "+Resize");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "-AsExpected");
  EXPECT_EQ(plan.look_again, std::chrono::seconds(30)) << "claims are watched";
  given.Wrote(plan);
  for (const int slot : {1, 2}) given.Claim(slot).capacity_bytes = 21 * kGiB;
  plan = MakePlan(given);
  EXPECT_EQ(plan.status.operation.type, Operation::Type::kNone);
  EXPECT_THAT(EventReasons(plan), Contains("ResizeFinished"));
}

TEST(Resize, AVolumeThatCannotGrowIsSaidAndHoldsUpNothing) {
  Given given = Given::Cluster(3);
  given.spec.storage_bytes = 20 * kGiB;
  const std::string why = "PersistentVolumeClaim data-db-0: the class must support resize";
  given.Refuse(ResizeClaim{0, "claim-uid-0", 20 * kGiB}, why, 5);
  EXPECT_EQ(Do(given), "ResizeClaim slot=1 bytes=21474836480") << "that may have another class";
  for (const int slot : {1, 2}) given.Claim(slot).requested_bytes = 20 * kGiB;
  Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+VolumeCannotGrow");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("PersistentVolumeClaim data-db-0: the class must support resize."));
  EXPECT_EQ(ReasonOf(plan, "Progressing"), "-VolumeCannotGrow");
  EXPECT_EQ(plan.status.phase, "Degraded");
  EXPECT_THAT(EventReasons(plan), Contains("VolumeCannotGrow"));

  given.refusals.clear();
  for (const int slot : {0, 1, 2}) given.Claim(slot).requested_bytes = 20 * kGiB;
  given.Claim(1).cannot_grow = "no space is left";
  plan = MakePlan(given);
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+VolumeCannotGrow");
  EXPECT_THAT(Condition(plan, "Degraded").message,
              HasSubstr("Claim data-db-1 does not grow: no space is left."));
  given.objects.spare_account = true;
  EXPECT_EQ(Do(given), "DeleteServiceAccount");
  given.Blanked(2, 0xBB);
  EXPECT_EQ(Do(given), "MarkClaim slot=2 member=00000000000000bb");
}

// A class that does not grow volumes was asked for ever for what was there.
TEST(Resize, AVolumeThatIsLargeEnoughIsNotAskedToGrow) {
  Given given = Given::Cluster(3);
  given.spec.storage_bytes = 20 * kGiB;
  for (const int slot : {0, 1, 2}) given.Claim(slot).capacity_bytes = 20 * kGiB;
  EXPECT_EQ(Do(given), "Nothing");
  given.Claim(1).capacity_bytes = 15 * kGiB;
  EXPECT_EQ(Do(given), "ResizeClaim slot=1 bytes=21474836480");
  given.Claim(1).bound = false;
  EXPECT_EQ(Do(given), "Nothing") << "there is no volume yet";
}

}  // namespace
}  // namespace raftkv::op
