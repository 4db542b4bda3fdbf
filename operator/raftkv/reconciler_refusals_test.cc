// What goes on while the API server refuses something, a webhook changes it, or a spec cannot be
// read.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/raftkv/test_reconciler.h"

namespace raftkv::op {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// It was tried again each 200 ms, and nobody was told why.
TEST_F(Reconciling, ALiveLookThatFailsIsToldAndTriedAgainLessAndLessOften) {
  BeginRoll();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "GET raftkvs/store") return Refuse(500, "etcdserver: request timed out");
    return {};
  };
  const auto failed = Reconcile();
  ASSERT_FALSE(failed) << "which the queue answers with a longer pause each time";
  EXPECT_THAT(failed.error().message, HasSubstr("etcdserver: request timed out"));
  EXPECT_THAT(Told(), Contains("ActionFailed"));
}

// A write that was carried out was told as one that had failed.
TEST_F(Reconciling, AWriteWhoseOutcomeIsUnknownIsToldAsThat) {
  BeginRoll();
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "DELETE pods/store-2") return {};
    kube::ApiError error = kube::ErrorFromAnswer(504, R"({"kind":"Status","message":"slow"})", {});
    error.may_have_happened = true;  // as of RestClient
    return std::unexpected(error);
  };
  const auto failed = Reconcile();
  ASSERT_FALSE(failed) << "which the queue answers with a longer pause each time";
  EXPECT_THAT(failed.error().message, HasSubstr("slow"));
  EXPECT_THAT(Told(), AllOf(Contains("OutcomeUnknown"), Not(Contains("ActionFailed"))));
  EXPECT_EQ(Notes("OutcomeUnknown"),
            "server timeout (504): slow; it may have been carried out, and is looked at again");
}

// It waited its whole pause again, and nobody but the log said why.
TEST_F(Reconciling, ATryThatALiveLookDoesNotConfirmIsTold) {
  BeginRoll();
  Reconciler reconciler(Parts(&timing_));
  const auto reconcile = [&] {
    FillCaches();
    return reconciler.Reconcile({"ns", "store"}, {});
  };
  size_t tried = 0;
  bool moves = false;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call == "GET raftkvs/store" && std::exchange(moves, false)) {
      api_.Patch(resources::kPods, {"ns", "store-2"}, kube::PatchType::kMerge,
                 {{"metadata", {{"labels", {{"controller-revision-hash", "new"}}}}}});
    }
    if (call != "DELETE pods/store-2") return {};
    ++tried;
    return Refuse(403, "no pod may be deleted");
  };
  for (int i = 0; i < 5 && tried == 0; ++i) EXPECT_TRUE(reconcile());
  EXPECT_EQ(tried, 1U);
  EXPECT_THAT(Told(), Not(Contains("NotConfirmed")));
  timing_.Advance(std::chrono::seconds(6));
  moves = true;
  EXPECT_TRUE(reconcile());
  EXPECT_FALSE(moves) << "no live look";
  EXPECT_EQ(tried, 1U);
  EXPECT_THAT(Notes("NotConfirmed"), HasSubstr("DeletePod was refused before"));
}

// It stopped the leader Service, the budget and the replacement of members, each second anew.
TEST_F(Reconciling, ATemplateThatTheServerRefusesHoldsUpNothingElse) {
  Settle();
  size_t tried = 0;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "APPLY statefulsets/store") return {};
    ++tried;
    return Refuse(422, "StatefulSet.apps \"store\" is invalid: " + std::string(5000, 'x'));
  };
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"image", "node:2"}}}});
  Settle();
  EXPECT_EQ(tried, 1U) << "it is not time yet";
  Object resource = *api_.Get(kRaftKvs, {"ns", "store"});
  Json conditions = EntriesOf(resource.At("/status/conditions"), "type", "Degraded");
  ASSERT_EQ(conditions.size(), 1U);
  EXPECT_EQ(conditions[0].value("reason", ""), "ApplyRefused");
  const std::string message = conditions[0].value("message", "");
  EXPECT_THAT(message, HasSubstr("StatefulSet store: StatefulSet.apps \"store\" is invalid"));
  EXPECT_LT(message.size(), 1000U);
  EXPECT_THAT(Told(), AllOf(Contains("ApplyRefused"), Contains("ActionRefused")));
  EXPECT_EQ(ConditionsInMetrics("Degraded"), "ApplyRefused true 1\n");

  ExpectMarkAndBudgetToComeBack();
  EXPECT_EQ(tried, 1U);

  // Other content is tried at once.
  api_.before = nullptr;
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 3}}}, {"spec", {{"image", "node:3"}}}});
  Settle();
  resource = *api_.Get(kRaftKvs, {"ns", "store"});
  conditions = EntriesOf(resource.At("/status/conditions"), "type", "Degraded");
  EXPECT_NE(conditions.at(0).value("reason", ""), "ApplyRefused");
  EXPECT_THAT(ConditionsInMetrics("Degraded"), Not(HasSubstr("ApplyRefused")));
  EXPECT_THAT(api_.Get(resources::kStatefulSets, {"ns", "store"})->json().dump(),
              HasSubstr("node:3"));
}

