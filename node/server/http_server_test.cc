// The HTTP server over real sockets: limits, time-outs, pipelining, ends of connections.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "node/server/http.h"
#include "node/server/test_client.h"

namespace raftkv::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Answers with the method, target and body of the request; "/hold" when Release is called.
class EchoServer {
 public:
  explicit EchoServer(const Limits& limits = {}) {
    auto server = HttpServer::Start(
        "127.0.0.1:0", limits, [this](const ExchangePtr& e) { Handle(e); }, nullptr);
    server_ = std::move(server.value());
  }
  ~EchoServer() { Stop(); }

  uint16_t port() const { return server_->port(); }
  HttpServer& server() { return *server_; }
  void Stop(Duration grace = Duration::zero()) { server_->Stop(grace); }

  // Waits until `count` requests are held.
  void AwaitHeld(size_t count) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this, count] { return held_.size() >= count; });
  }
  void Release() {
    std::lock_guard lock(mutex_);
    for (const ExchangePtr& exchange : held_) Echo(exchange);
    held_.clear();
  }

 private:
  void Handle(const ExchangePtr& exchange) {
    std::string_view path = exchange->request().raw_path;
    if (path == "/hold") {
      std::lock_guard lock(mutex_);
      held_.push_back(exchange);
      return wake_.notify_all();
    }
    if (path == "/throw") throw std::runtime_error("secret");
    if (path == "/drop") return;
    if (path == "/large") return Large(exchange);
    if (path == "/stream") return Stream(exchange);
    if (path == "/later") return exchange->Run([exchange] { Echo(exchange); });
    Echo(exchange);
  }

  static void Echo(const ExchangePtr& exchange) {
    const HttpRequest& request = exchange->request();
    HttpResponse response;
    response.body.append(request.method).append(" ").append(request.target).append(" ");
    response.body.append(request.body);
    exchange->Respond(std::move(response));
  }

  static void Large(const ExchangePtr& exchange) {
    HttpResponse response;
    response.body = std::string(8 << 20, 'x');
    exchange->Respond(std::move(response));
  }

  static void Stream(const ExchangePtr& exchange) {
    HttpResponse response;
    auto left = std::make_shared<int>(3);
    response.stream = [left]() -> Result<std::string> {
      return *left > 0 ? std::string(100'000, static_cast<char>('0' + (*left)--)) : std::string();
    };
    exchange->Respond(std::move(response));
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<ExchangePtr> held_;
  std::unique_ptr<HttpServer> server_;
};

TEST(HttpServer, AnswersRequestsOnOneConnection) {
  EchoServer server;
  TestClient client(server.port());
  for (int i = 0; i < 100; ++i) {
    TestResponse response = client.Ask(Request("PUT", "/a", "body"));
    ASSERT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "PUT /a body");
    EXPECT_FALSE(response.closed);
  }
  EXPECT_EQ(client.Ask(Request("GET", "/later")).body, "GET /later ");
}

TEST(HttpServer, RefusesWithProblemAndCloses) {
  EchoServer server;
  TestClient client(server.port());
  TestResponse response = client.Ask("NONSENSE\r\n\r\n");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.Header("content-type"), "application/problem+json");
  EXPECT_NE(response.body.find("\"detail\":\"The request line must be"), std::string::npos);
  EXPECT_TRUE(response.closed);
  EXPECT_EQ(client.ReceiveAll(), "");
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  EchoServer server;
  TestClient client(server.port());
  std::string requests;
  for (int i = 0; i < 500; ++i) {
    requests += Request("PUT", i % 7 == 0 ? "/later" : "/p", std::to_string(i));
  }
  client.Send(requests);
  for (int i = 0; i < 500; ++i) {
    std::string path = i % 7 == 0 ? "/later " : "/p ";
    ASSERT_EQ(client.Receive().body, "PUT " + path + std::to_string(i));
  }
}

