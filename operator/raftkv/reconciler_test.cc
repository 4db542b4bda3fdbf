#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "operator/raftkv/test_reconciler.h"

namespace raftkv::op {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Reconciling, EndsInAStateInWhichNothingIsWritten) {
  Settle();
  Object resource = *api_.Get(kRaftKvs, {"ns", "store"});
  EXPECT_TRUE(resource.HasFinalizer(kFinalizer));
  EXPECT_EQ(resource.Int("/status/voters"), 3);
  EXPECT_EQ(resource.String("/status/leader"), "store-1");
  EXPECT_TRUE(Exists(resources::kServices, "store-leader"));
  EXPECT_THAT(Metrics(), HasSubstr("raftkv_operator_cluster_voters"));
  EXPECT_EQ(ConditionsInMetrics("QuorumLost"), "QuorumPresent false 1\n");
}

// status.clusterID never changes again: it was taken from whoever answered once at an IP that a
// cache had.
TEST_F(Reconciling, AClusterIsTakenUpOnlyIfALiveLookFindsIt) {
  const auto move_pods = [&](const std::string& net) {
    for (int slot = 0; slot < 3; ++slot) {
      api_.Patch(resources::kPods, {"ns", PodName("store", slot)}, kube::PatchType::kMerge,
                 {{"status", {{"podIP", net + std::to_string(slot)}}}});
    }
  };
  const auto cluster = [&] {
    return std::string(api_.Get(kRaftKvs, {"ns", "store"})->String("/status/clusterID"));
  };
  for (int i = 0; i < 20; ++i) {
    move_pods("10.0.0.");
    FillCaches();
    move_pods("10.9.9.");  // where nobody answers
    ASSERT_TRUE(reconciler_.Reconcile({"ns", "store"}, {}));
  }
  EXPECT_EQ(cluster(), "");
  EXPECT_EQ(leader_, "10.0.0.1") << "the first look saw the members";
  move_pods("10.0.0.");
  Settle();
  EXPECT_EQ(cluster(), "00000000000000c1");
}

TEST_F(Reconciling, TheClusterOfAnotherIsNotTakenUp) {
  for (auto& [ip, node] : nodes_.nodes) node.name = "other" + node.name.substr(5);
  Settle();
  EXPECT_EQ(api_.Get(kRaftKvs, {"ns", "store"})->String("/status/clusterID"), "");
}

// With the second look; as docs/operations.md tells to change it.
TEST_F(Reconciling, AnAddressThatPeopleChangedIsGivenBack) {
  Settle();
  configuration_.members[0xc3].peer_address = "elsewhere:7071";
  ASSERT_TRUE(Reconcile());
  ASSERT_EQ(nodes_.membership.update.size(), 1U);
  EXPECT_EQ(nodes_.membership.update[0].id, 0xc3U);
  EXPECT_EQ(nodes_.membership.update[0].peer_address, "store-2.store-peers.ns.svc:7071");
  EXPECT_EQ(nodes_.membership.expected_config_index, 5U);
  EXPECT_EQ(nodes_.membership.epoch, 4U);
  EXPECT_EQ(nodes_.sent_to, "10.0.0.1");
  EXPECT_EQ(api_.Get(kRaftKvs, {"ns", "store"})->String("/status/operation/step"),
            "GiveAddressBack");
  EXPECT_THAT(Told(), Contains("MembershipChanged"));
}

// Objects are compared once in each version; what was right must not be believed for ever.
TEST_F(Reconciling, WhatOthersChangeInAnyObjectIsTakenBack) {
  Settle();
  for (const ObjectName& object : NamesOfObjects({"ns", "store"})) {
    SCOPED_TRACE(object.resource.name() + " " + object.key.ToString());
    const size_t before = Writes();
    ASSERT_TRUE(Reconcile());
    EXPECT_EQ(Writes(), before);
    const auto label = [&] {
      return std::string(
          api_.Get(object.resource, object.key)->Label("app.kubernetes.io/managed-by").value());
    };
    const std::string ours = label();
    api_.Patch(object.resource, object.key, kube::PatchType::kMerge,
               {{"metadata", {{"labels", {{"app.kubernetes.io/managed-by", "somebody"}}}}}});
    Settle();
    EXPECT_EQ(label(), ours);
  }
}

