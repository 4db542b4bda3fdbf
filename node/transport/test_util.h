// What the transport's tests share: nodes on one io_context that the test turns itself, raw sockets
// that misbehave, and a look at the log.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "node/transport/frame.h"
#include "node/transport/transport.h"

namespace raftkv::transport {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr uint64_t kCluster = 0xc1;

// Turns the io_context until `done` holds; false if it does not within a generous time.
inline bool RunUntil(asio::io_context& io, const std::function<bool()>& done) {
  const MonotonicTime limit = Clock::System().Now() + seconds(30);
  while (!done()) {
    if (Clock::System().Now() > limit) return false;
    io.restart();
    io.run_one_for(milliseconds(20));
  }
  return true;
}

inline void RunFor(asio::io_context& io, Duration time) {
  io.restart();
  io.run_for(time);
}

class TestHandler : public Handler {
 public:
  void OnMessages(std::vector<raft::Message> batch) override {
    ++batches;
    for (raft::Message& message : batch) messages.push_back(std::move(message));
  }
  void OnCall(raft::NodeId from, v1::PeerCall call, ReplyFn reply) override {
    calls.emplace_back(from, std::move(call));
    replies.push_back(std::move(reply));
    if (on_call) on_call(calls.back().second, replies.back());
  }
  void OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, ReplyFn reply) override {
    stranger_hellos.push_back(hello);
    OnCall(raft::kNone, std::move(call), std::move(reply));
  }
  void TellVoters(v1::HelloReply* reply) const override { reply->set_voter(true); }
  v1::HelloReply::Verdict Admit(raft::NodeId id) override {
    const auto found = verdicts_to_give.find(id.value);
    return found == verdicts_to_give.end() ? v1::HelloReply::OK : found->second;
  }
  void OnPeerUp(raft::NodeId peer) override { ++ups[peer.value]; }
  void OnPeerDown(raft::NodeId peer) override {
    ++downs[peer.value];
    if (on_down) on_down();
  }
  void OnPeerVerdict(raft::NodeId, const v1::HelloReply& reply) override {
    verdicts.push_back(reply);
  }
  void OnSnapshotReceived(raft::Message message, std::string dir) override {
    received_snapshots.emplace_back(std::move(message), std::move(dir));
  }
  void OnSnapshotSent(raft::NodeId, bool ok) override { sent_snapshots.push_back(ok); }

  std::vector<raft::Message> messages;
  int batches = 0;
  std::vector<std::pair<raft::NodeId, v1::PeerCall>> calls;
  std::vector<ReplyFn> replies;
  std::function<void(const v1::PeerCall&, const ReplyFn&)> on_call;
  std::function<void()> on_down;
  std::vector<v1::Hello> stranger_hellos;
  std::map<uint64_t, v1::HelloReply::Verdict> verdicts_to_give;
  std::map<uint64_t, int> ups;
  std::map<uint64_t, int> downs;
  std::vector<v1::HelloReply> verdicts;
  std::vector<std::pair<raft::Message, std::string>> received_snapshots;
  std::vector<bool> sent_snapshots;
};

// Short waits, so that tests need not be long.
inline Options TestOptions(uint16_t port = 0) {
  Options options;
  options.listen_address = "127.0.0.1:" + std::to_string(port);
  options.dial_timeout = milliseconds(1000);
  options.redial_min = milliseconds(5);
  options.redial_max = milliseconds(20);
  options.ping_interval = milliseconds(50);
  options.silence_limit = milliseconds(1000);
  options.call_timeout = milliseconds(2000);
  return options;
}

struct TestNode {
  TestNode(asio::io_context& io, uint64_t node_id, const Options& options = TestOptions(),
           uint64_t cluster = kCluster)
      : id(node_id), transport(MakeTransport(io, options, &handler)) {
    transport->SetIdentity({.cluster_id = cluster, .member_id = raft::NodeId(node_id), .name = ""});
    const Status status = transport->Start();
    EXPECT_TRUE(status.ok()) << status.ToString();
    port = transport->port();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port); }
  void Dial(const TestNode& other) {
    transport->SetPeers({{raft::NodeId(other.id), other.address()}});
  }
  bool IsUp(uint64_t peer) const {
    const auto stats = transport->stats();
    const auto found = stats.find(raft::NodeId(peer));
    return found != stats.end() && found->second.connected;
  }
  PeerStats StatsOf(uint64_t peer) const { return transport->stats()[raft::NodeId(peer)]; }

  uint64_t id;
  TestHandler handler;
  std::unique_ptr<Transport> transport;
  uint16_t port = 0;
};

