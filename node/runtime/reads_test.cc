// Reads: what a lease and a read round prove, also over restarts.

#include <gtest/gtest.h>

#include "node/runtime/replica.h"
#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using std::chrono::seconds;

std::vector<TestNode*> Followers(TestCluster& cluster) {
  std::vector<TestNode*> followers;
  for (const char* name : {"n1", "n2", "n3"}) {
    if (!cluster.node(name).replica().is_leader()) followers.push_back(&cluster.node(name));
  }
  return followers;
}

// A voter that had confirmed the leader's lease was killed, came back and voted at once: the next
// leader's write was acknowledged while the old one still answered from its lease.
TEST(LeaseReads, HoldThoughAVoterThatConfirmedTheLeaseRestarts) {
  int tried = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    TestCluster cluster(seed);
    cluster.StartStatic(3);
    TestNode& leader = *cluster.Leader();
    const std::vector<TestNode*> followers = Followers(cluster);
    TestNode& confirms = *followers[0];
    TestNode& candidate = *followers[1];
    (void)leader.Put("k", "old");
    cluster.Run(3);
    cluster.Isolate(candidate.options().name);
    cluster.Run(14);
    auto round = leader.Barrier(Consistency::kLinearizable);
    cluster.Settle();
    if (!round->has_value() || !(*round)->ok()) continue;
    confirms.Crash();
    confirms.Boot();
    cluster.Heal();
    cluster.Isolate(leader.options().name);
    ++tried;
    std::shared_ptr<std::optional<Result<kv::CommandResult>>> put;
    for (int tick = 0; tick < 12; ++tick) {
      if (!put && candidate.replica().is_leader()) put = candidate.Put("k", "new");
      cluster.Settle();
      auto lease = leader.Barrier(Consistency::kLease);
      cluster.Settle();
      const bool committed = put && put->has_value() && (*put)->has_value();
      const bool answered = lease->has_value() && (*lease)->ok();
      ASSERT_FALSE(committed && answered && ValueAt(leader, "k") == "old") << "tick " << tick;
      cluster.Run(1);
    }
    // It is silent for a moment, not for good.
    EXPECT_TRUE(cluster.Run(
        100, [&] { return candidate.replica().is_leader() || confirms.replica().is_leader(); }));
  }
  EXPECT_GT(tried, 6);
}

// Nobody can have a lease that the only voter confirmed.
TEST(LeaseReads, TheOnlyVoterLeadsAtOnceAfterARestart) {
  TestCluster cluster;
  TestNode& node = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return node.replica().is_leader(); }));
  node.Crash();
  node.Boot();
  cluster.Settle();
  EXPECT_TRUE(node.replica().is_leader());
}

// A transfer does not wait for the silence after a restart.
TEST(LeaseReads, AMemberThatHasJustRestartedVotesInATransfer) {
  TestCluster cluster;
  cluster.StartStatic(3);
  cluster.Run(3);
  TestNode& leader = *cluster.Leader();
  const std::vector<TestNode*> followers = Followers(cluster);
  followers[0]->Crash();
  followers[0]->Boot();
  cluster.Run(2);
  v1::TransferLeadershipRequest request;
  request.set_to(followers[1]->id().value);
  leader.replica().TransferLeadership(request, cluster.clock().Now() + seconds(5),
                                      [](const auto&) {});
  leader.replica().ProcessReady();
  while (cluster.DeliverOne()) {
  }
  // The request to campaign has arrived; from here on it takes the vote of the restarted one.
  leader.Crash();
  EXPECT_TRUE(cluster.Run(2, [&] { return followers[1]->replica().is_leader(); }));
}

// The first round of each process had the same number: the late answer to a read of the last
// process confirmed one of the next, without the writes in between.
TEST(ReadRounds, AnAnswerToTheLastProcessConfirmsNothing) {
  TestCluster cluster;
  cluster.StartStatic(3);
  cluster.Run(3);
  TestNode& leader = *cluster.Leader();
  TestNode& follower = *Followers(cluster)[0];
  cluster.Hold([](const raft::Message& m) { return m.Is<raft::ReadIndexResponse>(); });
  auto first = follower.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_FALSE(first->has_value());
  const raft::Index before = leader.replica().core()->committed();
  follower.Crash();
  auto put = leader.Put("k", "new");
  cluster.Settle();
  ASSERT_TRUE(put->has_value() && (*put)->has_value());
  follower.Boot();
  // It learns of its leader, but not of the write.
  std::vector<raft::Message> heartbeat;
  heartbeat.push_back({leader.id(), follower.id(), leader.replica().core()->term(),
                       raft::Heartbeat{.commit = before}});
  follower.replica().OnMessages(std::move(heartbeat));
  auto second = follower.Barrier(Consistency::kLinearizable);
  while (follower.Work()) {
  }
  cluster.Release();
  cluster.DeliverOne();
  while (follower.Work()) {
  }
  EXPECT_FALSE(second->has_value() && ValueAt(follower, "k") != "new");
  cluster.Run(10);
  EXPECT_TRUE(second->has_value() && (*second)->ok());
  EXPECT_EQ(ValueAt(follower, "k"), "new");
}

}  // namespace
}  // namespace raftkv::runtime
