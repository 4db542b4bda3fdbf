#include "operator/raftkv/reconciler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class Reconciling : public ThreeMembers {
 protected:
  Reconciling()
      : metrics_(&registry_),
        events_(&event_api_, {.controller = "c", .instance = "i"}, &kube::Timing::System(), 1),
        reconciler_(Parts(&kube::Timing::System())) {}

  ReconcilerParts Parts(kube::Timing* timing) {
    return {.api = &api_,
            .nodes = &nodes_,
            .events = &events_,
            .metrics = &metrics_,
            .timing = timing,
            .caches = caches_,
            .settings = settings_,
            .epoch = [] { return 4; },
            .raise_epoch = [this](uint64_t epoch) { raised_ = epoch; },
            .watch_leader = [this](const kube::Key&, const std::string& host) { leader_ = host; }};
  }

  auto Reconcile() {
    FillCaches();  // with all that has been written
    return reconciler_.Reconcile({"ns", "store"}, {});
  }
  // Whatever else is in the way, the leader is marked and the budget is there.
  void ExpectMarkAndBudgetToComeBack() {
    api_.Patch(resources::kPods, {"ns", "store-1"}, kube::PatchType::kMerge,
               {{"metadata", {{"labels", {{kRoleLabel, nullptr}}}}}});
    ASSERT_TRUE(api_.Delete(resources::kDisruptionBudgets, {"ns", "store"},
                            {.uid = UidOf(resources::kDisruptionBudgets, "store")}));
    Settle();
    EXPECT_EQ(api_.Get(resources::kPods, {"ns", "store-1"})->Label(kRoleLabel), "leader");
    EXPECT_TRUE(Exists(resources::kDisruptionBudgets, "store"));
  }
  // Until nothing is written any more.
  void Settle() {
    for (int i = 0; i < 50; ++i) {
      size_t before = Writes();
      ASSERT_TRUE(Reconcile());
      if (Writes() == before) return;
    }
    FAIL() << "there is always something to write";
  }
  // All pods are ready, and of a template that is not the newest; the next act deletes one.
  void BeginRoll() {
    for (auto& [id, member] : configuration_.members) member.match = configuration_.config_index;
    Settle();
    for (int slot = 0; slot < 3; ++slot) {
      api_.Patch(resources::kPods, {"ns", PodName("store", slot)}, kube::PatchType::kMerge,
                 {{"metadata", {{"labels", {{"controller-revision-hash", "old"}}}}},
                  {"spec", {{"nodeName", "node1"}}},
                  {"status", {{"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}});
    }
    api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
               {{"metadata", {{"generation", 1}}},
                {"status", {{"observedGeneration", 1}, {"updateRevision", "new"}}}});
  }
  size_t Writes() const {
    auto calls = api_.calls();
    return static_cast<size_t>(std::ranges::count_if(
        calls, [](const std::string& call) { return !call.starts_with("GET "); }));
  }
  std::vector<std::string> Told() {
    EXPECT_TRUE(events_.Flush(std::chrono::seconds(5)));
    std::vector<std::string> reasons;
    for (const Object& event : event_api_.All(kube::resources::kEvents)) {
      reasons.emplace_back(event.String("/reason"));
    }
    return reasons;
  }
  // Reason and message of the condition.
  std::string Degraded() {
    const Object resource = *api_.Get(kRaftKvs, {"ns", "store"});
    const Json degraded = EntriesOf(resource.At("/status/conditions"), "type", "Degraded");
    return degraded.at(0).value("reason", "") + ": " + degraded.at(0).value("message", "");
  }
  std::string Metrics() { return prometheus::TextSerializer().Serialize(registry_.Collect()); }
  // Reason, status and value of each series of a condition.
  std::string ConditionsInMetrics(const std::string& type) {
    std::string out;
    for (const auto& family : registry_.Collect()) {
      if (family.name != "raftkv_operator_cluster_status_condition") continue;
      for (const auto& metric : family.metric) {
        std::map<std::string, std::string> labels;
        for (const auto& label : metric.label) labels[label.name] = label.value;
        if (labels["condition"] != type) continue;
        out += labels["reason"] + " " + labels["status"] + " " +
               std::to_string(static_cast<int>(metric.gauge.value)) + "\n";
      }
    }
    return out;
  }

  prometheus::Registry registry_;
  MemoryApi event_api_;
  ClusterMetrics metrics_;
  kube::EventRecorder events_;
  Reconciler reconciler_;
  uint64_t raised_ = 0;
  std::string leader_;
};

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

kube::ApiResult<void> Refuse(int http_status, std::string message) {
  return std::unexpected(kube::ErrorFromAnswer(
      http_status, Json{{"kind", "Status"}, {"message", std::move(message)}}.dump(), {}));
}

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
