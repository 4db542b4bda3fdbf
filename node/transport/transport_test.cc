#include "node/transport/transport.h"

#include <gtest/gtest.h>

#include "node/raft/describe.h"
#include "node/transport/test_util.h"

namespace raftkv::transport {
namespace {

using raft::Index;
using raft::NodeId;
using raft::Term;

class TransportTest : public testing::Test {
 protected:
  bool Until(const std::function<bool()>& done) { return RunUntil(io_, done); }
  asio::io_context io_;
  LogCapture log_;
};

std::vector<raft::Message> EveryMessage(uint64_t from, uint64_t to) {
  const auto change = std::make_shared<const raft::ConfChange>(
      raft::ConfChange{.transition = raft::ConfChangeTransition::kJointExplicit,
                       .steps = {{raft::ConfChangeType::kAddLearner, NodeId(77)}},
                       .context = Buffer::Copy("why")});
  const std::vector<raft::Entry> entries = {{Term(2), Index(8), Buffer::Copy("value")},
                                            {Term(2), Index(9), Buffer()},
                                            {Term(3), Index(10), change}};
  const Buffer context = Buffer::Copy(std::string("\0\1\xff", 3));
  std::vector<raft::MessageBody> bodies;
  bodies.emplace_back(raft::Propose{entries});
  bodies.emplace_back(raft::AppendEntries{{Term(1), Index(7)}, entries, Index(6)});
  bodies.emplace_back(raft::AppendEntries{{Term(1), Index(7)}, {}, Index(6)});
  bodies.emplace_back(raft::AppendResponse{Index(10), true, Index(4), Term(1)});
  bodies.emplace_back(raft::RequestVote{{Term(3), Index(10)}, true});
  bodies.emplace_back(raft::VoteResponse{true});
  bodies.emplace_back(raft::RequestPreVote{{Term(3), Index(10)}});
  bodies.emplace_back(raft::PreVoteResponse{});
  bodies.emplace_back(raft::Heartbeat{Index(5), context});
  bodies.emplace_back(raft::HeartbeatResponse{context});
  bodies.emplace_back(raft::TransferLeader{});
  bodies.emplace_back(raft::TimeoutNow{});
  bodies.emplace_back(raft::ReadIndex{context});
  bodies.emplace_back(raft::ReadIndexResponse{Index(12), context});
  std::vector<raft::Message> messages;
  for (raft::MessageBody& body : bodies) {
    messages.push_back({NodeId(from), NodeId(to), Term(3), std::move(body)});
  }
  return messages;
}

TEST_F(TransportTest, EveryMessageArrivesAsItWasInOrder) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  std::vector<raft::Message> sent = EveryMessage(1, 2);
  sent.push_back(sent[10]);
  sent.back().from = NodeId(3);  // a transfer request names the transferee
  a.transport->Send(sent);
  ASSERT_TRUE(Until([&] { return b.handler.messages.size() >= sent.size(); }));
  ASSERT_EQ(b.handler.messages.size(), sent.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(raft::Describe(b.handler.messages[i]), raft::Describe(sent[i]));
    EXPECT_EQ(b.handler.messages[i].body.index(), sent[i].body.index());
  }
  EXPECT_EQ(a.StatsOf(2).sent_messages, sent.size());
  EXPECT_EQ(a.handler.ups[2], 1);
}

TEST_F(TransportTest, MessagesFlowBothWaysOnceEitherCanDial) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  b.Dial(a);
  ASSERT_TRUE(Until([&] { return a.IsUp(2) && b.IsUp(1); }));
  a.transport->Send({Numbered(1, 2, 7)});
  b.transport->Send({Numbered(2, 1, 8)});
  ASSERT_TRUE(Until([&] { return !a.handler.messages.empty() && !b.handler.messages.empty(); }));
  EXPECT_EQ(a.handler.messages[0].from, NodeId(2));
  EXPECT_EQ(a.handler.messages[0].to, NodeId(1));
}

TEST_F(TransportTest, ManyMessagesStayInOrderAndAreBatched) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  constexpr uint64_t kMessages = 20'000;
  for (uint64_t i = 1; i <= kMessages; ++i) a.transport->Send({Append(1, 2, i, i % 300)});
  ASSERT_TRUE(Until([&] { return b.handler.messages.size() == kMessages; }));
  for (uint64_t i = 1; i <= kMessages; ++i) {
    const auto& append = b.handler.messages[i - 1].As<raft::AppendEntries>();
    ASSERT_EQ(append.entries[0].index, Index(i));
    ASSERT_EQ(append.entries[0].data().size(), i % 300);
  }
  // What waits while a write is under way leaves together, and what is read together is one batch.
  EXPECT_LT(b.handler.batches, 2000);
  EXPECT_EQ(a.StatsOf(2).dropped_messages, 0u);
}

