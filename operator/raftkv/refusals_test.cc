// What the API server refuses: how it is remembered, and when it is tried again.

#include "operator/raftkv/refusals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

using ::testing::HasSubstr;

class RefusedActions : public ThreeMembers {};

// 5 s, 10 s, ... 5 min; what is wanted otherwise is tried at once, and a success is the end of it.
TEST_F(RefusedActions, WhatTheServerRefusesIsTriedAgainLessAndLessOften) {
  Seen seen = Look();
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    return std::unexpected(kube::ErrorFromAnswer(403, R"({"kind":"Status","message":"no"})", {}));
  };
  for (const int64_t pause : {5, 10, 20, 40, 80, 160, 300, 300}) {
    EXPECT_EQ(actor_.Carry(seen, ApplyDisruptionBudget{2}).code(), Code::kFailedPrecondition);
    seen = Look();
    const Refusal refusal = seen.observation.refusals.at(name);
    EXPECT_EQ(refusal.message, "PodDisruptionBudget store: no");
    EXPECT_EQ(refusal.again_s - seen.observation.now_s, pause);
    EXPECT_TRUE(observer_.IsHeld(seen, ApplyDisruptionBudget{2}));
    EXPECT_FALSE(observer_.IsHeld(seen, ApplyDisruptionBudget{1}));
    timing_.Advance(std::chrono::seconds(pause));
    EXPECT_EQ(Look().observation.refusals.at(name).again_s, 0);
  }
  EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 9}}}});
  seen = Look();
  EXPECT_EQ(seen.observation.refusals.at(name).again_s, 0);
  api_.before = nullptr;
  EXPECT_TRUE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// 500 is no refusal, and everything waited behind it, with nothing in the status.
TEST_F(RefusedActions, AWebhookThatFailsIsSaidAndTriedAgainSoon) {
  Seen seen = Look();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    return std::unexpected(kube::ErrorFromAnswer(
        500,
        R"({"kind":"Status","message":"Internal error occurred: failed calling webhook \"a.b\": x"})",
        {}));
  };
  for (const int64_t pause : {5, 10, 20, 30, 30}) {
    EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
    seen = Look();
    const Refusal refusal = seen.observation.refusals.at(RefusalKey(ApplyDisruptionBudget{2}));
    EXPECT_THAT(refusal.message, HasSubstr("PodDisruptionBudget store: Internal error occurred: "
                                           "failed calling webhook"));
    EXPECT_EQ(refusal.again_s - seen.observation.now_s, pause);
    timing_.Advance(std::chrono::seconds(pause));
  }
  api_.before = nullptr;
  EXPECT_TRUE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// It was in the way of the next change of size, for one look.
TEST_F(RefusedActions, ARefusalOfATemplateThatNobodyWantsAnyMoreIsForgotten) {
  HaveCluster();
  const auto want = [&](int generation, const char* image) {
    api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
               {{"metadata", {{"generation", generation}}}, {"spec", {{"image", image}}}});
  };
  want(2, "no");
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call != "APPLY statefulsets/store") return {};
    return std::unexpected(kube::ErrorFromAnswer(422, R"({"kind":"Status","message":"no"})", {}));
  };
  EXPECT_FALSE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(Look().observation.refusals.size(), 1U);
  want(3, "node:1");
  EXPECT_TRUE(Look().observation.objects.template_current);
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// It was due for ever, and chosen before everything else.
TEST_F(RefusedActions, ATryOfWhatWasRefusedIsPutOffAlsoIfItFailsOtherwise) {
  Seen seen = Look();
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  int status = 403;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    if (status == 0) return kube::Fail(kube::Reason::kDeadline, "no answer");
    return std::unexpected(kube::ErrorFromAnswer(status, R"({"kind":"Status"})", {}));
  };
  EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  for (const int other : {0, 404, 409, 429, 500, 504}) {
    timing_.Advance(std::chrono::seconds(5));
    seen = Look();
    EXPECT_EQ(seen.observation.refusals.at(name).again_s, 0);
    status = other;
    EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
    seen = Look();
    EXPECT_EQ(seen.observation.refusals.at(name).again_s - seen.observation.now_s, 5) << other;
  }
}