// Each look was an apply, five a second, and no later rule had its turn.
TEST_F(Reconciling, WhatAWebhookChangesIsAppliedOnce) {
  api_.admit = [](Object& object) {
    if (object.kind() == "StatefulSet") {
      object.Set("/spec/template/spec/containers/0/image", "mirror/node");
      object.Set("/spec/template/spec/nodeSelector", {{"pool", "a"}});
    }
    if (object.kind() == "Service") object.Set("/metadata/labels/app.kubernetes.io~1part-of", "x");
    if (object.kind() == "Service") object.Set("/spec/sessionAffinity", "ClientIP");
    if (object.kind() == "PodDisruptionBudget") object.Set("/spec/minAvailable", 1);
  };
  Settle();
  EXPECT_EQ(api_.CountCalls("APPLY poddisruptionbudgets/store"), 1U);
  EXPECT_THAT(Told(), Contains("AppliedOtherwise"));
  const size_t applied = api_.CountCalls("APPLY statefulsets/store");
  ExpectMarkAndBudgetToComeBack();
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied);
  // What somebody else changes after that is taken back.
  api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
             {{"spec", {{"template", {{"spec", {{"enableServiceLinks", true}}}}}}}});
  Settle();
  Object set = *api_.Get(resources::kStatefulSets, {"ns", "store"});
  EXPECT_EQ(set.At("/spec/template/spec/enableServiceLinks"), false);
  EXPECT_EQ(set.String("/spec/template/spec/containers/0/image"), "mirror/node");
  // And what the spec asks for is applied, once.
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"image", "node:2"}}}});
  Settle();
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied + 2);
}

// It was applied with each look, because the caches do not show it.
TEST_F(Reconciling, AnObjectThatAWebhookTakesTheLabelsFromIsSaidAndTriedLessOften) {
  api_.admit = [](Object& object) {
    if (object.kind() == "Service") object.Set("/metadata/labels/app.kubernetes.io~1name", "x");
  };
  Settle();
  EXPECT_EQ(api_.CountCalls("APPLY services/store-read"), 1U);
  EXPECT_THAT(Degraded(), AllOf(HasSubstr("ApplyRefused"), HasSubstr("Service store-read: ")));
}

TEST_F(Reconciling, ASizeThatAWebhookCapsIsSaidAndTriedLessOften) {
  Settle();
  const size_t applied = api_.CountCalls("APPLY statefulsets/store");
  api_.admit = [](Object& object) {
    if (object.kind() == "StatefulSet") object.Set("/spec/replicas", 3);
  };
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"replicas", 5}}}});
  Settle();
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied + 1);
  EXPECT_THAT(Degraded(),
              AllOf(HasSubstr("ApplyRefused"), HasSubstr("stored with 3 replicas instead of 5")));
}

// A new process does not know what was made of it, and tries once.
TEST_F(Reconciling, WhatAWebhookChangedBeforeTheOperatorStartedIsAppliedOnce) {
  api_.admit = [](Object& object) {
    if (object.kind() != "StatefulSet") return;
    object.Set("/spec/template/spec/containers/0/image", "mirror/node");
  };
  api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"labels", {{"a", "b"}}}}}});
  Object set = *api_.Get(resources::kStatefulSets, {"ns", "store"});
  ASSERT_TRUE(api_.Apply(resources::kStatefulSets, set));
  Settle();
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), 2U);
}

