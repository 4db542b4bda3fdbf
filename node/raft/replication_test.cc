// Flow control, probing and rejection hints, limits, and acknowledgements of the leader to itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// A leader of two whose follower (2) is in the state replicate, with nothing under way.
std::unique_ptr<TestNode> ReplicatingLeader(std::function<void(Config&)> tweak) {
  auto node =
      std::make_unique<TestNode>(TestNodeOptions{.voters = Ids({1, 2}), .tweak = std::move(tweak)});
  node->BecomeLeader();
  EXPECT_TRUE(node->Step(2, 1, AppendResponse{.index = Index(1)}));
  node->Drain();
  EXPECT_EQ(node->core().status().progress.at(NodeId(2)).state, ProgressState::kReplicate);
  return node;
}

// --- Flow control --------------------------------------------------------------------------------

constexpr int kWindow = 4;
void SmallWindow(Config& c) { c.max_inflight_messages = kWindow; }

void FillWindow(TestNode& leader) {
  for (int i = 0; i < kWindow; ++i) {
    ASSERT_TRUE(leader.Propose("x"));
    EXPECT_THAT(leader.Drain(), SizeIs(1));
  }
  ASSERT_TRUE(leader.Propose("one too many"));
  EXPECT_THAT(leader.Drain(), IsEmpty());
}

TEST(FlowControl, FullWindowStopsTheFlow) {
  auto leader = ReplicatingLeader(SmallWindow);
  FillWindow(*leader);
  EXPECT_THAT(leader->core().status().progress.at(NodeId(2)).ToString(),
              testing::HasSubstr("paused inflight=4[full]"));
}

TEST(FlowControl, AcknowledgementsMoveTheWindow) {
  auto leader = ReplicatingLeader(SmallWindow);
  FillWindow(*leader);
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{.index = Index(2)}));
  const std::vector<Message> sent = leader->Drain();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent.back().As<AppendEntries>().entries.back().index, Index(6));
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{.index = Index(2)}));  // again: nothing new
  EXPECT_THAT(leader->Drain(), IsEmpty());
}

// If everything in the window was lost, an empty append after each heartbeat response finds out.
TEST(FlowControl, FullWindowIsProbedWithEmptyAppends) {
  auto leader = ReplicatingLeader(SmallWindow);
  FillWindow(*leader);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(leader->Step(2, 1, HeartbeatResponse{}));
    const std::vector<Message> sent = leader->Drain();
    ASSERT_THAT(sent, SizeIs(1));
    EXPECT_THAT(sent[0].As<AppendEntries>().entries, IsEmpty());
  }
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{Index(5), true, Index(1), Term(1)}));
  const std::vector<Message> sent = leader->Drain();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].As<AppendEntries>().prev.index, Index(1));
}

TEST(FlowControl, WindowIsAlsoBoundedByBytes) {
  auto leader = ReplicatingLeader([](Config& c) {
    c.max_bytes_per_append = 100;
    c.max_inflight_bytes = 250;
  });
  const std::string data(100, 'x');
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(leader->Propose(data));
    EXPECT_THAT(leader->Drain(), SizeIs(1));
  }
  ASSERT_TRUE(leader->Propose(data));
  EXPECT_THAT(leader->Drain(), IsEmpty());
}

TEST(FlowControl, MessagesAreCutToSizeAndPipelined) {
  auto leader =
      ReplicatingLeader([](Config& c) { c.max_bytes_per_append = 2 * (kEntryOverheadBytes + 10); });
  leader->core().ReportUnreachable(NodeId(2));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(leader->Propose(std::string(10, 'x')));
  EXPECT_THAT(leader->Drain(), SizeIs(1)) << "one probe";
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{.index = Index(3)}));
  std::vector<size_t> sizes;
  for (const Message& m : leader->Drain()) sizes.push_back(m.As<AppendEntries>().entries.size());
  EXPECT_THAT(sizes, ElementsAre(2, 1));
}

