// Writes: what a client is told, and what a node forgets.

#include <gtest/gtest.h>

#include "node/runtime/replica.h"
#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using std::chrono::seconds;

std::shared_ptr<std::optional<Result<v1::TransferLeadershipResponse>>> Transfer(
    TestCluster& cluster, TestNode& to) {
  auto slot = std::make_shared<std::optional<Result<v1::TransferLeadershipResponse>>>();
  v1::TransferLeadershipRequest request;
  request.set_to(to.id().value);
  cluster.Leader()->replica().TransferLeadership(
      request, cluster.clock().Now() + seconds(5),
      [slot](Result<v1::TransferLeadershipResponse> response) { *slot = std::move(response); });
  cluster.Run(10, [&] { return slot->has_value(); });
  return slot;
}

// A leader that lost its term and won another had proposals with high indexes before those with low
// ones; a snapshot took over the low one, which had committed, and its client was told later that
// it had not happened.
TEST(Writes, NoClientIsToldThatACommittedWriteDidNotHappen) {
  TestCluster cluster;
  cluster.StartStatic(3, [](Options& options) {
    options.log_keep_entries = 10;
    options.flush_after_bytes = 1000;
  });
  TestNode& node = *cluster.Leader();
  cluster.Isolate(node.options().name);
  for (int i = 0; i < 1500; ++i) (void)node.Put("lost" + std::to_string(i), "x", seconds(3600));
  cluster.Settle();
  ASSERT_TRUE(
      cluster.Run(100, [&] { return cluster.Leader() != nullptr && cluster.Leader() != &node; }));
  (void)cluster.Leader()->Put("other", "1");
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(50, [&] { return ValueAt(node, "other") == "1"; }));
  auto moved = Transfer(cluster, node);
  ASSERT_TRUE(moved->has_value() && (*moved)->has_value());
  ASSERT_EQ(cluster.Leader(), &node);
  cluster.Run(2);

  // Proposed and sent to the others, who will commit it; but this node does not see that.
  auto put = node.Put("k", "v", seconds(3600));
  node.Work();
  while (cluster.DeliverOne()) {
  }
  cluster.Isolate(node.options().name);
  ASSERT_TRUE(
      cluster.Run(100, [&] { return cluster.Leader() != nullptr && cluster.Leader() != &node; }));
  TestNode& leader = *cluster.Leader();
  ASSERT_EQ(ValueAt(leader, "k"), "v");
  for (int i = 0; i < 500; ++i) {
    (void)leader.Put("key" + std::to_string(i), std::string(100, 'x'));
    cluster.Settle();
  }
  cluster.Run(20);
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(200, [&] { return ValueAt(node, "key499") != "<none>"; }));
  ASSERT_EQ(node.replica().counters().snapshots_installed, 1u);
  // The indexes of the lost proposals are applied as well.
  for (int i = 0; i < 1200; ++i) (void)leader.Put("more", std::to_string(i));
  cluster.Settle();
  ASSERT_GT(node.replica().core()->applied(), raft::Index(1600));
  EXPECT_FALSE(put->has_value()) << (*put)->error().message();
}

// Each change of the leader began the measuring of the history's age anew.
TEST(Writes, HistoryIsCompactedThoughTheLeaderChangesOften) {
  TestCluster cluster;
  cluster.StartStatic(3, [](Options& options) {
    options.compact_keep_revisions = 1000;
    options.compact_keep_age = seconds(10);
  });
  for (int i = 0; i < 3000; ++i) (void)cluster.Leader()->Put("k", std::to_string(i));
  cluster.Settle();
  for (int round = 0; round < 6; ++round) {
    for (const char* name : {"n1", "n2", "n3"}) {
      if (&cluster.node(name) == cluster.Leader()) continue;
      auto moved = Transfer(cluster, cluster.node(name));
      ASSERT_TRUE(moved->has_value() && (*moved)->has_value());
      break;
    }
    cluster.Run(40);
  }
  for (const char* name : {"n1", "n2", "n3"}) {
    EXPECT_GT(cluster.node(name).machine().applied().compact_revision, 1000u) << name;
  }
}

