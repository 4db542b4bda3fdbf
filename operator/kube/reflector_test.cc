// Reflector and RestClient's watch against a scripted server, on a clock that jumps.
#include "operator/kube/reflector.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "operator/kube/rest_client.h"
#include "operator/kube/test_server.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string Pod(const std::string& name, int version, const std::string& uid = "u") {
  return R"({"kind":"Pod","metadata":{"namespace":"n","name":")" + name + R"(","uid":")" + uid +
         R"(","resourceVersion":")" + std::to_string(version) + R"(","managedFields":[{}]}})";
}

std::string List(int version, const std::vector<std::string>& items, const std::string& more = "") {
  std::string out = R"({"kind":"PodList","metadata":{"resourceVersion":")" +
                    std::to_string(version) + R"(","continue":")" + more + R"("},"items":[)";
  for (size_t i = 0; i < items.size(); ++i) out += (i > 0 ? "," : "") + items[i];
  return out + "]}";
}

std::string StatusObject(int code, const std::string& reason) {
  return R"({"kind":"Status","code":)" + std::to_string(code) + R"(,"reason":")" + reason +
         R"(","message":"test"})";
}

// Runs a reflector against a handler; `lists` and `watches` count from 1 within the handler.
class ReflectorTest : public testing::Test {
 protected:
  using OnList = std::function<void(TestExchange&, int list)>;
  using OnWatch = std::function<void(TestExchange&, int watch)>;

  ~ReflectorTest() override { Stop(); }

  void Start(OnList on_list, OnWatch on_watch, ReflectorOptions options = {},
             RestOptions rest = {}) {
    server_ = std::make_unique<TestServer>([=, this](TestExchange& exchange) {
      if (exchange.Targets("watch=true")) {
        on_watch(exchange, ++watches_);
      } else {
        on_list(exchange, ++lists_);
      }
    });
    client_ = std::make_unique<RestClient>(server_->config(), rest, &timing_);
    reflector_ = std::make_unique<Reflector>(client_.get(), &cache_, options, &timing_, 1);
    cache_.AddHandler([this](const Change& change) {
      std::lock_guard lock(mutex_);
      constexpr const char* kNames[] = {"+", "~", "-", "="};
      changes_.push_back(kNames[static_cast<int>(change.type)] +
                         std::string(change.object().name()) +
                         (change.final_state_unknown ? "?" : ""));
    });
    thread_ = std::jthread([this](std::stop_token stop) { reflector_->Run(stop); });
  }
  void Stop() {
    thread_ = {};
    server_.reset();
  }
  bool AwaitChanges(const std::vector<std::string>& wanted) {
    bool good = Eventually([&] {
      std::lock_guard lock(mutex_);
      return changes_ == wanted;
    });
    std::lock_guard lock(mutex_);
    EXPECT_TRUE(good || changes_ == wanted) << testing::PrintToString(changes_);
    return good;
  }
  bool AwaitWatches(int count) {
    return Eventually([&] { return watches_ >= count; });
  }
  std::string Request(size_t number) {
    auto requests = server_->requests();
    return number < requests.size() ? requests[number] : "";
  }

  FakeTiming timing_{FakeTiming::Mode::kJump};
  Cache cache_{resources::kPods};
  std::atomic<int> lists_{0};
  std::atomic<int> watches_{0};
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<RestClient> client_;
  std::unique_ptr<Reflector> reflector_;
  std::mutex mutex_;
  std::vector<std::string> changes_;
  std::jthread thread_;
};

void OneList(TestExchange& exchange, int) { exchange.Respond(200, List(10, {Pod("a", 5)})); }

TEST_F(ReflectorTest, ListsThenWatchesAndFollows) {
  Start(OneList, [](TestExchange& exchange, int) {
    exchange.BeginStream();
    exchange.Event("ADDED", Pod("b", 11));
    exchange.Event("MODIFIED", Pod("a", 12));
    exchange.Event("DELETED", Pod("b", 13));
    exchange.Hang();
  });
  EXPECT_TRUE(AwaitChanges({"+a", "+b", "~a", "-b"}));
  EXPECT_NE(Request(0).find("?limit=500&resourceVersion=0"), std::string::npos) << Request(0);
  EXPECT_NE(Request(1).find("resourceVersion=10"), std::string::npos) << Request(1);
  EXPECT_NE(Request(1).find("allowWatchBookmarks=true"), std::string::npos);
  EXPECT_TRUE(cache_.Get({"n", "a"})->At("/metadata/managedFields").is_null());
}

