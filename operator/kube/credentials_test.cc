// Credentials that rotate: tokens, certificates, exec plugins; and calls and watches under them.
#include "operator/kube/credentials.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "operator/kube/cache.h"
#include "operator/kube/reflector.h"
#include "operator/kube/rest_client.h"
#include "operator/kube/test_files.h"
#include "operator/kube/test_server.h"

namespace raftkv::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_F(FilesTest, TokenFilesAreReadAgainEveryMinuteLessTenSeconds) {
  ClientConfig config;
  config.tls = false;
  config.token.file = Write("token", "one\n");
  Credentials credentials(config, &timing_);
  EXPECT_EQ(credentials.Current()->token, "one");
  Write("token", "two\n");
  timing_.Advance(seconds(49));
  EXPECT_EQ(credentials.Current()->token, "one");
  timing_.Advance(seconds(1));
  EXPECT_EQ(credentials.Current()->token, "two");
  // Gone for a moment, as an atomic replacement by a careless tool: the last one stays.
  std::filesystem::remove(config.token.file);
  timing_.Advance(minutes(1));
  EXPECT_EQ(credentials.Current()->token, "two");
  // A refusal does not wait.
  Write("token", "three\n");
  credentials.Refused(*credentials.Current());
  EXPECT_EQ(credentials.Current()->token, "three");
}

TEST_F(FilesTest, ATokenWithALineBreakIsRefused) {
  ClientConfig config;
  config.tls = false;
  config.token.data = "a\r\nX-Evil: b";
  EXPECT_EQ(Credentials(config, &timing_).Current().error().reason, Reason::kCredentials);
}

// Another authority and server certificate after 5 minutes, and no connection under the old one.
TEST_F(FilesTest, AuthoritiesRotate) {
  TestServer server([](TestExchange& exchange) { exchange.Respond(200, "{}"); });
  ClientConfig config = server.config();
  config.ca = {.file = Write("ca.crt", server.authority().pem())};
  RestClient client(config, {}, &timing_);
  EXPECT_TRUE(client.GetRaw("/version"));
  TestAuthority other;
  server.UseIdentity(other.Issue("server"));
  Write("ca.crt", other.pem());
  EXPECT_TRUE(client.GetRaw("/version")) << "the kept connection still works";
  EXPECT_EQ(server.connections(), 1);
  timing_.Advance(minutes(5));
  auto version = client.GetRaw("/version");
  EXPECT_TRUE(version) << version.error().ToString();
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(FilesTest, ClientCertificatesRotateAndHalfWrittenOnesAreNotUsed) {
  TestServer server([](TestExchange& exchange) { exchange.Respond(200, exchange.client_name); });
  TestIdentity first = server.authority().Issue("first");
  TestIdentity second = server.authority().Issue("second");
  ClientConfig config = server.config();
  config.client_certificate.file = Write("tls.crt", first.certificate);
  config.client_key.file = Write("tls.key", first.key);
  RestClient client(config, {}, &timing_);
  EXPECT_EQ(client.GetRaw("/").value(), "first");
  Write("tls.crt", second.certificate);  // the key is still the first one's
  timing_.Advance(minutes(5));
  EXPECT_EQ(client.GetRaw("/").value(), "first");
  Write("tls.key", second.key);
  timing_.Advance(minutes(5));
  EXPECT_EQ(client.GetRaw("/").value(), "second");
}

constexpr char kPlugin[] = R"(#!/bin/sh
printf x >> "$FOLDER/runs"
[ -n "$KUBERNETES_EXEC_INFO" ] || exit 3
token=token-$(wc -c < "$FOLDER/runs" | tr -d ' ')
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"%s}}' "$token" "$EXPIRES"
)";

class ExecTest : public FilesTest {
 protected:
  // `script` instead of the usual one; counts its runs.
  ClientConfig Running(const std::string& script) {
    ClientConfig config = Config();
    Write("plugin", "#!/bin/sh\nprintf x >> \"$FOLDER/runs\"\n" + script, true);
    return config;
  }
  size_t Runs() { return Read("runs").size(); }