TEST(FlowControl, ZeroBytesMeansOneEntryEach) {
  auto leader = ReplicatingLeader([](Config& c) { c.max_bytes_per_append = 0; });
  ASSERT_TRUE(leader->core().Propose(
      {Buffer(std::string("a")), Buffer(std::string("b")), Buffer(std::string("c"))}));
  ASSERT_TRUE(leader->Step(2, 1, HeartbeatResponse{}));
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{.index = Index(2)}));
  for (const Message& m : Only<AppendEntries>(leader->Drain())) {
    EXPECT_LE(m.As<AppendEntries>().entries.size(), 1u);
  }
}

// --- Probing -------------------------------------------------------------------------------------

TEST(Probing, OneAppendPerHeartbeat) {
  auto leader = ReplicatingLeader([](Config&) {});
  leader->core().ReportUnreachable(NodeId(2));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(leader->Propose("x"));
    EXPECT_THAT(Only<AppendEntries>(leader->Drain()), SizeIs(1)) << "round " << round;
    ASSERT_TRUE(leader->Step(2, 1, HeartbeatResponse{}));
  }
  const auto before = leader->core().status().progress.at(NodeId(2));
  EXPECT_EQ(before.state, ProgressState::kProbe);
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{.index = Index(1)}));
  EXPECT_EQ(leader->core().status().progress.at(NodeId(2)).state, ProgressState::kReplicate);
}

struct HintCase {
  std::vector<uint64_t> leader;
  std::vector<uint64_t> follower;
  EntryId hint;       // of the follower, for the probe at the end of the leader's log
  EntryId next_prev;  // of the leader's next append
};

// At most one probe for each term of either log (paper, end of section 5.3).
TEST(Probing, RejectionHintsSkipWholeTerms) {
  const std::vector<HintCase> cases = {
      // The follower lacks a suffix.
      {{1, 2, 2, 2, 2}, {1, 2, 2}, {Term(2), Index(3)}, {Term(2), Index(3)}},
      // A tail of an older term: the leader skips its own newer terms.
      {{1, 3, 3, 3, 5, 5, 5, 5, 5}, {1, 1, 1, 1, 2, 2}, {Term(2), Index(6)}, {Term(1), Index(1)}},
      // A tail of newer terms: the follower skips it.
      {{1, 3, 3, 3, 3, 3, 3, 3, 7},
       {1, 3, 3, 4, 4, 5, 5, 5, 6},
       {Term(6), Index(9)},
       {Term(3), Index(8)}},
      {{1, 3, 3, 3, 3, 3, 3, 3},
       {1, 3, 3, 4, 4, 5, 5, 5, 6},
       {Term(3), Index(3)},
       {Term(3), Index(3)}},
      {{1, 1, 1, 1, 1}, {1, 1, 1, 2, 2, 2, 2}, {Term(1), Index(3)}, {Term(1), Index(3)}},
      // Nothing in common.
      {{2, 2, 2, 2, 2}, {1, 1, 1, 1, 1}, {Term(1), Index(5)}, {Term(), Index()}},
      {{1, 1, 1, 1}, {}, {Term(), Index()}, {Term(), Index()}},
  };
  for (const HintCase& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c.leader) + " " + testing::PrintToString(c.follower));
    TestNode leader({.voters = Ids({1, 2, 3}), .log = c.leader, .hard_state = {.term = Term(8)}});
    TestNode follower({.id = 2, .log = c.follower, .hard_state = {.term = Term(8)}});
    const std::vector<Message> probes = Only<AppendEntries>(leader.BecomeLeader());
    ASSERT_TRUE(follower.Step(probes[0]));
    const std::vector<Message> answers = follower.Drain();
    ASSERT_THAT(answers, SizeIs(1));
    const auto& answer = answers[0].As<AppendResponse>();
    ASSERT_TRUE(answer.rejected);
    EXPECT_EQ((EntryId{answer.hint_term, answer.hint_index}), c.hint);
    ASSERT_TRUE(leader.Step(answers[0]));
    const std::vector<Message> next = Only<AppendEntries>(leader.Drain());
    ASSERT_THAT(next, SizeIs(1));
    EXPECT_EQ(next[0].As<AppendEntries>().prev, c.next_prev);
  }
}

