// Calls between members, and of strangers.
#include <gtest/gtest.h>

#include "node/transport/test_util.h"

namespace raftkv::transport {
namespace {

using raft::NodeId;

class TransportCallsTest : public testing::Test {
 protected:
  bool Until(const std::function<bool()>& done) { return RunUntil(io_, done); }
  asio::io_context io_;
  LogCapture log_;
};

TEST_F(TransportCallsTest, CallsAreAnswered) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  b.handler.on_call = [](const v1::PeerCall& call, const ReplyFn& reply) {
    v1::PeerReply answer;
    answer.set_message("re: " + call.command());
    reply(std::move(answer));
  };
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    a.transport->Call(NodeId(2), CommandCall(std::to_string(i)), [&](Result<v1::PeerReply> reply) {
      ASSERT_TRUE(reply.has_value());
      answers.push_back(reply->message());
    });
  }
  ASSERT_TRUE(Until([&] { return answers.size() == 3; }));
  EXPECT_EQ(answers, (std::vector<std::string>{"re: 0", "re: 1", "re: 2"}));
  EXPECT_EQ(b.handler.calls[0].first, NodeId(1));
}

TEST_F(TransportCallsTest, RepliesMayComeInAnyOrder) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  std::map<std::string, std::string> answers;
  for (const std::string name : {"x", "y", "z"}) {
    a.transport->Call(NodeId(2), CommandCall(name), [&answers, name](Result<v1::PeerReply> reply) {
      answers[name] = reply->message();
    });
  }
  ASSERT_TRUE(Until([&] { return b.handler.replies.size() == 3; }));
  for (const int i : {2, 0, 1}) {
    v1::PeerReply answer;
    answer.set_message(b.handler.calls[static_cast<size_t>(i)].second.command());
    b.handler.replies[static_cast<size_t>(i)](answer);
  }
  ASSERT_TRUE(Until([&] { return answers.size() == 3; }));
  for (const auto& [name, answer] : answers) EXPECT_EQ(name, answer);
}

TEST_F(TransportCallsTest, ACallWhoseFrameComesTwiceIsMadeOnce) {
  TestNode b(io_, 2);
  RawClient member(io_, b.port);
  ASSERT_EQ(member.Greet(io_, v1::Hello::MESSAGES, 1, 2).verdict(), v1::HelloReply::OK);
  v1::PeerFrame frames[3];
  for (uint64_t id = 1; v1::PeerFrame & frame : frames) {
    v1::PeerCall& call = *frame.add_calls();
    call = CommandCall(std::to_string(id));
    call.set_id(id++);
  }
  for (const int i : {0, 0, 1, 0, 1, 2}) member.SendFrame(frames[i]);
  const auto has_last = [&] {
    return !b.handler.calls.empty() && b.handler.calls.back().second.command() == "3";
  };
  ASSERT_TRUE(Until(has_last));
  EXPECT_EQ(b.handler.calls.size(), 3u);
}

TEST_F(TransportCallsTest, AReplyThatComesTwiceIsHeardOnce) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  b.handler.on_call = [](const v1::PeerCall&, const ReplyFn& reply) {
    reply({});
    reply({});
  };
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  int answers = 0;
  const auto count = [&](const Result<v1::PeerReply>&) { ++answers; };
  a.transport->Call(NodeId(2), CommandCall("x"), count);
  a.transport->Call(NodeId(2), CommandCall("y"), count);
  ASSERT_TRUE(Until([&] { return b.handler.calls.size() == 2 && answers >= 2; }));
  RunFor(io_, milliseconds(20));
  EXPECT_EQ(answers, 2);
}

TEST_F(TransportCallsTest, CallsEndWithTheRightError) {
  Options options = TestOptions();
  options.call_timeout = milliseconds(30);
  TestNode a(io_, 1, options);
  auto b = std::make_unique<TestNode>(io_, 2);
  std::vector<Code> codes;
  const auto note = [&](Result<v1::PeerReply> reply) {
    codes.push_back(reply ? Code::kOk : reply.error().code());
  };
  a.transport->Call(NodeId(2), CommandCall("unknown peer"), note);
  EXPECT_EQ(codes, (std::vector{Code::kUnavailable}));
  a.Dial(*b);
  a.transport->Call(NodeId(2), CommandCall("not connected"), note);
  EXPECT_EQ(codes.size(), 2u);
  EXPECT_EQ(codes.back(), Code::kUnavailable);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  a.transport->Call(NodeId(2), CommandCall("never answered"), note);
  ASSERT_TRUE(Until([&] { return codes.size() == 3; }));
  EXPECT_EQ(codes.back(), Code::kUnknownOutcome);
  // A reply that comes too late hurts nobody.
  b->handler.replies.back()(v1::PeerReply());
  RunFor(io_, milliseconds(20));
  EXPECT_EQ(codes.size(), 3u);
}