TEST(HttpServer, PipelinedRequestsWaitForTheOneBefore) {
  EchoServer server;
  TestClient client(server.port());
  client.Send(Request("GET", "/hold") + Request("GET", "/second"));
  server.AwaitHeld(1);
  server.Release();
  EXPECT_EQ(client.Receive().body, "GET /hold ");
  EXPECT_EQ(client.Receive().body, "GET /second ");
}

// A refused request's body must not be read as the next request.
TEST(HttpServer, NothingAfterARefusalIsARequest) {
  EchoServer server;
  for (const char* smuggled :
       {"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\n",
        "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\n",
        "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\n",
        "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"}) {
    TestClient client(server.port());
    client.Send(std::string(smuggled) + Request("GET", "/smuggled"));
    TestResponse response = client.Receive();
    EXPECT_GE(response.status, 400) << smuggled;
    EXPECT_EQ(client.ReceiveAll(), "") << smuggled;
  }
}

TEST(HttpServer, IgnoresEmptyLinesBeforeARequest) {
  EchoServer server;
  TestClient client(server.port());
  EXPECT_EQ(client.Ask("\r\n\r\n" + Request("GET", "/a")).status, 200);
  EXPECT_EQ(client.Ask("\r\n" + Request("GET", "/b")).status, 200);
}

TEST(HttpServer, ReadsRequestsByteByByte) {
  EchoServer server;
  TestClient client(server.port());
  for (char c : Request("PUT", "/slow", "body")) client.Send(std::string(1, c));
  EXPECT_EQ(client.Receive().body, "PUT /slow body");
}

TEST(HttpServer, TakesBodiesUpToTheLimit) {
  EchoServer server;
  std::string body(1 << 20, 'b');
  EXPECT_EQ(Ask(server.port(), "PUT", "/a", body).body, "PUT /a " + body);
  // The client gets the answer although it is still sending.
  body += 'b';
  TestResponse response = Ask(server.port(), "PUT", "/a", body);
  EXPECT_EQ(response.status, 413);
  EXPECT_TRUE(response.closed);
}

