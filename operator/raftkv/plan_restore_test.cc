// spec.bootstrap.mode Restore: people make the cluster, of a snapshot, and the operator finds it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using Role = NodeReport::Role;
using Type = Operation::Type;

Given Blank(int count) {
  Given given = Given::BlankNodes(count);
  given.spec.restore = true;
  return given;
}

// One of them was given a snapshot: it leads a cluster of itself.
Given RestoredIn(int slot, int count) {
  Given given = Blank(count);
  given.membership.emplace();
  given.membership->config_index = 42;
  given.membership->leader_commit = 100;
  given.Voter(slot);
  given.Leader(slot);
  given.Claim(slot).member = 0;  // nobody has noted it yet
  given.membership->removed = {0xD1, 0xD2, 0xD3};
  return given;
}

TEST(Restore, BlankNodesAreStartedAndNeverInitialized) {
  Given given;
  given.spec.restore = true;
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3");
  given.StatefulSet(3);
  const Plan starting = MakePlan(given);
  EXPECT_EQ(ToString(starting.action), "Nothing");
  EXPECT_EQ(starting.status.operation.step, "WaitForNodes");
  EXPECT_EQ(ReasonOf(starting, "Available"), "-Bootstrapping");
  for (int slot = 0; slot < 3; ++slot) given.Node(slot, Role::kBlank, Id(slot));
  EXPECT_EQ(Do(given), "Nothing");
}

TEST(Restore, SaysWhichPodWaitsAndWhatToDo) {
  Given given = Blank(3);
  given.Silent(0, 10);
  const Plan plan = MakePlan(given);
  EXPECT_EQ(plan.status.operation.type, Type::kBootstrap);
  EXPECT_EQ(plan.status.operation.step, "WaitForSnapshot");
  EXPECT_EQ(plan.status.phase, "Bootstrapping");
  EXPECT_EQ(ReasonOf(plan, "Available"), "-WaitingForSnapshot");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "-AsExpected");
  EXPECT_EQ(ReasonOf(plan, "QuorumLost"), "-NotBootstrapped");
  EXPECT_THAT(Condition(plan, "Available").message,
              HasSubstr("kubectl -n prod port-forward pod/db-1 7072:7072"));
  EXPECT_THAT(EventReasons(plan), Contains("WaitingForSnapshot"));
  given.Wrote(plan);
  EXPECT_THAT(EventReasons(MakePlan(given)), Not(Contains("WaitingForSnapshot")));
}

// Found by the model run: nobody took a lost volume away, so that its pod never became blank.
TEST(Restore, ALostVolumeGivesWayToABlankOne) {
  Given given = Blank(1);
  given.Silent(0, 100);
  given.Claim(0).lost = true;
  EXPECT_EQ(Do(given), "DeleteClaim slot=0 uid=claim-uid-0 member=none");
}

TEST(Restore, TheClusterThatAnyNodeMadeIsTaken) {
  for (int slot = 0; slot < 3; ++slot) {
    Given given = RestoredIn(slot, 3);
    given.Wrote(MakePlan(Blank(3)));
    const Plan plan = MakePlan(given);
    EXPECT_EQ(ToString(plan.action), "Nothing");
    EXPECT_EQ(plan.status.cluster, kCluster);
    EXPECT_THAT(EventReasons(plan), Contains("BootstrapFinished"));
  }
}

// A cluster that is there is never made again, whatever its nodes say later.
TEST(Restore, AfterItTheModeMeansNothing) {
  for (int slot = 0; slot < 3; ++slot) {
    Given given = RestoredIn(slot, 3);
    given.cluster = kCluster;
    given.objects.min_available = 2;
    EXPECT_EQ(Do(given), "MarkClaim slot=" + std::to_string(slot) + " member=00000000000000a" +
                             std::to_string(slot));
    given.Claim(slot).member = Id(slot);
    const Plan grows = MakePlan(given);
    EXPECT_EQ(grows.status.operation.type, Type::kScale);
    EXPECT_THAT(ToString(grows.action), HasSubstr("MarkClaim"));
  }
  Given lost = Given::Cluster(3);
  lost.spec.restore = true;
  lost.membership.reset();
  for (int slot = 0; slot < 3; ++slot) lost.Blanked(slot, 0xB0 + static_cast<MemberId>(slot));
  const Plan plan = MakePlan(lost);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_THAT(ReasonOf(plan, "Available"), Not(HasSubstr("WaitingForSnapshot")));
}

TEST(Restore, TwoSnapshotsInTwoPodsAreRefused) {
  Given given = RestoredIn(0, 3);
  NodeReport& other = given.Node(1, Role::kLeader, Id(1));
  other.cluster = 0xC2;
  const Plan plan = MakePlan(given);
  EXPECT_EQ(ToString(plan.action), "Nothing");
  EXPECT_EQ(ReasonOf(plan, "Degraded"), "+ClustersDiffer");
}

// Volumes that an earlier life of the name left are asked before anybody is told to restore.
TEST(Restore, WhatAnEarlierLifeLeftIsFoundFirst) {
  Given noted = Blank(3);
  noted.Claim(2).member = 0xD1;
  EXPECT_EQ(ReasonOf(MakePlan(noted), "Degraded"), "+ClaimOfUnknownMember");
  Given alive = Blank(3);
  alive.Node(2, Role::kFollower, 0xD1);
  EXPECT_EQ(MakePlan(alive).status.cluster, kCluster);
}

}  // namespace
}  // namespace raftkv::op