TEST_F(Reconciling, DoesNothingBeforeTheIntentIsWritten) {
  Settle();
  // The pods' template changes: a roll, whose intent cannot be written.
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"image", "node:2"}}}});
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "UPDATE raftkvs/store") return kube::Fail(kube::Reason::kServer, "down");
    return {};
  };
  size_t before = api_.CountCalls("APPLY statefulsets/store");
  EXPECT_FALSE(Reconcile());
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), before);
  api_.before = nullptr;
  EXPECT_TRUE(Reconcile());
  EXPECT_GT(api_.CountCalls("APPLY statefulsets/store"), before);
}

// The next plan finds it in the status, and says it no more: it was lost whenever the act behind it
// failed.
TEST_F(Reconciling, WhatTheStatusSaysIsToldAlsoIfTheActFails) {
  Settle();
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"image", "node:2"}}}});
  nodes_.nodes.erase("10.0.0.2");
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "APPLY statefulsets/store") return kube::Fail(kube::Reason::kServer, "down");
    return {};
  };
  EXPECT_FALSE(Reconcile());
  EXPECT_THAT(Told(), AllOf(Contains("MembersDown"), Contains("ActionFailed")));
  EXPECT_THAT(Told(), Not(Contains("StatefulSetApplied"))) << "it was not";
  api_.before = nullptr;
  EXPECT_TRUE(Reconcile());
  EXPECT_THAT(Told(), Contains("StatefulSetApplied"));
}

// Two operators: what one is about to do is not what the other has written since.
TEST_F(Reconciling, WhoVotesIsChangedOnlyIfTheIntentOnTheServerIsItsOwn) {
  Settle();
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"replicas", 2}}}});
  bool overwritten = false;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "GET raftkvs/store" || std::exchange(overwritten, true)) return {};
    api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
               {{"status", {{"operation", {{"target", 1}}}}}});
    return {};
  };
  for (int i = 0; i < 10 && !overwritten; ++i) EXPECT_TRUE(Reconcile());
  ASSERT_TRUE(overwritten) << "no live look";
  EXPECT_TRUE(nodes_.membership.remove.empty());
  EXPECT_TRUE(Reconcile());
  EXPECT_EQ(nodes_.membership.remove, std::vector<MemberId>{0xc3}) << "with its own intent again";
}

// Versions of a pod that differ in nothing the plan goes by are no reason to refuse its deletion.
TEST_F(Reconciling, APodWhoseStatusMovesWhileItIsDeletedIsLookedAtAgain) {
  BeginRoll();
  size_t moved = 0;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call == "DELETE pods/store-2" && ++moved == 1) {
      api_.Touch(resources::kPods, {"ns", "store-2"});
    }
    return {};
  };
  EXPECT_TRUE(Reconcile());
  EXPECT_EQ(moved, 2U);
  EXPECT_FALSE(Exists(resources::kPods, "store-2"));
  EXPECT_THAT(Told(), AllOf(Contains("PodDeleted"), Not(Contains("ActionRefused"))));
}

TEST_F(Reconciling, APodIsNotDeletedIfItHasBecomeWhatIsWanted) {
  BeginRoll();
  size_t tried = 0;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call == "DELETE pods/store-2" && ++tried == 1) {
      api_.Patch(resources::kPods, {"ns", "store-2"}, kube::PatchType::kMerge,
                 {{"metadata", {{"labels", {{"controller-revision-hash", "new"}}}}}});
    }
    return {};
  };
  EXPECT_TRUE(Reconcile());
  EXPECT_EQ(tried, 1U);
  EXPECT_TRUE(Exists(resources::kPods, "store-2"));
}

TEST_F(Reconciling, APodThatNeverStandsStillIsRefusedAfterSomeTries) {
  BeginRoll();
  size_t tried = 0;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call == "DELETE pods/store-2") {
      ++tried;
      api_.Touch(resources::kPods, {"ns", "store-2"});
    }
    return {};
  };
  EXPECT_TRUE(Reconcile());
  EXPECT_EQ(tried, 3U);
  EXPECT_TRUE(Exists(resources::kPods, "store-2"));
  EXPECT_THAT(Told(), Contains("ActionRefused"));
}

