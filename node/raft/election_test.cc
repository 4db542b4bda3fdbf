// Pre-vote, leases and what else the core adds to the paper's elections.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;

constexpr int kElectionTicks = 10;

void UsePreVote(Config& c) { c.pre_vote = true; }
void UseCheckQuorum(Config& c) { c.check_quorum = true; }
void UseBoth(Config& c) { c.pre_vote = c.check_quorum = true; }

TEST(Election, SingleVoterWinsAtOnce) {
  for (const auto& tweak : {+[](Config&) {}, UsePreVote}) {
    TestNode node({.voters = Ids({1}), .tweak = tweak});
    ASSERT_TRUE(node->StartCampaign());
    node.Drain();
    EXPECT_EQ(node->role(), Role::kLeader);
    EXPECT_EQ(node->term(), Term(1));
  }
}

TEST(Election, PreVoteChangesNeitherTermNorVote) {
  TestNode node({.hard_state = {.term = Term(3), .vote = NodeId(2)}, .tweak = UsePreVote});
  ASSERT_TRUE(node->StartCampaign());
  const std::vector<Message> requests = Only<RequestPreVote>(node.Drain());
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].term, Term(4));
  EXPECT_EQ(node->role(), Role::kPreCandidate);
  EXPECT_EQ(node->term(), Term(3));
  EXPECT_EQ(node.log().hard_state().vote, NodeId(2));
  // A majority of grants starts the election proper.
  ASSERT_TRUE(node.Step(2, 4, PreVoteResponse{}));
  EXPECT_EQ(node->role(), Role::kCandidate);
  EXPECT_EQ(node->term(), Term(4));
  // Late answers to the question do not count as votes.
  ASSERT_TRUE(node.Step(3, 4, PreVoteResponse{}));
  node.Drain();
  EXPECT_EQ(node->role(), Role::kCandidate);
}

TEST(Election, PreVoterDoesNotChangeState) {
  TestNode node({.hard_state = {.term = Term(3)}, .tweak = UsePreVote});
  ASSERT_TRUE(node.Step(2, 7, RequestPreVote{}));
  const std::vector<Message> sent = node.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_FALSE(sent[0].As<PreVoteResponse>().rejected);
  EXPECT_EQ(sent[0].term, Term(7)) << "the term of the question, or it would be ignored as stale";
  EXPECT_EQ(node->term(), Term(3));
  EXPECT_EQ(node.log().hard_state().vote, kNone);
}

TEST(Election, LostPreVoteBringsTheNewerTerm) {
  TestNode node({.hard_state = {.term = Term(3)}, .tweak = UsePreVote});
  ASSERT_TRUE(node->StartCampaign());
  node.Drain();
  ASSERT_TRUE(node.Step(2, 9, PreVoteResponse{.rejected = true}));
  EXPECT_EQ(node->role(), Role::kFollower);
  EXPECT_EQ(node->term(), Term(9));
}

TEST(Election, LeaderIgnoresCampaigns) {
  TestNode node({});
  node.BecomeLeader();
  ASSERT_TRUE(node->StartCampaign());
  EXPECT_EQ(node->role(), Role::kLeader);
  EXPECT_TRUE(node.logger().Contains("1 ignoring MsgHup because already leader"));
}

TEST(Election, OnlyVotersCampaign) {
  TestNode learner({.id = 3, .voters = Ids({1, 2}), .learners = Ids({3})});
  learner.Tick(3 * kElectionTicks);
  EXPECT_EQ(learner->role(), Role::kFollower);
  EXPECT_TRUE(learner.Drain().empty());
  ASSERT_TRUE(learner->StartCampaign());
  EXPECT_EQ(learner->role(), Role::kFollower);
  ASSERT_TRUE(learner.Step(1, 0, TimeoutNow{}));
  EXPECT_EQ(learner->role(), Role::kFollower);

  TestNode stranger({.id = 9});
  ASSERT_TRUE(stranger->StartCampaign());
  EXPECT_EQ(stranger->role(), Role::kFollower);
  EXPECT_TRUE(stranger.logger().Contains("9 is unpromotable and can not campaign"));
}

