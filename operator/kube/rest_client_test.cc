// RestClient over real sockets against a scripted server.
#include "operator/kube/rest_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include <prometheus/registry.h>

#include "operator/kube/metrics.h"
#include "operator/kube/test_server.h"
#include "operator/kube/test_timing.h"

namespace raftkv::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Key kA{"n", "a"};
constexpr std::string_view kPod =
    R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"5"}})";

class RestClientTest : public testing::Test {
 protected:
  void Start(TestServer::Handler handler, RestOptions options = {}) {
    server_ = std::make_unique<TestServer>([this, handler](TestExchange& exchange) {
      ++calls_;
      {
        std::lock_guard lock(mutex_);
        last_ = exchange;
      }
      handler(exchange);
    });
    client_ = std::make_unique<RestClient>(server_->config(), options, &timing_, &metrics_);
  }
  TestExchange last() {
    std::lock_guard lock(mutex_);
    return last_;
  }

  FakeTiming timing_{FakeTiming::Mode::kJump};
  prometheus::Registry registry_;
  Metrics metrics_{&registry_};
  std::atomic<int> calls_{0};
  std::mutex mutex_;
  TestExchange last_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<RestClient> client_;
};

void AnswerPod(TestExchange& exchange) { exchange.Respond(200, kPod); }

TEST_F(RestClientTest, GetsOverOneConnection) {
  Start(AnswerPod);
  for (int i = 0; i < 10; ++i) {
    auto pod = client_->Get(resources::kPods, kA);
    ASSERT_TRUE(pod) << pod.error().ToString();
    EXPECT_EQ(pod->uid(), "u");
  }
  EXPECT_EQ(server_->connections(), 1);
  EXPECT_TRUE(last().headers["user-agent"].starts_with("raftkv-operator/"));
  EXPECT_EQ(last().headers["host"], "127.0.0.1:" + std::to_string(server_->port()));
  EXPECT_NE(metrics_.Render().find("rest_client_requests_total{code=\"200\",host=\"127.0.0.1:"),
            std::string::npos);
}

TEST_F(RestClientTest, RepeatsAsRetryAfterAsks) {
  Start([this](TestExchange& exchange) {
    if (calls_ == 1) return exchange.Refuse(429, "TooManyRequests", "Retry-After: 3\r\n");
    if (calls_ == 2) return exchange.Refuse(503, "ServiceUnavailable", "Retry-After: 1\r\n");
    AnswerPod(exchange);
  });
  EXPECT_TRUE(client_->Get(resources::kPods, kA));
  EXPECT_EQ(timing_.slept(), (std::vector<Duration>{seconds(3), seconds(1)}));
}

TEST_F(RestClientTest, RepeatsAtMostTenTimes) {
  Start([](TestExchange& exchange) {
    exchange.Refuse(429, "TooManyRequests", "Retry-After: 1\r\n");
  });
  EXPECT_EQ(client_->Get(resources::kPods, kA).error().reason, Reason::kTooManyRequests);
  EXPECT_EQ(calls_, 11);
}

TEST_F(RestClientTest, LeavesLongWaitsAndBareErrorsToTheCaller) {
  Start([this](TestExchange& exchange) {
    if (calls_ == 1) return exchange.Refuse(503, "ServiceUnavailable", "Retry-After: 600\r\n");
    exchange.Refuse(500, "InternalError");
  });
  EXPECT_EQ(client_->Get(resources::kPods, kA).error().retry_after, seconds(600));
  EXPECT_EQ(client_->Get(resources::kPods, kA).error().reason, Reason::kServer);
  EXPECT_EQ(calls_, 2);
}

TEST_F(RestClientTest, AReadSurvivesAKeptConnectionThatDies) {
  Start([this](TestExchange& exchange) {
    if (calls_ == 2) return exchange.Cut();
    AnswerPod(exchange);
  });
  EXPECT_TRUE(client_->Get(resources::kPods, kA));
  EXPECT_TRUE(client_->Get(resources::kPods, kA));
  EXPECT_EQ(server_->connections(), 2);
}

TEST_F(RestClientTest, AWriteWhoseConnectionBreaksIsNotRepeated) {
  Start([this](TestExchange& exchange) {
    if (calls_ == 2) return exchange.Cut();
    AnswerPod(exchange);
  });
  EXPECT_TRUE(client_->Get(resources::kPods, kA));
  auto created = client_->Create(resources::kPods, Object(resources::kPods, kA));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().reason, Reason::kConnection);
  EXPECT_TRUE(created.error().may_have_happened);
  EXPECT_EQ(created.error().ToStatus().code(), Code::kUnknownOutcome);
  EXPECT_EQ(calls_, 2);
}

