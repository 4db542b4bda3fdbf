// Table tests: one observation, one plan. R1..R15 are the known races of operators of this kind, as
// docs/design/operator.md lists them.

#include "operator/raftkv/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace raftkv::op {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using Role = NodeReport::Role;
using Type = Operation::Type;

constexpr int64_t kNow = 1'000'000;
constexpr ClusterId kCluster = 0xC1;
constexpr uint64_t kGiB = uint64_t{1} << 30;

MemberId Id(int slot) { return 0xA0 + static_cast<MemberId>(slot); }

std::string PodOf(int slot) { return "db-" + std::to_string(slot); }

// An observation that is put together piece by piece; it begins with a resource that nothing has
// been done for.
struct Given : Observation {
  Given() {
    now_s = kNow;
    ns = "prod";
    name = "db";
    uid = "resource-uid";
    generation = 1;
    finalizer = true;
    epoch = 7;
    spec.storage_bytes = 10 * kGiB;
    objects.others_current = true;
    objects.template_current = true;
    objects.update_revision = "rev-1";
  }

  // A StatefulSet and nodes that run, blank.
  static Given BlankNodes(int count) {
    Given given;
    given.spec.replicas = count;
    given.StatefulSet(count);
    for (int slot = 0; slot < count; ++slot) given.Node(slot, Role::kBlank, Id(slot));
    return given;
  }

  // A cluster of this many voters at rest; slot 0 leads.
  static Given Cluster(int count) {
    Given given;
    given.spec.replicas = count;
    given.cluster = kCluster;
    given.StatefulSet(count);
    given.membership.emplace();
    given.membership->config_index = 5;
    given.membership->leader_commit = 100;
    given.membership->leader_term = 2;
    for (int slot = 0; slot < count; ++slot) given.Voter(slot);
    given.Leader(0);
    given.objects.leader_pod = "db-0";
    given.objects.min_available = count / 2 + 1;
    return given;
  }

  void StatefulSet(int replicas) {
    objects.stateful_set = true;
    objects.stateful_set_replicas = replicas;
  }

  PodView& Pod(int slot) {
    SlotView& view = slots[slot];
    if (!view.pod) {
      view.pod = PodView{.name = PodOf(slot), .uid = "pod-uid-" + std::to_string(slot)};
      view.pod->node = "node-" + std::to_string(slot);
      view.pod->created_s = kNow - 3600;
      view.pod->revision = "rev-1";
    }
    return *view.pod;
  }

  ClaimView& Claim(int slot, MemberId member = 0) {
    SlotView& view = slots[slot];
    if (!view.claim) {
      view.claim =
          ClaimView{.name = "data-" + PodOf(slot), .uid = "claim-uid-" + std::to_string(slot)};
      view.claim->bound = true;
      view.claim->requested_bytes = view.claim->capacity_bytes = 10 * kGiB;
      view.claim->member = member;
    }
    return *view.claim;
  }

  NodeReport& Node(int slot, Role role, MemberId member) {
    Pod(slot).ready = role != Role::kBlank;
    Claim(slot);
    NodeReport report;
    report.role = role;
    report.member = member;
    report.cluster = role == Role::kBlank ? 0 : kCluster;
    report.version = "1.0.0";
    slots[slot].report = report;
    return *slots[slot].report;
  }

  void Member(int slot, MemberId id) {
    MemberView view{.id = id, .name = PodOf(slot)};
    view.match = 100;
    view.active = true;
    membership->members[id] = view;
    Claim(slot).member = id;
  }

  void Voter(int slot, MemberId id = 0) {
    if (id == 0) id = Id(slot);
    Node(slot, Role::kFollower, id);
    Member(slot, id);
    membership->voters.insert(id);
  }

  void Learner(int slot, MemberId id = 0) {
    if (id == 0) id = Id(slot);
    Node(slot, Role::kLearner, id);
    Member(slot, id);
    membership->learners.insert(id);
  }

  void Leader(int slot) {
    membership->leader = slots[slot].report->member;
    slots[slot].report->role = Role::kLeader;
    objects.leader_pod = PodOf(slot);
  }

  void Remove(MemberId id) {
    membership->voters.erase(id);
    membership->learners.erase(id);
    membership->members.erase(id);
    membership->removed.insert(id);
  }

  // Its process does not answer and is not heard of.
  void Silent(int slot, int64_t for_s) {
    slots[slot].report.reset();
    slots[slot].silent_since_s = kNow - for_s;
    if (slots[slot].pod) slots[slot].pod->ready = false;
    if (!membership) return;
    for (auto& [id, view] : membership->members) {
      if (view.name == PodOf(slot)) view.active = false;
    }
  }

  void NodeLost(int slot, int64_t for_s) {
    Silent(slot, for_s);
    Pod(slot).node_lost_since_s = kNow - for_s;
  }

  // Its disk is gone; the pod came back with a new directory.
  void Blanked(int slot, MemberId id) {
    Silent(slot, 5);
    slots[slot].claim.reset();
    Claim(slot).uid = "new-claim-uid-" + std::to_string(slot);
    Node(slot, Role::kBlank, id);
    slots[slot].silent_since_s = 0;
  }

  // The former plan's status has been written.
  void Wrote(const Plan& plan) {
    operation = plan.status.operation;
    cluster = plan.status.cluster;
    for (const PlannedCondition& condition : plan.status.conditions) {
      reasons[condition.type] = condition.reason;
    }
  }
};

std::string Do(const Observation& given) { return ToString(MakePlan(given).action); }

const PlannedCondition& Condition(const Plan& plan, const std::string& type) {
  for (const PlannedCondition& condition : plan.status.conditions) {
    if (condition.type == type) return condition;
  }
  static const PlannedCondition kNone;
  return kNone;
}

std::string ReasonOf(const Plan& plan, const std::string& type) {
  const PlannedCondition& condition = Condition(plan, type);
  return (condition.status ? "+" : "-") + condition.reason;
}

std::vector<std::string> EventReasons(const Plan& plan) {
  std::vector<std::string> out;
  for (const PlannedEvent& event : plan.events) out.push_back(event.reason);
  return out;
}

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

}  // namespace
}  // namespace raftkv::op
