// What misbehaves at the other end: other clusters, strangers, silence, garbage, floods.
#include <gtest/gtest.h>

#include <list>

#include "base/random.h"
#include "node/transport/context.h"
#include "node/transport/test_util.h"

namespace raftkv::transport {
namespace {

using raft::NodeId;

class TransportFaultsTest : public testing::Test {
 protected:
  bool Until(const std::function<bool()>& done) { return RunUntil(io_, done); }
  asio::io_context io_;
  LogCapture log_;
};

// Dials `attempts` times and is refused each time with `verdict`; each side logs it once.
void ExpectRefused(asio::io_context& io, const LogCapture& log, TestNode& a,
                   v1::HelloReply::Verdict verdict) {
  ASSERT_TRUE(RunUntil(io, [&] { return a.handler.downs[2] >= 5; }));
  ASSERT_GE(a.handler.verdicts.size(), 5u);
  for (const v1::HelloReply& reply : a.handler.verdicts) EXPECT_EQ(reply.verdict(), verdict);
  EXPECT_EQ(a.handler.ups[2], 0);
  EXPECT_EQ(log.Count("peer refuses our connection"), 1) << log.Text();
  EXPECT_EQ(log.Count("refused the connection of a peer"), 1) << log.Text();
  EXPECT_EQ(log.Count("verdict=" + v1::HelloReply::Verdict_Name(verdict)), 2) << log.Text();
}

TEST_F(TransportFaultsTest, AnotherClusterIsRefusedAndLoggedOnce) {
  TestNode a(io_, 1, TestOptions(), 0xc2);
  TestNode b(io_, 2);
  a.Dial(b);
  ExpectRefused(io_, log_, a, v1::HelloReply::WRONG_CLUSTER);
  EXPECT_EQ(a.handler.verdicts[0].cluster_id(), kCluster);
}

TEST_F(TransportFaultsTest, AnotherMemberAtTheAddressIsRefusedAndLoggedOnce) {
  TestNode a(io_, 1);
  TestNode c(io_, 3);
  a.transport->SetPeers({{NodeId(2), c.address()}});
  ExpectRefused(io_, log_, a, v1::HelloReply::WRONG_TARGET);
  EXPECT_EQ(a.handler.verdicts[0].member_id(), 3u);
}

TEST_F(TransportFaultsTest, ARemovedMemberIsRefusedAndLoggedOnce) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  b.handler.verdicts_to_give[1] = v1::HelloReply::REMOVED;
  a.Dial(b);
  ExpectRefused(io_, log_, a, v1::HelloReply::REMOVED);
}

TEST_F(TransportFaultsTest, ANonMemberIsRefusedUntilItIsOne) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  b.handler.verdicts_to_give[1] = v1::HelloReply::NOT_A_MEMBER;
  a.Dial(b);
  ExpectRefused(io_, log_, a, v1::HelloReply::NOT_A_MEMBER);
  b.handler.verdicts_to_give.clear();
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  EXPECT_EQ(log_.Count("peer connected"), 1);
}

TEST_F(TransportFaultsTest, ACopyOfOurselvesIsRefused) {
  TestNode a(io_, 2);
  TestNode b(io_, 2);
  a.Dial(b);
  ExpectRefused(io_, log_, a, v1::HelloReply::NOT_A_MEMBER);
}

TEST_F(TransportFaultsTest, ABlankNodeSaysSoUntilItIsAdopted) {
  TestNode a(io_, 1);
  TestNode b(io_, 2, TestOptions(), 0);
  a.Dial(b);
  ExpectRefused(io_, log_, a, v1::HelloReply::BLANK);
  EXPECT_EQ(a.handler.verdicts[0].member_id(), 2u);

  b.handler.on_call = [&](const v1::PeerCall& call, const ReplyFn& reply) {
    b.transport->SetIdentity(
        {.cluster_id = call.adopt().cluster_id(), .member_id = NodeId(2), .name = ""});
    reply(v1::PeerReply());
  };
  v1::PeerCall adopt;
  adopt.mutable_adopt()->set_cluster_id(kCluster);
  adopt.mutable_adopt()->set_member_id(2);
  bool adopted = false;
  a.transport->CallAddress(b.address(), adopt,
                           [&](const auto& reply) { adopted = reply.has_value(); });
  EXPECT_TRUE(Until([&] { return adopted && a.IsUp(2); }));
}

TEST_F(TransportFaultsTest, AnotherProtocolVersionIsRefused) {
  TestNode b(io_, 2);
  RawClient client(io_, b.port);
  v1::Hello hello;
  hello.set_protocol_version(kProtocolVersion + 1);
  client.SendFrame(hello, true);
  v1::HelloReply reply;
  ASSERT_TRUE(client.Receive(io_, &reply));
  EXPECT_EQ(reply.verdict(), v1::HelloReply::WRONG_VERSION);
  EXPECT_EQ(reply.protocol_version(), kProtocolVersion);
  EXPECT_TRUE(Until([&] { return client.closed(); }));
}