// A 504 that named no webhook was an ordinary error, though the server may have gone on without us.
TEST_F(RestClientTest, AnAnswerThatLeavesTheOutcomeOpenSaysSo) {
  int status = 0;
  std::string message;
  Start([&](TestExchange& exchange) {
    exchange.Respond(status, R"({"kind":"Status","message":")" + message + "\"}");
  });
  const Object pod(resources::kPods, kA);
  for (const int open : {500, 502, 504}) {
    status = open;
    message = "request did not complete within the allotted timeout";
    const ApiError error = client_->Create(resources::kPods, pod).error();
    EXPECT_TRUE(error.may_have_happened) << open;
    EXPECT_EQ(error.ToStatus().code(), Code::kUnknownOutcome) << open;
    EXPECT_NE(error.ToString().find("it may have been carried out"), std::string::npos) << open;
    const ApiError read = client_->Get(resources::kPods, kA).error();
    EXPECT_FALSE(read.may_have_happened) << open;
    EXPECT_EQ(read.ToString().find("carried out"), std::string::npos) << open;
    message = "failed calling webhook 'x': context deadline exceeded";
    EXPECT_FALSE(client_->Create(resources::kPods, pod).error().may_have_happened)
        << "it is asked before anything is stored";
  }
  for (const int closed : {403, 409, 422, 429, 503}) {
    status = closed;
    EXPECT_FALSE(client_->Create(resources::kPods, pod).error().may_have_happened) << closed;
  }
}

TEST_F(RestClientTest, AHalfOpenConnectionEndsAtTheDeadline) {
  Start([](TestExchange& exchange) { exchange.Hang(); }, {.call_timeout = milliseconds(50)});
  auto pod = client_->Get(resources::kPods, kA);
  ASSERT_FALSE(pod);
  EXPECT_EQ(pod.error().reason, Reason::kDeadline);
  EXPECT_NE(metrics_.Render().find("rest_client_requests_total{code=\"<error>\""),
            std::string::npos);
}

// Connecting, waiting for a credential, waiting for the answer and repeating share one limit.
TEST_F(RestClientTest, ACallEndsAtItsLimitWhateverHangs) {
  Start([this](TestExchange& exchange) {
    // The first answer of a connection that is then found dead: the call is made anew on another.
    if (calls_ == 1) return AnswerPod(exchange);
    if (calls_ == 2) return exchange.Cut();
    exchange.Hang();
  });
  const CallLimits limits{.timeout = milliseconds(200)};
  auto took = [&](RestClient& client) {
    MonotonicTime start = std::chrono::steady_clock::now();
    auto pod = client.Get(resources::kPods, kA, limits);
    EXPECT_FALSE(pod);
    EXPECT_TRUE(pod || pod.error().Is(Reason::kDeadline)) << pod.error().ToString();
    return std::chrono::steady_clock::now() - start;
  };
  EXPECT_TRUE(client_->Get(resources::kPods, kA));
  EXPECT_LT(took(*client_), seconds(8)) << "an answer that does not come";
  EXPECT_EQ(calls_, 3);

  // Connections are accepted by the kernel, and that is all.
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 8), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ClientConfig config = server_->config();
  config.port = ntohs(address.sin_port);
  RestClient mute(config, {}, &timing_);
  EXPECT_LT(took(mute), seconds(8)) << "a handshake that does not go on";
  close(listener);

  config = server_->config();
  config.exec.command = "sleep";
  config.exec.arguments = {"1000"};
  RestClient plugin(config, {}, &timing_);
  EXPECT_LT(took(plugin), seconds(20)) << "a plugin that does not end";
}

TEST_F(RestClientTest, AServersWishToWaitBeyondTheLimitIsLeftToTheCaller) {
  Start([](TestExchange& exchange) {
    exchange.Refuse(429, "TooManyRequests", "Retry-After: 50\r\n");
  });
  auto pod = client_->Get(resources::kPods, kA, {.timeout = seconds(40)});
  EXPECT_EQ(pod.error().reason, Reason::kTooManyRequests);
  EXPECT_EQ(calls_, 1);
}

