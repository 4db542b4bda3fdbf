#include "ctl/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "ctl/fake_node.h"

namespace raftkv::client {
namespace {

Http::Options Quick() {
  return {.timeout = std::chrono::seconds(5),
          .connect_timeout = std::chrono::seconds(1),
          .pause = std::chrono::milliseconds(1)};
}

Request Write() { return {.method = "PUT", .target = "/kv/a", .body = "value", .headers = {}}; }
Request Read() {
  return {.method = "GET", .target = "/kv/a", .body = {}, .headers = {}, .safe = true};
}

void Ok(const httplib::Request&, httplib::Response& response) {
  response.set_content("fine", "text/plain");
}

TEST(HttpTest, AnEndpointThatRefusesConnectionsIsPassedOver) {
  FakeNode node(Ok);
  Http http({DeadEndpoint(), node.endpoint()}, Quick());
  auto answer = http.Send(Write());
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->body, "fine");
  EXPECT_EQ(answer->endpoint.port, node.endpoint().port);
}

TEST(HttpTest, NobodyThereFailsAtOnce) {
  Http http({DeadEndpoint(), DeadEndpoint()}, Quick());
  auto answer = http.Send(Write());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kUnavailable);
}

TEST(HttpTest, UnavailableGoesToTheNextEndpointEvenForWrites) {
  FakeNode busy(
      [](const auto&, auto& response) { Refuse(response, 503, "unavailable", "no leader"); });
  FakeNode full(
      [](const auto&, auto& response) { Refuse(response, 429, "resource exhausted", "x"); });
  FakeNode node(Ok);
  Http http({busy.endpoint(), full.endpoint(), node.endpoint()}, Quick());
  ASSERT_TRUE(http.Send(Write()));
  EXPECT_EQ(busy.requests().size(), 1u);
  EXPECT_EQ(full.requests().size(), 1u);
  EXPECT_EQ(node.requests().size(), 1u);
}

TEST(HttpTest, BeginsWithTheEndpointThatAnsweredLast) {
  FakeNode busy(
      [](const auto&, auto& response) { Refuse(response, 503, "unavailable", "no leader"); });
  FakeNode node(Ok);
  Http http({busy.endpoint(), node.endpoint()}, Quick());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(http.Send(Write()));
  EXPECT_EQ(busy.requests().size(), 1u);
  EXPECT_EQ(node.requests().size(), 3u);
}

TEST(HttpTest, WaitsForALeader) {
  std::atomic<int> n = 0;
  FakeNode node([&](const auto& request, auto& response) {
    if (++n < 5) return Refuse(response, 503, "unavailable", "no leader");
    Ok(request, response);
  });
  Http http({node.endpoint()}, Quick());
  ASSERT_TRUE(http.Send(Write()));
  EXPECT_EQ(n, 5);
}

TEST(HttpTest, GivesUpWaitingAtTheTimeout) {
  FakeNode node(
      [](const auto&, auto& response) { Refuse(response, 503, "unavailable", "no leader"); });
  Http::Options options = Quick();
  options.timeout = std::chrono::milliseconds(100);
  Http http({node.endpoint()}, options);
  auto answer = http.Send(Write());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kUnavailable);
  EXPECT_THAT(answer.error().message(), testing::HasSubstr("no leader"));
}

// Regression: the last attempt's own timeout ended a write that had found no leader all along, as
// one of unknown outcome.
TEST(HttpTest, NoLeaderUntilTheTimeoutIsUnavailable) {
  FakeNode node([](const auto& request, auto& response) {
    // Asked too late, a node would not answer before the client gives up.
    if (std::stoll(request.get_header_value("Raftkv-Timeout-Ms")) < 450)
      std::this_thread::sleep_for(std::chrono::seconds(2));
    Refuse(response, 503, "unavailable", "no leader");
  });
  for (int timeout_ms : {1000, 2000}) {
    Http::Options options = Quick();
    options.timeout = std::chrono::milliseconds(timeout_ms);
    Http http({node.endpoint(), node.endpoint()}, options);
    auto answer = http.Send(Write());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), Code::kUnavailable) << answer.error().message();
    EXPECT_THAT(answer.error().message(), testing::HasSubstr("no leader"));
  }
}

