// The end of members, and those who stay: who hands over, who tells whom.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

TEST(Departure, LeaderHandsOverBeforeItIsRemoved) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& old_leader = *cluster.Leader();
  v1::ChangeMembershipRequest remove;
  remove.add_remove(old_leader.id().value);
  auto removed = old_leader.Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
  ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
  EXPECT_EQ((**removed)->conf().voters_size(), 2);
  ASSERT_NE(cluster.Leader(), nullptr);
  EXPECT_NE(cluster.Leader(), &old_leader);
  EXPECT_TRUE(cluster.Run(50, [&] { return old_leader.removed(); }));
}

// Was answered as one of unknown outcome (504): whoever is removed is let in no more, and the
// successor's answer was lost with the stream.
TEST(Departure, LeaderThatRemovesItselfKnowsThatItWorked) {
  for (const bool others_too : {false, true}) {
    TestCluster cluster;
    cluster.StartStatic(5);
    TestNode& old_leader = *cluster.Leader();
    old_leader.LoseReplies(true);
    v1::ChangeMembershipRequest change;
    change.add_remove(old_leader.id().value);
    if (others_too) {
      TestNode& other = cluster.Follower();
      change.add_demote(other.id().value);
    }
    auto removed = old_leader.Change(change, std::chrono::seconds(5));
    ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
    ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
    EXPECT_EQ((**removed)->conf().voters_size(), others_too ? 3 : 4);
    EXPECT_EQ((**removed)->conf().learners_size(), others_too ? 1 : 0);
    EXPECT_EQ((**removed)->conf().voters_outgoing_size(), 0);
    EXPECT_TRUE(cluster.Run(50, [&] { return old_leader.removed(); }));
  }
}

// ... but not if nobody says that it is removed.
TEST(Departure, RemovalOfOneselfThatNobodyConfirmsIsOfUnknownOutcome) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& asked = cluster.Follower();
  asked.LoseReplies(true);
  v1::ChangeMembershipRequest remove;
  remove.add_remove(asked.id().value);
  auto removed = asked.Change(remove, std::chrono::seconds(2));
  cluster.Settle();
  cluster.Isolate(asked.options().name);
  ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
  ASSERT_FALSE((*removed)->has_value());
  EXPECT_EQ((*removed)->error().code(), Code::kUnknownOutcome);
}

// The simulator's: the old members were gone before the new ones knew that the joint configuration
// had been left; they asked the old ones for votes, in vain, for ever.
TEST(Departure, RemovedMembersStayUntilAMajorityKnows) {
  TestCluster cluster;
  TestNode& old = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return old.replica().is_leader(); }));
  v1::ChangeMembershipRequest swap;
  swap.set_force(true);
  swap.add_remove(old.id().value);
  for (const char* name : {"n2", "n3"}) {
    v1::Member& voter = *swap.add_add_voters();
    voter.set_id(cluster.Add(name).id().value);
    voter.set_name(name);
    voter.set_peer_address(std::string(name) + ":1");
  }
  (void)old.Change(swap);
  // The old leader learns that the change is complete; what it says of it gets lost.
  ASSERT_TRUE(cluster.Run(100, [&] {
    for (const char* name : {"n2", "n3"}) {
      if (cluster.node(name).replica().blank()) return false;
      cluster.node(name).StallApply(cluster.node(name).machine().cluster()->conf().voters_size() >
                                    0);
    }
    return old.machine().cluster()->removed_ids_size() == 1;
  }));
  for (const char* name : {"n2", "n3"}) cluster.Cut(name, "n1");
  cluster.Run(50);
  EXPECT_FALSE(old.removed()) << "nobody has called it removed";
  for (const char* name : {"n2", "n3"}) {
    TestNode& node = cluster.node(name);
    node.Crash();
    node.Boot();
    node.StallApply(false);
  }
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(300, [&] { return cluster.Leader() != nullptr && old.removed(); }));
}