TEST_F(RestClientTest, StopEndsACallAtOnce) {
  Start([](TestExchange& exchange) { exchange.Hang(); });
  std::thread stopper([&] {
    EXPECT_TRUE(Eventually([&] { return calls_ == 1; }));
    client_->Stop();
  });
  EXPECT_EQ(client_->Get(resources::kPods, kA).error().reason, Reason::kStopped);
  stopper.join();
  EXPECT_EQ(client_->Get(resources::kPods, kA).error().reason, Reason::kStopped);
}

TEST_F(RestClientTest, RefusesAnswersThatAreNone) {
  std::vector<std::string> answers = {
      "nonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}",
      "HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n",
  };
  Start([&](TestExchange& exchange) {
    exchange.Send(answers[static_cast<size_t>(calls_ - 1)]);
    exchange.Cut();
  });
  for (const std::string& answer : answers) {
    auto pod = client_->Get(resources::kPods, kA);
    ASSERT_FALSE(pod);
    EXPECT_EQ(pod.error().reason, Reason::kMalformed)
        << answer.substr(0, 60) << " " << pod.error().ToString();
  }
}

TEST_F(RestClientTest, ATornBodyIsNoAnswer) {
  Start([](TestExchange& exchange) {
    exchange.Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"kind\":");
    exchange.Cut();
  });
  EXPECT_EQ(client_->Get(resources::kPods, kA).error().reason, Reason::kConnection);
}

TEST_F(RestClientTest, BodiesAreBounded) {
  Start(
      [](TestExchange& exchange) {
        exchange.Respond(200, R"({"a":")" + std::string(5000, 'x') + R"("})");
      },
      {.http = {.max_body_bytes = 4000}});
  auto pod = client_->Get(resources::kPods, kA);
  EXPECT_EQ(pod.error().reason, Reason::kTooLarge);
}

TEST_F(RestClientTest, RefusesACertificateForAnotherName) {
  Start(AnswerPod);
  server_->UseIdentity(server_->authority().Issue("server", "elsewhere"));
  auto pod = client_->Get(resources::kPods, kA);
  ASSERT_FALSE(pod);
  EXPECT_EQ(pod.error().reason, Reason::kConnection);
  EXPECT_NE(pod.error().message.find("certificate"), std::string::npos) << pod.error().message;
  // tls-server-name says which name to expect.
  ClientConfig config = server_->config();
  config.server_name = "elsewhere";
  EXPECT_TRUE(RestClient(config, {}, &timing_).Get(resources::kPods, kA));
}

TEST_F(RestClientTest, RefusesAnUnknownAuthority) {
  Start(AnswerPod);
  ClientConfig config = server_->config();
  config.ca.data = TestAuthority().pem();
  auto pod = RestClient(config, {}, &timing_).Get(resources::kPods, kA);
  ASSERT_FALSE(pod);
  EXPECT_EQ(calls_, 0);
  config.insecure_skip_verify = true;
  EXPECT_TRUE(RestClient(config, {}, &timing_).Get(resources::kPods, kA));
}

TEST_F(RestClientTest, WritesCarryManagerAndPreconditions) {
  Start(AnswerPod);
  Object pod(resources::kPods, kA);
  ASSERT_TRUE(client_->Apply(resources::kPods, pod));
  EXPECT_EQ(last().method, "PATCH");
  EXPECT_EQ(last().target, "/api/v1/namespaces/n/pods/a?fieldManager=raftkv-operator&force=true");
  EXPECT_EQ(last().headers["content-type"], "application/apply-patch+yaml");

  ASSERT_TRUE(client_->Apply(resources::kPods, pod, {.force = false, .subresource = "status"}));
  EXPECT_TRUE(last().Targets("/pods/a/status?"));
  EXPECT_TRUE(last().Targets("force=false"));
  EXPECT_FALSE(last().Targets("dryRun"));
  ASSERT_TRUE(client_->Apply(resources::kPods, pod, {.dry_run = true}));
  EXPECT_TRUE(last().Targets("&dryRun=All"));

  DeleteOptions options{
      .uid = "u", .resource_version = "5", .propagation = Propagation::kForeground};
  ASSERT_TRUE(client_->Delete(resources::kPods, kA, options));
  Json body = Json::parse(last().body);
  EXPECT_EQ(body["preconditions"], Json({{"uid", "u"}, {"resourceVersion", "5"}}));
  EXPECT_EQ(body["propagationPolicy"], "Foreground");

  ASSERT_TRUE(client_->SetScale(resources::kStatefulSets, kA, 3));
  EXPECT_TRUE(last().Targets("/statefulsets/a/scale"));
  EXPECT_EQ(last().body, R"({"spec":{"replicas":3}})");
  EXPECT_EQ(last().headers["content-type"], "application/merge-patch+json");

  ASSERT_TRUE(
      client_->Patch(resources::kPods, kA, PatchType::kJson, Json::array(), {.dry_run = true}));
  EXPECT_TRUE(last().Targets("&dryRun=All"));
  ASSERT_TRUE(client_->Patch(resources::kPods, kA, PatchType::kJson, Json::array()));
  EXPECT_FALSE(last().Targets("dryRun"));
  EXPECT_EQ(last().headers["content-type"], "application/json-patch+json");
}