TEST_F(TransportFaultsTest, AnHttpClientIsClosedWithOneLine) {
  TestNode b(io_, 2);
  for (int i = 0; i < 3; ++i) {
    RawClient client(io_, b.port);
    client.SendBytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(Until([&] { return client.closed(); }));
  }
  EXPECT_EQ(log_.Count("does not speak the peer protocol"), 1) << log_.Text();
}

TEST_F(TransportFaultsTest, DialingAnHttpServerIsOneLineToo) {
  asio::ip::tcp::acceptor server(io_, {asio::ip::make_address("127.0.0.1"), 0});
  int served = 0;
  std::list<RawClient> sockets;
  std::function<void()> accept = [&] {
    server.async_accept([&](const asio::error_code& error, asio::ip::tcp::socket socket) {
      if (error) return;
      sockets.emplace_back(std::move(socket)).SendBytes("HTTP/1.1 400 Bad Request\r\n\r\n");
      ++served;
      accept();
    });
  };
  accept();
  TestNode a(io_, 1);
  a.transport->SetPeers(
      {{NodeId(2), "127.0.0.1:" + std::to_string(server.local_endpoint().port())}});
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] >= 3; }));
  EXPECT_GE(served, 3);
  EXPECT_EQ(log_.Count("does not speak the peer protocol"), 1) << log_.Text();
  server.close();
}

TEST_F(TransportFaultsTest, GarbageOfEverySizeHarmsNobody) {
  TestNode b(io_, 2);
  TestNode a(io_, 1);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  SeededRandom random(7);
  for (int i = 0; i < 100; ++i) {
    RawClient client(io_, b.port);
    std::string bytes(random.Uniform(200), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Next());
    if (i % 2 == 0) client.SendBytes(kMagic);
    client.SendBytes(bytes);
    RunFor(io_, milliseconds(1));
  }
  a.transport->Send({Numbered(1, 2, 1)});
  EXPECT_TRUE(Until([&] { return b.handler.messages.size() == 1; }));
}

// It was cut, and raftkvctl and curl could not tell why.
TEST_F(TransportFaultsTest, WhoSpeaksHttpIsToldThatThisIsThePeerPort) {
  TestNode b(io_, 2);
  for (const std::string body : {"", "value"}) {
    asio::ip::tcp::socket client(io_);
    client.connect({asio::ip::make_address("127.0.0.1"), b.port});
    const auto send = [&](const std::string& text) { client.send(asio::buffer(text)); };
    send("PUT /kv/k HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n");
    RunFor(io_, milliseconds(5));
    // What comes behind the answer is thrown away, and does not turn its end into a reset.
    send(body);
    std::string answer;
    asio::error_code end;
    client.non_blocking(true);
    ASSERT_TRUE(Until([&] {
      char bytes[1024];
      const size_t n = client.read_some(asio::buffer(bytes), end);
      answer.append(bytes, end ? 0 : n);
      return end && end != asio::error::would_block;
    }));
    EXPECT_EQ(end, asio::error::eof) << end.message();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 421 ")) << answer;
    EXPECT_NE(answer.find("This is the peer port of a node (peer.listen)"), std::string::npos);
    const size_t head = answer.find("\r\n\r\n") + 4;
    EXPECT_NE(answer.find("Content-Length: " + std::to_string(answer.size() - head) + "\r\n"),
              std::string::npos);
  }
  EXPECT_EQ(log_.Count("does not speak the peer protocol, but HTTP"), 1);
  TestNode a(io_, 1);
  a.Dial(b);
  EXPECT_TRUE(Until([&] { return a.IsUp(2); }));
}

