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

}  // namespace
}  // namespace raftkv::op
