// From nothing to the first cluster.

#include <gtest/gtest.h>

#include "operator/raftkv/plan_test.h"

namespace raftkv::op {
namespace {

using Role = NodeReport::Role;
using Type = Operation::Type;

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

// The retry of a template was carried out whatever the rule said, with the number of pods that it
// had not come to yet.
TEST(Beginning, WhatIsInTheWayOfAClusterIsInTheWayOfARetryToo) {
  for (const HiddenClaim hidden : {HiddenClaim::kForeign, HiddenClaim::kUnknown}) {
    Given grows = Given::BlankNodes(2);
    grows.spec.replicas = 3;
    grows.objects.template_current = false;
    grows.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 0);
    grows.slots[2].hidden_claim = hidden;
    EXPECT_EQ(Do(grows), "Nothing");
    Given shrinks = Given::BlankNodes(5);
    shrinks.spec.replicas = 3;
    shrinks.objects.template_current = false;
    shrinks.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 0);
    shrinks.slots[4].claim.reset();
    shrinks.slots[4].hidden_claim = hidden;
    EXPECT_EQ(Do(shrinks), "Nothing");
  }
  Given given = Given::BlankNodes(3);
  given.objects.template_current = false;
  given.Refuse(ApplyStatefulSet{}, "StatefulSet db: no", 0);
  EXPECT_EQ(Do(given), "ApplyStatefulSet replicas=3") << "with the pods that are there";
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

}  // namespace
}  // namespace raftkv::op