// All work ended with a line in the log.
TEST_F(Reconciling, AStatusThatTheServerRefusesIsToldAndWhatIsSafeGoesOn) {
  Settle();
  EXPECT_THAT(ConditionsInMetrics("Degraded"), Not(HasSubstr("StatusRefused")));
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "UPDATE raftkvs/store") return Refuse(403, "no status for you");
    return {};
  };
  const size_t applied = api_.CountCalls("APPLY statefulsets/store");
  // A roll, whose intent cannot be written.
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"image", "node:2"}}}});
  auto result = Reconcile();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->requeue_after, std::chrono::seconds(10));
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied);
  EXPECT_EQ(ConditionsInMetrics("Degraded"), "StatusRefused true 1\n");
  EXPECT_THAT(Told(), Contains("StatusRefused"));
  ASSERT_TRUE(api_.Delete(resources::kServices, {"ns", "store-leader"},
                          {.uid = UidOf(resources::kServices, "store-leader")}));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Reconcile());
  EXPECT_TRUE(Exists(resources::kServices, "store-leader"));
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied);
  api_.before = nullptr;
  Settle();
  EXPECT_GT(api_.CountCalls("APPLY statefulsets/store"), applied);
  EXPECT_THAT(ConditionsInMetrics("Degraded"), Not(HasSubstr("StatusRefused")));
}

// The alert on it never fired: each look said for a moment what was planned.
TEST_F(Reconciling, AStatusThatIsRefusedStaysRefusedInTheMetrics) {
  Settle();
  nodes_.nodes.erase("10.0.0.2");
  std::string meanwhile;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "UPDATE raftkvs/store") return {};
    meanwhile = ConditionsInMetrics("Degraded");
    return Refuse(403, "no status for you");
  };
  ASSERT_TRUE(Reconcile());
  ASSERT_TRUE(Reconcile());
  EXPECT_EQ(meanwhile, "StatusRefused true 1\n");
}

// A look that changes nothing of the status took it for said, and wanted the budget of a growth;
// the next one, which could not say so, took it back: without end.
TEST_F(Reconciling, TheBudgetStaysWhileTheStatusIsRefused) {
  Settle();
  nodes_.nodes.erase("10.0.0.2");
  Settle();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "UPDATE raftkvs/store") return Refuse(403, "no status for you");
    return {};
  };
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"replicas", 5}}}});
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Reconcile());
  const size_t applied = api_.CountCalls("APPLY poddisruptionbudgets/store");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Reconcile());
  EXPECT_EQ(api_.CountCalls("APPLY poddisruptionbudgets/store"), applied);
  api_.before = nullptr;
  Settle();
  EXPECT_EQ(api_.Get(resources::kDisruptionBudgets, {"ns", "store"})->Int("/spec/minAvailable"), 3);
}

// A new intent decided before all upkeep, and that was all.
TEST_F(Reconciling, UpkeepGoesOnBesideAnIntentThatCannotBeWritten) {
  Settle();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "UPDATE raftkvs/store") return Refuse(403, "no status for you");
    return {};
  };
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}, {"spec", {{"image", "node:2"}}}});
  api_.Patch(resources::kPods, {"ns", "store-1"}, kube::PatchType::kMerge,
             {{"metadata", {{"labels", {{kRoleLabel, nullptr}}}}}});
  ASSERT_TRUE(api_.Delete(resources::kDisruptionBudgets, {"ns", "store"},
                          {.uid = UidOf(resources::kDisruptionBudgets, "store")}));
  const size_t applied = api_.CountCalls("APPLY statefulsets/store");
  for (int i = 0; i < 5; ++i) {
    const auto result = Reconcile();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->requeue_after, std::chrono::seconds(10)) << "not with an event each second";
  }
  EXPECT_EQ(api_.Get(resources::kPods, {"ns", "store-1"})->Label(kRoleLabel), "leader");
  EXPECT_TRUE(Exists(resources::kDisruptionBudgets, "store"));
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied);
  // Where nothing is destroyed the resource can go.
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}}});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Reconcile());
  EXPECT_FALSE(api_.Get(kRaftKvs, {"ns", "store"})->HasFinalizer(kFinalizer));
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-0"));
}

TEST_F(Reconciling, ADeletionThatDestroysIsNotBegunWithoutItsIntent) {
  Settle();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "UPDATE raftkvs/store") return Refuse(403, "no status for you");
    return {};
  };
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}},
              {"spec", {{"storage", {{"retention", {{"onDelete", "Delete"}}}}}}}});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Reconcile());
  EXPECT_TRUE(api_.Get(kRaftKvs, {"ns", "store"})->HasFinalizer(kFinalizer));
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})->Int("/spec/replicas"), 3);
}