TEST(HttpTest, ABlankNodeIsNotWorthWaitingFor) {
  FakeNode blank([](const auto&, auto& response) {
    Refuse(response, 503, std::string(CodeName(Code::kNotServing)), "blank");
  });
  // That another cannot be reached changes nothing.
  Http http({blank.endpoint(), DeadEndpoint()}, Quick());
  auto answer = http.Send(Write());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kNotServing);
  EXPECT_THAT(answer.error().message(), testing::HasSubstr("blank"));
  EXPECT_EQ(blank.requests().size(), 1u);
}

TEST(HttpTest, WhatMayPassIsWaitedForAndToldRatherThanABlankNode) {
  FakeNode blank([](const auto&, auto& response) {
    Refuse(response, 503, std::string(CodeName(Code::kNotServing)), "blank");
  });
  FakeNode node(
      [](const auto&, auto& response) { Refuse(response, 503, "unavailable", "no leader"); });
  for (auto first : {blank.endpoint(), node.endpoint()}) {
    auto second = first.port == blank.endpoint().port ? node.endpoint() : blank.endpoint();
    Http::Options options = Quick();
    options.timeout = std::chrono::seconds(1);
    Http http({first, second}, options);
    auto answer = http.Send(Read());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), Code::kUnavailable);
    EXPECT_THAT(answer.error().message(), testing::HasSubstr("no leader"));
  }
}

// The rule that keeps data right: what may have happened is not sent again.
TEST(HttpTest, AWriteThatMayHaveHappenedIsNeverRepeated) {
  MuteNode broken(MuteNode::Manner::kClose);
  FakeNode node(Ok);
  Http http({broken.endpoint(), node.endpoint()}, Quick());
  auto answer = http.Send(Write());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kUnknownOutcome);
  EXPECT_EQ(broken.connections(), 1);
  EXPECT_EQ(node.requests().size(), 0u);
}

TEST(HttpTest, AWriteWithUnknownOutcomeIsNeverRepeated) {
  FakeNode unknown(
      [](const auto&, auto& response) { Refuse(response, 504, "unknown outcome", "?"); });
  FakeNode node(Ok);
  Http http({unknown.endpoint(), node.endpoint()}, Quick());
  auto answer = http.Send(Write());
  ASSERT_TRUE(answer);
  EXPECT_EQ(ProblemOf(*answer).code(), Code::kUnknownOutcome);
  EXPECT_EQ(unknown.requests().size(), 1u);
  EXPECT_EQ(node.requests().size(), 0u);
}

TEST(HttpTest, AWriteThatTimesOutIsNeverRepeated) {
  MuteNode hanging(MuteNode::Manner::kHang);
  FakeNode node(Ok);
  Http::Options options = Quick();
  options.timeout = std::chrono::milliseconds(200);
  Http http({hanging.endpoint(), node.endpoint()}, options);
  auto answer = http.Send(Write());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kUnknownOutcome);
  EXPECT_EQ(node.requests().size(), 0u);
}

TEST(HttpTest, ReadsGoOnWhateverHappened) {
  MuteNode broken(MuteNode::Manner::kClose);
  MuteNode hanging(MuteNode::Manner::kHang);
  FakeNode unknown(
      [](const auto&, auto& response) { Refuse(response, 504, "unknown outcome", "?"); });
  FakeNode node(Ok);
  Http::Options options = Quick();
  options.timeout = std::chrono::seconds(2);
  Http http({broken.endpoint(), hanging.endpoint(), unknown.endpoint(), node.endpoint()}, options);
  auto answer = http.Send(Read());
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->body, "fine");
}