  ClientConfig Config(const std::string& expires = "") {
    ClientConfig config;
    config.tls = false;
    config.exec = {.command = Write("plugin", kPlugin, true),
                   .environment = {{"FOLDER", folder_}, {"EXPIRES", expires}},
                   .api_version = "client.authentication.k8s.io/v1",
                   .install_hint = "install it"};
    return config;
  }
};

TEST_F(ExecTest, ACredentialIsKeptUntilItEnds) {
  std::string in_an_hour = FormatTime(timing_.WallMicros() + 3'600'000'000);
  Credentials credentials(Config(R"(,"expirationTimestamp":")" + in_an_hour + "\""), &timing_);
  EXPECT_EQ(credentials.Current()->token, "token-1");
  // A clock that is set must not make it end early or late.
  timing_.JumpWall(std::chrono::hours(48));
  timing_.Advance(minutes(59));
  EXPECT_EQ(credentials.Current()->token, "token-1");
  timing_.Advance(seconds(51));  // within 10 s of its end
  EXPECT_EQ(credentials.Current()->token, "token-2");
}

TEST_F(ExecTest, Unauthorized401RunsThePluginAgainOnce) {
  ClientConfig exec = Config();
  TestServer server(
      [](TestExchange& exchange) {
        if (exchange.headers["authorization"] == "Bearer token-2") {
          return exchange.Respond(200, "{}");
        }
        exchange.Refuse(401, "Unauthorized");
      },
      false);
  ClientConfig config = server.config();
  config.exec = exec.exec;
  RestClient client(config, {}, &timing_);
  EXPECT_TRUE(client.GetRaw("/version"));
  EXPECT_EQ(Read("runs"), "xx");
  EXPECT_TRUE(client.GetRaw("/version"));
  EXPECT_EQ(Read("runs"), "xx");
}

// The time until then was more nanoseconds than there are: it was over at once, each time anew.
TEST_F(ExecTest, ACredentialMayLastForEver) {
  Credentials credentials(Config(R"(,"expirationTimestamp":"9999-12-31T23:59:59Z")"), &timing_);
  EXPECT_EQ(credentials.Current()->token, "token-1");
  timing_.Advance(std::chrono::hours(48));
  EXPECT_EQ(credentials.Current()->token, "token-1");
}

TEST_F(ExecTest, ACredentialThatHasEndedIsUsedOnceAndFetchedAgain) {
  Credentials credentials(Config(R"(,"expirationTimestamp":"2001-01-01T00:00:00Z")"), &timing_);
  EXPECT_EQ(credentials.Current()->token, "token-1");
  EXPECT_EQ(credentials.Current()->token, "token-2");
}

// Each of the calls that were refused together ran it again, and threw away a good credential.
TEST_F(ExecTest, CallsThatAreRefusedTogetherRunItOnce) {
  Credentials credentials(Config(), &timing_);
  auto first = credentials.Current();
  credentials.Refused(*first);
  EXPECT_EQ(credentials.Current()->token, "token-2");
  credentials.Refused(*first);
  EXPECT_EQ(credentials.Current()->token, "token-2");
}

// Runs once `go` is there; says what `verdict` says.
std::string Waits(const std::string& verdict) {
  return R"(while [ ! -e "$FOLDER/go" ]; do sleep 0.02; done
)" + verdict;
}
constexpr char kSaysToken[] = R"(echo '{"kind":"ExecCredential","status":{"token":"t"}}')";

TEST_F(ExecTest, SeveralThreadsShareARunAndItsFailure) {
  for (bool fails : {false, true}) {
    std::filesystem::remove(folder_ + "/runs");
    std::filesystem::remove(folder_ + "/go");
    Credentials credentials(Running(Waits(fails ? "echo no ticket >&2; exit 4" : kSaysToken)),
                            &timing_);
    std::atomic<int> begun = 0;
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        ++begun;
        auto current = credentials.Current();
        if (current) ++good;
        EXPECT_TRUE(current || current.error().Is(Reason::kCredentials));
      });
    }
    EXPECT_TRUE(Eventually([&] { return begun == 8 && Runs() > 0; }));
    // For those that have begun to come to the wait: who is late runs it once more.
    std::this_thread::sleep_for(milliseconds(300));
    Write("go", "");
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(good, fails ? 0 : 8);
    EXPECT_LE(Runs(), fails ? 4u : 1u) << fails;
  }
}