// Collects what is logged while it lives.
class LogCapture {
 public:
  LogCapture() : fd_(::memfd_create("log", 0)) { log::SetOutput(fd_); }
  ~LogCapture() {
    EXPECT_TRUE(log::Flush(seconds(10)));
    log::SetOutput(STDERR_FILENO);
    ::close(fd_);
  }
  std::string Text() const {
    EXPECT_TRUE(log::Flush(seconds(10)));
    std::string text(static_cast<size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd_, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return text;
  }
  int Count(std::string_view what) const {
    const std::string text = Text();
    int count = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
      ++count;
    }
    return count;
  }

 private:
  int fd_;
};

// A blocking client that speaks as much of the protocol as a test wants.
class RawClient {
 public:
  RawClient(asio::io_context& io, uint16_t port) : socket_(io) {
    asio::error_code error;
    socket_.connect({asio::ip::make_address("127.0.0.1"), port}, error);
    EXPECT_FALSE(error) << error.message();
  }
  explicit RawClient(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  void SendBytes(std::string_view bytes) {
    asio::error_code error;
    socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
  }
  void SendFrame(const google::protobuf::MessageLite& message, bool magic = false) {
    ByteBuffer out;
    if (magic) out.Append(kMagic);
    AppendFrame(message, out);
    SendBytes(out.view());
  }
  // What has arrived; the io_context is turned by the caller.
  void Poll() {
    socket_.non_blocking(true);
    char bytes[4096];
    asio::error_code error;
    while (!closed_) {
      const size_t n = socket_.read_some(asio::buffer(bytes), error);
      if (error == asio::error::would_block) return;
      if (error) {
        closed_ = true;
        return;
      }
      std::span<char> room = reader_.Prepare();
      ASSERT_LE(n, room.size());
      std::copy(bytes, bytes + n, room.begin());
      reader_.Commit(n);
    }
  }
  bool closed() {
    Poll();
    return closed_;
  }
  // The next frame that is not a keep-alive.
  template <typename Message>
  bool Receive(asio::io_context& io, Message* message) {
    std::string_view body;
    return RunUntil(io,
                    [&] {
                      Poll();
                      while (reader_.Next(&body) == FrameError::kNone) {
                        if (!body.empty()) return true;
                      }
                      return closed_;
                    }) &&
           !body.empty() && message->ParseFromArray(body.data(), static_cast<int>(body.size()));
  }
  // Shakes hands as member `from` with `to`.
  v1::HelloReply Greet(asio::io_context& io, v1::Hello::Purpose purpose, uint64_t from,
                       uint64_t to) {
    v1::Hello hello;
    hello.set_protocol_version(kProtocolVersion);
    hello.set_purpose(purpose);
    hello.set_cluster_id(kCluster);
    hello.set_member_id(from);
    hello.set_target_id(to);
    SendFrame(hello, true);
    v1::HelloReply reply;
    EXPECT_TRUE(Receive(io, &reply));
    return reply;
  }
  void Close() {
    asio::error_code ignored;
    socket_.close(ignored);
  }

 private:
  asio::ip::tcp::socket socket_;
  FrameReader reader_{1 << 20};
  bool closed_ = false;
};

// The simplest message that carries a number.
inline raft::Message Numbered(uint64_t from, uint64_t to, uint64_t number) {
  return {raft::NodeId(from), raft::NodeId(to), raft::Term(1),
          raft::AppendResponse{.index = raft::Index(number)}};
}

inline v1::PeerCall CommandCall(std::string bytes) {
  v1::PeerCall call;
  call.set_command(std::move(bytes));
  return call;
}

inline raft::Message Append(uint64_t from, uint64_t to, uint64_t index, size_t bytes) {
  raft::Entry entry{raft::Term(1), raft::Index(index), Buffer(std::string(bytes, 'v'))};
  return {raft::NodeId(from), raft::NodeId(to), raft::Term(1),
          raft::AppendEntries{.prev = {raft::Term(1), raft::Index(index - 1)},
                              .entries = {std::move(entry)},
                              .commit = raft::Index(index - 1)}};
}

}  // namespace raftkv::transport
