#include "tests/bench/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

namespace raftkv::bench {
namespace {

// A real HTTP server on loopback whose answer a test decides.
class FakeServer {
 public:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;

  explicit FakeServer(Handler handler, size_t requests_per_connection = 1'000'000) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(16); };
    server_.set_tcp_nodelay(true);
    server_.set_keep_alive_max_count(requests_per_connection);
    auto serve = [this, handler](const httplib::Request& request, httplib::Response& response) {
      ++requests_;
      handler(request, response);
    };
    server_.Get(".*", serve);
    server_.Put(".*", serve);
    server_.Post(".*", serve);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::jthread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeServer() { server_.stop(); }

  Endpoint endpoint() const { return {"127.0.0.1", static_cast<uint16_t>(port_)}; }
  uint64_t requests() const { return requests_; }

 private:
  httplib::Server server_;
  std::atomic<uint64_t> requests_ = 0;
  int port_ = 0;
  std::jthread thread_;
};

LoadOptions Options(const FakeServer& server) {
  LoadOptions options;
  options.endpoints = {server.endpoint()};
  options.duration = Duration::zero();
  return options;
}

void Ok(const httplib::Request&, httplib::Response& response) { response.status = 204; }

TEST(LoadTest, ClosedLoopSendsExactlyTheRequestsAskedFor) {
  FakeServer server(Ok);
  LoadOptions options = Options(server);
  options.requests = 1'001;
  options.clients = 7;
  options.threads = 2;
  auto result = RunLoad(options);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->writes.count(), 1'001u);
  EXPECT_EQ(result->reads.count(), 0u);
  EXPECT_EQ(result->failed(), 0u);
  EXPECT_EQ(server.requests(), 1'001u);
  EXPECT_THAT(result->by_status, testing::ElementsAre(testing::Pair(204, 1'001)));
  EXPECT_GT(result->seconds, 0);
}

TEST(LoadTest, FillPutsEveryKeyOnce) {
  std::mutex mutex;
  std::map<std::string, int> seen;
  FakeServer server([&](const httplib::Request& request, httplib::Response& response) {
    std::lock_guard lock(mutex);
    ++seen[request.path];
    EXPECT_EQ(request.body.size(), 33u);
    response.status = 201;
  });
  LoadOptions options = Options(server);
  options.workload = Workload::kFill;
  options.keys = 100;
  options.key_bytes = 4;
  options.value_bytes = 33;
  options.clients = 5;
  options.threads = 3;
  ASSERT_TRUE(RunLoad(options));
  std::lock_guard lock(mutex);
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_EQ(seen.begin()->first, "/kv/0000");
  EXPECT_EQ(seen.rbegin()->first, "/kv/0099");
  for (const auto& [key, times] : seen) EXPECT_EQ(times, 1) << key;
}

TEST(LoadTest, MixedSendsBothKindsWithTheReadsQuery) {
  std::atomic<int> wrong = 0;
  FakeServer server([&](const httplib::Request& request, httplib::Response& response) {
    bool stale = request.has_param("consistency");
    if (stale != (request.method == "GET")) ++wrong;
    response.set_content("value", "application/octet-stream");
  });
  LoadOptions options = Options(server);
  options.workload = Workload::kMixed;
  options.read_ratio = 0.9;
  options.get_query = "?consistency=stale";
  options.requests = 500;
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(result->reads.count(), result->writes.count());
  EXPECT_GT(result->writes.count(), 0u);
  EXPECT_EQ(result->succeeded(), 500u);
}

TEST(LoadTest, OtherStatusesAreCountedNotTimed) {
  std::atomic<int> n = 0;
  FakeServer server([&](const httplib::Request&, httplib::Response& response) {
    response.status = ++n % 4 == 0 ? 503 : 200;
    response.set_content("x", "text/plain");
  });
  LoadOptions options = Options(server);
  options.requests = 100;
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->succeeded(), 75u);
  EXPECT_EQ(result->failed(), 25u);
  EXPECT_EQ(result->by_status.at(503), 25u);
}

TEST(LoadTest, GoesOnWhenTheServerClosesConnections) {
  FakeServer server(Ok, 3);
  LoadOptions options = Options(server);
  options.requests = 50;
  options.clients = 2;
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->succeeded(), 50u);
}

TEST(LoadTest, LargeValuesArriveWhole) {
  std::atomic<uint64_t> bytes = 0;
  FakeServer server([&](const httplib::Request& request, httplib::Response& response) {
    bytes += request.body.size();
    response.status = 204;
  });
  LoadOptions options = Options(server);
  options.value_bytes = 8 << 20;
  options.requests = 4;
  options.clients = 2;
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->succeeded(), 4u);
  EXPECT_EQ(bytes, uint64_t{32} << 20);
}

TEST(LoadTest, NobodyListensEndsAtTheDuration) {
  uint16_t port;
  {
    FakeServer server(Ok);
    port = server.endpoint().port;
  }
  LoadOptions options;
  options.endpoints = {{"127.0.0.1", port}};
  options.duration = std::chrono::milliseconds(100);
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->succeeded(), 0u);
  EXPECT_GT(result->connect_errors, 0u);
}

TEST(LoadTest, AnAnswerThatNeverComesIsATimeout) {
  std::atomic<bool> release = false;
  FakeServer server([&](const httplib::Request&, httplib::Response& response) {
    while (!release) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    response.status = 204;
  });
  LoadOptions options = Options(server);
  options.requests = 2;
  options.timeout = std::chrono::milliseconds(50);
  auto result = RunLoad(options);
  release = true;
  ASSERT_TRUE(result);
  EXPECT_EQ(result->timeouts, 2u);
  EXPECT_EQ(result->succeeded(), 0u);
}

// Coordinated omission: one stall of 200 ms at 1,000 requests/s delays the 200 requests that were
// due meanwhile, and each of them has to show it.
TEST(LoadTest, OpenLoopCountsFromTheTimeDue) {
  std::atomic<int> n = 0;
  FakeServer server([&](const httplib::Request&, httplib::Response& response) {
    if (++n == 10) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    response.status = 204;
  });
  LoadOptions options = Options(server);
  options.rate = 1'000;
  options.requests = 110;
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->writes.count(), 110u);
  // The last was due 100 ms into the stall, and the ninety before it even earlier.
  EXPECT_GE(result->writes.Percentile(50), 90'000'000u);
}

