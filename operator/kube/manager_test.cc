// Health server and Manager: the order in which things start and end.
#include "operator/kube/manager.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "operator/kube/http_connection.h"
#include "operator/kube/test_server.h"
#include "operator/kube/test_timing.h"
#include "operator/kube/tls_stream.h"

namespace raftkv::kube {
namespace {

using std::chrono::seconds;

struct Answer {
  int status = 0;
  std::string body;
};

Answer Ask(uint16_t port, const std::string& path) {
  Wait wait = Wait::For(seconds(10));
  auto stream = TlsStream::Connect("127.0.0.1", port, "", nullptr, wait);
  if (!stream) return {};
  HttpConnection connection(std::move(*stream), {});
  auto head = connection.Send(
      {.method = "GET", .target = path, .headers = {{"Host", "h"}}, .body = ""}, wait);
  if (!head) return {};
  return {head->status, connection.ReadAll(wait).value_or("")};
}

TEST(HealthServer, AnswersChecksAndMetrics) {
  std::atomic<bool> filled = false;
  auto caches = [&] {
    return filled ? Status::Ok() : Status(Code::kUnavailable, "the cache is not filled yet");
  };
  auto server = HealthServer::Start({.address = "127.0.0.1:0",
                                     .live = {{"ping", [] { return Status::Ok(); }}},
                                     .ready = {{"caches", caches}},
                                     .metrics = [] { return "a_metric 1\n"; }});
  ASSERT_TRUE(server) << server.error().message();
  uint16_t port = (*server)->port();
  EXPECT_EQ(Ask(port, "/healthz").status, 200);
  EXPECT_EQ(Ask(port, "/livez").body, "[+]ping ok\nok\n");
  Answer not_ready = Ask(port, "/readyz");
  EXPECT_EQ(not_ready.status, 503);
  EXPECT_NE(not_ready.body.find("[-]caches the cache is not filled yet"), std::string::npos);
  filled = true;
  EXPECT_EQ(Ask(port, "/readyz").status, 200);
  EXPECT_EQ(Ask(port, "/metrics").body, "a_metric 1\n");
  EXPECT_EQ(Ask(port, "/other").status, 404);
  // A second process on the port is refused, not mixed in.
  EXPECT_FALSE(HealthServer::Start({.address = "127.0.0.1:" + std::to_string(port)}));
}

TEST(HealthServer, ClientsThatSayNothingDoNotStopIt) {
  auto server = HealthServer::Start({.address = "127.0.0.1:0", .threads = 2, .max_waiting = 1});
  ASSERT_TRUE(server);
  std::vector<std::unique_ptr<TlsStream>> silent;
  for (int i = 0; i < 8; ++i) {
    silent.push_back(std::move(
        *TlsStream::Connect("127.0.0.1", (*server)->port(), "", nullptr, Wait::For(seconds(5)))));
  }
  silent.clear();
  EXPECT_EQ(Ask((*server)->port(), "/healthz").status, 200);
}

// A server with one namespace of ConfigMaps, and a lease.
class ManagerTest : public testing::Test {
 protected:
  void Handle(TestExchange& exchange) {
    if (exchange.Targets("/leases")) return HandleLease(exchange);
    if (exchange.Targets("/events")) return exchange.Respond(201, "{}");
    if (exchange.Targets("watch=true")) {
      exchange.BeginStream();
      return exchange.Hang();
    }
    if (exchange.Targets("/namespaces/denied/")) return exchange.Refuse(403, "Forbidden");
    if (exchange.Targets("/namespaces/other/")) {
      return exchange.Respond(200, R"({"metadata":{"resourceVersion":"5"},"items":[
          {"metadata":{"name":"b","namespace":"other","uid":"v","resourceVersion":"4"}}]})");
    }
    if (!lists_work_) return exchange.Refuse(403, "Forbidden");
    exchange.Respond(200, R"({"metadata":{"resourceVersion":"5"},"items":[
        {"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"4"}}]})");
  }