TEST_F(ReflectorTest, WatchTimeoutsAreRandomBetween300And600Seconds) {
  Start(OneList, [this](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch > 30) return exchange.Hang();
    timing_.Advance(seconds(2));
    exchange.End();
  });
  EXPECT_TRUE(AwaitWatches(31));
  std::set<int> timeouts;
  for (const std::string& request : server_->requests()) {
    size_t at = request.find("timeoutSeconds=");
    if (at == std::string::npos) continue;
    int timeout = std::stoi(request.substr(at + 15));
    EXPECT_GE(timeout, 300);
    EXPECT_LE(timeout, 600);
    timeouts.insert(timeout);
  }
  EXPECT_GT(timeouts.size(), 10u);
  EXPECT_EQ(lists_, 1) << "a watch that ends in good order must not cause a list";
}

TEST_F(ReflectorTest, FollowsPages) {
  Start(
      [](TestExchange& exchange, int) {
        if (exchange.Targets("continue=next")) {
          return exchange.Respond(200, List(10, {Pod("b", 6)}));
        }
        exchange.Respond(200, List(10, {Pod("a", 5)}, "next"));
      },
      [](TestExchange& exchange, int) { exchange.Hang(); });
  EXPECT_TRUE(AwaitChanges({"+a", "+b"}));
  EXPECT_EQ(Request(1).find("resourceVersion"), std::string::npos) << Request(1);
}

TEST_F(ReflectorTest, AnExpiredPageTokenMeansOneListWithoutPages) {
  Start(
      [](TestExchange& exchange, int) {
        if (exchange.Targets("continue=")) return exchange.Refuse(410, "Expired");
        if (exchange.Targets("limit=")) {
          return exchange.Respond(200, List(10, {Pod("old", 5)}, "t"));
        }
        exchange.Respond(200, List(11, {Pod("a", 5), Pod("b", 11)}));
      },
      [](TestExchange& exchange, int) { exchange.Hang(); });
  EXPECT_TRUE(AwaitChanges({"+a", "+b"}));
}

TEST_F(ReflectorTest, ResumesFromTheNewestVersionThatBookmarksTell) {
  Start(OneList, [this](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch > 1) return exchange.Hang();
    exchange.Event("BOOKMARK", R"({"kind":"Pod","metadata":{"resourceVersion":"77"}})");
    timing_.Advance(seconds(300));
    exchange.End();
  });
  EXPECT_TRUE(AwaitWatches(2));
  EXPECT_NE(Request(2).find("resourceVersion=77"), std::string::npos) << Request(2);
  EXPECT_EQ(lists_, 1);
  EXPECT_TRUE(timing_.slept().empty()) << "no wait after an end in good order";
}

TEST_F(ReflectorTest, GoneAsAnswerOrAsEventListsTheNewestState) {
  Start(
      [](TestExchange& exchange, int list) {
        if (list == 1) return exchange.Respond(200, List(10, {Pod("a", 5), Pod("b", 6)}));
        exchange.Respond(200, List(20 + list, {Pod("b", 6)}));
      },
      [](TestExchange& exchange, int watch) {
        if (watch == 1) return exchange.Refuse(410, "Expired");
        exchange.BeginStream();
        if (watch == 2) exchange.Event("ERROR", StatusObject(410, "Gone"));
        exchange.Hang();
      });
  EXPECT_TRUE(AwaitWatches(3));
  EXPECT_TRUE(AwaitChanges({"+a", "+b", "-a?"}));
  EXPECT_EQ(lists_, 3);
  EXPECT_EQ(Request(2).find("resourceVersion="), std::string::npos) << Request(2);
}

