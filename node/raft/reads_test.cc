#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/read_only.h"
#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

void UseLease(Config& c) {
  c.check_quorum = true;
  c.read_only = ReadOnlyOption::kLeaseBased;
}

class Reads : public testing::TestWithParam<bool> {
 protected:
  Reads() : net_(3, GetParam() ? UseLease : [](Config&) {}) { net_.Campaign(1); }
  TestNetwork net_;
};

INSTANTIATE_TEST_SUITE_P(Options, Reads, testing::Bool(),
                         [](const auto& lease) { return lease.param ? "Lease" : "Safe"; });

TEST_P(Reads, AnswersOnEveryNodeWithTheCommitIndex) {
  for (uint64_t id : {1, 2, 3}) {
    for (int i = 0; i < 10; ++i) net_.Propose(1, "x");
    const std::string name = "read by " + std::to_string(id);
    net_[id]->RequestReadIndex(Buffer(name));
    net_.Settle();
    ASSERT_THAT(net_[id].reads(), SizeIs(1));
    EXPECT_EQ(net_[id].reads()[0].index, net_[1]->committed());
    EXPECT_EQ(net_[id].reads()[0].context.view(), name);
  }
}

TEST_P(Reads, AreDroppedWithoutLeader) {
  TestNode node({});
  node->RequestReadIndex(Buffer("read"));
  EXPECT_TRUE(node.logger().Contains("1 no leader at term 0; dropping index reading msg"));
  EXPECT_THAT(node.Drain(), IsEmpty());
}

// The commit index of a new leader may lie behind what its predecessor acknowledged, until it has
// committed an entry of its own term.
TEST_P(Reads, WaitForTheFirstCommitOfTheTerm) {
  TestNode leader({.log = {1, 1},
                   .hard_state = {.term = Term(1)},
                   .tweak = GetParam() ? UseLease : [](Config&) {}});
  leader.BecomeLeader();
  leader->RequestReadIndex(Buffer("early"));
  ASSERT_TRUE(leader.Step(2, 0, ReadIndex{Buffer("early too")}));
  EXPECT_THAT(leader.Drain(), IsEmpty());
  ASSERT_TRUE(leader.Step(2, 2, AppendResponse{.index = Index(3)}));
  std::vector<Message> sent = leader.Drain();
  if (!GetParam()) {
    EXPECT_THAT(leader.reads(), IsEmpty());
    const std::vector<Message> beats = Only<Heartbeat>(sent);
    ASSERT_THAT(beats, SizeIs(4)) << "a round for each read";
    ASSERT_TRUE(leader.Step(3, 2, HeartbeatResponse{beats.back().As<Heartbeat>().read_counter}));
    sent = leader.Drain();
  }
  ASSERT_THAT(leader.reads(), SizeIs(1));
  EXPECT_EQ(leader.reads()[0].index, Index(3));
  const std::vector<Message> answers = Only<ReadIndexResponse>(sent);
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].to, NodeId(2));
  EXPECT_EQ(answers[0].As<ReadIndexResponse>().index, Index(3));
}

TEST(SafeReads, OneVoterNeedsNoConfirmation) {
  TestNode node({.voters = Ids({1}), .learners = Ids({2})});
  node.BecomeLeader();
  node->RequestReadIndex(Buffer("own"));
  ASSERT_TRUE(node.Step(2, 0, ReadIndex{Buffer("the learner's")}));
  EXPECT_THAT(Only<ReadIndexResponse>(node.Drain()), SizeIs(1));
  EXPECT_THAT(node.reads(), SizeIs(1));
}

// The simulator's: after a restart the only voter knows a commit index that was not synced, behind
// what it had acknowledged, until it has committed an entry of its new term. (etcd answers at
// once.)
TEST(SafeReads, OneVoterDoesNotAnswerBehindWhatItAcknowledgedBeforeARestart) {
  TestNode node({.voters = Ids({1}),
                 .log = {1, 1},
                 .hard_state = {.term = Term(1), .vote = NodeId(1), .commit = Index(1)}});
  ASSERT_TRUE(node->StartCampaign());
  node.HandleReady();  // its vote is on the disk: it leads, its first entry is not written yet
  ASSERT_EQ(node->role(), Role::kLeader);
  node->RequestReadIndex(Buffer("read"));
  ASSERT_EQ(node->committed(), Index(1));
  node.Drain();
  ASSERT_THAT(node.reads(), SizeIs(1));
  EXPECT_EQ(node.reads()[0].index, Index(3));
}

// A leader that was removed is no voter; the one that remains may have been elected meanwhile.
TEST(SafeReads, RemovedLeaderDoesNotAnswerForTheLastVoter) {
  TestNode node({.voters = Ids({1, 2})});
  node.BecomeLeader();
  ASSERT_TRUE(node.Step(2, 1, AppendResponse{.index = Index(1)}));
  node.Drain();
  node->ApplyConfChange({.steps = {{ConfChangeType::kRemove, NodeId(1)}}});
  node->RequestReadIndex(Buffer("read"));
  const std::vector<Message> beats = Only<Heartbeat>(node.Drain());
  EXPECT_THAT(node.reads(), IsEmpty());
  ASSERT_THAT(beats, SizeIs(1));
  ASSERT_TRUE(node.Step(2, 1, HeartbeatResponse{beats[0].As<Heartbeat>().read_counter}));
  node.Drain();
  EXPECT_THAT(node.reads(), SizeIs(1));
}