  void HandleLease(TestExchange& exchange) {
    if (lease_hangs_) return exchange.Hang();
    std::lock_guard lock(mutex_);
    lease_seen_ = std::chrono::steady_clock::now();
    if (lease_down_) return exchange.Refuse(500, "InternalError");
    if (exchange.method == "GET") {
      if (lease_.empty()) return exchange.Refuse(404, "NotFound");
      return exchange.Respond(200, lease_);
    }
    Json lease = Json::parse(exchange.body);
    lease["metadata"]["resourceVersion"] = std::to_string(++lease_version_);
    lease_ = lease.dump();
    exchange.Respond(200, lease_);
  }
  std::string Holder() {
    std::lock_guard lock(mutex_);
    return lease_.empty() ? "" : Json::parse(lease_)["spec"]["holderIdentity"];
  }

  ManagerOptions Options() {
    ManagerOptions options;
    options.election = {.lease = {"sys", "op"}, .identity = "me"};
    options.health_address = "127.0.0.1:0";
    options.seed = 1;
    return options;
  }
  void Make(ManagerOptions options, const std::vector<std::string>& namespaces = {}) {
    ClientConfig config = server_.config();
    config.exec = exec_;
    manager_ = std::make_unique<Manager>(std::move(config), std::move(options), clock_);
    Cache& maps = manager_->Watch(resources::kConfigMaps, {}, namespaces);
    controller_ = &manager_->Add(
        {.name = "maps"}, [this](const Key&, std::stop_token stop) -> ApiResult<ReconcileResult> {
          ++reconciles_;
          if (in_reconcile_) in_reconcile_();
          while (busy_ && !stop.stop_requested()) std::this_thread::yield();
          return ReconcileResult{};
        });
    controller_->Watch(&maps);
  }

  std::mutex mutex_;
  std::string lease_;
  int lease_version_ = 0;
  bool lease_down_ = false;
  std::atomic<bool> lease_hangs_{false};
  MonotonicTime lease_seen_;  // when the last request for it was answered, in real time
  std::atomic<bool> lists_work_{true};
  std::atomic<bool> busy_{false};
  std::atomic<int> reconciles_{0};
  std::function<void()> in_reconcile_;
  FakeTiming timing_{FakeTiming::Mode::kManual};
  Timing* clock_ = &timing_;
  ExecPlugin exec_;
  TestServer server_{[this](TestExchange& exchange) { Handle(exchange); }};
  std::unique_ptr<Manager> manager_;
  Controller* controller_ = nullptr;
};

TEST_F(ManagerTest, ReconcilesWhenElectedAndReleasesTheLeaseAtTheEnd) {
  Make(Options());
  busy_ = true;
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  EXPECT_TRUE(Eventually([&] { return reconciles_ == 1; }));
  EXPECT_EQ(Holder(), "me");
  EXPECT_EQ(Ask(manager_->health_port(), "/readyz").status, 200);
  std::string metrics = Ask(manager_->health_port(), "/metrics").body;
  for (const char* part :
       {"leader_election_master_status{name=\"op\"} 1", "process_resident_memory_bytes",
        "workqueue_depth{controller=\"maps\",name=\"maps\"}",
        "controller_runtime_active_workers{controller=\"maps\"} 1",
        "controller_runtime_reconcile_total{", "controller_runtime_reconcile_errors_total{",
        "controller_runtime_reconcile_time_seconds_bucket{",
        "controller_runtime_reconcile_panics_total{", "workqueue_adds_total{",
        "workqueue_queue_duration_seconds_bucket{", "workqueue_work_duration_seconds_bucket{",
        "workqueue_retries_total{"}) {
    EXPECT_NE(metrics.find(part), std::string::npos) << part;
  }
  manager_->Stop();
  runner.join();
  EXPECT_TRUE(result.ok()) << result.ToString();
  EXPECT_EQ(Holder(), "");
}

TEST_F(ManagerTest, NoReconcileBeforeCachesAreSyncedAndFailureAfterTwoMinutes) {
  lists_work_ = false;
  Make(Options());
  Status result;
  std::atomic<bool> ended{false};
  std::thread runner([&] {
    result = manager_->Run();
    ended = true;
  });
  EXPECT_TRUE(Eventually([&] { return manager_->IsLeader(); }));
  EXPECT_EQ(Ask(manager_->health_port(), "/readyz").status, 503);
  EXPECT_EQ(Ask(manager_->health_port(), "/healthz").status, 200);
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(seconds(1));
    return ended.load();
  }));
  runner.join();
  EXPECT_EQ(reconciles_, 0);
  EXPECT_EQ(result.code(), Code::kUnavailable);
  EXPECT_NE(result.message().find("ConfigMap"), std::string::npos) << result.message();
  EXPECT_NE(result.message().find("forbidden"), std::string::npos) << result.message();
  EXPECT_EQ(Holder(), "") << "another replica should try at once";
}