// What a member's stream must not carry: each closes it, and none reaches the handler.
TEST_F(TransportFaultsTest, BadFramesCloseTheConnection) {
  Options options = TestOptions();
  options.max_frame_bytes = 1000;
  TestNode b(io_, 2, options);
  v1::PeerFrame good;
  good.add_messages()->mutable_timeout_now();
  ByteBuffer frame;
  AppendFrame(good, frame);
  std::string corrupt(frame.view());
  corrupt.back() ^= 1;
  std::string oversized(frame.view());
  oversized[1] = 0x7f;  // the length's second byte
  v1::PeerFrame with_snapshot;
  with_snapshot.add_messages()->mutable_install_snapshot();
  v1::PeerFrame with_reply;
  with_reply.add_replies();
  v1::PeerFrame without_body;
  without_body.add_messages()->set_term(1);
  std::vector<std::string> bad = {corrupt, oversized};
  for (const auto& message : {with_snapshot, with_reply, without_body}) {
    ByteBuffer bytes;
    AppendFrame(message, bytes);
    bad.emplace_back(bytes.view());
  }
  ByteBuffer no_protobuf;
  const size_t begin = BeginFrame(no_protobuf);
  no_protobuf.Append("\xff\xff\xff");
  EndFrame(no_protobuf, begin);
  bad.emplace_back(no_protobuf.view());
  for (const std::string& bytes : bad) {
    RawClient client(io_, b.port);
    ASSERT_EQ(client.Greet(io_, v1::Hello::MESSAGES, 1, 2).verdict(), v1::HelloReply::OK);
    client.SendBytes(bytes);
    EXPECT_TRUE(Until([&] { return client.closed(); }));
  }
  EXPECT_TRUE(b.handler.messages.empty());
  RawClient client(io_, b.port);
  client.Greet(io_, v1::Hello::MESSAGES, 1, 2);
  client.SendFrame(good);
  EXPECT_TRUE(Until([&] { return b.handler.messages.size() == 1; }));
}

TEST_F(TransportFaultsTest, AHugeHelloIsRefusedBeforeItIsRead) {
  TestNode b(io_, 2);
  RawClient client(io_, b.port);
  client.SendBytes(kMagic);
  client.SendBytes(std::string_view("\xff\xff\xff\x00\0\0\0\0", 8));
  EXPECT_TRUE(Until([&] { return client.closed(); }));
  EXPECT_EQ(log_.Count("frame too large"), 1);
}

TEST_F(TransportFaultsTest, AStreamThatFallsSilentIsCut) {
  TestNode b(io_, 2);
  RawClient client(io_, b.port);
  ASSERT_EQ(client.Greet(io_, v1::Hello::MESSAGES, 1, 2).verdict(), v1::HelloReply::OK);
  EXPECT_TRUE(Until([&] { return client.closed(); }));
}

TEST_F(TransportFaultsTest, AHandshakeThatNeverEndsIsCut) {
  TestNode b(io_, 2);
  RawClient nothing(io_, b.port);
  RawClient half(io_, b.port);
  half.SendBytes(kMagic.substr(0, 3));
  RawClient no_call(io_, b.port);
  no_call.Greet(io_, v1::Hello::CALL, 1, 0);
  EXPECT_TRUE(Until([&] { return nothing.closed() && half.closed() && no_call.closed(); }));
}

TEST_F(TransportFaultsTest, AListenerThatAcceptsAndStaysSilentCountsAsUnreachable) {
  asio::ip::tcp::acceptor silent(io_, {asio::ip::make_address("127.0.0.1"), 0});
  Options options = TestOptions();
  options.dial_timeout = milliseconds(20);
  TestNode a(io_, 1, options);
  a.transport->SetPeers(
      {{NodeId(2), "127.0.0.1:" + std::to_string(silent.local_endpoint().port())}});
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] >= 3; }));
  EXPECT_EQ(log_.Count("no answer to the handshake"), 1) << log_.Text();
  EXPECT_EQ(log_.Count("peer unreachable"), 1);
}

// A peer that is stopped: its kernel goes on to acknowledge, it does not.
TEST_F(TransportFaultsTest, AHalfOpenStreamIsCutByTheDialer) {
  asio::ip::tcp::acceptor acceptor(io_, {asio::ip::make_address("127.0.0.1"), 0});
  std::list<RawClient> sockets;
  acceptor.async_accept([&](const asio::error_code&, asio::ip::tcp::socket socket) {
    sockets.emplace_back(std::move(socket));
    v1::HelloReply reply;
    reply.set_protocol_version(kProtocolVersion);
    reply.set_member_id(2);
    sockets.back().SendFrame(reply, true);
  });
  Options options = TestOptions();
  options.silence_limit = milliseconds(200);
  TestNode a(io_, 1, options);
  a.transport->SetPeers(
      {{NodeId(2), "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port())}});
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  acceptor.close();
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] >= 1; }));
  EXPECT_EQ(log_.Count("silent for 200 ms"), 1) << log_.Text();
}

TEST_F(TransportFaultsTest, AnIdleHealthyStreamIsNotCut) {
  Options options = TestOptions();
  options.ping_interval = milliseconds(10);
  options.silence_limit = milliseconds(50);
  TestNode a(io_, 1, options);
  TestNode b(io_, 2, options);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  const uint64_t before = a.StatsOf(2).received_bytes;
  ASSERT_TRUE(Until([&] { return a.StatsOf(2).received_bytes > before + 1000; }));
  EXPECT_EQ(a.handler.downs[2], 0);
}

