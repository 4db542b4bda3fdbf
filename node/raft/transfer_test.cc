#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;

constexpr int kElectionTicks = 10;

class Transfer : public testing::Test {
 protected:
  Transfer() : net_(3, [](Config& c) { c.check_quorum = c.pre_vote = true; }) { net_.Campaign(1); }
  void RequestAt(uint64_t id, uint64_t target) {
    net_[id]->RequestTransfer(NodeId(target));
    net_.Settle();
  }
  void ExpectLeader(uint64_t id) {
    for (uint64_t node : {1, 2, 3}) EXPECT_EQ(net_[node]->leader(), NodeId(id)) << "at " << node;
    EXPECT_EQ(net_[id]->transferee(), kNone);
  }
  TestNetwork net_;
};

TEST_F(Transfer, ToAnUpToDateFollowerAndBack) {
  RequestAt(1, 2);
  ExpectLeader(2);
  net_.Propose(2, "something");
  RequestAt(2, 1);
  ExpectLeader(1);
}

TEST_F(Transfer, RequestsAreForwardedToTheLeader) {
  RequestAt(3, 2);
  ExpectLeader(2);
}

TEST_F(Transfer, SlowFollowerIsBroughtUpToDateFirst) {
  net_.Isolate(3);
  net_.Propose(1, "missed");
  net_.Heal();
  RequestAt(1, 3);
  ExpectLeader(3);
  EXPECT_THAT(net_[3].AppliedData(), ElementsAre("missed"));
}

TEST_F(Transfer, AfterASnapshot) {
  net_.Isolate(3);
  net_.Propose(1, "missed");
  net_[1].SnapshotAndCompact();
  net_.Heal();
  RequestAt(1, 3);
  ExpectLeader(3);
  EXPECT_THAT(net_[3].AppliedData(), ElementsAre("missed"));
}

TEST_F(Transfer, ToItselfToAStrangerOrAgainDoesNothing) {
  RequestAt(1, 1);
  ExpectLeader(1);
  RequestAt(1, 9);
  ExpectLeader(1);
  net_.Isolate(3);
  RequestAt(1, 3);
  RequestAt(1, 3);
  EXPECT_EQ(net_[1]->transferee(), NodeId(3));
  RequestAt(1, 1);  // asks for the present leader: the transfer is called off
  ExpectLeader(1);
}

TEST_F(Transfer, ProposalsAreDroppedMeanwhile) {
  net_.Isolate(3);
  RequestAt(1, 3);
  const auto result = net_[1].Propose("refused");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), StepError::kProposalDropped);
}

TEST_F(Transfer, IsGivenUpAfterAnElectionTimeout) {
  net_.Isolate(3);
  RequestAt(1, 3);
  for (int i = 0; i < kElectionTicks; ++i) {
    EXPECT_EQ(net_[1]->transferee(), NodeId(3));
    net_[1].Tick();
    net_.Settle();
  }
  EXPECT_EQ(net_[1]->transferee(), kNone);
  EXPECT_EQ(net_[1]->role(), Role::kLeader);
  EXPECT_TRUE(net_[1].Propose("accepted again"));
}

TEST_F(Transfer, AnotherTargetReplacesTheFirst) {
  net_.Isolate(3);
  RequestAt(1, 3);
  RequestAt(1, 2);
  EXPECT_EQ(net_[2]->role(), Role::kLeader);
}

TEST_F(Transfer, EndsWithTheTerm) {
  net_.Isolate(3);
  RequestAt(1, 3);
  net_.Send(1, 2, 5, RequestVote{.last = {Term(9), Index(9)}, .leader_transfer = true});
  EXPECT_EQ(net_[1]->role(), Role::kFollower);
  EXPECT_EQ(net_[1]->transferee(), kNone);
}

TEST_F(Transfer, EndsWhenTheTargetIsRemoved) {
  net_.Isolate(3);
  RequestAt(1, 3);
  net_[1]->ApplyConfChange({.steps = {{ConfChangeType::kRemove, NodeId(3)}}});
  EXPECT_EQ(net_[1]->transferee(), kNone);
}

// With pre-vote and leases on, the election goes through at once all the same.
TEST_F(Transfer, SkipsPreVote) {
  net_.Isolate(1);
  net_[2].Drain();
  ASSERT_TRUE(net_[2].Step(1, 1, TimeoutNow{}));
  EXPECT_EQ(net_[2]->role(), Role::kCandidate);
  const std::vector<Message> requests = Only<RequestVote>(net_[2].Drain());
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_TRUE(requests[0].As<RequestVote>().leader_transfer);
}

TEST_F(Transfer, NotToALearner) {
  TestNode leader({.voters = Ids({1, 2}), .learners = Ids({3})});
  leader.BecomeLeader();
  leader->RequestTransfer(NodeId(3));
  EXPECT_EQ(leader->transferee(), kNone);
}

TEST_F(Transfer, CandidatesIgnoreTimeoutNow) {
  TestNode node({});
  ASSERT_TRUE(node->StartCampaign());
  ASSERT_TRUE(node.Step(2, 1, TimeoutNow{}));
  EXPECT_EQ(node->term(), Term(1));
  EXPECT_TRUE(
      node.logger().Contains("1 [term 1 state StateCandidate] ignored MsgTimeoutNow from 2"));
}

}  // namespace
}  // namespace raftkv::raft
