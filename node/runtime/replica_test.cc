#include "node/runtime/replica.h"

#include <gtest/gtest.h>

#include <string>

#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using std::chrono::seconds;

TEST(Replica, SingleNodeWritesAndReads) {
  TestCluster cluster;
  TestNode& node = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return node.replica().is_leader(); }));
  auto put = node.Put("a", "1");
  auto read = node.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  ASSERT_TRUE((*put)->has_value());
  EXPECT_TRUE((**put)->created);
  ASSERT_TRUE(read->has_value());
  EXPECT_TRUE((*read)->ok());
  EXPECT_EQ(ValueAt(node, "a"), "1");
}

TEST(Replica, FollowerForwardsAndAnswersFromItsOwnState) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = cluster.Follower();
  auto put = follower.Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  ASSERT_TRUE((*put)->has_value()) << (*put)->error().message();
  EXPECT_EQ(ValueAt(follower, "k"), "v");
  auto read = follower.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_TRUE(read->has_value());
  EXPECT_TRUE((*read)->ok());
}

// With the leader's disk full, a write through another member was accepted.
TEST(Replica, AFullLeaderRefusesForwardedGrowth) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = cluster.Follower();
  cluster.Leader()->FillDisk(true);
  auto put = follower.Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  ASSERT_FALSE((*put)->has_value());
  EXPECT_EQ((*put)->error().code(), Code::kOutOfSpace);
  cluster.Leader()->FillDisk(false);
  put = follower.Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value() && (*put)->has_value());
}

TEST(Replica, NothingIsAcknowledgedWithoutAMajority) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  cluster.Isolate(leader.options().name);
  auto put = leader.Put("k", "lost?");
  auto read = leader.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  EXPECT_FALSE(put->has_value());
  EXPECT_FALSE(read->has_value());
  // The others go on; the old leader's entry is overwritten, and its client told so for certain.
  ASSERT_TRUE(cluster.Run(50, [&] { return cluster.Leader() != &leader; }));
  auto other = cluster.Leader()->Put("k", "new");
  cluster.Settle();
  ASSERT_TRUE(other->has_value());
  cluster.Heal();
  cluster.Run(20);
  ASSERT_TRUE(put->has_value());
  ASSERT_FALSE((*put)->has_value());
  EXPECT_EQ((*put)->error().code(), Code::kUnavailable);
  EXPECT_EQ(ValueAt(leader, "k"), "new");
  ASSERT_TRUE(read->has_value());
}

TEST(Replica, NoLeaderRefusesAfterABoundedWait) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = cluster.Follower();
  cluster.Isolate(follower.options().name);
  cluster.Run(40);
  auto put = follower.Put("k", "v", seconds(60));
  EXPECT_TRUE(cluster.Run(40, [&] { return put->has_value(); }));
  EXPECT_EQ((*put)->error().code(), Code::kUnavailable);
}

TEST(Replica, LeaseReadsNeedNoRoundButEnd) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  auto first = leader.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_TRUE(first->has_value());
  const uint64_t rounds = leader.replica().counters().read_rounds;
  auto second = leader.Barrier(Consistency::kLease);
  cluster.Settle();
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ(leader.replica().counters().read_rounds, rounds);
  // The process slept: its lease is over although no tick told it so.
  cluster.Isolate(leader.options().name);
  cluster.clock().Advance(seconds(2));
  auto third = leader.Barrier(Consistency::kLease);
  cluster.Settle();
  EXPECT_FALSE(third->has_value());
}

TEST(Replica, RestartKeepsAcknowledgedWrites) {
  TestCluster cluster;
  cluster.StartStatic(3);
  auto put = cluster.Leader()->Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Crash();
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Boot();
  ASSERT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
  auto read = cluster.Leader()->Barrier(Consistency::kLinearizable);
  cluster.Run(5);
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ(ValueAt(*cluster.Leader(), "k"), "v");
}

TEST(Replica, LaggingFollowerGetsASnapshot) {
  TestCluster cluster;
  cluster.StartStatic(3, [](Options& options) {
    options.log_keep_entries = 10;
    options.flush_after_bytes = 1000;
  });
  TestNode& leader = *cluster.Leader();
  TestNode& follower = cluster.Follower();
  cluster.Isolate(follower.options().name);
  for (int i = 0; i < 500; ++i) {
    (void)leader.Put("key" + std::to_string(i), std::string(100, 'x'));
    cluster.Settle();
  }
  cluster.Run(20);
  ASSERT_GT(leader.replica().core()->first_index(), raft::Index(300));
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(100, [&] { return ValueAt(follower, "key499") != "<none>"; }));
  EXPECT_EQ(follower.replica().counters().snapshots_installed, 1u);
  // And goes on from there, also after a crash.
  (void)leader.Put("after", "1");
  cluster.Run(5);
  EXPECT_EQ(ValueAt(follower, "after"), "1");
  follower.Crash();
  follower.Boot();
  cluster.Run(30);
  EXPECT_EQ(ValueAt(follower, "after"), "1");
}