TEST(LoadTest, OpenLoopCountsWhatItCouldNotSend) {
  FakeServer server([&](const httplib::Request&, httplib::Response& response) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    response.status = 204;
  });
  LoadOptions options = Options(server);
  options.rate = 1'000;
  options.duration = std::chrono::milliseconds(200);
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->succeeded() + result->unsent, 200u);
  EXPECT_GE(result->unsent, 185u);
}

TEST(LoadTest, SpeaksToEtcdsGateway) {
  std::mutex mutex;
  std::map<std::string, std::string> seen;  // path to the last body
  FakeServer server([&](const httplib::Request& request, httplib::Response& response) {
    std::lock_guard lock(mutex);
    seen[request.path] = request.body;
    response.set_content("{}", "application/json");
  });
  LoadOptions options = Options(server);
  options.protocol = Protocol::kEtcdGateway;
  options.workload = Workload::kMixed;
  options.keys = 1;
  options.value_bytes = 4;
  options.stale = true;
  options.requests = 50;
  auto result = RunLoad(options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->succeeded(), 50u);
  // "00000000" and four bytes of value, in base64.
  EXPECT_THAT(seen["/v3/kv/put"],
              testing::MatchesRegex("\\{\"key\":\"MDAwMDAwMDA=\",\"value\":\".{6}==\"\\}"));
  EXPECT_EQ(seen["/v3/kv/range"], "{\"key\":\"MDAwMDAwMDA=\",\"serializable\":true}");
}

TEST(LoadTest, RefusesWrongSettings) {
  FakeServer server(Ok);
  auto refused = [&](auto change) {
    LoadOptions options = Options(server);
    options.requests = 1;
    change(options);
    auto result = RunLoad(options);
    return !result && result.error().code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](LoadOptions& o) { o.endpoints.clear(); }));
  EXPECT_TRUE(refused([](LoadOptions& o) { o.clients = 0; }));
  EXPECT_TRUE(refused([](LoadOptions& o) { o.threads = 2; }));
  EXPECT_TRUE(refused([](LoadOptions& o) { o.key_bytes = 4; }));  // 100,000 keys
  EXPECT_TRUE(refused([](LoadOptions& o) { o.read_ratio = 1.5; }));
  EXPECT_TRUE(refused([](LoadOptions& o) { o.rate = -1; }));
  EXPECT_TRUE(refused([](LoadOptions& o) { o.requests = 0; }));
  EXPECT_FALSE(refused([](LoadOptions&) {}));
}

TEST(LoadTest, ParsesEndpoints) {
  auto endpoint = ParseEndpoint("http://127.0.0.1:8080/");
  ASSERT_TRUE(endpoint);
  EXPECT_EQ(endpoint->host, "127.0.0.1");
  EXPECT_EQ(endpoint->port, 8080);
  for (const char* bad : {"", "host", ":80", "host:", "host:0", "host:65536", "host:8o"})
    EXPECT_FALSE(ParseEndpoint(bad)) << bad;
}

}  // namespace
}  // namespace raftkv::bench