TEST_F(ReflectorTest, AVersionFromTheFutureListsTheNewestState) {
  Start(OneList, [](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch > 1) return exchange.Hang();
    exchange.Event("ERROR",
                   R"({"kind":"Status","code":504,"reason":"Timeout","message":"Too large",)"
                   R"("details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}})");
  });
  EXPECT_TRUE(AwaitWatches(2));
  EXPECT_EQ(lists_, 2);
  EXPECT_EQ(Request(2).find("resourceVersion="), std::string::npos) << Request(2);
}

TEST_F(ReflectorTest, BacksOffFromAServerThatFails) {
  Start(
      [](TestExchange& exchange, int list) {
        if (list <= 6) return exchange.Refuse(500, "InternalError");
        exchange.Respond(200, List(10, {Pod("a", 5)}));
      },
      [](TestExchange& exchange, int) { exchange.Hang(); });
  EXPECT_TRUE(AwaitChanges({"+a"}));
  auto slept = timing_.slept();
  ASSERT_EQ(slept.size(), 6u);
  Duration base = milliseconds(800);
  for (Duration wait : slept) {
    EXPECT_GE(wait, base);
    EXPECT_LE(wait, base * 2);
    base *= 2;
  }
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_NE(Request(i).find("resourceVersion=0"), std::string::npos) << Request(i);
  }
  EXPECT_EQ(reflector_->stats().failures, 6u);
  // Of the list, which is told before the error is forgotten.
  EXPECT_TRUE(Eventually([&] { return reflector_->stats().last_error.empty(); }));
}

TEST_F(ReflectorTest, KeepsTryingWhileNobodyListens) {
  ClientConfig nowhere;
  {
    TestServer gone([](TestExchange&) {});
    nowhere = gone.config();
  }
  RestClient client(nowhere, {}, &timing_);
  Reflector reflector(&client, &cache_, {}, &timing_, 1);
  std::jthread thread([&](std::stop_token stop) { reflector.Run(stop); });
  EXPECT_TRUE(Eventually([&] { return reflector.stats().failures > 20; }));
  EXPECT_NE(reflector.stats().last_error.find("cannot connect"), std::string::npos);
  for (Duration wait : timing_.slept()) EXPECT_LE(wait, seconds(60));
}

TEST_F(ReflectorTest, TornJsonResumesWhereItWas) {
  Start(OneList, [](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch == 1) {
      exchange.Event("ADDED", Pod("b", 11));
      exchange.Chunk(R"({"type":"MODIFIED","object":{"kind":"Pod","meta)");
      return exchange.End();
    }
    if (watch == 2) {
      exchange.Chunk(R"({"type":"MODIFIED","obj)");
      return exchange.Cut();
    }
    exchange.Event("MODIFIED", Pod("b", 12));
    exchange.Hang();
  });
  EXPECT_TRUE(AwaitChanges({"+a", "+b", "~b"}));
  EXPECT_EQ(lists_, 1);
  EXPECT_NE(Request(2).find("resourceVersion=11"), std::string::npos) << Request(2);
}

TEST_F(ReflectorTest, WhatStaysMalformedIsSteppedOverByAList) {
  Start(OneList, [](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch > 3) return exchange.Hang();
    exchange.Chunk("nonsense\n");
    exchange.End();
  });
  EXPECT_TRUE(AwaitWatches(4));
  EXPECT_EQ(lists_, 2);
}

TEST_F(ReflectorTest, ASilentWatchIsGivenUpAfterItsTimeAndResumed) {
  RestOptions rest;
  rest.watch_leeway = milliseconds(50);
  ReflectorOptions options;
  options.watch_min = milliseconds(50);
  options.watch_max = milliseconds(51);
  Start(
      OneList,
      [](TestExchange& exchange, int watch) {
        exchange.BeginStream();
        if (watch == 2) exchange.Event("ADDED", Pod("b", 11));
        exchange.Hang();  // a half-open connection: acknowledged by the kernel, never answered
      },
      options, rest);
  EXPECT_TRUE(AwaitChanges({"+a", "+b"}));
  EXPECT_EQ(lists_, 1);
}