// It may have been promoted without knowing.
TEST(Election, LearnersVote) {
  TestNode learner({.id = 3, .voters = Ids({1, 2}), .learners = Ids({3})});
  ASSERT_TRUE(learner.Step(2, 2, RequestVote{{Term(1), Index(11)}}));
  const std::vector<Message> sent = learner.Drain();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_FALSE(sent[0].As<VoteResponse>().rejected);
}

TEST(Election, NoCampaignBeforeCommittedConfChangesAreApplied) {
  TestNode node({.hard_state = {.term = Term(1)}});
  Entry change{Term(1), Index(1),
               std::make_shared<const ConfChange>(
                   ConfChange{.steps = {{ConfChangeType::kAddVoter, NodeId(4)}}})};
  ASSERT_TRUE(node.Step(2, 1, AppendEntries{{}, {change}, Index(1)}));
  ASSERT_TRUE(node->StartCampaign());
  EXPECT_EQ(node->role(), Role::kFollower);
  EXPECT_TRUE(node.logger().Contains(
      "1 cannot campaign at term 1 since there are still pending configuration changes to apply"));
  node.Drain();
  ASSERT_TRUE(node->StartCampaign());
  EXPECT_EQ(node->role(), Role::kCandidate);
}

// The simulator's (seed 2731904813): while it asked for pre-votes, a member was told that an entry
// of its log is committed, which removes it. It applied that, won, and was no member to lead.
TEST(Election, WhoLearnsOfACommittedConfChangeStandsBack) {
  for (const bool pre_vote : {false, true}) {
    TestNode node({.hard_state = {.term = Term(1)},
                   .tweak = [&](Config& config) { config.pre_vote = pre_vote; }});
    Entry change{Term(1), Index(1),
                 std::make_shared<const ConfChange>(
                     ConfChange{.steps = {{ConfChangeType::kRemove, NodeId(1)}}})};
    ASSERT_TRUE(node.Step(2, 1, AppendEntries{{}, {change}, Index()}));
    node.Drain();
    ASSERT_TRUE(node->StartCampaign());
    ASSERT_EQ(node->role(), pre_vote ? Role::kPreCandidate : Role::kCandidate);
    node->LearnCommitted({Term(1), Index(1)});
    ASSERT_EQ(node->role(), Role::kFollower);
    node.Drain();
    for (const uint64_t voter : {2, 3}) {
      const MessageBody granted =
          pre_vote ? MessageBody(PreVoteResponse{}) : MessageBody(VoteResponse{});
      ASSERT_TRUE(node.Step(voter, 2, granted));
    }
    EXPECT_EQ(node->role(), Role::kFollower);
  }
}

// --- CheckQuorum and the lease -------------------------------------------------------------------

TEST(CheckQuorum, LeaderWithoutQuorumStepsDown) {
  TestNode node({.tweak = UseCheckQuorum});
  node.BecomeLeader();
  ASSERT_TRUE(node.Step(2, 1, HeartbeatResponse{}));
  node.Tick(kElectionTicks);
  EXPECT_EQ(node->role(), Role::kLeader) << "heard from one of two";
  node.Tick(kElectionTicks);
  EXPECT_EQ(node->role(), Role::kFollower);
  EXPECT_EQ(node->term(), Term(1));
  EXPECT_TRUE(node.logger().Contains("1 stepped down to follower since quorum is not active"));
}

TEST(CheckQuorum, VotesAreWithheldWhileTheLeaderIsHeard) {
  for (bool pre : {false, true}) {
    TestNode node({.tweak = UseBoth});
    node.BecomeFollower(1, 2);
    const MessageBody request = pre ? MessageBody(RequestPreVote{}) : MessageBody(RequestVote{});
    ASSERT_TRUE(node.Step(3, 2, request));
    EXPECT_TRUE(node.Drain().empty());
    EXPECT_EQ(node->term(), Term(1));
    EXPECT_TRUE(node.logger().Contains("lease is not expired (remaining ticks: 10)"));
    node->SetRandomizedElectionTimeout(100);
    node.Tick(kElectionTicks);
    ASSERT_TRUE(node.Step(3, 2, request));
    EXPECT_EQ(node.Drain().size(), 1u);
  }
}