// When the configuration shrinks to the leader itself, nobody is left to confirm what waits.
TEST(SafeReads, ShrinkingConfigurationConfirms) {
  TestNode node({.voters = Ids({1, 2})});
  node.BecomeLeader();
  ASSERT_TRUE(node.Step(2, 1, AppendResponse{.index = Index(1)}));
  node.Drain();
  node->RequestReadIndex(Buffer("read"));
  node.Drain();
  ASSERT_THAT(node.reads(), IsEmpty());
  node->ApplyConfChange({.steps = {{ConfChangeType::kRemove, NodeId(2)}}});
  node.Drain();
  EXPECT_THAT(node.reads(), SizeIs(1));
}

// etcd issue 20418: the same context twice, and acknowledgements of the first heartbeats that come
// after the second read, must not confirm the second.
TEST(SafeReads, RepeatedContextIsNotConfirmedByOldAcks) {
  TestNode leader({});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = Index(1)}));
  leader.Drain();
  leader->RequestReadIndex(Buffer("same"));
  const Buffer first = Only<Heartbeat>(leader.Drain()).back().As<Heartbeat>().read_counter;

  ASSERT_TRUE(leader.Propose("more"));
  leader.Drain();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = Index(2)}));
  leader.Drain();
  leader->RequestReadIndex(Buffer("same"));
  const Buffer second = Only<Heartbeat>(leader.Drain()).back().As<Heartbeat>().read_counter;
  EXPECT_NE(first, second);

  ASSERT_TRUE(leader.Step(2, 1, HeartbeatResponse{first}));
  leader.Drain();
  ASSERT_THAT(leader.reads(), SizeIs(1));
  EXPECT_EQ(leader.reads()[0].index, Index(1));
  ASSERT_TRUE(leader.Step(3, 1, HeartbeatResponse{first}));
  leader.Drain();
  EXPECT_THAT(leader.reads(), SizeIs(1)) << "late acks confirm nothing new";
  ASSERT_TRUE(leader.Step(3, 1, HeartbeatResponse{second}));
  leader.Drain();
  ASSERT_THAT(leader.reads(), SizeIs(2));
  EXPECT_EQ(leader.reads()[1].index, Index(2));
}

// Lost heartbeats: the next regular ones confirm as well.
TEST(SafeReads, NextHeartbeatRoundConfirms) {
  TestNetwork net(3);
  net.Campaign(1);
  net.filter = [](const Message& m) { return !m.Is<Heartbeat>(); };
  net[1]->RequestReadIndex(Buffer("read"));
  net.Settle();
  EXPECT_THAT(net[1].reads(), IsEmpty());
  net.Heal();
  net.Tick();
  EXPECT_THAT(net[1].reads(), SizeIs(1));
}

TEST(SafeReads, LearnersDoNotConfirm) {
  TestNode leader({.voters = Ids({1, 2, 3}), .learners = Ids({4, 5})});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = Index(1)}));
  leader.Drain();
  leader->RequestReadIndex(Buffer("read"));
  const Buffer counter = Only<Heartbeat>(leader.Drain())[0].As<Heartbeat>().read_counter;
  for (uint64_t learner : {4, 5}) ASSERT_TRUE(leader.Step(learner, 1, HeartbeatResponse{counter}));
  leader.Drain();
  EXPECT_THAT(leader.reads(), IsEmpty());
  ASSERT_TRUE(leader.Step(3, 1, HeartbeatResponse{counter}));
  leader.Drain();
  EXPECT_THAT(leader.reads(), SizeIs(1));
}

TEST(SafeReads, WaitingReadsAreBounded) {
  TestNode leader({.tweak = [](Config& c) { c.max_pending_reads = 2; }});
  leader.BecomeLeader();
  for (int i = 0; i < 3; ++i) leader->RequestReadIndex(Buffer("early"));
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = Index(1)}));
  const std::vector<Message> beats = Only<Heartbeat>(leader.Drain());
  ASSERT_TRUE(leader.Step(2, 1, HeartbeatResponse{beats.back().As<Heartbeat>().read_counter}));
  leader.Drain();
  EXPECT_THAT(leader.reads(), SizeIs(2));
  EXPECT_TRUE(leader.logger().Contains("too many unconfirmed reads"));
}

// A deposed leader forgets its reads: nothing can confirm them any more.
TEST(SafeReads, EndWithTheTerm) {
  TestNetwork net(3);
  net.Campaign(1);
  net.Isolate(1);
  net[1]->RequestReadIndex(Buffer("never answered"));
  net.Settle();
  net.Campaign(2);
  net.Propose(2, "new");
  net.Heal();
  net.Tick(2);
  EXPECT_EQ(net[1]->leader(), NodeId(2));
  net.Campaign(1);
  net.Tick(2);
  EXPECT_EQ(net[1]->role(), Role::kLeader);
  EXPECT_THAT(net[1].reads(), IsEmpty());
}

}  // namespace
}  // namespace raftkv::raft