TEST_F(TransportTest, LargeMessagesPass) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  a.transport->Send({Append(1, 2, 5, 20 << 20), Append(1, 2, 6, 1)});
  ASSERT_TRUE(Until([&] { return b.handler.messages.size() == 2; }));
  EXPECT_EQ(b.handler.messages[0].As<raft::AppendEntries>().entries[0].data(),
            std::string(20 << 20, 'v'));
}

TEST_F(TransportTest, RoundTripsAreMeasured) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  EXPECT_TRUE(Until([&] { return a.IsUp(2) && a.StatsOf(2).round_trip > Duration::zero(); }));
  EXPECT_GT(a.StatsOf(2).received_bytes, 0u);
}

TEST_F(TransportTest, UnknownTargetsAreDroppedAndCounted) {
  TestNode a(io_, 1);
  a.transport->Send({Numbered(1, 9, 1), Numbered(1, 9, 2)});
  EXPECT_EQ(a.StatsOf(0).dropped_messages, 2u);
}

TEST_F(TransportTest, WithoutConnectionMessagesAreDroppedAndCounted) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  a.transport->Send({Numbered(1, 2, 1)});
  EXPECT_EQ(a.StatsOf(2).dropped_messages, 1u);
}

TEST_F(TransportTest, ReconnectsAfterThePeerRestartsOnTheSamePort) {
  TestNode a(io_, 1);
  auto b = std::make_unique<TestNode>(io_, 2);
  const uint16_t port = b->port;
  a.Dial(*b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  b.reset();
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] >= 5; }));
  b = std::make_unique<TestNode>(io_, 2, TestOptions(port));
  ASSERT_TRUE(Until([&] { return a.handler.ups[2] == 2; }));
  a.transport->Send({Numbered(1, 2, 1)});
  EXPECT_TRUE(Until([&] { return b->handler.messages.size() == 1; }));
  // One line when the trouble starts and one when it ends, however often it dialed.
  EXPECT_EQ(log_.Count("peer unreachable"), 1);
  EXPECT_EQ(log_.Count("peer connected"), 2);
}

TEST_F(TransportTest, AMemberThatDialsUsIsDialedAtOnce) {
  Options patient = TestOptions();
  patient.redial_min = patient.redial_max = std::chrono::hours(1);
  TestNode a(io_, 1, patient);
  uint16_t port = 0;
  {
    TestNode nobody(io_, 2);
    port = nobody.port;
  }
  a.transport->SetPeers({{NodeId(2), "127.0.0.1:" + std::to_string(port)}});
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] == 1; }));
  TestNode b(io_, 2, TestOptions(port));
  b.Dial(a);
  EXPECT_TRUE(Until([&] { return a.IsUp(2) && b.IsUp(1); }));
}

TEST_F(TransportTest, PokeDialsNow) {
  Options patient = TestOptions();
  patient.redial_min = patient.redial_max = std::chrono::hours(1);
  TestNode a(io_, 1, patient);
  TestNode b(io_, 2);
  b.handler.verdicts_to_give[1] = v1::HelloReply::NOT_A_MEMBER;
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.handler.downs[2] == 1; }));
  b.handler.verdicts_to_give.clear();
  a.transport->Poke(NodeId(2));
  EXPECT_TRUE(Until([&] { return a.IsUp(2); }));
}

TEST_F(TransportTest, AddressesChangeWhileRunning) {
  TestNode a(io_, 1);
  TestNode b1(io_, 2);
  TestNode b2(io_, 2);
  a.Dial(b1);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  a.Dial(b2);
  EXPECT_EQ(a.handler.downs[2], 1);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  a.transport->Send({Numbered(1, 2, 1)});
  EXPECT_TRUE(Until([&] { return b2.handler.messages.size() == 1; }));
  EXPECT_TRUE(b1.handler.messages.empty());
}

TEST_F(TransportTest, NamesAreLookedUp) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.transport->SetPeers({{NodeId(2), "localhost:" + std::to_string(b.port)}});
  EXPECT_TRUE(Until([&] { return a.IsUp(2); }));
}

TEST_F(TransportTest, WhatIsQueuedLeavesBeforeAPeerIsLetGo) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  // Far more than the sockets' buffers hold.
  for (uint64_t i = 1; i <= 40; ++i) a.transport->Send({Append(1, 2, i, 1 << 20)});
  a.transport->SetPeers({});
  EXPECT_TRUE(Until([&] { return b.handler.messages.size() == 40; }));
  EXPECT_TRUE(a.transport->stats().empty());
}

TEST_F(TransportTest, AMemberNoLongerAdmittedIsCutOff) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  b.handler.verdicts_to_give[1] = v1::HelloReply::REMOVED;
  b.transport->SetPeers({});
  ASSERT_TRUE(Until([&] { return !a.handler.verdicts.empty(); }));
  EXPECT_EQ(a.handler.verdicts[0].verdict(), v1::HelloReply::REMOVED);
}