TEST_F(ExecTest, WhoWaitsForTheRunOfAnotherCanBeStopped) {
  Credentials credentials(Running("sleep 1000"), &timing_);
  std::stop_source stop;
  std::thread first([&] {
    EXPECT_EQ(credentials.Current({.stop = stop.get_token()}).error().reason, Reason::kStopped);
  });
  EXPECT_TRUE(Eventually([&] { return Runs() == 1; }));
  EXPECT_EQ(credentials.Current(Wait::For(milliseconds(50))).error().reason, Reason::kDeadline);
  std::stop_source stop_second;
  std::thread second([&] {
    EXPECT_EQ(credentials.Current({.stop = stop_second.get_token()}).error().reason,
              Reason::kStopped);
  });
  stop_second.request_stop();
  second.join();
  EXPECT_EQ(Runs(), 1u);
  stop.request_stop();
  first.join();
}

// Whose time is over takes nothing from those that wait with it.
TEST_F(ExecTest, ARunThatIsCutShortIsBegunAgainForTheOthers) {
  const std::string hangs_at_first = R"sh([ "$(wc -c < "$FOLDER/runs")" -gt 1 ] || sleep 1000
)sh";
  Credentials credentials(Running(hangs_at_first + kSaysToken), &timing_);
  std::stop_source stop;
  std::thread first([&] {
    EXPECT_EQ(credentials.Current({.stop = stop.get_token()}).error().reason, Reason::kStopped);
  });
  EXPECT_TRUE(Eventually([&] { return Runs() == 1; }));
  std::thread second([&] {
    auto current = credentials.Current();
    ASSERT_TRUE(current) << current.error().ToString();
    EXPECT_EQ(current->token, "t");
  });
  std::this_thread::sleep_for(milliseconds(100));  // most of the time it waits by then
  stop.request_stop();
  first.join();
  second.join();
  EXPECT_EQ(Runs(), 2u);
}

std::string CertificateCredential(const TestIdentity& identity) {
  return Json(
             {{"kind", "ExecCredential"},
              {"status",
               {{"clientCertificateData", identity.certificate}, {"clientKeyData", identity.key}}}})
      .dump();
}

TEST_F(ExecTest, AClientCertificateIsUsedWhereTheServerDemandsOne) {
  TestServer server([](TestExchange& exchange) {
    // The first one has been revoked after a while.
    if (exchange.Targets("/late") && exchange.client_name == "first") {
      return exchange.Refuse(401, "Unauthorized");
    }
    exchange.Respond(200, exchange.client_name);
  });
  server.DemandClientCertificates();
  EXPECT_EQ(RestClient(server.config(), {}, &timing_).GetRaw("/").error().reason,
            Reason::kConnection);
  ClientConfig config = server.config();
  config.exec = Running(R"(cat "$FOLDER/credential")").exec;
  Write("credential", CertificateCredential(server.authority().Issue("first")));
  RestClient client(config, {}, &timing_);
  auto name = client.GetRaw("/");
  ASSERT_TRUE(name) << name.error().ToString();
  EXPECT_EQ(*name, "first");
  EXPECT_EQ(client.GetRaw("/").value_or(""), "first");
  EXPECT_EQ(server.connections(), 2) << "kept after the stranger's";
  Write("credential", CertificateCredential(server.authority().Issue("second")));
  name = client.GetRaw("/late");
  ASSERT_TRUE(name) << name.error().ToString();
  EXPECT_EQ(*name, "second") << "on a connection of its own";
  EXPECT_EQ(Runs(), 2u);
}

// --- Watches -------------------------------------------------------------------------------------

