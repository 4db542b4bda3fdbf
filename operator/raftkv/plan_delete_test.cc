// The end of the resource, and its sleep.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using Type = Operation::Type;

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

// A wall clock that was set was enough: the pod of a node that is NotReady for a moment was taken
// off the API server while it ran, and its claim after it.
TEST(Delete, APodIsForcedOffALostNodeOnlyIfItIsSilentToo) {
  Given given = Given::Cluster(1);
  given.spec.on_delete = Retention::kDelete;
  given.deleting = true;
  given.StatefulSet(0);
  given.Pod(0).node_lost_since_s = kNow - 300;
  EXPECT_EQ(Do(given), "Nothing") << "it answers";
  given.Silent(0, 29);
  EXPECT_EQ(Do(given), "Nothing");
  given.Silent(0, 30);
  EXPECT_EQ(Do(given), "DeletePod slot=0 uid=pod-uid-0 force");
  given.Pod(0).node_lost_since_s = kNow - 299;
  EXPECT_EQ(Do(given), "Nothing");
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

}  // namespace
}  // namespace raftkv::op