TEST(Probing, StaleRejectionsChangeNothing) {
  auto leader = ReplicatingLeader([](Config&) {});
  const auto before = leader->core().status().progress.at(NodeId(2)).ToString();
  ASSERT_TRUE(leader->Step(2, 1, AppendResponse{Index(1), true, Index(), Term()}));
  EXPECT_EQ(leader->core().status().progress.at(NodeId(2)).ToString(), before);
  EXPECT_THAT(leader->Drain(), IsEmpty());
}

// --- Commit --------------------------------------------------------------------------------------

// The leader's own acknowledgement, delayed until after it lost and regained nothing but a newer
// term, must not count in that term.
TEST(Commit, OwnAcknowledgementOfAnOlderTermIsIgnored) {
  TestNode leader(
      {.voters = Ids({1, 2, 3}), .tweak = [](Config& c) { c.async_storage_writes = true; }});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Propose("x"));
  Ready ready = leader->TakeReady();
  std::vector<Message> delayed;
  for (Message& m : ready.messages) {
    if (m.Is<StorageAppend>()) delayed = m.As<StorageAppend>().responses;
  }
  ASSERT_THAT(Only<AppendResponse>(delayed), SizeIs(1));
  ASSERT_TRUE(leader.Step(2, 2, Heartbeat{}));
  EXPECT_EQ(leader->role(), Role::kFollower);
  const Index committed = leader->committed();
  for (const Message& m : delayed) ASSERT_TRUE(leader.Step(m));
  EXPECT_EQ(leader->committed(), committed);
  EXPECT_TRUE(
      leader.logger().Contains("ignored a MsgAppResp message with lower term from 1 [term: 1]"));
  EXPECT_TRUE(leader.logger().Contains(
      "ignored entry appends from a MsgStorageAppendResp message with lower term [term: 1]"));
}

// "The leader may even commit before its own disk has the entry" (thesis, section 10.2.1).
TEST(Commit, FollowersAloneCanCommit) {
  TestNode leader({.tweak = [](Config& c) { c.async_storage_writes = true; }});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Propose("x"));
  Ready ready = leader->TakeReady();  // not persisted yet
  for (uint64_t follower : {2, 3}) {
    ASSERT_TRUE(leader.Step(follower, 1, AppendResponse{.index = Index(2)}));
  }
  EXPECT_EQ(leader->committed(), Index(2));
  Ready next = leader->TakeReady();
  EXPECT_TRUE(next.committed.empty() || next.committed.back().index < Index(2))
      << "but nothing is applied that is not on this disk";
}

TEST(Commit, LearnersDoNotCount) {
  TestNode leader({.voters = Ids({1, 2, 3}), .learners = Ids({4, 5})});
  leader.BecomeLeader();
  for (uint64_t learner : {4, 5}) {
    ASSERT_TRUE(leader.Step(learner, 1, AppendResponse{.index = Index(1)}));
  }
  EXPECT_EQ(leader->committed(), Index());
  ASSERT_TRUE(leader.Step(3, 1, AppendResponse{.index = Index(1)}));
  EXPECT_EQ(leader->committed(), Index(1));
}

TEST(Commit, HeartbeatsCarryWhatTheFollowerHas) {
  TestNode leader({});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Propose("x"));
  leader.Drain();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = Index(2)}));
  leader.Drain();
  leader.Tick();
  const std::vector<Message> beats = Only<Heartbeat>(leader.Drain());
  ASSERT_THAT(beats, SizeIs(2));
  EXPECT_EQ(beats[0].As<Heartbeat>().commit, Index(2));
  EXPECT_EQ(beats[1].As<Heartbeat>().commit, Index()) << "3 has acknowledged nothing";
}

