// What becomes of objects that were applied: others set fields of them, webhooks have a say.

#include "operator/raftkv/applied.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

class AppliedObjects : public ThreeMembers {};

TEST_F(AppliedObjects, ObjectsAreAppliedOnceAndNoMore) {
  ASSERT_TRUE(actor_.Carry(Look(), ApplyObjects{}).ok());
  Seen seen = Look();
  EXPECT_TRUE(seen.observation.objects.others_current);
  size_t calls = api_.calls().size();
  ASSERT_TRUE(actor_.Carry(seen, ApplyObjects{}).ok());
  EXPECT_EQ(api_.calls().size(), calls);

  // Somebody edits a Service.
  api_.Patch(resources::kServices, {"ns", "store-leader"}, kube::PatchType::kMerge,
             {{"spec", {{"selector", {{"raftkv.dev/role", "follower"}}}}}});
  EXPECT_FALSE(Look().observation.objects.others_current);
}

// An apply takes off only what it has set: `kubectl set resources` had its way.
TEST_F(AppliedObjects, ResourcesThatSomebodySetsAreTakenBack) {
  const std::string resources = "/spec/template/spec/containers/0/resources";
  const auto set_resources = [&](const Json& value) {
    Object set = *api_.Get(resources::kStatefulSets, {"ns", "store"});
    set.Set(resources, value);
    ASSERT_TRUE(api_.Update(resources::kStatefulSets, set));
  };
  const auto now = [&] {
    return api_.Get(resources::kStatefulSets, {"ns", "store"})->At(resources);
  };
  EXPECT_TRUE(Look().observation.objects.template_current);
  set_resources({{"limits", {{"memory", "1Gi"}}}, {"requests", {{"cpu", "1"}}}});
  EXPECT_FALSE(Look().observation.objects.template_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(now(), Json::object());
  EXPECT_TRUE(Look().observation.objects.template_current);

  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"spec", {{"resources", {{"requests", {{"cpu", "1"}}}}}}}}));
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  set_resources({{"requests", {{"cpu", "2"}, {"memory", "1Gi"}}}});
  EXPECT_FALSE(Look().observation.objects.template_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(now(), (Json{{"requests", {{"cpu", "1"}}}}));

  // What somebody else takes off first is no refusal.
  set_resources({{"requests", {{"cpu", "1"}}}, {"limits", {{"memory", "1Gi"}}}});
  const Seen seen = Look();
  bool taken = false;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "PATCH statefulsets/store" || std::exchange(taken, true)) return {};
    set_resources({{"requests", {{"cpu", "1"}}}});
    return std::unexpected(kube::ApiError{.reason = kube::Reason::kInvalid, .http_status = 422});
  };
  EXPECT_TRUE(actor_.Carry(seen, ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(taken);
  api_.before = nullptr;

  // A webhook that insists is told once, and let be.
  api_.admit = [&](Object& object) {
    if (object.kind() == "StatefulSet") object.Set(resources + "/limits", {{"memory", "1Gi"}});
  };
  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"spec", {{"image", "node:2"}}}}));
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(Look().observation.objects.template_current);
  EXPECT_EQ(observer_.TakeChanged({"ns", "store"}).size(), 1U);
  timing_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(Look().observation.objects.template_current) << "it insists still";
  // What it added stayed when it went, and fell with the next operator, which rolled all pods.
  api_.admit = nullptr;
  timing_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(Look().observation.objects.template_current);
  timing_.Advance(std::chrono::minutes(5));
  EXPECT_FALSE(Look().observation.objects.template_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(now(), (Json{{"requests", {{"cpu", "1"}}}}));
  EXPECT_TRUE(Look().observation.objects.template_current);
}

// What it had made of an object was taken as what was asked for until somebody changed the object.
TEST_F(AppliedObjects, WhatAWebhookMakesOfAnObjectIsAskedAnewNowAndThen) {
  const auto admit = [&](const std::string& image) {
    api_.admit = [image](Object& object) {
      if (object.kind() != "StatefulSet") return;
      object.Set("/spec/template/spec/containers/0/image", image);
    };
  };
  const auto current = [&] { return Look().observation.objects.template_current; };
  const auto asked = [&] { return api_.CountCalls("DRYRUN statefulsets/store"); };
  const Duration pause = std::chrono::hours(1);
  const Duration again = std::chrono::minutes(5);
  admit("mirror/node");
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 0U);
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 1U) << "it is as it was";
  // One that cannot be asked.
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("DRYRUN ")) return {};
    return kube::Fail(kube::Reason::kBadRequest, "does not support dry run");
  };
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 2U);
  api_.before = nullptr;
  // Another image, and then none of its own.
  admit("other/node");
  EXPECT_TRUE(current());
  timing_.Advance(pause);
  EXPECT_TRUE(current()) << "it may be for a moment";
  timing_.Advance(again);
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(current());
  EXPECT_EQ(observer_.TakeChanged({"ns", "store"}).size(), 2U);
  EXPECT_EQ(asked(), 4U);
  api_.admit = nullptr;
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  timing_.Advance(again);
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(asked(), 6U);
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 7U) << "who had a say in it once may have it again";
}

// One whose failures are ignored: images from its mirror were taken back for good while it was
// away for a moment, and all pods with them.
TEST_F(AppliedObjects, AWebhookThatIsAwayForAMomentChangesNothing) {
  const auto mirror = [](Object& object) {
    if (object.kind() == "StatefulSet") {
      object.Set("/spec/template/spec/containers/0/image", "mirror/node");
    }
  };
  const auto current = [&] { return Look().observation.objects.template_current; };
  api_.admit = mirror;
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  api_.admit = nullptr;
  timing_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(current());
  api_.admit = mirror;
  timing_.Advance(std::chrono::minutes(5));
  EXPECT_TRUE(current());
  // If it is away for longer, what it says is asked for again when it is back.
  api_.admit = nullptr;
  for (int i = 0; i < 2; ++i) {
    timing_.Advance(std::chrono::hours(1));
    current();
  }
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(current());
  api_.admit = mirror;
  for (int i = 0; i < 2; ++i) {
    timing_.Advance(std::chrono::hours(1));
    current();
  }
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})
                ->String("/spec/template/spec/containers/0/image"),
            "mirror/node");
  EXPECT_TRUE(current());
}

}  // namespace
}  // namespace raftkv::op