// Its pod would have mounted what was somebody else's by then.
TEST_F(Reconciling, NoNewSlotMountsAClaimThatHasJustLostItsLabels) {
  Settle();
  Object claim(resources::kClaims, {"ns", "data-store-3"});
  ASSERT_TRUE(api_.Create(resources::kClaims, claim));
  claim = *api_.Get(resources::kClaims, claim.key());
  claim.Set("/metadata/labels",
            {{"app.kubernetes.io/name", "raftkv"}, {"app.kubernetes.io/instance", "store"}});
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"replicas", 4}}}});
  for (int i = 0; i < 10; ++i) {
    FillCaches();
    std::vector<Object> cached = api_.All(resources::kClaims);
    for (Object& one : cached) one = one.key() == claim.key() ? claim : one;
    ASSERT_TRUE(claims_.Replace(std::move(cached), "1000").ok());
    ASSERT_TRUE(reconciler_.Reconcile({"ns", "store"}, {}));
  }
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})->Int("/spec/replicas"), 3);
  Settle();
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})->Int("/spec/replicas"), 3);
  EXPECT_THAT(Degraded(), HasSubstr("ForeignObject"));
  ASSERT_TRUE(api_.Delete(resources::kClaims, claim.key(), {.uid = std::string(claim.uid())}));
  Settle();
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})->Int("/spec/replicas"), 4);
}

// Whether a node is lost was taken from the cache in the live look, too.
TEST_F(Reconciling, AMemberIsNotGivenUpWithANodeThatOnlyTheCacheCallsLost) {
  Settle();
  for (int slot = 0; slot < 3; ++slot) {
    const std::string node = "n" + std::to_string(slot);
    SetNode(node, "True", 0);
    Schedule(slot, node);
  }
  nodes_.nodes.erase("10.0.0.2");
  configuration_.members[0xc3].active = false;
  Reconciler reconciler(Parts(&timing_));
  const auto reconcile = [&] {
    FillCaches();
    Object lost = *api_.Get(resources::kNodes, {"", "n2"});
    lost.Set(
        "/status/conditions/0",
        {{"type", "Ready"}, {"status", "Unknown"}, {"lastTransitionTime", "2001-01-01T00:00:00Z"}});
    EXPECT_TRUE(kube_nodes_.Upsert(lost).ok());
    timing_.Advance(std::chrono::seconds(40));
    return reconciler.Reconcile({"ns", "store"}, {});
  };
  const size_t asked = api_.CountCalls("GET nodes/n2");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(reconcile());
  EXPECT_EQ(nodes_.sent_to, "");
  EXPECT_GT(api_.CountCalls("GET nodes/n2"), asked);

  // Nor with one that cannot be read, which is told.
  SetNode("n2", "Unknown", 1);
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "GET nodes/n2") return Refuse(503, "busy");
    return {};
  };
  Reconciler again(Parts(&timing_));
  FillCaches();
  ASSERT_TRUE(again.Reconcile({"ns", "store"}, {}));
  timing_.Advance(std::chrono::seconds(40));
  FillCaches();
  const auto failed = again.Reconcile({"ns", "store"}, {});
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("the read of node n2: busy"));
  EXPECT_EQ(nodes_.sent_to, "");
  EXPECT_THAT(Told(), Contains("ActionFailed"));

  // Without the right to read it the replacement alone is held up.
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "GET nodes/n2") return Refuse(403, "nodes are not yours");
    return {};
  };
  for (int i = 0; i < 2; ++i) {
    FillCaches();
    ASSERT_TRUE(again.Reconcile({"ns", "store"}, {}));
  }
  EXPECT_THAT(Told(), Contains("ActionRefused"));
  EXPECT_EQ(Degraded().substr(0, 14), "ApplyRefused: ");
  EXPECT_THAT(Degraded(), HasSubstr("refuses the read of node n2: nodes are not yours"));
  EXPECT_EQ(ConditionsInMetrics("Degraded"), "ApplyRefused true 1\n");
  ASSERT_TRUE(api_.Delete(resources::kServices, {"ns", "store-leader"},
                          {.uid = UidOf(resources::kServices, "store-leader")}));
  for (int i = 0; i < 3; ++i) {
    FillCaches();
    ASSERT_TRUE(again.Reconcile({"ns", "store"}, {}));
  }
  EXPECT_TRUE(Exists(resources::kServices, "store-leader"));
  EXPECT_EQ(nodes_.sent_to, "");

  api_.before = nullptr;
  timing_.Advance(std::chrono::seconds(40));
  for (int i = 0; i < 2; ++i) {
    FillCaches();
    ASSERT_TRUE(again.Reconcile({"ns", "store"}, {}));
  }
  EXPECT_EQ(nodes_.sent_to, "10.0.0.1");
  EXPECT_EQ(nodes_.membership.remove, std::vector<MemberId>{0xc3});
}