// The simulator's: what is left of three members forgot in a crash that it was alone, and asked the
// others, who had gone, for votes for ever.
TEST(Departure, LastMemberOfThreeRemembersThatItIsAlone) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& last = *cluster.Leader();
  v1::ChangeMembershipRequest remove;
  for (const char* name : {"n1", "n2", "n3"}) {
    if (&cluster.node(name) != &last) remove.add_remove(cluster.node(name).id().value);
  }
  auto removed = last.Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] {
    for (const char* name : {"n1", "n2", "n3"}) {
      if (&cluster.node(name) != &last && !cluster.node(name).removed()) return false;
    }
    return removed->has_value();
  }));
  ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Crash();
  last.Boot();
  EXPECT_TRUE(cluster.Run(100, [&] { return last.replica().is_leader(); }));
}

// The answer must not have to come through the leader that is removed.
TEST(Departure, FollowerIsAnsweredWhenItRemovesTheLeader) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& old_leader = *cluster.Leader();
  TestNode& asked = cluster.Follower();
  v1::ChangeMembershipRequest remove;
  remove.add_remove(old_leader.id().value);
  auto removed = asked.Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != &old_leader; }));
  cluster.Isolate(old_leader.options().name);
  ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
  ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
  EXPECT_EQ((**removed)->conf().voters_size(), 2);
}

// The entry that leaves a joint configuration, once it is in an append message; and what messages
// say of it.
class LeaveWatch {
 public:
  void Look(const raft::Message& message) {
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    if (append == nullptr) return;
    for (const raft::Entry& entry : append->entries) {
      if (!entry.IsConfChange() || entry.index <= last_change_) continue;
      last_change_ = entry.index;
      if (++changes_ == 2) leave_ = entry.index;
    }
  }
  bool seen() const { return leave_ > raft::Index(0); }
  bool Commits(const raft::Message& message) const {
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    const auto* heartbeat = std::get_if<raft::Heartbeat>(&message.body);
    return seen() && ((append != nullptr && append->commit >= leave_) ||
                      (heartbeat != nullptr && heartbeat->commit >= leave_));
  }
  bool HasMore(const raft::Message& message) const {
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    return seen() && append != nullptr && !append->entries.empty() &&
           append->entries.back().index > leave_;
  }

 private:
  size_t changes_ = 0;
  raft::Index last_change_{0};
  raft::Index leave_{0};
};

// The simulator's: two of three voters go, and the leader among them dies when the joint
// configuration has been left. The one that stays does not know that, needs a vote of one of them,
// and their logs are longer by entries that nobody can commit any more: no leader ever again.
TEST(Departure, VoterThatIsLeftAloneIsToldSoByThoseWhoRefuseTheirVotes) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& stays = cluster.Follower();
  TestNode& other = cluster.ThirdOf(leader, stays);
  v1::ChangeMembershipRequest change;
  for (TestNode* node : {&leader, &other}) change.add_remove(node->id().value);
  // The leader does not hand over to somebody whom it has not heard of.
  cluster.Isolate(stays.options().name);
  cluster.Run(25);
  (void)leader.Change(change);
  LeaveWatch watch;
  cluster.Hold([&](const raft::Message& message) {
    if (message.to != stays.id()) return false;
    const bool seen = watch.seen();
    watch.Look(message);
    if (!seen && watch.seen()) stays.StallDisk(true);
    return watch.Commits(message) || watch.HasMore(message);
  });
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(100, [&] { return watch.seen(); }));
  for (int i = 0; i < 3; ++i) (void)leader.Put("lost", "yes");
  cluster.Settle();
  leader.StallApply(true);
  stays.StallDisk(false);
  ASSERT_TRUE(cluster.Run(50, [&] { return other.machine().cluster()->members_size() == 1; }));
  ASSERT_EQ(stays.machine().cluster()->conf().voters_outgoing_size(), 3);
  leader.Crash();
  cluster.Release();
  ASSERT_TRUE(cluster.Run(300, [&] { return stays.replica().is_leader(); }));
  auto put = stays.Put("news", "yes");
  EXPECT_TRUE(cluster.Run(50, [&] { return put->has_value() && (*put)->has_value(); }));
}