TEST(CheckQuorum, TransferOverridesTheLease) {
  TestNode node({.tweak = UseCheckQuorum});
  node.BecomeFollower(1, 2);
  ASSERT_TRUE(node.Step(3, 2, RequestVote{.last = {}, .leader_transfer = true}));
  EXPECT_EQ(node.Drain().size(), 1u);
  EXPECT_EQ(node->term(), Term(2));
}

TEST(CheckQuorum, ForgottenLeaderHasNoLease) {
  TestNode node({.tweak = UseBoth});
  node.BecomeFollower(1, 2);
  ASSERT_TRUE(node->RequestForgetLeader());
  EXPECT_EQ(node->leader(), kNone);
  ASSERT_TRUE(node.Step(3, 2, RequestPreVote{}));
  EXPECT_EQ(node.Drain().size(), 1u);
  ASSERT_TRUE(node.Step(2, 1, Heartbeat{}));
  EXPECT_EQ(node->leader(), NodeId(2));
}

TEST(CheckQuorum, LeasesForbidForgettingTheLeader) {
  TestNode node({.tweak = [](Config& c) {
    c.check_quorum = true;
    c.read_only = ReadOnlyOption::kLeaseBased;
  }});
  node.BecomeFollower(1, 2);
  ASSERT_TRUE(node->RequestForgetLeader());
  EXPECT_EQ(node->leader(), NodeId(2));
}

// --- A leader to which the connection broke ------------------------------------------------------

TEST(LostLeader, ShortensTheWaitButNotBelowAnElectionTimeout) {
  for (int drawn = kElectionTicks; drawn < 2 * kElectionTicks; ++drawn) {
    TestNode node({.tweak = UseBoth});
    node.BecomeFollower(1, 2);
    node->SetRandomizedElectionTimeout(drawn);
    int ticks = 0;
    while (node->role() == Role::kFollower) {
      node->Tick(/*leader_lost=*/true);
      ++ticks;
    }
    EXPECT_GE(ticks, kElectionTicks);
    EXPECT_LE(ticks, kElectionTicks + kElectionTicks / 4);
    EXPECT_EQ(node->role(), Role::kPreCandidate);
    // Nobody answers: there is no leader whose loss would be a reason to hurry.
    node.Drain();
    node->SetRandomizedElectionTimeout(2 * kElectionTicks - 1);
    for (int i = 1; i < 2 * kElectionTicks - 1; ++i) node->Tick(/*leader_lost=*/true);
    EXPECT_TRUE(node.Drain().empty());
    node->Tick(/*leader_lost=*/true);
    EXPECT_EQ(Only<RequestPreVote>(node.Drain()).size(), 2u);
  }
}

TEST(LostLeader, VotesAreWithheldAsLongAsEver) {
  TestNode node({.tweak = UseBoth});
  node.BecomeFollower(1, 2);
  for (int i = 1; i < kElectionTicks; ++i) node->Tick(/*leader_lost=*/true);
  ASSERT_TRUE(node.Step(3, 2, RequestPreVote{}));
  ASSERT_TRUE(node.Step(3, 2, RequestVote{}));
  EXPECT_TRUE(node.Drain().empty());
  EXPECT_EQ(node->leader(), NodeId(2));
}

// One that is heard leads, whatever became of our connection to it.
TEST(LostLeader, IsFollowedWhileItIsHeard) {
  TestNode node({.tweak = UseBoth});
  node.BecomeFollower(1, 2);
  for (int i = 0; i < 10 * kElectionTicks; ++i) {
    node->Tick(/*leader_lost=*/true);
    ASSERT_TRUE(node.Step(2, 1, Heartbeat{}));
  }
  EXPECT_EQ(node->role(), Role::kFollower);
  EXPECT_EQ(node->leader(), NodeId(2));
}