std::string Pod(const std::string& name, int version) {
  return R"({"kind":"Pod","metadata":{"namespace":"n","name":")" + name +
         R"(","uid":"u","resourceVersion":")" + std::to_string(version) + R"("}})";
}

// A reflector of Pods against a handler of watches, which are counted from 1. The list has "a".
template <typename Base>
class Watching : public Base {
 protected:
  using OnWatch = std::function<void(TestExchange&, int watch)>;

  ~Watching() override {
    stop_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  void Serve(OnWatch on_watch, std::function<bool(TestExchange&)> admits) {
    server_ = std::make_unique<TestServer>([=, this](TestExchange& exchange) {
      if (!admits(exchange)) return exchange.Refuse(401, "Unauthorized");
      if (exchange.Targets("watch=true")) return on_watch(exchange, ++watches_);
      if (exchange.Targets("/version")) return exchange.Respond(200, "{}");
      exchange.Respond(200,
                       R"({"metadata":{"resourceVersion":"5"},"items":[)" + Pod("a", 4) + "]}");
    });
  }
  void Follow(ClientConfig config, RestOptions options = {}) {
    client_ = std::make_unique<RestClient>(std::move(config), options, &this->timing_);
    reflector_ =
        std::make_unique<Reflector>(client_.get(), &cache_, ReflectorOptions{}, &this->timing_, 1);
    cache_.AddHandler([this](const Change& change) {
      std::lock_guard lock(mutex_);
      seen_ +=
          (change.type == Change::Type::kAdded ? "+" : "~") + std::string(change.object().name());
    });
    thread_ = std::thread([this] { reflector_->Run(stop_.get_token()); });
  }
  std::string Seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

  std::atomic<int> watches_ = 0;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<RestClient> client_;
  std::unique_ptr<Reflector> reflector_;
  Cache cache_{resources::kPods};
  std::mutex mutex_;
  std::string seen_;
  std::stop_source stop_;
  std::thread thread_;
};
using ExecWatchTest = Watching<ExecTest>;
using FilesWatchTest = Watching<FilesTest>;

// A refused watch was a failure with a pause of a second; one that is told of it in its stream had
// its next try refused, too.
TEST_F(ExecWatchTest, ATokenThatEndsMeanwhileIsFetchedAnewAndNoEventLost) {
  std::atomic<int> valid = 1;
  std::vector<std::string> targets;
  Serve(
      [&](TestExchange& exchange, int watch) {
        {
          std::lock_guard lock(mutex_);
          targets.push_back(exchange.target);
        }
        exchange.BeginStream();
        if (watch == 1) {
          exchange.Event("ADDED", Pod("b", 6));
          valid = 2;
          exchange.Event(
              "ERROR", R"({"kind":"Status","code":401,"reason":"Unauthorized","message":"test"})");
          exchange.End();
        } else if (watch == 2) {
          exchange.Event("ADDED", Pod("c", 7));
          exchange.Event("BOOKMARK", R"({"kind":"Pod","metadata":{"resourceVersion":"9"}})");
          valid = 3;
          exchange.End();
        } else {
          exchange.Event("ADDED", Pod("d", 10));
          exchange.Hang();
        }
      },
      [&](TestExchange& exchange) {
        return exchange.headers["authorization"] == "Bearer token-" + std::to_string(valid);
      });
  ClientConfig config = server_->config();
  config.exec = Config().exec;
  Follow(config);
  EXPECT_TRUE(Eventually([&] { return Seen() == "+a+b+c+d"; })) << Seen();
  EXPECT_EQ(Runs(), 3u);
  EXPECT_EQ(reflector_->stats().lists, 1u);
  EXPECT_EQ(reflector_->stats().failures, 0u) << reflector_->stats().last_error;
  std::lock_guard lock(mutex_);
  ASSERT_EQ(targets.size(), 3u);
  EXPECT_NE(targets[0].find("resourceVersion=5"), std::string::npos);
  EXPECT_NE(targets[1].find("resourceVersion=6"), std::string::npos);
  EXPECT_NE(targets[2].find("resourceVersion=9"), std::string::npos);
}

// A server that takes no credential at all is a failure with its pauses, not a loop.
TEST_F(ExecWatchTest, AServerThatRefusesEachTokenIsAskedAgainWithPauses) {
  Serve([](TestExchange&, int) { FAIL(); },
        [](TestExchange& exchange) { return !exchange.Targets("watch=true"); });
  ClientConfig config = server_->config();
  config.exec = Config().exec;
  Follow(config);
  EXPECT_TRUE(Eventually([&] { return reflector_->stats().failures >= 3; }));
  EXPECT_LE(Runs(), 2 * reflector_->stats().failures + 2);
  EXPECT_NE(reflector_->stats().last_error.find("test"), std::string::npos)
      << reflector_->stats().last_error;
}

// A watch went on for up to 10 minutes under a certificate that had been replaced.
TEST_F(FilesWatchTest, CertificatesThatRotateMakeAWatchBeginAgain) {
  for (bool by_itself : {true, false}) {
    watches_ = 0;
    std::vector<std::string> names;
    Serve(
        [&](TestExchange& exchange, int watch) {
          {
            std::lock_guard lock(mutex_);
            names.push_back(
                exchange.client_name +
                exchange.target.substr(exchange.target.find("resourceVersion=")).substr(0, 17));
          }
          exchange.BeginStream();
          exchange.Event("MODIFIED", Pod("a", 5 + watch));
          exchange.Hang();
        },
        [](TestExchange&) { return true; });
    server_->DemandClientCertificates();
    const TestIdentity first = server_->authority().Issue("first");
    const TestIdentity second = server_->authority().Issue("second");
    ClientConfig config = server_->config();
    config.client_certificate.file = Write("tls.crt", first.certificate);
    config.client_key.file = Write("tls.key", first.key);
    // Of its own accord, or because a call has found them.
    RestOptions options;
    if (by_itself) options.certificate_check = milliseconds(20);
    Follow(config, options);
    EXPECT_TRUE(Eventually([&] { return reflector_->stats().events == 1; }));
    Write("tls.crt", second.certificate);
    Write("tls.key", second.key);
    timing_.Advance(minutes(5));
    if (!by_itself) {
      EXPECT_TRUE(client_->GetRaw("/version"));
    }
    EXPECT_TRUE(Eventually([&] { return reflector_->stats().events == 2; }));
    EXPECT_EQ(reflector_->stats().lists, 1u);
    EXPECT_EQ(reflector_->stats().failures, 0u) << reflector_->stats().last_error;
    EXPECT_EQ(watches_, 2);
    {
      std::lock_guard lock(mutex_);
      EXPECT_EQ(names,
                (std::vector<std::string>{"firstresourceVersion=5", "secondresourceVersion=6"}));
    }
    stop_.request_stop();
    thread_.join();
    stop_ = std::stop_source();
  }
}

TEST_F(FilesWatchTest, ATokenFileThatRotatesIsTheNextCallsAndLeavesTheWatch) {
  std::atomic<bool> second = false;
  Serve(
      [&](TestExchange& exchange, int) {
        exchange.BeginStream();
        exchange.Event("MODIFIED", Pod("a", 6));
        while (!second) std::this_thread::yield();
        exchange.Event("MODIFIED", Pod("a", 7));
        exchange.Hang();
      },
      [&](TestExchange& exchange) {
        if (exchange.Targets("/version")) {
          second = exchange.headers["authorization"] == "Bearer second";
        }
        return true;
      });
  ClientConfig config = server_->config();
  config.token.file = Write("token", "first\n");
  Follow(config, {.certificate_check = milliseconds(20)});
  EXPECT_TRUE(Eventually([&] { return reflector_->stats().events == 1; }));
  Write("token", "second\n");
  timing_.Advance(seconds(50));
  EXPECT_TRUE(client_->GetRaw("/version"));
  EXPECT_TRUE(second);
  EXPECT_TRUE(Eventually([&] { return reflector_->stats().events == 2; }));
  EXPECT_EQ(watches_, 1);
}

}  // namespace
}  // namespace raftkv::kube