TEST_F(ManagerTest, FollowsEachOfItsNamespaces) {
  Make(Options(), {"n", "other"});
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  EXPECT_TRUE(Eventually([&] { return reconciles_ == 2; }));
  EXPECT_EQ(Ask(manager_->health_port(), "/readyz").status, 200);
  manager_->Stop();
  runner.join();
  EXPECT_TRUE(result.ok()) << result.ToString();
}

// Or else it would take the objects of that one for gone.
TEST_F(ManagerTest, IsNotReadyWhileOneOfItsNamespacesIsDenied) {
  Make(Options(), {"n", "denied"});
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  EXPECT_TRUE(Eventually([&] { return manager_->IsLeader(); }));
  EXPECT_TRUE(Eventually([&] {
    Answer answer = Ask(manager_->health_port(), "/readyz");
    return answer.status == 503 && answer.body.find("forbidden") != std::string::npos;
  }));
  EXPECT_EQ(reconciles_, 0);
  manager_->Stop();
  runner.join();
  EXPECT_TRUE(result.ok()) << result.ToString();
}

// One that was deleted kept an operator that started from all of them.
TEST_F(ManagerTest, WorksOnTheOthersIfOneOfItsNamespacesStaysDenied) {
  ManagerOptions options = Options();
  // Of this clock, which runs ahead of what the server answers.
  options.election.lease_duration = std::chrono::hours(2);
  options.election.renew_deadline = std::chrono::hours(1);
  Make(options, {"n", "denied"});
  controller_->queue().Add({"denied", "x"});
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(seconds(1));
    return reconciles_ > 0;
  }));
  for (int i = 0; i < 20; ++i) timing_.Advance(seconds(1));
  EXPECT_EQ(reconciles_, 1) << "of the namespace that can be read";
  EXPECT_EQ(Ask(manager_->health_port(), "/readyz").status, 503);
  manager_->Stop();
  runner.join();
  EXPECT_TRUE(result.ok()) << result.ToString();
}

TEST_F(ManagerTest, ALostLeaseEndsTheProcess) {
  Make(Options());
  busy_ = true;
  Status result;
  std::atomic<bool> ended{false};
  std::thread runner([&] {
    result = manager_->Run();
    ended = true;
  });
  EXPECT_TRUE(Eventually([&] { return reconciles_ == 1; }));
  {
    std::lock_guard lock(mutex_);
    lease_down_ = true;
  }
  EXPECT_TRUE(Eventually([&] {
    timing_.Advance(seconds(1));
    return ended.load();
  }));
  runner.join();
  EXPECT_EQ(result.code(), Code::kUnavailable);
  EXPECT_NE(result.message().find("lost"), std::string::npos);
  // Nothing more is written.
  Object map(resources::kConfigMaps, {"n", "b"});
  EXPECT_FALSE(manager_->api().Create(resources::kConfigMaps, map));
}

// Real time, scaled down by four: it ended after 4.5 s (the pause, the write, the read).
TEST_F(ManagerTest, ALeaseThatHangsIsLostAtItsRenewDeadline) {
  ManagerOptions options = Options();
  options.election.renew_deadline = std::chrono::milliseconds(2500);
  options.election.retry_period = seconds(2);
  clock_ = &Timing::System();
  Make(options);
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  EXPECT_TRUE(Eventually([&] { return manager_->IsLeader(); }));
  lease_hangs_ = true;
  runner.join();
  MonotonicTime ended = std::chrono::steady_clock::now();
  EXPECT_NE(result.message().find("lost"), std::string::npos) << result.message();
  std::lock_guard lock(mutex_);
  EXPECT_LT(ended - lease_seen_, std::chrono::milliseconds(3500));
  EXPECT_GT(ended - lease_seen_, seconds(2));
}

