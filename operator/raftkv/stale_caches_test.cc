// Caches that are behind: nothing is planned before they have our own writes, and what they still
// tell of a resource that is gone harms none of its successor's objects.
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <nlohmann/json.hpp>

#include "operator/raftkv/reconciler.h"
#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

class StaleCaches : public ThreeMembers {
 protected:
  StaleCaches()
      : metrics_(&registry_),
        events_(&event_api_, {.controller = "c", .instance = "i"}, &kube::Timing::System(), 1),
        reconciler_({.api = &api_,
                     .nodes = &nodes_,
                     .events = &events_,
                     .metrics = &metrics_,
                     .timing = &kube::Timing::System(),
                     .caches = caches_,
                     .settings = settings_,
                     .epoch = [] { return 4; },
                     .raise_epoch = [](uint64_t) {},
                     .watch_leader = [](const kube::Key&, const std::string&) {}}) {}

  // With the caches as they are.
  kube::ReconcileResult Reconcile() {
    auto result = reconciler_.Reconcile({"ns", "store"}, {});
    EXPECT_TRUE(result) << result.error().ToString();
    return result.value_or(kube::ReconcileResult{});
  }
  void ExpectToWaitForTheCaches(const std::string& what) {
    const size_t calls = api_.calls().size();
    const kube::ReconcileResult result = Reconcile();
    EXPECT_EQ(result.requeue_after, std::chrono::milliseconds(50)) << what;
    EXPECT_EQ(api_.calls().size(), calls) << what << ": it was planned on what was before";
  }
  size_t Writes() const {
    const std::vector<std::string> calls = api_.calls();
    return static_cast<size_t>(std::ranges::count_if(
        calls, [](const std::string& call) { return !call.starts_with("GET "); }));
  }

  prometheus::Registry registry_;
  ClusterMetrics metrics_;
  MemoryApi event_api_;
  kube::EventRecorder events_;
  Reconciler reconciler_;
};

TEST_F(StaleCaches, AfterEachWriteNothingIsPlannedUntilItHasBeenSeen) {
  int writes = 0;
  for (int i = 0; i < 50; ++i) {
    FillCaches();
    const size_t before = Writes();
    Reconcile();
    if (Writes() == before) break;
    ++writes;
    ExpectToWaitForTheCaches("write " + std::to_string(writes));
  }
  EXPECT_GE(writes, 3) << "status, objects, budget, mark, notes";
  EXPECT_LT(writes, 50) << "there is always something to write";
}

TEST_F(StaleCaches, OneObjectOfAnyKindIsEnoughToWaitFor) {
  const std::string pod = PodName("store", 2);
  const std::vector<std::pair<kube::Cache*, std::string>> written = {
      {&clusters_, "store"},         {&sets_, "store"},          {&pods_, pod},
      {&claims_, "data-" + pod},     {&services_, "store-read"}, {&accounts_, "store"},
      {&policies_, "store-members"}, {&budgets_, "store"}};
  for (int i = 0; i < 20; ++i) {
    FillCaches();
    Reconcile();
  }
  for (const auto& [cache, name] : written) {
    const std::string kind(cache->resource().kind);
    auto patched = api_.Patch(cache->resource(), {"ns", name}, kube::PatchType::kMerge,
                              {{"metadata", {{"annotations", {{"written", "by others"}}}}}});
    ASSERT_TRUE(patched) << kind;
    EXPECT_NE(Reconcile().requeue_after, std::chrono::milliseconds(50))
        << kind << ": what others write is not waited for";
    FillCaches();
    patched = api_.Patch(cache->resource(), {"ns", name}, kube::PatchType::kMerge,
                         {{"metadata", {{"annotations", {{"written", "by us"}}}}}});
    cache->Wrote(*patched);
    ExpectToWaitForTheCaches(kind);
    FillCaches();
    EXPECT_NE(Reconcile().requeue_after, std::chrono::milliseconds(50)) << kind;
  }
}