// --- Proposals -----------------------------------------------------------------------------------

TEST(Proposals, FollowersForward) {
  TestNode node({});
  node.BecomeFollower(1, 2);
  ASSERT_TRUE(node.Propose("x"));
  const std::vector<Message> sent = node.Drain();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_TRUE(sent[0].Is<raft::Propose>());
  EXPECT_EQ(sent[0].to, NodeId(2));
  EXPECT_EQ(sent[0].from, NodeId(1));
  EXPECT_EQ(sent[0].term, Term());
}

TEST(Proposals, AreDroppedWithoutLeaderOrForwarding) {
  TestNode alone({});
  EXPECT_EQ(alone.Propose("x"), std::unexpected(StepError::kProposalDropped));
  ASSERT_TRUE(alone->StartCampaign());
  EXPECT_EQ(alone.Propose("x"), std::unexpected(StepError::kProposalDropped));

  TestNode node({.tweak = [](Config& c) { c.disable_proposal_forwarding = true; }});
  node.BecomeFollower(1, 2);
  EXPECT_EQ(node.Propose("x"), std::unexpected(StepError::kProposalDropped));
  EXPECT_TRUE(node.logger().Contains("1 not forwarding to leader 2 at term 1; dropping proposal"));
}

TEST(Proposals, BatchIsAllOrNothing) {
  TestNode leader({.voters = Ids({1}), .tweak = [](Config& c) { c.max_uncommitted_bytes = 10; }});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Propose("12345678"));
  EXPECT_FALSE(leader->Propose({Buffer(std::string("1")), Buffer(std::string("23"))}));
  leader.Drain();
  EXPECT_THAT(leader.AppliedData(), ElementsAre("12345678"));
}

// A leader cut off from its quorum must not pile up entries without end.
TEST(Proposals, UncommittedSizeIsBounded) {
  constexpr int kMax = 16;
  const std::string data = "testdata";
  TestNode leader({.tweak = [&](Config& c) { c.max_uncommitted_bytes = kMax * data.size(); }});
  leader.BecomeLeader();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = Index(1)}));
  leader.Drain();
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(leader.Propose(data).has_value(), i < kMax) << i;
  }
  EXPECT_TRUE(leader.Propose("")) << "empty ones always";
  EXPECT_TRUE(leader.logger().Contains("would exceed uncommitted entry size limit"));
  leader.Drain();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = leader->last_index()}));
  leader.Drain();
  EXPECT_TRUE(leader.Propose(data)) << "room again";
  leader.Drain();
  ASSERT_TRUE(leader.Step(2, 1, AppendResponse{.index = leader->last_index()}));
  leader.Drain();
  EXPECT_TRUE(leader.Propose(std::string(1000, 'x'))) << "of any size if nothing is uncommitted";
  EXPECT_FALSE(leader.Propose("x"));
}

TEST(Steps, LocalMessagesAndStrangersAreRefused) {
  TestNode node({});
  for (const MessageBody& body :
       {MessageBody(Campaign{}), MessageBody(Beat{}), MessageBody(CheckQuorum{}),
        MessageBody(Unreachable{}), MessageBody(SnapshotStatus{}), MessageBody(StorageAppend{}),
        MessageBody(StorageApplyResponse{})}) {
    EXPECT_EQ(node.Step(2, 0, body), std::unexpected(StepError::kLocalMessage));
  }
  for (const MessageBody& body :
       {MessageBody(AppendResponse{}), MessageBody(VoteResponse{}), MessageBody(PreVoteResponse{}),
        MessageBody(HeartbeatResponse{}), MessageBody(ReadIndexResponse{})}) {
    EXPECT_EQ(node.Step(9, 1, body), std::unexpected(StepError::kPeerNotFound));
  }
}

}  // namespace
}  // namespace raftkv::raft