// What it was when something else had changed last stood there, however far the member fell behind.
TEST_F(Reconciling, ALagIsWrittenWhenItIsAnotherAndNotWithEachWriteToTheStore) {
  configuration_.leader_commit = 1'000'000;
  for (auto& [id, member] : configuration_.members) member.match = 1'000'000;
  Settle();
  Reconciler reconciler(Parts(&timing_));
  const auto writes_at = [&](uint64_t lag, Duration later = std::chrono::minutes(1)) {
    timing_.Advance(later);
    const size_t before = api_.CountCalls("UPDATE raftkvs/store");
    for (auto& [id, member] : configuration_.members) {
      member.match = configuration_.leader_commit - (id == 0xc3 ? lag : 0);
    }
    for (int look = 0; look < 3; ++look) {
      FillCaches();
      EXPECT_TRUE(reconciler.Reconcile({"ns", "store"}, {}));
    }
    return api_.CountCalls("UPDATE raftkvs/store") - before;
  };
  const auto told = [&] {
    const Object resource = *api_.Get(kRaftKvs, {"ns", "store"});
    return resource.Int("/status/members/2/lag").value_or(-1);
  };
  EXPECT_EQ(told(), 0);
  // At work: a follower is always some entries behind.
  for (const uint64_t lag : {10, 999, 0, 500, 1000, 1}) EXPECT_EQ(writes_at(lag), 0U) << lag;
  EXPECT_EQ(writes_at(100'000), 1U);
  EXPECT_EQ(told(), 65'536);
  for (const uint64_t lag : {101'000, 60'000, 140'000, 33'000, 250'000}) {
    EXPECT_EQ(writes_at(lag), 0U) << lag;
  }
  EXPECT_EQ(writes_at(900'000), 1U);
  EXPECT_EQ(told(), 524'288);
  EXPECT_EQ(writes_at(2000), 1U);
  EXPECT_EQ(told(), 1024);
  // One that swings is not told at each look.
  for (const uint64_t lag : {100'000, 2000, 100'000, 2000}) {
    EXPECT_EQ(writes_at(lag, std::chrono::seconds(1)), 0U) << lag;
  }
  EXPECT_EQ(writes_at(1000), 1U);
  EXPECT_EQ(told(), 0);
}

TEST_F(Reconciling, AHigherEpochIsExceeded) {
  configuration_.epoch = 9;
  ASSERT_TRUE(Reconcile());
  EXPECT_EQ(raised_, 10U);
}

TEST_F(Reconciling, MetricsGoWithTheResource) {
  ASSERT_TRUE(Reconcile());
  EXPECT_THAT(Metrics(), HasSubstr("name=\"store\""));
  ASSERT_TRUE(api_.Delete(kRaftKvs, {"ns", "store"}, {.uid = UidOf(kRaftKvs, "store")}));
  EXPECT_TRUE(clusters_.Replace({}, "1000").ok());
  EXPECT_TRUE(reconciler_.Reconcile({"ns", "store"}, {}));
  EXPECT_THAT(Metrics(), Not(HasSubstr("name=\"store\"")));
}

}  // namespace
}  // namespace raftkv::op
