// Configuration changes and snapshots in a running core; the arithmetic of configurations is in
// confchange_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

ConfChange Change(std::vector<ConfChangeStep> steps,
                  ConfChangeTransition transition = ConfChangeTransition::kAuto) {
  return {.transition = transition, .steps = std::move(steps)};
}
ConfChangeStep AddVoter(uint64_t id) { return {ConfChangeType::kAddVoter, NodeId(id)}; }
ConfChangeStep AddLearner(uint64_t id) { return {ConfChangeType::kAddLearner, NodeId(id)}; }
ConfChangeStep Remove(uint64_t id) { return {ConfChangeType::kRemove, NodeId(id)}; }

class Membership : public testing::Test {
 protected:
  Membership() : net_(3) { net_.Campaign(1); }
  void Propose(const ConfChange& change) {
    ASSERT_TRUE(net_[1]->ProposeConfChange(change));
    net_.Settle();
  }
  // A new node knows the first configuration, as from a snapshot; changes come with the log.
  void Join(uint64_t id) { net_.Add({.id = id, .voters = Ids({1, 2, 3})}); }
  std::string ConfigAt(uint64_t id) { return net_[id]->tracker_config().ToString(); }

  TestNetwork net_;
};

TEST_F(Membership, LearnerJoinsCatchesUpAndIsPromoted) {
  net_.Propose(1, "before");
  Join(4);
  Propose(Change({AddLearner(4)}));
  net_.Tick(2);
  EXPECT_TRUE(net_[4]->is_learner());
  EXPECT_THAT(net_[4].AppliedData(), ElementsAre("before"));
  Propose(Change({AddVoter(4)}));
  net_.Tick(2);
  EXPECT_FALSE(net_[4]->is_learner());
  EXPECT_EQ(ConfigAt(4), "voters=(1 2 3 4)");
}

TEST_F(Membership, SeveralStepsGoThroughAJointConfiguration) {
  Join(4);
  Join(5);
  Propose(Change({AddVoter(4), AddVoter(5), Remove(3)}));
  EXPECT_TRUE(net_[1].logger().Contains(
      "initiating automatic transition out of joint configuration voters=(1 2 4 5)&&(1 2 3) "
      "autoleave"));
  net_.Tick(3);
  for (uint64_t id : {1, 2, 4, 5}) EXPECT_EQ(ConfigAt(id), "voters=(1 2 4 5)");
}

TEST_F(Membership, ExplicitJointConfigurationStaysUntilLeft) {
  Propose(Change({AddLearner(3)}, ConfChangeTransition::kJointExplicit));
  net_.Tick(2);
  EXPECT_EQ(ConfigAt(2), "voters=(1 2)&&(1 2 3) learners_next=(3)");
  Propose(Change({AddVoter(4)}));  // refused: joint
  EXPECT_TRUE(net_[1].logger().Contains("must transition out of joint config first"));
  Propose(Change({}));
  net_.Tick(2);
  EXPECT_EQ(ConfigAt(2), "voters=(1 2) learners=(3)");
}

TEST_F(Membership, JointConfigurationNeedsBothMajorities) {
  Propose(Change({Remove(2), Remove(3), AddVoter(4), AddVoter(5)},
                 ConfChangeTransition::kJointExplicit));
  const Index committed = net_[1]->committed();
  net_.Propose(1, "the old majority alone");
  EXPECT_EQ(net_[1]->committed(), committed);
  Join(4);
  net_.Tick(3);
  EXPECT_GT(net_[1]->committed(), committed);
}

TEST_F(Membership, OneChangeAtATime) {
  net_.filter = [](const Message&) { return false; };
  ASSERT_TRUE(net_[1]->ProposeConfChange(Change({AddVoter(4)})));
  const Index pending = net_[1]->pending_conf_index();
  EXPECT_EQ(pending, net_[1]->last_index());
  ASSERT_TRUE(net_[1]->ProposeConfChange(Change({AddVoter(5)})));
  EXPECT_EQ(net_[1]->pending_conf_index(), pending);
  const std::vector<Entry> entries = net_[1].AllEntries();
  EXPECT_TRUE(entries[entries.size() - 2].IsConfChange());
  EXPECT_FALSE(entries.back().IsConfChange()) << "replaced by an empty entry";
  EXPECT_TRUE(
      net_[1].logger().Contains("possible unapplied conf change at index 2 (applied to 1)"));
}