TEST(HttpTest, OtherErrorsAreAnswers) {
  FakeNode node([](const auto&, auto& response) { Refuse(response, 412, "conflict", "not so"); });
  FakeNode other(Ok);
  Http http({node.endpoint(), other.endpoint()}, Quick());
  auto answer = http.Send(Write());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 412);
  EXPECT_EQ(other.requests().size(), 0u);
}

TEST(HttpTest, TheTargetArrivesAsItWasEncoded) {
  FakeNode node(Ok);
  Http http({node.endpoint()}, Quick());
  Request request = Read();
  request.target = "/kv/a%2Fb%20c%25d/%FF%00?after=%2B%26%3D";
  ASSERT_TRUE(http.Send(request));
  EXPECT_EQ(node.requests().at(0).target, request.target);
}

TEST(HttpTest, ProblemsBecomeStatuses) {
  auto problem = [](int status, const std::string& body) {
    return ProblemOf(Answer{.status = status, .headers = {}, .body = body, .endpoint = {"h", 1}});
  };
  EXPECT_EQ(problem(400, "no JSON").code(), Code::kInvalidArgument);
  // A server that is no node does not know whether there is such a key.
  EXPECT_EQ(problem(404, "").code(), Code::kInternal);
  EXPECT_EQ(problem(404, "<html>").message(), "status 404: is it a raftkv node? (h:1)");
  EXPECT_EQ(problem(404, R"({"code":"not found","detail":"x"})").message(), "x (h:1)");
  EXPECT_EQ(problem(409, "[]").code(), Code::kConflict);
  EXPECT_EQ(problem(503, "{}").code(), Code::kUnavailable);
  EXPECT_EQ(problem(507, "{}").code(), Code::kOutOfSpace);
  EXPECT_EQ(problem(500, "{}").code(), Code::kInternal);
  // What the node calls it is more exact than the status.
  EXPECT_EQ(problem(409, R"({"code":"failed precondition"})").code(), Code::kFailedPrecondition);
  EXPECT_EQ(problem(409, R"({"code":"ok"})").code(), Code::kConflict);
  EXPECT_EQ(problem(409, R"({"code":7,"detail":[]})").code(), Code::kConflict);
  EXPECT_EQ(problem(412, R"({"detail":"why"})").message(), "why (h:1)");
}

TEST(HttpTest, StreamsAndTellsProblems) {
  std::string large(3 << 20, 'x');
  FakeNode node([&](const auto& request, auto& response) {
    if (request.path == "/no") return Refuse(response, 409, "failed precondition", "blank");
    response.set_content(large, "application/octet-stream");
  });
  Http http({node.endpoint()}, Quick());
  std::string got;
  auto append = [&](std::string_view bytes) {
    got += bytes;
    return Status::Ok();
  };
  EXPECT_TRUE(http.Stream(node.endpoint(), "/yes", append).ok());
  EXPECT_EQ(got, large);
  EXPECT_EQ(http.Stream(node.endpoint(), "/no", append).code(), Code::kFailedPrecondition);
  auto full = [](std::string_view) { return Status(Code::kOutOfSpace, "full"); };
  EXPECT_EQ(http.Stream(node.endpoint(), "/yes", full).code(), Code::kOutOfSpace);
  EXPECT_EQ(http.Stream(DeadEndpoint(), "/yes", append).code(), Code::kUnavailable);
}

TEST(HttpTest, ParsesEndpoints) {
  auto text = [](const char* in) {
    auto endpoint = ParseEndpoint(in);
    return endpoint ? endpoint->ToString() : "error";
  };
  EXPECT_EQ(text("127.0.0.1:7070"), "127.0.0.1:7070");
  EXPECT_EQ(text("http://node-0.raftkv:80/"), "node-0.raftkv:80");
  EXPECT_EQ(text("[::1]:7070"), "[::1]:7070");
  for (const char* bad : {"", "host", "host:", ":1", "host:0", "host:65536", "host:+1", "::1:7070",
                          "https://h:1", "h:1/path", "u@h:1"})
    EXPECT_EQ(text(bad), "error") << bad;
}

}  // namespace
}  // namespace raftkv::client