// Likewise, but the entry of the configuration is gone from the logs of those who know it by then.
TEST(Departure, VoterThatIsLeftAloneIsToldSoByThoseWhoHaveCutTheirLogs) {
  TestCluster cluster;
  cluster.StartStatic(3, [](Options& options) { options.flush_after_bytes = 100; });
  TestNode& leader = *cluster.Leader();
  TestNode& stays = cluster.Follower();
  TestNode& other = cluster.ThirdOf(leader, stays);
  v1::ChangeMembershipRequest change;
  for (TestNode* node : {&leader, &other}) change.add_remove(node->id().value);
  cluster.Isolate(stays.options().name);
  cluster.Run(25);
  (void)leader.Change(change);
  LeaveWatch watch;
  bool enough = false;
  cluster.Hold([&](const raft::Message& message) {
    if (message.to != stays.id()) return false;
    const bool seen = watch.seen();
    watch.Look(message);
    if (!seen && watch.seen()) stays.StallDisk(true);
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    return watch.Commits(message) || (enough && append != nullptr && !append->entries.empty());
  });
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(100, [&] { return watch.seen(); }));
  // The one that stays gets these, and not the news that they are committed.
  for (int i = 0; i < 5; ++i) {
    (void)leader.Put("kept", std::string(100, 'x'));
    cluster.Settle();
  }
  enough = true;
  for (int i = 0; i < 3; ++i) (void)leader.Put("lost", "yes");
  cluster.Settle();
  stays.StallDisk(false);
  ASSERT_TRUE(cluster.Run(50, [&] { return other.machine().cluster()->members_size() == 1; }));
  cluster.Isolate(stays.options().name);
  other.ShortenSpace(/*is_short=*/true, /*waits=*/true);  // so it keeps nothing
  const raft::Index left(other.machine().cluster()->config_index());
  ASSERT_TRUE(cluster.Run(100, [&] { return other.log().first_index() > left.Next(); }));
  ASSERT_EQ(stays.machine().cluster()->conf().voters_outgoing_size(), 3);
  leader.Crash();
  cluster.Release();
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(300, [&] { return stays.replica().is_leader(); }));
}

// It would let in whom it removed, and tell nobody of it, until its state is flushed once more.
TEST(Departure, AMemberThatStartsAgainKnowsWhomItRemoved) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& gone = cluster.Follower();
  const raft::NodeId gone_id = gone.id();
  v1::ChangeMembershipRequest change;
  change.add_remove(gone_id.value);
  auto done = leader.Change(change);
  ASSERT_TRUE(cluster.Run(100, [&] { return done->has_value(); }));
  ASSERT_TRUE((*done)->has_value()) << (*done)->error().ToString();
  ASSERT_TRUE(
      cluster.Run(100, [&] { return leader.replica().Admit(gone_id) == v1::HelloReply::REMOVED; }));
  leader.Crash();
  leader.Boot();
  EXPECT_EQ(leader.replica().Admit(gone_id), v1::HelloReply::REMOVED);
}