// The server would take each of these for a claim of ours.
TEST_F(RestClientTest, RefusesToApplyWhatWasRead) {
  Start(AnswerPod);
  for (const char* field :
       {"/metadata/resourceVersion", "/metadata/uid", "/metadata/managedFields"}) {
    Object pod(resources::kPods, kA);
    pod.Set(field, "5");
    auto applied = client_->Apply(resources::kPods, pod);
    ASSERT_FALSE(applied) << field;
    EXPECT_NE(applied.error().message.find(field), std::string::npos);
  }
  EXPECT_EQ(calls_, 0);
}

TEST_F(RestClientTest, RefusesUnconditionalWrites) {
  Start(AnswerPod);
  Object pod(resources::kPods, kA);
  EXPECT_EQ(client_->Update(resources::kPods, pod).error().reason, Reason::kInvalid);
  EXPECT_EQ(client_->Delete(resources::kPods, kA, {}).error().reason, Reason::kInvalid);
  pod.Set("/metadata/resourceVersion", "5");
  EXPECT_EQ(client_->Apply(resources::kPods, pod).error().reason, Reason::kInvalid);
  EXPECT_EQ(calls_, 0);
}

class Fence final : public WriteFence {
 public:
  bool MayWrite() const override { return false; }
};

TEST_F(RestClientTest, AFencedProcessReadsButDoesNotWrite) {
  Start(AnswerPod);
  Fence fence;
  RestClient client(server_->config(), {}, &timing_, nullptr, &fence);
  EXPECT_TRUE(client.Get(resources::kPods, kA));
  EXPECT_EQ(client.Create(resources::kPods, Object(resources::kPods, kA)).error().reason,
            Reason::kFenced);
  EXPECT_EQ(client.Delete(resources::kPods, kA, {.uid = "u"}).error().reason, Reason::kFenced);
  EXPECT_EQ(calls_, 1);
}

TEST_F(RestClientTest, NoClientSideLimitUnlessSet) {
  Start(AnswerPod);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(client_->Get(resources::kPods, kA));
  EXPECT_TRUE(timing_.slept().empty());
  RestClient limited(server_->config(), {.calls_per_second = 5, .call_burst = 10}, &timing_);
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(limited.Get(resources::kPods, kA));
  Duration all{};
  for (Duration wait : timing_.slept()) all += wait;
  EXPECT_EQ(all / milliseconds(1), 400);
}

TEST_F(RestClientTest, ConflictsAreReadAndTriedAgainFiveTimes) {
  Start([](TestExchange& exchange) {
    if (exchange.method == "PUT") return exchange.Refuse(409, "Conflict");
    AnswerPod(exchange);
  });
  auto updated =
      UpdateWithRetry(*client_, timing_, resources::kPods, kA, "status", [](Object& pod) {
        pod.Set("/status/phase", "x");
        return true;
      });
  EXPECT_EQ(updated.error().reason, Reason::kConflict);
  EXPECT_EQ(calls_, 10);  // five reads, five writes
  EXPECT_EQ(timing_.slept(), std::vector<Duration>(4, milliseconds(10)));
}

TEST_F(RestClientTest, ListsFillInTheKindOfTheirItems) {
  Start([](TestExchange& exchange) {
    exchange.Respond(200,
                     R"({"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}}]})");
  });
  auto list = client_->List(resources::kStatefulSets, {.ns = "n", .label_selector = "a=b,c"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->items.at(0).kind(), "StatefulSet");
  EXPECT_EQ(list->items.at(0).api_version(), "apps/v1");
  EXPECT_EQ(last().target, "/apis/apps/v1/namespaces/n/statefulsets?labelSelector=a%3Db%2Cc");
}

}  // namespace
}  // namespace raftkv::kube
