#include "operator/kube/api.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/kube/test_api.h"

namespace raftkv::kube {
namespace {

const Key kPod{"ns", "a"};

// Writes of a pod's label, of which no answer comes.
class LostAnswers : public ::testing::Test {
 protected:
  LostAnswers() { pod_ = *api_.Create(resources::kPods, Object(resources::kPods, kPod)); }

  static ApiResult<void> NoAnswer(Reason reason) {
    return std::unexpected(
        ApiError{.reason = reason, .message = "no answer", .may_have_happened = true});
  }
  ApiResult<Object> SetRole() {
    const Json patch = {{"metadata", {{"labels", {{"role", "leader"}}}}}};
    return SettleWrite(api_, resources::kPods, kPod,
                       api_.Patch(resources::kPods, kPod, PatchType::kMerge, patch),
                       [](const Object& live) { return live.Label("role") == "leader"; });
  }
  ApiResult<void> Delete() {
    return SettleDelete(api_, resources::kPods, kPod, pod_.uid(),
                        api_.Delete(resources::kPods, kPod, DeleteOptions::For(pod_)));
  }
  auto FailWrites(Reason reason) {
    return [reason](const std::string& call) -> ApiResult<void> {
      return call.starts_with("GET ") ? ApiResult<void>() : NoAnswer(reason);
    };
  }

  MemoryApi api_;
  Object pod_;
};

TEST_F(LostAnswers, WhatWasCarriedOutIsDone) {
  api_.after = FailWrites(Reason::kDeadline);
  auto written = SetRole();
  ASSERT_TRUE(written);
  EXPECT_EQ(*written, *api_.Get(resources::kPods, kPod));
  pod_ = *written;
  EXPECT_TRUE(Delete());
}

TEST_F(LostAnswers, WhatWasNotConcernsThatCallAloneIfTheServerIsThere) {
  for (const Reason reason : {Reason::kDeadline, Reason::kTimeout}) {
    api_.before = FailWrites(reason);
    for (const ApiError& error : {SetRole().error(), Delete().error()}) {
      EXPECT_EQ(error.reason, reason);
      EXPECT_TRUE(error.ConcernsThisCallAlone());
      EXPECT_EQ(error.message,
                "no answer (the API server answers other calls: an admission webhook may be slow)");
    }
  }
  api_.before = FailWrites(Reason::kConnection);
  EXPECT_FALSE(SetRole().error().ConcernsThisCallAlone()) << "it is tried again at once";
}

TEST_F(LostAnswers, WhereNothingIsAnsweredNobodyKnows) {
  api_.before = [](const std::string&) { return NoAnswer(Reason::kDeadline); };
  EXPECT_FALSE(SetRole().error().ConcernsThisCallAlone());
  EXPECT_FALSE(Delete().error().ConcernsThisCallAlone());
}

TEST_F(LostAnswers, WhatIsAnsweredIsNotLookedAt) {
  EXPECT_TRUE(SetRole());
  api_.before = [](const std::string& call) -> ApiResult<void> {
    if (call.starts_with("GET ")) return {};
    return std::unexpected(ErrorFromAnswer(403, R"({"kind":"Status","message":"no"})", {}));
  };
  EXPECT_EQ(SetRole().error().message, "no");
  EXPECT_EQ(api_.CountCalls("GET pods/a"), 0U);
}

TEST_F(LostAnswers, AnotherObjectOfTheNameIsNoneThatIsDeleted) {
  api_.before = [this](const std::string& call) -> ApiResult<void> {
    if (!call.starts_with("DELETE ")) return {};
    api_.before = nullptr;
    EXPECT_TRUE(api_.Delete(resources::kPods, kPod, DeleteOptions::For(pod_)));
    EXPECT_TRUE(api_.Create(resources::kPods, Object(resources::kPods, kPod)));
    return NoAnswer(Reason::kDeadline);
  };
  EXPECT_TRUE(Delete());
  EXPECT_TRUE(api_.Get(resources::kPods, kPod));
}

}  // namespace
}  // namespace raftkv::kube