// The simulator's: five voters give way to two new ones, who do not know yet that the joint
// configuration has been left. Members that were only demoted called the others removed, and half
// a minute later these went; the two still needed their votes.
TEST(Departure, RemovedMembersWaitForThoseWhoStayHoweverLong) {
  TestCluster cluster;
  cluster.StartStatic(5);
  TestNode& leader = *cluster.Leader();
  v1::ChangeMembershipRequest change;
  change.set_force(true);
  change.add_remove(leader.id().value);
  std::vector<TestNode*> removed = {&leader};
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) {
    TestNode& node = cluster.node(name);
    if (&node == &leader) continue;
    if (change.demote_size() < 2) {
      change.add_demote(node.id().value);
    } else {
      change.add_remove(node.id().value);
      removed.push_back(&node);
    }
  }
  for (const char* name : {"n6", "n7"}) {
    v1::Member& voter = *change.add_add_voters();
    voter.set_id(cluster.Add(name).id().value);
    voter.set_name(name);
    voter.set_peer_address(std::string(name) + ":1");
  }
  LeaveWatch watch;
  cluster.Hold([&](const raft::Message& message) {
    watch.Look(message);
    if (!watch.Commits(message)) return false;
    for (const char* name : {"n6", "n7"}) cluster.Isolate(name);
    return false;
  });
  (void)leader.Change(change);
  ASSERT_TRUE(
      cluster.Run(100, [&] { return leader.machine().cluster()->removed_ids_size() == 3; }));
  cluster.Run(400);
  for (const TestNode* node : removed) EXPECT_FALSE(node->removed()) << node->options().name;
  cluster.Hold({});
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(300, [&] {
    return std::ranges::all_of(removed, [](const TestNode* node) { return node->removed(); });
  }));
  EXPECT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
}

// The simulator's: of the members that stayed when this one was removed, most were removed
// themselves before they could tell it so. It waited for a majority of them, for ever.
TEST(Departure, RemovedMemberDoesNotWaitForThoseWhoWereRemovedAfterIt) {
  TestCluster cluster;
  cluster.StartStatic(5);
  TestNode& leader = *cluster.Leader();
  std::vector<TestNode*> others;
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) {
    if (&cluster.node(name) != &leader) others.push_back(&cluster.node(name));
  }
  TestNode& away = *others[0];
  v1::ChangeMembershipRequest change;
  for (TestNode* node : {&away, others[1]}) change.add_remove(node->id().value);
  // It knows the joint configuration, not that it has been left.
  LeaveWatch watch;
  cluster.Hold([&](const raft::Message& message) {
    watch.Look(message);
    if (watch.Commits(message)) cluster.Isolate(away.options().name);
    return false;
  });
  auto changed = leader.Change(change);
  ASSERT_TRUE(cluster.Run(100, [&] { return changed->has_value() && others[1]->removed(); }));
  ASSERT_EQ(away.machine().cluster()->conf().voters_outgoing_size(), 5);
  v1::ChangeMembershipRequest again;
  for (TestNode* node : {others[2], others[3]}) again.add_remove(node->id().value);
  auto alone = leader.Change(again);
  ASSERT_TRUE(cluster.Run(
      100, [&] { return alone->has_value() && others[2]->removed() && others[3]->removed(); }));
  for (size_t i = 1; i < others.size(); ++i) others[i]->Crash();
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(600, [&] { return away.removed(); }));
}

// The simulator's: a vote waited for a full disk. When there was room again, the member had learned
// that it was removed and had marked its identity; the vote still went out.
TEST(Departure, VoteThatReachesTheDiskAfterTheTombstoneIsNotSent) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& voter = cluster.Follower();
  TestNode& candidate = cluster.ThirdOf(leader, voter);
  voter.StallDisk(true);
  cluster.Isolate(leader.options().name);
  bool asked = false;
  size_t votes = 0;
  cluster.Hold([&](const raft::Message& message) {
    if (message.Is<raft::RequestVote>() && message.to == voter.id()) asked = true;
    if (message.Is<raft::VoteResponse>() && message.from == voter.id()) ++votes;
    return false;
  });
  ASSERT_TRUE(cluster.Run(100, [&] { return asked; }));
  ASSERT_EQ(voter.replica().core()->term(), candidate.replica().core()->term());
  v1::HelloReply refused;
  refused.set_verdict(v1::HelloReply::REMOVED);
  refused.set_cluster_id(voter.machine().cluster()->cluster_id());
  for (const TestNode* other : {&leader, &candidate}) {
    voter.replica().OnPeerVerdict(other->id(), refused);
  }
  ASSERT_TRUE(voter.removed());
  voter.StallDisk(false);
  cluster.Run(3);
  EXPECT_EQ(votes, 0U);
}

}  // namespace
}  // namespace raftkv::runtime