// A candidate whose term ran ahead while it was cut off is brought back by the leader's messages:
// its answer makes the leader step down, and an election at a newer term follows.
TEST(CheckQuorum, StuckCandidateIsFreed) {
  TestNetwork net(3, UseCheckQuorum);
  net.Campaign(1);
  net.Isolate(1);
  net.Campaign(3);  // 2 still has a lease for 1
  net.Campaign(3);
  EXPECT_EQ(net[2]->role(), Role::kFollower);
  EXPECT_EQ(net[3]->role(), Role::kCandidate);
  EXPECT_EQ(net[3]->term(), net[2]->term().Next().Next());

  net.Heal();
  net.Send(3, 1, net[1]->term().value, Heartbeat{});
  EXPECT_EQ(net[1]->role(), Role::kFollower);
  EXPECT_EQ(net[1]->term(), net[3]->term());
  net.Campaign(3);
  EXPECT_EQ(net[3]->role(), Role::kLeader);
}

// --- A node that comes back ----------------------------------------------------------------------

// Without pre-vote its newer term deposes the leader.
TEST(Disruption, WithoutPreVote) {
  TestNetwork net(3, UseCheckQuorum);
  net.Campaign(1);
  net.Isolate(3);
  net.Campaign(3);
  net.Heal();
  net.Tick(1);
  EXPECT_NE(net[1]->role(), Role::kLeader);
}

// With it the leader stays, and the node follows.
TEST(Disruption, PreVotePreventsIt) {
  TestNetwork net(3, UseBoth);
  net.Campaign(1);
  net.Isolate(3);
  for (const char* data : {"a", "b", "c"}) net.Propose(1, data);
  net.Campaign(3);
  EXPECT_EQ(net[3]->role(), Role::kPreCandidate);
  net.Heal();
  net.Tick(2);
  EXPECT_EQ(net[1]->role(), Role::kLeader);
  EXPECT_EQ(net[1]->term(), Term(1));
  EXPECT_EQ(net[3]->role(), Role::kFollower);
  EXPECT_THAT(net[3].AppliedData(), ElementsAre("a", "b", "c"));
}

// --- Switching pre-vote on, node by node ---------------------------------------------------------

// 1 leads; 3, still without pre-vote, was cut off and has a newer term and a shorter log.
class PreVoteMigration : public testing::Test {
 protected:
  PreVoteMigration() : net_(3) {
    for (uint64_t id : {1, 2}) net_[id].Restart(UsePreVote);
    net_.Campaign(1);
    net_.Isolate(3);
    net_.Propose(1, "some data");
    net_.Campaign(3);
    net_.Campaign(3);
    EXPECT_EQ(net_[1]->role(), Role::kLeader);
    EXPECT_EQ(net_[3]->role(), Role::kCandidate);
    EXPECT_GT(net_[3]->term(), net_[1]->term());
    EXPECT_LT(net_[3]->last_index(), net_[1]->last_index());
    net_[3].Restart(UsePreVote);
  }
  TestNetwork net_;
};

TEST_F(PreVoteMigration, ElectionCompletesDespiteNewerTermAndShorterLog) {
  net_.Heal();
  net_.Isolate(1);
  net_.Campaign(3);  // refused by 2 for its log
  EXPECT_NE(net_[3]->role(), Role::kLeader);
  net_.Campaign(2);  // refused by 3 for its term, which it learns by that
  net_.Campaign(3);
  net_.Campaign(2);
  EXPECT_TRUE(net_[2]->role() == Role::kLeader || net_[3]->role() == Role::kFollower);
  net_.Campaign(2);
  EXPECT_EQ(net_[2]->role(), Role::kLeader);
  EXPECT_EQ(net_[3]->role(), Role::kFollower);
}

TEST_F(PreVoteMigration, StuckPreCandidateIsFreed) {
  net_.Heal();
  net_.Campaign(3);
  net_.Campaign(3);
  EXPECT_NE(net_[3]->role(), Role::kLeader);
  // The leader's next message meets the newer term.
  net_.Send(3, 1, net_[1]->term().value, Heartbeat{});
  EXPECT_EQ(net_[1]->role(), Role::kFollower);
  EXPECT_EQ(net_[1]->term(), net_[3]->term());
  net_.Campaign(1);
  EXPECT_EQ(net_[1]->role(), Role::kLeader);
  net_.Tick(2);
  EXPECT_THAT(net_[3].AppliedData(), ElementsAre("some data"));
}

}  // namespace
}  // namespace raftkv::raft