// It was tried again after 5 s then, however long it had been refused.
TEST_F(RefusedActions, ATryThatFailsOtherwiseWaitsAsLongAsARefusedOne) {
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  int status = 403;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    return std::unexpected(kube::ErrorFromAnswer(status, R"({"kind":"Status"})", {}));
  };
  const auto pause = [&] {
    EXPECT_FALSE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
    const Observation seen = Look().observation;
    const int64_t left = seen.refusals.at(name).again_s - seen.now_s;
    timing_.Advance(std::chrono::seconds(left));
    return left;
  };
  for (const int64_t expected : {5, 10, 20}) EXPECT_EQ(pause(), expected);
  status = 500;
  EXPECT_EQ(pause(), 20);
  status = 403;
  EXPECT_EQ(pause(), 40);
  status = 500;
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 9}}}});
  EXPECT_EQ(pause(), 5) << "something else is wanted";
}

// Webhooks answer with any code, and say which they are.
TEST_F(RefusedActions, WhatAWebhookDeniesIsSaidWithWhateverCode) {
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  const std::string denied =
      R"({"kind":"Status","message":"admission webhook \"a.b\" denied the request: no"})";
  for (const int status : {404, 409, 429, 500, 503, 504}) {
    api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
      if (!call.ends_with("CREATE poddisruptionbudgets/store")) return {};
      return std::unexpected(kube::ErrorFromAnswer(status, denied, {}));
    };
    EXPECT_FALSE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
    const Observation seen = Look().observation;
    ASSERT_TRUE(seen.refusals.contains(name)) << status;
    EXPECT_THAT(seen.refusals.at(name).message, HasSubstr("denied the request: no"));
    observer_.Forget({"ns", "store"});
  }
  // What is not there needs no deletion; what a webhook keeps is there.
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("DELETE ")) return {};
    return std::unexpected(kube::ErrorFromAnswer(404, denied, {}));
  };
  const DeletePod pod{.slot = 0, .uid = UidOf(resources::kPods, "store-0")};
  EXPECT_FALSE(actor_.Carry(Look(), pod).ok());
  EXPECT_TRUE(Look().observation.refusals.contains(RefusalKey(pod)));
  api_.before = nullptr;
  ASSERT_TRUE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("DELETE ")) return {};
    return std::unexpected(kube::ErrorFromAnswer(404, denied, {}));
  };
  EXPECT_FALSE(actor_.Carry(Look(), ApplyDisruptionBudget{-1}).ok());
}

// Seven of them, ten seconds each: the next try was due before the last one had ended.
TEST_F(RefusedActions, AWebhookThatIsSlowIsWaitedForOncePerKindAndThenLeftAlone) {
  const Seen seen = Look();
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("CREATE ")) return {};
    timing_.Advance(std::chrono::seconds(10));
    return std::unexpected(kube::ErrorFromAnswer(
        500, R"({"kind":"Status","message":"failed calling webhook \"a.b\": deadline"})", {}));
  };
  const size_t before = api_.calls().size();
  EXPECT_FALSE(actor_.Carry(seen, ApplyObjects{}).ok());
  std::map<std::string, int> tried;
  const std::vector<std::string> calls = api_.calls();
  for (size_t i = before; i < calls.size(); ++i) {
    if (calls[i].starts_with("CREATE ")) ++tried[calls[i].substr(0, calls[i].find('/'))];
  }
  EXPECT_EQ(tried.size(), 3U) << "Services, the account, policies";
  for (const auto& [kind, times] : tried) EXPECT_EQ(times, 1) << kind;
  const Observation after = Look().observation;
  EXPECT_EQ(after.refusals.at(RefusalKey(ApplyObjects{})).again_s - after.now_s, 5);
}

// No answer, or somebody who was faster, is no refusal: that is tried again by the queue.
TEST_F(RefusedActions, AServerThatIsNotThereRefusesNothing) {
  Seen seen = Look();
  for (const int status : {0, 401, 404, 409, 429, 500, 504}) {
    api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
      if (!call.ends_with("poddisruptionbudgets/store")) return {};
      if (status == 0) return kube::Fail(kube::Reason::kFenced, "not the leader");
      return std::unexpected(kube::ErrorFromAnswer(status, "", {}));
    };
    EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok()) << status;
    api_.before = nullptr;
    EXPECT_TRUE(Look().observation.refusals.empty()) << status;
  }
}

}  // namespace
}  // namespace raftkv::op
