#include "operator/kube/api_error.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/kube/object.h"

namespace raftkv::kube {
namespace {

ApiError Answer(int http_status, const std::string& fields) {
  return ErrorFromAnswer(http_status, R"({"kind":"Status")" + fields + "}", {});
}

TEST(ApiErrorTest, TheStatusOfTheAnswerCountsAndNotTheOneInItsBody) {
  const ApiError error = Answer(404, R"(,"code":422,"reason":"Invalid","message":"m")");
  EXPECT_TRUE(error.SaysGone());
  EXPECT_EQ(error.http_status, 404);
}

TEST(ApiErrorTest, ARefusalIsNotWorthAnotherTryWhateverItsReason) {
  for (const char* reason : {"Timeout", "ServerTimeout"}) {
    const ApiError error = Answer(422, R"(,"reason":")" + std::string(reason) + '"');
    EXPECT_TRUE(error.IsRefusal() && !error.IsTransient()) << reason;
    EXPECT_TRUE(Answer(504, R"(,"reason":")" + std::string(reason) + '"').IsTransient()) << reason;
  }
  const std::string cause = R"(,"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]})";
  EXPECT_TRUE(Answer(400, cause).Is(Reason::kBadRequest));
  EXPECT_TRUE(Answer(504, cause).Is(Reason::kVersionTooLarge));
}

TEST(ApiErrorTest, SaysSomethingAlsoIfTheServerDoesNot) {
  EXPECT_EQ(Answer(404, "").ToStatus().message(), "the server does not say why");
  EXPECT_EQ(Answer(409, R"(,"reason":"Conflict")").ToStatus().message(), "Conflict");
}

TEST(ApiErrorTest, ACodeThatIsNoneOfHttpIsNone) {
  for (const int64_t code : {int64_t{4294967700}, int64_t{-404}, int64_t{99}, int64_t{600}}) {
    EXPECT_EQ(ErrorFromStatus(Object(Json({{"code", code}}))).http_status, 0) << code;
  }
  EXPECT_TRUE(ErrorFromStatus(Object(Json({{"code", 410}}))).Is(Reason::kExpired));
}

}  // namespace
}  // namespace raftkv::kube