TEST_F(Membership, NewLeaderWaitsForWhatItFoundInItsLog) {
  TestNode leader({.log = {1, 1}, .hard_state = {.term = Term(1)}});
  leader.BecomeLeader();
  EXPECT_EQ(leader->pending_conf_index(), Index(2));
  ASSERT_TRUE(leader->ProposeConfChange(Change({AddVoter(4)})));
  EXPECT_FALSE(leader.AllEntries().back().IsConfChange());
}

TEST_F(Membership, LeavingWithoutJointConfigurationIsRefused) {
  Propose(Change({}));
  EXPECT_TRUE(net_[1].logger().Contains("not in joint state; refusing empty conf change"));
  EXPECT_EQ(ConfigAt(1), "voters=(1 2 3)");
}

TEST_F(Membership, ShrinkingCommitsWhatTheSmallerQuorumHas) {
  TestNode leader({.voters = Ids({1, 2})});
  leader.BecomeLeader();
  EXPECT_EQ(leader->committed(), Index());
  leader->ApplyConfChange(Change({Remove(2)}));
  EXPECT_EQ(leader->committed(), Index(1));
}

TEST_F(Membership, RemovedLeaderGoesOnUnlessToldToStepDown) {
  Propose(Change({Remove(1)}));
  EXPECT_EQ(net_[1]->role(), Role::kLeader);
  EXPECT_EQ(net_[1].Propose("x"), std::unexpected(StepError::kProposalDropped));

  TestNode node({.tweak = [](Config& c) { c.step_down_on_removal = true; }});
  node.BecomeLeader();
  node->ApplyConfChange(Change({Remove(1)}));
  EXPECT_EQ(node->role(), Role::kFollower);
}

TEST_F(Membership, AutoLeaveWaitsForTheEndOfATransfer) {
  net_.Isolate(3);
  Propose(Change({AddLearner(4), AddLearner(5)}));
  net_[1]->RequestTransfer(NodeId(3));
  EXPECT_EQ(net_[1]->transferee(), NodeId(3));
  net_[1].Tick(10);
  net_.Settle();
  net_.Propose(1, "applied later");
  net_.Tick(2);
  EXPECT_EQ(ConfigAt(2), "voters=(1 2 3) learners=(4 5)");
}

// --- Snapshots -----------------------------------------------------------------------------------

class Snapshots : public Membership {};

TEST_F(Snapshots, BringBackAFollowerThatTheLogNoLongerReaches) {
  net_.Isolate(3);
  for (const char* data : {"a", "b", "c"}) net_.Propose(1, data);
  net_[1].SnapshotAndCompact();
  net_.Heal();
  net_.Tick(2);
  EXPECT_THAT(net_[3].AppliedData(), ElementsAre("abc"));
  EXPECT_EQ(net_[3].log().first_index(), net_[1].log().first_index());
  net_.Propose(1, "d");
  EXPECT_THAT(net_[3].AppliedData(), ElementsAre("abc", "d"));
}

TEST_F(Snapshots, CarryTheConfiguration) {
  Propose(Change({AddLearner(4)}));
  net_[1].SnapshotAndCompact();
  Join(4);
  net_.Tick(3);
  EXPECT_EQ(ConfigAt(4), "voters=(1 2 3) learners=(4)");
  EXPECT_TRUE(net_[4]->is_learner());
}

Snapshot SnapshotAt(uint64_t index, uint64_t term, std::vector<NodeId> voters) {
  return {.index = Index(index), .term = Term(term), .conf = {.voters = std::move(voters)}};
}

TEST_F(Snapshots, AreIgnoredIfOldForeignOrNotNeeded) {
  TestNode node({.log = {1, 1, 1}, .hard_state = {.term = Term(1), .commit = Index(2)}});
  node.Drain();
  const auto install = [&](Snapshot snapshot) {
    EXPECT_TRUE(node.Step(2, 1, InstallSnapshot{std::move(snapshot)}));
    const std::vector<Message> sent = node.Drain();
    EXPECT_THAT(sent, SizeIs(1));
    EXPECT_FALSE(node.core().status().hard_state.IsEmpty());
    return sent.back().As<AppendResponse>().index;
  };
  EXPECT_EQ(install(SnapshotAt(2, 1, Ids({1, 2, 3}))), Index(2)) << "old";
  EXPECT_EQ(install(SnapshotAt(9, 1, Ids({2, 3}))), Index(2)) << "not for this node";
  EXPECT_EQ(install(SnapshotAt(3, 1, Ids({1, 2, 3}))), Index(3)) << "commits what is in the log";
  EXPECT_TRUE(node.logger().Contains("fast-forwarded commit to snapshot [index: 3, term: 1]"));
  EXPECT_EQ(node->first_index(), Index(1));
  EXPECT_EQ(install(SnapshotAt(9, 1, Ids({1, 2}))), Index(9)) << "taken";
  EXPECT_EQ(node->first_index(), Index(10));
  EXPECT_EQ(node->tracker_config().ToString(), "voters=(1 2)");
}