TEST_F(TransportTest, TheQueueOfAPeerIsBounded) {
  Options options = TestOptions();
  options.max_queued_bytes_per_peer = 1 << 20;
  TestNode a(io_, 1, options);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  // Nobody turns the io_context meanwhile: the first write takes what the socket does.
  for (uint64_t i = 1; i <= 1000; ++i) {
    a.transport->Send({Append(1, 2, i, 100'000)});
    ASSERT_LE(a.StatsOf(2).queued_bytes, 1u << 20);
  }
  const PeerStats stats = a.StatsOf(2);
  EXPECT_GT(stats.dropped_messages, 900u);
  EXPECT_EQ(stats.sent_messages + stats.dropped_messages, 1000u);
  EXPECT_EQ(log_.Count("messages to a peer are dropped"), 1);
  ASSERT_TRUE(Until([&] { return b.handler.messages.size() == stats.sent_messages; }));
  // The newest were dropped: what arrived is a prefix.
  EXPECT_EQ(b.handler.messages.back().As<raft::AppendEntries>().entries[0].index,
            Index(stats.sent_messages));
  a.transport->Send({Numbered(1, 2, 1)});
  EXPECT_TRUE(Until([&] { return b.handler.messages.size() == stats.sent_messages + 1; }));
}

TEST_F(TransportTest, AMessageTooLargeForAFrameIsDropped) {
  Options options = TestOptions();
  options.max_frame_bytes = 100'000;
  TestNode a(io_, 1, options);
  TestNode b(io_, 2, options);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  std::vector<raft::Message> messages;
  for (uint64_t i = 1; i <= 20; ++i) messages.push_back(Append(1, 2, i, i == 10 ? 60'000 : 40'000));
  a.transport->Send(std::move(messages));
  EXPECT_TRUE(Until([&] { return b.handler.messages.size() == 19; }));
  EXPECT_EQ(a.StatsOf(2).dropped_messages, 1u);
}

TEST_F(TransportTest, AnAddressInUseIsRefused) {
  TestNode a(io_, 1);
  TestHandler handler;
  const auto second = MakeTransport(io_, TestOptions(a.port), &handler);
  const Status status = second->Start();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find(a.address()), std::string::npos);
}

TEST_F(TransportTest, ListensOnIpv6AndOnEveryInterface) {
  Options options = TestOptions();
  options.listen_address = ":0";
  TestNode a(io_, 1, options);
  TestNode b(io_, 2);
  b.Dial(a);
  EXPECT_TRUE(Until([&] { return b.IsUp(1); }));
  if (::access("/proc/net/if_inet6", F_OK) != 0) GTEST_SKIP() << "no IPv6 here";
  TestNode c(io_, 3);
  c.transport->SetPeers({{NodeId(1), "[::1]:" + std::to_string(a.port)}});
  EXPECT_TRUE(Until([&] { return c.IsUp(1); }));
}

TEST_F(TransportTest, NothingIsCalledAfterStop) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  b.Dial(a);
  ASSERT_TRUE(Until([&] { return a.IsUp(2) && b.IsUp(1); }));
  int answered = 0;
  a.transport->Call(NodeId(2), CommandCall("x"), [&](const auto&) { ++answered; });
  b.transport->Send({Numbered(2, 1, 1)});
  a.transport->Stop();
  const auto downs = a.handler.downs;
  ASSERT_TRUE(Until([&] { return b.handler.downs[1] > 0; }));
  EXPECT_EQ(answered, 0);
  EXPECT_TRUE(a.handler.messages.empty());
  EXPECT_EQ(a.handler.downs, downs);
  for (const ReplyFn& reply : b.handler.replies) reply(v1::PeerReply());
  // Still harmless.
  a.transport->Send({Numbered(1, 2, 1)});
  a.transport->Poke(NodeId(2));
  a.transport->Stop();
}

TEST_F(TransportTest, StopMayComeFromWithinACallback) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  b.handler.on_call = [&](const v1::PeerCall&, const ReplyFn& reply) {
    b.transport->Stop();
    reply(v1::PeerReply());
  };
  a.handler.on_down = [&] { a.transport->SetPeers({}); };
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  Code code = Code::kOk;
  a.transport->Call(NodeId(2), CommandCall("1"), [&](auto reply) { code = reply.error().code(); });
  a.transport->Call(NodeId(2), CommandCall("2"), [](const auto&) {});
  ASSERT_TRUE(Until([&] { return code != Code::kOk; }));
  EXPECT_EQ(b.handler.calls.size(), 1u);
  EXPECT_TRUE(a.transport->stats().empty());
}

TEST_F(TransportTest, AReplyAfterItsNodeIsGoneIsHarmless) {
  TestNode a(io_, 1);
  ReplyFn reply;
  {
    TestNode b(io_, 2);
    a.Dial(b);
    ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
    a.transport->Call(NodeId(2), CommandCall("x"), [](const auto&) {});
    ASSERT_TRUE(Until([&] { return b.handler.replies.size() == 1; }));
    reply = b.handler.replies[0];
  }
  reply(v1::PeerReply());
}

}  // namespace
}  // namespace raftkv::transport