TEST_F(TransportFaultsTest, ANewStreamOfAMemberTakesTheOldOnesPlace) {
  TestNode b(io_, 2);
  RawClient first(io_, b.port);
  ASSERT_EQ(first.Greet(io_, v1::Hello::MESSAGES, 1, 2).verdict(), v1::HelloReply::OK);
  RawClient second(io_, b.port);
  ASSERT_EQ(second.Greet(io_, v1::Hello::MESSAGES, 1, 2).verdict(), v1::HelloReply::OK);
  EXPECT_TRUE(Until([&] { return first.closed(); }));
  v1::PeerFrame frame;
  frame.add_messages()->mutable_timeout_now();
  second.SendFrame(frame);
  EXPECT_TRUE(Until([&] { return b.handler.messages.size() == 1; }));
}

TEST_F(TransportFaultsTest, AThousandStrangersAreBoundedAndMembersStillGetIn) {
  Options options = TestOptions();
  options.dial_timeout = seconds(20);
  options.max_handshakes = 16;
  options.max_stranger_calls = 8;
  TestNode b(io_, 2, options);
  std::list<RawClient> strangers;
  const auto open = [&] {
    size_t count = 0;
    for (RawClient& stranger : strangers) count += stranger.closed() ? 0 : 1;
    return count;
  };
  for (int i = 0; i < 1000; ++i) {
    strangers.emplace_back(io_, b.port);
    // Nobody else accepts: what waits in the backlog must not fill it.
    io_.restart();
    io_.poll();
  }
  ASSERT_TRUE(Until([&] { return open() <= 16; }));
  TestNode a(io_, 1);
  a.Dial(b);
  EXPECT_TRUE(Until([&] { return a.IsUp(2); }));
  // Those who got past the handshake and call nothing.
  for (int i = 0; i < 50; ++i) {
    strangers.emplace_back(io_, b.port).Greet(io_, v1::Hello::CALL, 100, 0);
  }
  EXPECT_TRUE(Until([&] { return open() <= 16 + 8; }));
  EXPECT_TRUE(a.IsUp(2));
}

// Who they say they are is their choice: there was a line for each.
TEST_F(TransportFaultsTest, StrangersWithEverNewIdsDoNotFillTheLog) {
  TestNode b(io_, 2);
  for (uint64_t id = 1000; id < 1300; ++id) {
    b.handler.verdicts_to_give[id] = v1::HelloReply::NOT_A_MEMBER;
    RawClient stranger(io_, b.port);
    ASSERT_EQ(stranger.Greet(io_, v1::Hello::MESSAGES, id, 2).verdict(),
              v1::HelloReply::NOT_A_MEMBER);
  }
  EXPECT_GE(log_.Count("refused the connection of a peer"), 10);
  EXPECT_LE(log_.Count("refused the connection of a peer"), 100);
  // Nor do they keep what concerns members out of it.
  b.handler.verdicts_to_give[1] = v1::HelloReply::NOT_A_MEMBER;
  TestNode a(io_, 1);
  b.Dial(a);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] >= 1 && b.IsUp(1); }));
  EXPECT_EQ(log_.Count("peer refuses our connection"), 1);
  EXPECT_EQ(log_.Count("peer connected"), 1);
}

// A crowd had all of them, and a flush that got none ended the node (row few-files).
TEST_F(TransportFaultsTest, OfFewFilesStrangersGetAFew) {
  const Options few = Within(Options(), 128);
  EXPECT_EQ(few.max_handshakes, 8u);
  EXPECT_EQ(few.max_stranger_calls, 8u);
  const Options many = Within(Options(), 1024);
  EXPECT_EQ(many.max_handshakes, Options().max_handshakes);
  EXPECT_EQ(many.max_stranger_calls, Options().max_stranger_calls);
}

TEST_F(TransportFaultsTest, ConnectionsAreBoundedInAll) {
  Options options = TestOptions();
  options.max_connections = 3;
  TestNode b(io_, 2, options);
  std::list<RawClient> clients;
  for (uint64_t from = 10; from < 13; ++from) {
    EXPECT_EQ(clients.emplace_back(io_, b.port).Greet(io_, v1::Hello::MESSAGES, from, 2).verdict(),
              v1::HelloReply::OK);
  }
  for (int i = 0; i < 2; ++i) {
    RawClient one_too_many(io_, b.port);
    EXPECT_TRUE(Until([&] { return one_too_many.closed(); }));
  }
  EXPECT_EQ(log_.Count("too many connections"), 1);
}

TEST_F(TransportFaultsTest, ResolvingANameThatDoesNotExistFails) {
  TestNode a(io_, 1);
  a.transport->SetPeers({{NodeId(2), "no-such-host.invalid:1"}});
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] >= 1; }));
  EXPECT_EQ(log_.Count("peer unreachable"), 1);
}

}  // namespace
}  // namespace raftkv::transport
