#include "node/runtime/read_ahead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<raft::Entry> Entries(uint64_t low, uint64_t high) {
  std::vector<raft::Entry> out;
  for (uint64_t i = low; i < high; ++i) {
    out.push_back({.term = raft::Term(1), .index = raft::Index(i), .payload = Buffer()});
  }
  return out;
}

class ReadAheadTest : public ::testing::Test {
 protected:
  std::vector<uint64_t> asked_;
  ReadAhead ahead_{[this](raft::Index low) { asked_.push_back(low.value); }};
};

TEST_F(ReadAheadTest, AsksOnceAndHasWhatWasRead) {
  EXPECT_FALSE(ahead_.Has(raft::Index(10)));
  EXPECT_FALSE(ahead_.Has(raft::Index(10)));
  EXPECT_THAT(asked_, ElementsAre(10));
  EXPECT_THAT(ahead_.From(raft::Index(10)), IsEmpty());
  ahead_.Add(raft::Index(10), Entries(10, 15));
  EXPECT_TRUE(ahead_.Has(raft::Index(12)));
  ASSERT_EQ(ahead_.From(raft::Index(12)).size(), 3u);
  EXPECT_EQ(ahead_.From(raft::Index(12)).front().index, raft::Index(12));
  EXPECT_FALSE(ahead_.Has(raft::Index(15)));
  EXPECT_THAT(asked_, ElementsAre(10, 15));
}

TEST_F(ReadAheadTest, WhatCannotBeReadIsAskedForAgain) {
  EXPECT_FALSE(ahead_.Has(raft::Index(10)));
  ahead_.Add(raft::Index(10), {});
  EXPECT_FALSE(ahead_.Has(raft::Index(10)));
  EXPECT_THAT(asked_, ElementsAre(10, 10));
}

TEST_F(ReadAheadTest, HoldsFewPiecesAndForgetsThoseThatNobodyWants) {
  for (uint64_t i = 1; i <= 10; ++i) EXPECT_FALSE(ahead_.Has(raft::Index(100 * i)));
  EXPECT_EQ(asked_.size(), ReadAhead::kMostPieces);
  for (uint64_t i = 1; i <= ReadAhead::kMostPieces + 1; ++i) {
    ahead_.Add(raft::Index(100 * i), Entries(100 * i, 100 * i + 5));
    ahead_.Tick();
  }
  EXPECT_THAT(ahead_.From(raft::Index(100)), IsEmpty()) << "the one that was idle longest";
  EXPECT_EQ(ahead_.From(raft::Index(200)).size(), 5u);
  for (int i = 0; i < ReadAhead::kForgetAfter; ++i) {
    ahead_.Tick();
    EXPECT_EQ(ahead_.From(raft::Index(200)).size(), 5u);
  }
  EXPECT_THAT(ahead_.From(raft::Index(300)), IsEmpty());
}

// It was read on the raft thread: a disk that did not answer silenced the leader.
TEST(Replica, WhoLagsBehindTheCacheDoesNotHoldTheLeaderUp) {
  TestCluster cluster;
  cluster.StartStatic(3, [](Options& options) { options.log_cache_bytes = 64 << 10; });
  TestNode& leader = *cluster.Leader();
  TestNode& away = cluster.Follower();
  cluster.Isolate(away.options().name);
  for (int i = 0; i < 200; ++i) {
    (void)leader.Put("key" + std::to_string(i), std::string(1000, 'x'));
    cluster.Settle();
  }
  leader.StallReads(true);
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(50, [&] { return leader.reads_log(); }));
  auto put = leader.Put("meanwhile", "1");
  cluster.Run(50);
  EXPECT_TRUE(leader.replica().is_leader());
  ASSERT_TRUE(put->has_value());
  EXPECT_TRUE((*put)->has_value());
  EXPECT_EQ(away.replica().leader(), leader.id()) << "it hears heartbeats";
  EXPECT_EQ(ValueAt(away, "key199"), "<none>");
  leader.StallReads(false);
  EXPECT_TRUE(cluster.Run(50, [&] { return ValueAt(away, "meanwhile") == "1"; }));
  EXPECT_EQ(leader.replica().counters().snapshots_sent, 0u);
}

}  // namespace
}  // namespace raftkv::runtime