// R10: "the same name again". The caches have a resource that is being deleted with its data; the
// server has another one of that name, with objects of its own.
class Successor : public StaleCaches {
 protected:
  void SetUp() override {
    ASSERT_TRUE(
        api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                   {{"metadata",
                     {{"deletionTimestamp", "2026-01-01T00:00:00Z"}, {"finalizers", {kFinalizer}}}},
                    {"spec", {{"storage", {{"retention", {{"onDelete", "Delete"}}}}}}},
                    {"status", {{"clusterID", "00000000000000c1"}}}}));
    old_ = Look();
    ASSERT_TRUE(old_.observation.deleting);
    for (const kube::Resource* kind :
         {&kRaftKvs, &resources::kStatefulSets, &resources::kPods, &resources::kClaims}) {
      for (const Object& object : api_.All(*kind)) {
        ASSERT_TRUE(api_.Delete(*kind, object.key(), {.uid = std::string(object.uid())}));
        Object next = object;
        for (const char* field : {"uid", "resourceVersion", "deletionTimestamp"}) {
          next.json()["metadata"].erase(field);
        }
        next.json()["metadata"].erase("ownerReferences");
        if (kind == &resources::kStatefulSets) kube::SetController(next, resource_);
        if (kind == &resources::kPods) kube::SetController(next, set_);
        auto made = api_.Create(*kind, next);
        ASSERT_TRUE(made);
        if (kind == &kRaftKvs) resource_ = *made;
        if (kind == &resources::kStatefulSets) set_ = *made;
      }
    }
    ASSERT_NE(resource_.uid(), old_.resource->uid());
    before_ = Everything();
  }

  Json Everything() {
    Json all = Json::array();
    for (const kube::Resource* kind :
         {&kRaftKvs, &resources::kStatefulSets, &resources::kPods, &resources::kClaims}) {
      for (const Object& object : api_.All(*kind)) all.push_back(object.json());
    }
    return all;
  }
  // By the old UID, and by the new one, as if only the cache of that kind had caught up.
  std::vector<std::string> UidsOf(const kube::Resource& kind, const std::string& name,
                                  const std::string& old) {
    return {old, UidOf(kind, name)};
  }
  void ExpectNoHarm(const Action& action) {
    const Status done = actor_.Carry(old_, action);
    EXPECT_EQ(done.code(), Code::kConflict) << ToString(action) << ": " << done.ToString();
    EXPECT_EQ(Everything(), before_) << ToString(action);
  }

  Seen old_;
  Json before_;
};

TEST_F(Successor, R10_KeepsItsClaims) {
  for (const std::string& uid :
       UidsOf(resources::kClaims, "data-store-0", old_.observation.slots.at(0).claim->uid)) {
    ExpectNoHarm(DeleteClaim{.slot = 0, .uid = uid});
    ExpectNoHarm(DeleteClaim{.slot = 0, .uid = uid, .member = 0xa1});
  }
}

TEST_F(Successor, R10_KeepsItsPods) {
  for (const std::string& uid :
       UidsOf(resources::kPods, "store-0", old_.observation.slots.at(0).pod->uid)) {
    for (const bool force : {false, true}) ExpectNoHarm(DeletePod{0, uid, "deletion", force});
  }
}

TEST_F(Successor, R10_KeepsItsSize) {
  ExpectNoHarm(ApplyStatefulSet{0});
  ExpectNoHarm(ScaleStatefulSet{0});
}

TEST_F(Successor, R10_KeepsItsFinalizer) { ExpectNoHarm(RemoveFinalizer{}); }

TEST_F(Successor, R10_IsNotTouchedByAWholeReconcileOnOldCaches) {
  for (int i = 0; i < 5; ++i) reconciler_.Reconcile({"ns", "store"}, {});
  EXPECT_EQ(Everything(), before_);
}

// It is the same resource, and not being deleted any more than the server says.
TEST_F(StaleCaches, R10_ADeletionThatTheServerDoesNotKnowDestroysNothing) {
  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}}}));
  const Seen seen = Look();
  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"metadata", {{"deletionTimestamp", nullptr}}}}));
  const SlotView& slot = seen.observation.slots.at(0);
  for (const Action& action :
       {Action(DeleteClaim{.slot = 0, .uid = slot.claim->uid}),
        Action(DeletePod{0, slot.pod->uid, "", true}), Action(RemoveFinalizer{})}) {
    EXPECT_EQ(actor_.Carry(seen, action).code(), Code::kConflict) << ToString(action);
  }
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-0"));
  EXPECT_TRUE(Exists(resources::kPods, "store-0"));
}

}  // namespace
}  // namespace raftkv::op