TEST(Replica, ElectionsStayCalmWhileTheLeadersDiskStalls) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  const raft::Term term = leader.replica().core()->term();
  leader.StallDisk(true);
  auto put = leader.Put("k", "v");
  cluster.Run(100);
  EXPECT_EQ(cluster.Leader(), &leader);
  EXPECT_EQ(leader.replica().core()->term(), term);
  // The followers' disks are a majority by themselves, but only what is durable here is applied
  // here: the client waits.
  EXPECT_FALSE(put->has_value() && (*put)->has_value());
  leader.StallDisk(false);
  cluster.Run(5);
  EXPECT_EQ(ValueAt(leader, "k"), "v");
}

TEST(Replica, TransferMovesTheLeader) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = cluster.Follower();
  auto slot = std::make_shared<std::optional<Result<v1::TransferLeadershipResponse>>>();
  v1::TransferLeadershipRequest request;
  request.set_to(follower.id().value);
  // Asked of the follower: it passes the call on.
  follower.replica().TransferLeadership(
      request, cluster.clock().Now() + seconds(5),
      [slot](Result<v1::TransferLeadershipResponse> response) { *slot = std::move(response); });
  ASSERT_TRUE(cluster.Run(20, [&] { return slot->has_value(); }));
  EXPECT_TRUE((*slot)->has_value());
  EXPECT_EQ(cluster.Leader(), &follower);
}

// An operator that was replaced, or that decided on what is no longer so, moved the leader.
TEST(Replica, ATransferThatWasDecidedOnWhatIsNoLongerSoIsRefused) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = cluster.Follower();
  TestNode& leader = *cluster.Leader();
  const auto apply = [&](auto change) {
    auto slot = std::make_shared<std::optional<Code>>();
    change(slot);
    EXPECT_TRUE(cluster.Run(20, [&] { return slot->has_value(); }));
    return slot->value_or(Code::kInternal);
  };
  v1::ChangeMembershipRequest renamed;
  renamed.set_epoch(7);
  v1::Member& update = *renamed.add_update();
  update.set_id(follower.id().value);
  update.set_name("other");
  ASSERT_EQ(apply([&](auto slot) {
              leader.replica().ChangeMembership(
                  renamed, cluster.clock().Now() + seconds(5),
                  [slot](const Result<v1::ChangeMembershipResponse>& answer) {
                    *slot = answer ? Code::kOk : answer.error().code();
                  });
            }),
            Code::kOk);
  const auto transfer = [&](TestNode& asked, uint64_t from, uint64_t index, uint64_t epoch) {
    v1::TransferLeadershipRequest request;
    request.set_to(follower.id().value);
    request.set_from(from);
    request.set_expected_config_index(index);
    request.set_epoch(epoch);
    return apply([&](auto slot) {
      asked.replica().TransferLeadership(
          request, cluster.clock().Now() + seconds(5),
          [slot](const Result<v1::TransferLeadershipResponse>& answer) {
            *slot = answer ? Code::kOk : answer.error().code();
          });
    });
  };
  const uint64_t index = leader.machine().cluster()->config_index();
  for (TestNode* asked : {&leader, &follower}) {
    EXPECT_EQ(transfer(*asked, follower.id().value, 0, 0), Code::kConflict);
    EXPECT_EQ(transfer(*asked, 0, index - 1, 0), Code::kConflict);
    EXPECT_EQ(transfer(*asked, 0, 0, 6), Code::kConflict);
    EXPECT_EQ(cluster.Leader(), &leader);
  }
  EXPECT_EQ(transfer(follower, leader.id().value, index, 7), Code::kOk);
  EXPECT_EQ(cluster.Leader(), &follower);
}

TEST(Replica, HistoryIsCompactedByCountAndAge) {
  TestCluster cluster;
  TestNode& node = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}}, [](Options& options) {
    options.compact_keep_revisions = 1000;
    options.compact_keep_age = seconds(10);
  });
  ASSERT_TRUE(cluster.Run(50, [&] { return node.replica().is_leader(); }));
  for (int i = 0; i < 3000; ++i) (void)node.Put("k", std::to_string(i));
  cluster.Settle();
  EXPECT_EQ(node.machine().applied().compact_revision, 0u) << "younger than the age to keep";
  cluster.Run(300);
  EXPECT_GT(node.machine().applied().compact_revision, 1000u);
  EXPECT_LE(node.machine().applied().compact_revision, 2001u);
}

}  // namespace
}  // namespace raftkv::runtime