TEST_F(Reconciling, OneObjectThatTheServerRefusesKeepsNoneOfTheOthersAway) {
  Settle();
  size_t tried = 0;
  for (const char* service : {"store", "store-read"}) {
    ASSERT_TRUE(api_.Delete(resources::kServices, {"ns", service},
                            {.uid = UidOf(resources::kServices, service)}));
  }
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "CREATE services/store") return {};
    ++tried;
    return Refuse(403, "exceeded quota");
  };
  Settle();
  EXPECT_EQ(tried, 1U);
  for (const ObjectName& object : NamesOfObjects({"ns", "store"})) {
    const bool refused = object.resource == resources::kServices && object.key.name == "store";
    EXPECT_EQ(Exists(object.resource, object.key.name), !refused) << object.key.ToString();
  }
  ASSERT_TRUE(api_.Delete(resources::kServices, {"ns", "store-peers"},
                          {.uid = UidOf(resources::kServices, "store-peers")}));
  Settle();
  EXPECT_TRUE(Exists(resources::kServices, "store-peers")) << "that is other content";
}

// The leader Service, the budget and replacements ended with it, and the status was not kept up.
TEST_F(Reconciling, ASpecThatCannotBeUnderstoodHoldsUpNothingElse) {
  Settle();
  const Json before = api_.Get(resources::kStatefulSets, {"ns", "store"})->At("/spec");
  api_.Patch(
      kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
      {{"metadata", {{"generation", 2}}}, {"spec", {{"replicas", "many"}, {"image", "node:2"}}}});
  ExpectMarkAndBudgetToComeBack();
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})->At("/spec"), before);
  // What is there stays, and what somebody deletes is made again.
  const auto change = [&](const char* type) {
    api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
               {{"metadata", {{"generation", 3}}}, {"spec", {{"service", {{"type", type}}}}}});
  };
  change("NodePort");
  for (const auto& [kind, name] : {std::pair{resources::kServices, "store-peers"},
                                   std::pair{resources::kNetworkPolicies, "store-members"}}) {
    ASSERT_TRUE(api_.Delete(kind, {"ns", name}, {.uid = UidOf(kind, name)}));
    Settle();
    EXPECT_TRUE(Exists(kind, name)) << name;
  }
  EXPECT_EQ(api_.Get(resources::kServices, {"ns", "store"})->String("/spec/type"), "ClusterIP");
  const Object resource = *api_.Get(kRaftKvs, {"ns", "store"});
  const Json conditions = EntriesOf(resource.At("/status/conditions"), "type", "Degraded");
  ASSERT_EQ(conditions.size(), 1U);
  EXPECT_EQ(conditions[0].value("reason", ""), "InvalidSpec");
  EXPECT_THAT(conditions[0].value("message", ""),
              HasSubstr("spec.replicas is 'many', which is not a number from 0 to 9"));
  EXPECT_THAT(Told(), Contains("InvalidSpec"));
}

TEST_F(Reconciling, ASpecThatCannotBeUnderstoodDoesNotHoldUpADeletion) {
  Settle();
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}},
              {"spec", {{"storage", {{"size", "much"}}}}}});
  Settle();
  EXPECT_FALSE(api_.Get(kRaftKvs, {"ns", "store"})->HasFinalizer(kFinalizer));
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-0")) << "in doubt data is kept";
}

// With --cascade=foreground the StatefulSet goes first: warning ActionRefused, "it is being
// deleted".
TEST_F(Reconciling, AForegroundDeletionIsNoRefusal) {
  Settle();
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata",
               {{"deletionTimestamp", "2026-01-01T00:00:00Z"},
                {"finalizers", {kFinalizer, "foregroundDeletion"}}}},
              {"spec", {{"storage", {{"retention", {{"onDelete", "Delete"}}}}}}}});
  const size_t applied = api_.CountCalls("APPLY statefulsets/store");
  Settle();
  EXPECT_EQ(api_.CountCalls("APPLY statefulsets/store"), applied) << "too late for that";
  api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}}});
  Settle();
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-0")) << "its pod is there";
  EXPECT_THAT(Told(), Not(Contains("ActionRefused")));
  for (int slot = 0; slot < 3; ++slot) {
    const std::string pod = PodName("store", slot);
    ASSERT_TRUE(api_.Delete(resources::kPods, {"ns", pod}, {.uid = UidOf(resources::kPods, pod)}));
  }
  Settle();
  EXPECT_FALSE(Exists(resources::kClaims, "data-store-0"));
  EXPECT_FALSE(api_.Get(kRaftKvs, {"ns", "store"})->HasFinalizer(kFinalizer));
  EXPECT_THAT(Told(), Not(Contains("ActionRefused")));
}

}  // namespace
}  // namespace raftkv::op