// Nobody got an answer to a write from a leader whose disk was full, although the others had room.
TEST(Writes, ALeaderThatWaitsForSpaceHandsOver) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& full = *cluster.Leader();
  full.StallDisk(true);
  full.ShortenSpace(true, true);
  EXPECT_TRUE(
      cluster.Run(60, [&] { return cluster.Leader() != nullptr && cluster.Leader() != &full; }));
  auto put = cluster.Leader()->Put("k", "v");
  cluster.Run(5);
  EXPECT_TRUE(put->has_value() && (*put)->has_value());
  full.StallDisk(false);
  full.ShortenSpace(false, false);
  cluster.Run(10);
  EXPECT_EQ(ValueAt(full, "k"), "v");
}

// Every fiftieth tick it looked for a successor, every tenth it forgot who had answered: where both
// fell together it never found one.
TEST(Writes, ALeaderThatWaitsForSpaceHandsOverAtWhateverTickItBegan) {
  for (int ticks = 0; ticks < 10; ++ticks) {
    TestCluster cluster;
    cluster.StartStatic(3);
    // From its election on, one beat has to fall on every tick of the other.
    TestNode& first = *cluster.Leader();
    cluster.Run(ticks);
    ASSERT_TRUE(first.replica().HandOver("a test"));
    ASSERT_TRUE(cluster.Run(20, [&] {
      return cluster.Leader() != nullptr && cluster.Leader() != &first;
    })) << ticks;
    TestNode& full = *cluster.Leader();
    full.StallDisk(true);
    full.ShortenSpace(true, true);
    EXPECT_TRUE(cluster.Run(200, [&] {
      return cluster.Leader() != nullptr && cluster.Leader() != &full;
    })) << ticks;
  }
}

// A put that the leader has seen, but not all of its consequences.
auto PutAndLook(TestNode& node, const std::string& key) {
  auto put = node.Put(key, "v", seconds(60));
  node.Work();
  return put;
}

TEST(Writes, WhatComesInDuringARoundIsProposedAfterIt) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  const raft::Core& core = *leader.replica().core();
  const raft::Index before = core.last_index();
  auto first = PutAndLook(leader, "a");
  auto second = PutAndLook(leader, "b");
  auto third = PutAndLook(leader, "c");
  EXPECT_EQ(core.last_index(), before.Next()) << "the round of the first is under way";
  EXPECT_EQ(core.committed(), before);

  cluster.Settle();
  EXPECT_EQ(core.committed().value, before.value + 3);
  EXPECT_TRUE(first->has_value() && second->has_value() && third->has_value());
}

TEST(Writes, ASlowRoundDoesNotHoldTheNextBatchUp) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  const raft::Core& core = *leader.replica().core();
  cluster.Isolate(leader.options().name);
  const raft::Index before = core.last_index();
  (void)PutAndLook(leader, "a");
  (void)PutAndLook(leader, "b");
  ASSERT_EQ(core.last_index(), before.Next());
  cluster.Settle();  // what was put off for less than a tick happens
  EXPECT_EQ(core.last_index().value, before.value + 2);
  EXPECT_EQ(core.committed(), before);
}

TEST(Writes, WhoWaitsForABatchGoesToTheNextLeader) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& old = *cluster.Leader();
  TestNode& other = cluster.Follower();
  auto first = PutAndLook(old, "a");
  auto second = PutAndLook(old, "b");
  auto moved = Transfer(cluster, other);
  ASSERT_TRUE(moved->has_value() && (*moved)->has_value());
  ASSERT_EQ(cluster.Leader(), &other);
  ASSERT_TRUE(cluster.Run(5, [&] { return first->has_value() && second->has_value(); }));
  EXPECT_TRUE((*first)->has_value());
  EXPECT_TRUE((*second)->has_value()) << "it was in nobody's log yet";
  EXPECT_EQ(ValueAt(other, "b"), "v");
}

}  // namespace
}  // namespace raftkv::runtime
