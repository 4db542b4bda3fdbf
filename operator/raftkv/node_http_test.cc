#include "operator/raftkv/node_http.h"

#include <gtest/gtest.h>

#include <asio.hpp>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace raftkv::op {
namespace {

using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// Answers each request, whatever it is, with the same bytes, piece by piece.
class RawServer {
 public:
  RawServer() {
    Accept();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~RawServer() {
    io_.stop();
    thread_.join();
  }
  int port() const { return acceptor_.local_endpoint().port(); }

  std::vector<std::string> answer = {kOk};  // before the first request
  std::atomic<bool> closes = false;         // after each answer, without saying so
  std::atomic<int> connections = 0;
  std::atomic<int> requests = 0;

 private:
  struct Peer {
    explicit Peer(tcp::socket accepted) : socket(std::move(accepted)) {}
    tcp::socket socket;
    std::string request;
  };

  void Accept() {
    acceptor_.async_accept([this](std::error_code error, tcp::socket socket) {
      if (error) return;
      ++connections;
      Read(std::make_shared<Peer>(std::move(socket)));
      Accept();
    });
  }
  void Read(const std::shared_ptr<Peer>& peer) {
    asio::async_read_until(peer->socket, asio::dynamic_buffer(peer->request), "\r\n\r\n",
                           [this, peer](std::error_code error, size_t) {
                             if (error) return;
                             ++requests;
                             peer->request.clear();
                             for (const std::string& piece : answer) {
                               asio::write(peer->socket, asio::buffer(piece));
                             }
                             if (!closes) Read(peer);
                           });
  }

  asio::io_context io_;
  tcp::acceptor acceptor_{io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  std::thread thread_;
};

Result<NodeAnswer> Send(NodeHttp& http, NodeRequest request) {
  std::promise<Result<NodeAnswer>> promise;
  http.Send(std::move(request), [&](Result<NodeAnswer> answer) { promise.set_value(answer); });
  return promise.get_future().get();
}

const NodeRequest kGet{.host = "127.0.0.1", .path = "/admin/status"};
const NodeRequest kPost{.host = "127.0.0.1", .path = "/admin/transfer", .body = "{}"};

TEST(NodeHttp, OneConnectionServesManyGets) {
  RawServer server;
  NodeHttp http({.port = server.port()});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Send(http, kGet)->body, "ok");
  EXPECT_EQ(server.requests, 5);
  EXPECT_EQ(server.connections, 1);
}

TEST(NodeHttp, AConnectionThatWasClosedMeanwhileIsNoError) {
  RawServer server;
  server.closes = true;
  NodeHttp http({.port = server.port()});
  for (int i = 0; i < 5; ++i) {
    auto answer = Send(http, kGet);
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(answer->status, 200);
  }
  EXPECT_EQ(server.connections, 5);
}

TEST(NodeHttp, APostHasAConnectionOfItsOwn) {
  RawServer server;
  NodeHttp http({.port = server.port()});
  EXPECT_TRUE(Send(http, kGet));
  EXPECT_TRUE(Send(http, kPost));
  EXPECT_TRUE(Send(http, kPost));
  EXPECT_EQ(server.connections, 3);
}

TEST(NodeHttp, AnAnswerMayComeInPieces) {
  RawServer server;
  server.answer = {"HTTP/1.1 409 Conf", "lict\r\ncontent-LENGTH:5\r\n\r", "\nno", "pe!"};
  NodeHttp http({.port = server.port()});
  auto answer = Send(http, kGet);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 409);
  EXPECT_EQ(answer->body, "nope!");
}

TEST(NodeHttp, WhatWasNotSentIsUnavailable) {
  RawServer server;
  NodeHttp http({.port = server.port()});
  NodeRequest nobody = kPost;
  nobody.host = "127.0.0.9";
  EXPECT_EQ(Send(http, nobody).error().code(), Code::kUnavailable);
  nobody.host = "no address";
  EXPECT_EQ(Send(http, nobody).error().code(), Code::kUnavailable);
}

TEST(NodeHttp, WhatIsNotAnsweredMayHaveHappened) {
  for (const std::vector<std::string>& answer :
       {std::vector<std::string>{}, {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"}}) {
    RawServer server;
    server.answer = answer;
    NodeHttp http({.port = server.port()});
    NodeRequest request = kPost;
    request.limit = milliseconds(50);
    EXPECT_EQ(Send(http, request).error().code(), Code::kUnknownOutcome);
  }
}

TEST(NodeHttp, WhatIsNoHttpIsNoAnswer) {
  for (const char* answer :
       {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"}) {
    RawServer server;
    server.answer = {answer};
    NodeHttp http({.port = server.port()});
    EXPECT_EQ(Send(http, kGet).error().code(), Code::kUnknownOutcome) << answer;
  }
}

TEST(NodeHttp, AConnectionThatNobodyNeedsIsClosed) {
  RawServer server;
  NodeHttp http({.port = server.port(), .keep = milliseconds(1)});
  EXPECT_TRUE(Send(http, kGet));
  std::promise<void> later;
  http.After(milliseconds(50), [&] { later.set_value(); });
  later.get_future().get();
  EXPECT_TRUE(Send(http, kGet));
  EXPECT_EQ(server.connections, 2);
}

TEST(NodeHttp, EndsWhileItAsks) {
  RawServer server;
  server.answer = {};
  bool called = false;
  {
    NodeHttp http({.port = server.port()});
    http.Send(kGet, [&](const Result<NodeAnswer>&) { called = true; });
    http.After(seconds(60), [&] { called = true; });
    while (server.requests == 0) std::this_thread::yield();
  }
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace raftkv::op