TEST_F(Snapshots, NoCampaignWhileOneIsBeingInstalled) {
  TestNode node({.tweak = [](Config& c) { c.async_storage_writes = true; }});
  ASSERT_TRUE(node.Step(2, 1, InstallSnapshot{SnapshotAt(9, 1, Ids({1, 2, 3}))}));
  Ready ready = node->TakeReady();
  node.Tick(30);
  EXPECT_EQ(node->role(), Role::kFollower);
  EXPECT_EQ(node->applied(), Index());
  ASSERT_TRUE(node.log().InstallSnapshot(*ready.snapshot));
  for (const Message& m : ready.messages.back().As<StorageAppend>().responses) {
    ASSERT_TRUE(m.to != NodeId(1) || node.Step(m));
  }
  EXPECT_EQ(node->applied(), Index(9));
  node.Tick(30);
  EXPECT_EQ(node->role(), Role::kCandidate);
}

// A leader whose log starts after index 11, and a follower that needs its snapshot.
class PendingSnapshot : public testing::Test {
 protected:
  PendingSnapshot() : leader_({.voters = Ids({1, 2})}) {
    leader_.log().InstallSnapshot(SnapshotAt(11, 1, Ids({1, 2})));
    leader_.log().SetHardState({.term = Term(1), .commit = Index(11)});
    leader_.Restart();
    leader_.BecomeLeader();
    EXPECT_TRUE(leader_.Step(2, 2, AppendResponse{Index(11), true, Index(), Term()}));
    EXPECT_THAT(Only<InstallSnapshot>(leader_.Drain()), SizeIs(1));
    EXPECT_EQ(Follower().state, ProgressState::kSnapshot);
    EXPECT_TRUE(leader_.Propose("x"));
    EXPECT_THAT(leader_.Drain(), IsEmpty()) << "paused";
  }
  Progress Follower() { return leader_->status().progress.at(NodeId(2)); }
  TestNode leader_;
};

TEST_F(PendingSnapshot, FailureStartsOver) {
  leader_->ReportSnapshot(NodeId(2), true);
  EXPECT_EQ(Follower().state, ProgressState::kProbe);
  EXPECT_EQ(Follower().next, Index(1));
  EXPECT_TRUE(Follower().append_flow_paused) << "until the next heartbeat";
}

TEST_F(PendingSnapshot, SuccessGoesOnAfterIt) {
  leader_->ReportSnapshot(NodeId(2), false);
  EXPECT_EQ(Follower().state, ProgressState::kProbe);
  EXPECT_EQ(Follower().next, Index(12));
  EXPECT_TRUE(Follower().append_flow_paused) << "until the follower has answered";
}

TEST_F(PendingSnapshot, AnyAcknowledgementThatTheLogReachesEndsIt) {
  ASSERT_TRUE(leader_.Step(2, 2, AppendResponse{.index = Index(11)}));
  EXPECT_EQ(Follower().state, ProgressState::kReplicate);
  EXPECT_THAT(Only<AppendEntries>(leader_.Drain()), SizeIs(1));
}

TEST_F(PendingSnapshot, IsSentOnlyToMembersThatWereHeardFrom) {
  TestNode silent({.voters = Ids({1, 2})});
  silent.log().InstallSnapshot(SnapshotAt(11, 1, Ids({1, 2})));
  silent.log().SetHardState({.term = Term(1), .commit = Index(11)});
  silent.Restart();
  silent.BecomeLeader();
  silent->ReportUnreachable(NodeId(2));
  silent.Tick(3);
  EXPECT_THAT(Only<InstallSnapshot>(silent.Drain()), IsEmpty());
}

}  // namespace
}  // namespace raftkv::raft