TEST_F(TransportCallsTest, ABrokenConnectionTellsWhatLeftFromWhatDidNot) {
  TestNode a(io_, 1);
  auto b = std::make_unique<TestNode>(io_, 2);
  a.Dial(*b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  std::vector<Code> calls;
  std::vector<uint32_t> refused;
  const auto note = [&](Result<v1::PeerReply> reply) { calls.push_back(reply.error().code()); };
  const auto note_refused = [&](v1::PeerReply reply) { refused.push_back(reply.code()); };
  a.transport->Call(NodeId(2), CommandCall("leaves"), note);
  a.transport->Forward(NodeId(2), CommandCall("leaves"), note_refused);
  ASSERT_TRUE(Until([&] { return b->handler.calls.size() == 2; }));
  // Fills the socket, so that the next calls stay behind.
  for (uint64_t i = 1; i <= 40; ++i) a.transport->Send({Append(1, 2, i, 1 << 20)});
  a.transport->Call(NodeId(2), CommandCall("stays"), note);
  a.transport->Forward(NodeId(2), CommandCall("stays"), note_refused);
  b.reset();
  ASSERT_TRUE(Until([&] { return calls.size() == 2; }));
  EXPECT_EQ(calls, (std::vector{Code::kUnknownOutcome, Code::kUnavailable}));
  EXPECT_EQ(refused, (std::vector{static_cast<uint32_t>(Code::kUnavailable)}));
}

TEST_F(TransportCallsTest, ForwardHearsOfRefusalsOnly) {
  TestNode a(io_, 1);
  TestNode b(io_, 2);
  b.handler.on_call = [](const v1::PeerCall& call, const ReplyFn& reply) {
    if (call.command() != "bad") return;
    v1::PeerReply answer;
    answer.set_code(static_cast<uint32_t>(Code::kUnavailable));
    reply(std::move(answer));
  };
  std::vector<std::string> refused;
  const auto forward = [&](const std::string& name) {
    a.transport->Forward(NodeId(2), CommandCall(name),
                         [&refused, name](const v1::PeerReply&) { refused.push_back(name); });
  };
  forward("no peer");
  a.Dial(b);
  ASSERT_TRUE(Until([&] { return a.IsUp(2); }));
  forward("good");
  forward("bad");
  forward("good");
  ASSERT_TRUE(Until([&] { return b.handler.calls.size() == 3 && refused.size() == 2; }));
  EXPECT_EQ(refused, (std::vector<std::string>{"no peer", "bad"}));
}

TEST_F(TransportCallsTest, StrangersMayMakeTheirCalls) {
  TestNode blank(io_, 5, TestOptions(), 0);
  TestNode b(io_, 2);
  b.handler.on_call = [](const v1::PeerCall& call, const ReplyFn& reply) {
    v1::PeerReply answer;
    if (call.has_join()) answer.mutable_join()->set_cluster_id(kCluster);
    reply(std::move(answer));
  };
  std::vector<Result<v1::PeerReply>> replies;
  const auto note = [&](Result<v1::PeerReply> reply) { replies.push_back(std::move(reply)); };
  v1::PeerCall join;
  join.mutable_join()->set_name("n5");
  blank.transport->CallAddress(b.address(), join, note);
  ASSERT_TRUE(Until([&] { return replies.size() == 1; }));
  ASSERT_TRUE(replies[0].has_value());
  EXPECT_EQ(replies[0]->join().cluster_id(), kCluster);
  EXPECT_EQ(b.handler.stranger_hellos.at(0).member_id(), 5u);
  // What only members may ask does not even reach the handler.
  blank.transport->CallAddress(b.address(), CommandCall("x"), note);
  ASSERT_TRUE(Until([&] { return replies.size() == 2; }));
  EXPECT_EQ(replies[1]->code(), static_cast<uint32_t>(Code::kInvalidArgument));
  EXPECT_EQ(b.handler.calls.size(), 1u);
  // Another cluster's node may ask who we are, and no more.
  TestNode other(io_, 6, TestOptions(), 0xc2);
  other.transport->CallAddress(b.address(), join, note);
  ASSERT_TRUE(Until([&] { return replies.size() == 3; }));
  EXPECT_EQ(replies[2]->code(), static_cast<uint32_t>(Code::kFailedPrecondition));
  v1::PeerCall who;
  who.mutable_who_are_you();
  other.transport->CallAddress(b.address(), who, note);
  ASSERT_TRUE(Until([&] { return replies.size() == 4; }));
  EXPECT_TRUE(replies[3].has_value());
  EXPECT_EQ(b.handler.calls.size(), 2u);
}

TEST_F(TransportCallsTest, CallAddressEndsWithTheRightError) {
  Options options = TestOptions();
  options.call_timeout = milliseconds(30);
  TestNode a(io_, 1, options);
  TestNode silent(io_, 2);
  v1::PeerCall who;
  who.mutable_who_are_you();
  std::vector<Code> codes;
  const auto note = [&](Result<v1::PeerReply> reply) {
    codes.push_back(reply ? Code::kOk : reply.error().code());
  };
  a.transport->CallAddress("127.0.0.1:1", who, note);
  ASSERT_TRUE(Until([&] { return codes.size() == 1; }));
  EXPECT_EQ(codes.back(), Code::kUnavailable);
  a.transport->CallAddress("no port", who, note);
  ASSERT_TRUE(Until([&] { return codes.size() == 2; }));
  EXPECT_EQ(codes.back(), Code::kInvalidArgument);
  a.transport->CallAddress(silent.address(), who, note);
  ASSERT_TRUE(Until([&] { return codes.size() == 3; }));
  EXPECT_EQ(codes.back(), Code::kUnknownOutcome);
}

}  // namespace
}  // namespace raftkv::transport