TEST(HttpServer, RefusesLongLinesAndManyHeaders) {
  EchoServer server;
  EXPECT_EQ(Ask(server.port(), "GET", "/" + std::string(60'000, 'a')).status, 414);
  EXPECT_EQ(Ask(server.port(), "GET", "/" + std::string(50'000, 'a')).status, 200);
  EXPECT_EQ(Ask(server.port(), "GET", "/" + std::string(4 << 20, 'a')).status, 414);
  EXPECT_EQ(Ask(server.port(), "GET", "/", "", "A: " + std::string(9000, 'a') + "\r\n").status,
            431);
  std::string headers;
  for (int i = 0; i < 100; ++i) headers += "A: b\r\n";
  EXPECT_EQ(Ask(server.port(), "GET", "/", "", headers).status, 431);
}

TEST(HttpServer, Expect100Continue) {
  EchoServer server;
  TestClient client(server.port());
  client.Send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.Receive().status, 100);
  client.Send("body");
  EXPECT_EQ(client.Receive().body, "PUT /a body");
  // A body that is refused is not asked for.
  client.Send(
      "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.Receive().status, 413);
}

TEST(HttpServer, HeadHasNoBody) {
  EchoServer server;
  TestClient client(server.port());
  client.Send(Request("HEAD", "/a"));
  TestResponse response = client.Receive(true);
  EXPECT_EQ(response.Header("content-length"), std::to_string(std::string("HEAD /a ").size()));
  EXPECT_EQ(client.Ask(Request("GET", "/b")).body, "GET /b ");
}

TEST(HttpServer, Http10ClosesUnlessAskedNotTo) {
  EchoServer server;
  TestClient once(server.port());
  EXPECT_TRUE(once.Ask("GET /a HTTP/1.0\r\n\r\n").closed);
  EXPECT_EQ(once.ReceiveAll(), "");
  TestClient again(server.port());
  TestResponse response = again.Ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(response.Header("connection"), "keep-alive");
  EXPECT_EQ(again.Ask("GET /b HTTP/1.0\r\n\r\n").body, "GET /b ");
}

TEST(HttpServer, ConnectionCloseEndsTheConnection) {
  EchoServer server;
  TestClient client(server.port());
  client.Send(Request("GET", "/a", "", "Connection: close\r\n") + Request("GET", "/ignored"));
  EXPECT_TRUE(client.Receive().closed);
  EXPECT_EQ(client.ReceiveAll(), "");
}

TEST(HttpServer, AnswersHalfClosedClients) {
  EchoServer server;
  TestClient client(server.port());
  client.Send(Request("GET", "/hold"));
  client.CloseSending();
  server.AwaitHeld(1);
  server.Release();
  EXPECT_EQ(client.Receive().body, "GET /hold ");
  EXPECT_EQ(client.ReceiveAll(), "");
}

TEST(HttpServer, SurvivesClientsThatLeave) {
  EchoServer server;
  {
    TestClient waiting(server.port());
    waiting.Send(Request("GET", "/hold"));
    TestClient halfway(server.port());
    halfway.Send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    TestClient unread(server.port());
    unread.Send(Request("GET", "/large"));
    server.AwaitHeld(1);
  }
  server.Release();
  EXPECT_EQ(Ask(server.port(), "GET", "/a").status, 200);
}

TEST(HttpServer, SlowHeadsEndIn408) {
  Limits limits;
  limits.head_timeout = milliseconds(100);
  EchoServer server(limits);
  TestClient client(server.port());
  // Bytes that keep coming do not prolong it.
  std::atomic<bool> done = false;
  std::thread drip([&] {
    client.Send("GET / HTTP/1.1\r\n");
    while (!done) {
      client.Send("A");
      std::this_thread::sleep_for(milliseconds(10));
    }
  });
  TestResponse response = client.Receive();
  done = true;
  drip.join();
  EXPECT_EQ(response.status, 408);
  EXPECT_TRUE(response.closed);
}

TEST(HttpServer, SlowBodiesEndIn408) {
  Limits limits;
  limits.body_timeout = milliseconds(100);
  EchoServer server(limits);
  TestClient client(server.port());
  client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
  EXPECT_EQ(client.Receive().status, 408);
}

TEST(HttpServer, SilentConnectionsAreClosed) {
  Limits limits;
  limits.idle_timeout = milliseconds(100);
  limits.head_timeout = milliseconds(100);
  EchoServer server(limits);
  TestClient silent(server.port());
  TestClient idle(server.port());
  EXPECT_EQ(idle.Ask(Request("GET", "/a")).status, 200);
  EXPECT_EQ(silent.ReceiveAll(), "");
  EXPECT_EQ(idle.ReceiveAll(), "");
}

TEST(HttpServer, ClientsThatDoNotReadAreCutOff) {
  Limits limits;
  limits.write_timeout = milliseconds(200);
  EchoServer server(limits);
  TestClient client(server.port());
  client.Send(Request("GET", "/large"));
  while (server.server().stats().accepted == 0 || server.server().stats().connections > 0) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_LT(client.ReceiveAll().size(), size_t{8} << 20);
}

TEST(HttpServer, LargeAnswersArriveWhole) {
  EchoServer server;
  TestClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    TestResponse response = client.Ask(Request("GET", "/large"));
    EXPECT_EQ(response.body.size(), size_t{8} << 20);
  }
}

TEST(HttpServer, StreamsUntilTheConnectionEnds) {
  EchoServer server;
  TestClient client(server.port());
  client.Send(Request("GET", "/stream"));
  std::string all = client.ReceiveAll();
  EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos);
  EXPECT_EQ(all.find("Content-Length"), std::string::npos);
  EXPECT_EQ(all.substr(all.find("\r\n\r\n") + 4),
            std::string(100'000, '3') + std::string(100'000, '2') + std::string(100'000, '1'));
}

TEST(HttpServer, ExceptionsAndDroppedRequestsAre500) {
  EchoServer server;
  TestClient client(server.port());
  for (const char* path : {"/throw", "/drop"}) {
    TestResponse response = client.Ask(Request("GET", path));
    EXPECT_EQ(response.status, 500);
    EXPECT_EQ(response.body.find("secret"), std::string::npos);
  }
  EXPECT_EQ(client.Ask(Request("GET", "/a")).status, 200);
}

TEST(HttpServer, TooManyInFlightIs429) {
  Limits limits;
  limits.max_in_flight = 3;
  EchoServer server(limits);
  std::vector<TestClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(server.port());
    clients.back().Send(Request("GET", "/hold"));
  }
  server.AwaitHeld(3);
  TestClient late(server.port());
  TestResponse response = late.Ask(Request("GET", "/a"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.Header("retry-after"), "1");
  server.Release();
  for (TestClient& client : clients) EXPECT_EQ(client.Receive().status, 200);
  EXPECT_EQ(late.Ask(Request("GET", "/a")).status, 200);
}

TEST(HttpServer, TooManyConnectionsAre503) {
  Limits limits;
  limits.max_connections = 2;
  EchoServer server(limits);
  TestClient a(server.port());
  TestClient b(server.port());
  EXPECT_EQ(a.Ask(Request("GET", "/a")).status, 200);
  EXPECT_EQ(b.Ask(Request("GET", "/a")).status, 200);
  TestClient c(server.port());
  TestResponse response = c.Ask(Request("GET", "/a"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.Header("retry-after"), "1");
  EXPECT_TRUE(response.closed);
  EXPECT_EQ(server.server().stats().refused, 1u);
  EXPECT_EQ(a.Ask(Request("GET", "/a")).status, 200);
}

TEST(HttpServer, BodiesAreLimitedAllTogether) {
  Limits limits;
  limits.max_buffered_bytes = 1'000;
  EchoServer server(limits);
  TestClient first(server.port());
  first.Send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 800\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(first.Receive().status, 100);
  first.Send(std::string(700, 'b'));
  while (server.server().stats().buffered_bytes < 700) std::this_thread::yield();
  TestClient second(server.port());
  second.Send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 800\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(second.Receive().status, 100);
  second.Send(std::string(400, 'b'));
  EXPECT_EQ(second.Receive().status, 503);
  first.Send(std::string(100, 'b'));
  EXPECT_EQ(first.Receive().status, 200);
  TestClient third(server.port());
  EXPECT_EQ(third.Ask(Request("PUT", "/a", std::string(800, 'b'))).status, 200);
  EXPECT_EQ(server.server().stats().buffered_bytes, 0u);
}

// Short heads cost no shared counter; of long ones, many together must not take the memory.
TEST(HttpServer, LongHeadsCountAsBuffered) {
  Limits limits;
  limits.max_buffered_bytes = 50'000;
  EchoServer server(limits);
  TestClient first(server.port());
  first.Send("GET /" + std::string(40'000, 'a'));
  while (server.server().stats().buffered_bytes < 20'000) std::this_thread::yield();
  TestClient second(server.port());
  second.Send("GET /" + std::string(45'000, 'a'));
  EXPECT_EQ(second.Receive().status, 503);
  TestClient third(server.port());
  EXPECT_EQ(third.Ask(Request("GET", "/a")).status, 200);
  first.Send(" HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(first.Receive().status, 200);
  EXPECT_EQ(third.Ask(Request("GET", "/a")).status, 200);
  EXPECT_EQ(server.server().stats().buffered_bytes, 0u);
}

// The whole Content-Length used to be set aside: clients that declared much and sent nothing kept
// the others from sending for http.body_timeout.
TEST(HttpServer, BodiesThatDoNotComeTakeNothingFromOthers) {
  Limits limits;
  limits.max_buffered_bytes = 1'000;
  EchoServer server(limits);
  std::vector<TestClient> lazy;
  for (int i = 0; i < 5; ++i) {
    lazy.emplace_back(server.port());
    lazy.back().Send(
        "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(lazy.back().Receive().status, 100);
  }
  TestClient client(server.port());
  client.Send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 800\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.Receive().status, 100);
  client.Send(std::string(800, 'b'));
  EXPECT_EQ(client.Receive().status, 200);
}

TEST(HttpServer, ThousandIdleConnectionsDoNotDisturb) {
  Limits limits;
  limits.event_loops = 3;
  EchoServer server(limits);
  std::vector<TestClient> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.emplace_back(server.port());
    ASSERT_TRUE(idle.back().connected());
    if (i % 2 == 0) {
      ASSERT_EQ(idle.back().Ask(Request("GET", "/a")).status, 200);
    }
  }
  EXPECT_EQ(Ask(server.port(), "GET", "/a").status, 200);
  for (TestClient& client : idle) ASSERT_EQ(client.Ask(Request("GET", "/b")).body, "GET /b ");
}

TEST(HttpServer, ManyClientsAtOnce) {
  Limits limits;
  limits.event_loops = 3;
  EchoServer server(limits);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      TestClient client(server.port());
      for (int i = 0; i < 200; ++i) {
        std::string body = std::to_string(t * 1000 + i);
        good += client.Ask(Request("PUT", "/later", body)).body == "PUT /later " + body;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8 * 200);
}

TEST(HttpServer, StopLetsRunningRequestsFinish) {
  EchoServer server;
  TestClient busy(server.port());
  TestClient idle(server.port());
  ASSERT_EQ(idle.Ask(Request("GET", "/a")).status, 200);
  busy.Send(Request("GET", "/hold"));
  server.AwaitHeld(1);
  std::thread stopper([&] { server.Stop(seconds(30)); });
  EXPECT_EQ(idle.ReceiveAll(), "");
  server.Release();
  TestResponse response = busy.Receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.closed);
  busy.CloseSending();
  stopper.join();
  EXPECT_FALSE(TestClient(server.port()).connected());
}

TEST(HttpServer, StopCutsWhatDoesNotFinish) {
  EchoServer server;
  TestClient busy(server.port());
  busy.Send(Request("GET", "/hold"));
  server.AwaitHeld(1);
  server.Stop(milliseconds(50));
  EXPECT_EQ(busy.ReceiveAll(), "");
  server.Release();
}

TEST(HttpServer, TwoServersCannotShareAPort) {
  EchoServer server;
  std::string address = "127.0.0.1:" + std::to_string(server.port());
  auto second = HttpServer::Start(address, {}, [](const ExchangePtr&) {}, nullptr);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
  EXPECT_NE(second.error().message().find(address), std::string::npos);
}

TEST(HttpServer, ListensWhereItIsTold) {
  auto handler = [](const ExchangePtr& e) { e->Respond({}); };
  auto everywhere = HttpServer::Start(":0", {}, handler, nullptr);
  ASSERT_TRUE(everywhere.has_value()) << everywhere.error().ToString();
  EXPECT_EQ(Ask((*everywhere)->port(), "GET", "/").status, 200);
  auto named = HttpServer::Start("localhost:0", {}, handler, nullptr);
  ASSERT_TRUE(named.has_value()) << named.error().ToString();
  EXPECT_EQ(Ask((*named)->port(), "GET", "/").status, 200);
  EXPECT_FALSE(HttpServer::Start("nonsense", {}, handler, nullptr).has_value());
  EXPECT_FALSE(HttpServer::Start("127.0.0.1:99999", {}, handler, nullptr).has_value());
}

}  // namespace
}  // namespace raftkv::server