class ManagerFilesTest : public ManagerTest {
 protected:
  ManagerFilesTest() { folder_ = mkdtemp(pattern_); }
  ~ManagerFilesTest() override { std::filesystem::remove_all(folder_); }
  size_t Runs() {
    std::error_code none;
    auto size = std::filesystem::file_size(folder_ + "/runs", none);
    return none ? 0 : size;
  }
  char pattern_[32] = "/tmp/raftkv-manager-test-XXXXXX";
  std::string folder_;
};

// Each of its threads waited for a run of its own, for a minute each.
TEST_F(ManagerFilesTest, APluginThatHangsDoesNotHoldUpTheEnd) {
  exec_ = {.command = "sh",
           .arguments = {"-c", "printf x >> \"$FOLDER/runs\"; exec sleep 1000"},
           .environment = {{"FOLDER", folder_}}};
  for (bool elects : {true, false}) {
    std::filesystem::remove(folder_ + "/runs");
    ManagerOptions options = Options();
    if (!elects) options.election = {};
    Make(options, {"n", "other", "third"});
    Status result;
    std::thread runner([&] { result = manager_->Run(); });
    // That of the lease's client, and the one that the others share.
    EXPECT_TRUE(Eventually([&] { return Runs() == (elects ? 2 : 1); }));
    MonotonicTime stopped = std::chrono::steady_clock::now();
    manager_->Stop();
    runner.join();
    manager_.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - stopped, seconds(20));
    EXPECT_TRUE(result.ok()) << result.ToString();
  }
}

// It was cut off by the end of the drain alone, after 30 s. In real time.
TEST_F(ManagerFilesTest, AReconcileThatWaitsForAPluginThatHangsIsEndedAtOnce) {
  clock_ = &Timing::System();
  // Each call needs it anew.
  exec_ = {.command = "sh",
           .arguments = {"-c", R"sh(
if [ -e "$FOLDER/hang" ]; then echo $$ > "$FOLDER/pid~" && mv "$FOLDER/pid~" "$FOLDER/pid"; exec sleep 1000; fi
echo '{"kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"2000-01-01T00:00:00Z"}}'
)sh"},
           .environment = {{"FOLDER", folder_}}};
  ApiError error;
  in_reconcile_ = [&] {
    std::ofstream(folder_ + "/hang") << "x";
    auto got = manager_->api().Get(resources::kConfigMaps, {"n", "a"});
    if (!got) error = got.error();
  };
  ManagerOptions options = Options();
  options.election = {};
  Make(options);
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  int plugin = 0;
  EXPECT_TRUE(Eventually([&] { return bool(std::ifstream(folder_ + "/pid") >> plugin); }));
  MonotonicTime stopped = std::chrono::steady_clock::now();
  manager_->Stop();
  runner.join();
  EXPECT_LT(std::chrono::steady_clock::now() - stopped, seconds(20));
  EXPECT_TRUE(Eventually([&] { return kill(plugin, 0) == -1; })) << "it runs yet";
  EXPECT_TRUE(result.ok()) << result.ToString();
  EXPECT_EQ(reconciles_, 1);
  EXPECT_EQ(error.reason, Reason::kStopped);
}

TEST_F(ManagerTest, WithoutElectionItWorksAtOnceAndStops) {
  ManagerOptions options = Options();
  options.election = {};
  options.health_address = "";
  Make(options);
  Status result;
  std::thread runner([&] { result = manager_->Run(); });
  EXPECT_TRUE(Eventually([&] { return reconciles_ == 1; }));
  manager_->Stop();
  runner.join();
  EXPECT_TRUE(result.ok());
}

}  // namespace
}  // namespace raftkv::kube