// In real time: sockets wait in the kernel.
TEST_F(ReflectorTest, ASilentWatchIsGivenFiveSecondsMoreThanItWasToLast) {
  TestServer silent([](TestExchange& exchange) {
    exchange.BeginStream();
    exchange.Hang();
  });
  RestClient client(silent.config(), {}, &timing_);
  const auto begin = std::chrono::steady_clock::now();
  auto ended = client.Watch(resources::kPods, {.timeout = milliseconds(300)},
                            [](const WatchEvent&) { return true; }, {});
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_FALSE(ended);
  EXPECT_GE(took, milliseconds(5300));
  EXPECT_LT(took, seconds(15));
}

TEST_F(ReflectorTest, AWatchThatNeverBeginsIsBackedOffFrom) {
  RestOptions rest;
  rest.call_timeout = milliseconds(700);  // long enough for a slow machine to begin the third
  Start(
      OneList,
      [](TestExchange& exchange, int watch) {
        if (watch > 2) exchange.BeginStream();
        exchange.Hang();
      },
      {}, rest);
  EXPECT_TRUE(AwaitWatches(3));
  EXPECT_EQ(timing_.slept().size(), 2u);
  EXPECT_EQ(reflector_->stats().failures, 2u);
}

TEST_F(ReflectorTest, ASlowWatchIsReadByteByByte) {
  Start(OneList, [](TestExchange& exchange, int) {
    exchange.BeginStream();
    std::string line = R"({"type":"ADDED","object":)" + Pod("b", 11) + "}\n";
    for (char c : line) exchange.Chunk(std::string(1, c));
    exchange.Hang();
  });
  EXPECT_TRUE(AwaitChanges({"+a", "+b"}));
}

TEST_F(ReflectorTest, AWatchThatEndsAtOnceIsAFailure) {
  Start(OneList, [](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch > 3) return exchange.Hang();
    exchange.End();
  });
  EXPECT_TRUE(AwaitWatches(4));
  EXPECT_EQ(timing_.slept().size(), 3u) << "a server in trouble would be asked without a pause";
}

TEST_F(ReflectorTest, TooManyRequestsWaitsAsLongAsTheServerAsks) {
  Start(OneList, [](TestExchange& exchange, int watch) {
    if (watch == 1) return exchange.Refuse(429, "TooManyRequests", "Retry-After: 17\r\n");
    exchange.BeginStream();
    exchange.Hang();
  });
  EXPECT_TRUE(AwaitWatches(2));
  EXPECT_EQ(timing_.slept().at(0), seconds(17));
}

TEST_F(ReflectorTest, StopEndsAWatchAtOnce) {
  Start(OneList, [](TestExchange& exchange, int) {
    exchange.BeginStream();
    exchange.Hang();
  });
  EXPECT_TRUE(AwaitWatches(1));
  Stop();  // would hang for minutes
}

// All clients of a server that is restarted would resync at the same time.
TEST_F(ReflectorTest, ResyncsEveryTenHoursGiveOrTakeATenthWithoutACall) {
  constexpr Duration kWatch = std::chrono::minutes(20);
  constexpr int kWatches = 5 * 11 * 3 + 1;  // five times eleven hours
  std::vector<MonotonicTime> resyncs = {timing_.Now()};
  cache_.AddHandler([&](const Change& change) {
    if (change.type == Change::Type::kResync) resyncs.push_back(timing_.Now());
  });
  Start(OneList, [this](TestExchange& exchange, int watch) {
    exchange.BeginStream();
    if (watch >= kWatches) return exchange.Hang();
    timing_.Advance(kWatch);
    exchange.End();
  });
  ASSERT_TRUE(AwaitWatches(kWatches));
  Stop();
  ASSERT_GE(resyncs.size(), 6U);
  std::set<Duration> pauses;
  for (size_t i = 1; i < resyncs.size(); ++i) {
    const Duration pause = resyncs[i] - resyncs[i - 1];
    EXPECT_GE(pause, std::chrono::hours(9));
    EXPECT_LE(pause, std::chrono::hours(11) + kWatch);
    pauses.insert(pause);
  }
  EXPECT_GT(pauses.size(), 2U) << "always the same pause";
  EXPECT_EQ(lists_, 1);
}

}  // namespace
}  // namespace raftkv::kube
