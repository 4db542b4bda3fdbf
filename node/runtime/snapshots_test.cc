// Snapshots as they are made, sent and asked for, at moments that do not suit.

#include <gtest/gtest.h>

#include "node/runtime/replica.h"
#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using std::chrono::seconds;

// Three nodes, one of which was cut off until the others' logs no longer reach back to it.
class LaggingFollower : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.StartStatic(3, [](Options& options) {
      options.log_keep_entries = 10;
      options.flush_after_bytes = 1000;
    });
    leader_ = cluster_.Leader();
    for (const char* name : {"n1", "n2", "n3"}) {
      if (&cluster_.node(name) != leader_) follower_ = &cluster_.node(name);
    }
    cluster_.Isolate(follower_->options().name);
    for (int i = 0; i < 500; ++i) {
      (void)leader_->Put("key" + std::to_string(i), std::string(100, 'x'));
      cluster_.Settle();
    }
    cluster_.Run(20);
    ASSERT_GT(leader_->replica().core()->first_index(), raft::Index(300));
  }

  // The follower is heard again.
  void HearFromFollower() {
    std::vector<raft::Message> messages;
    messages.push_back({follower_->id(), leader_->id(), leader_->replica().core()->term(),
                        raft::HeartbeatResponse{}});
    leader_->replica().OnMessages(std::move(messages));
  }
  void MakeSnapshot() {
    bool made = false;
    leader_->replica().TakeSnapshot(cluster_.clock().Now() + seconds(5),
                                    [&](const auto& done) { made = done.has_value(); });
    cluster_.Settle();
    ASSERT_TRUE(made);
  }

  TestCluster cluster_;
  TestNode* leader_ = nullptr;
  TestNode* follower_ = nullptr;
};

// The leader aborted: the core had decided to send what the housekeeping of the same turn removed.
TEST_F(LaggingFollower, IsServedThoughTheSnapshotRetiresBeforeItIsSent) {
  MakeSnapshot();
  cluster_.clock().Advance(seconds(60));
  HearFromFollower();
  for (int i = 0; i < 5; ++i) leader_->replica().OnTick();
  leader_->replica().ProcessReady();
  cluster_.Heal();
  EXPECT_TRUE(cluster_.Run(200, [&] { return ValueAt(*follower_, "key499") != "<none>"; }));
}

// It would have been sent the files of the newer one under the name of the older.
TEST_F(LaggingFollower, IsServedThoughTheSnapshotIsReplacedBeforeItIsSent) {
  MakeSnapshot();
  (void)leader_->Put("later", "1");
  cluster_.Settle();
  leader_->replica().TakeSnapshot(cluster_.clock().Now() + seconds(5), [](const auto&) {});
  leader_->WorkApply();
  HearFromFollower();
  leader_->RunPosted();
  leader_->replica().ProcessReady();
  cluster_.Heal();
  EXPECT_TRUE(cluster_.Run(200, [&] { return ValueAt(*follower_, "later") == "1"; }));
}

// Neither a snapshot nor an answer came: the request was forgotten, and its deadline too.
TEST_F(LaggingFollower, AnswersWhoAsksForASnapshotDuringAnInstallation) {
  cluster_.Heal();
  std::optional<Result<v1::SnapshotResponse>> answer;
  for (int tick = 0; tick < 100 && !answer; ++tick) {
    cluster_.clock().Advance(std::chrono::milliseconds(100));
    for (const char* name : {"n1", "n2", "n3"}) cluster_.node(name).Tick();
    bool asked = false;
    for (bool moved = true; moved && !asked;) {
      moved = false;
      for (const char* name : {"n1", "n2", "n3"}) {
        moved = (!follower_->installation_queued() && cluster_.node(name).Work()) || moved;
      }
      moved = (!follower_->installation_queued() && cluster_.DeliverOne()) || moved;
      asked = follower_->installation_queued();
    }
    if (!asked) continue;
    follower_->replica().TakeSnapshot(cluster_.clock().Now() + seconds(5),
                                      [&](const auto& done) { answer = done; });
    cluster_.Run(20);
    break;
  }
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->has_value()) << answer->error().message();
  EXPECT_GT((*answer)->index(), 300u);
}

TEST_F(LaggingFollower, SnapshotCallsEndByTheirDeadlines) {
  std::optional<Result<v1::SnapshotResponse>> snapshot;
  std::optional<Code> exported;
  const MonotonicTime deadline = cluster_.clock().Now() + seconds(5);
  leader_->replica().TakeSnapshot(deadline, [&](const auto& done) { snapshot = done; });
  leader_->replica().MakeExport(deadline, [&](const auto& done) {
    ASSERT_FALSE(done.has_value());
    exported = done.error().code();
  });
  // The apply thread does not come to it.
  cluster_.clock().Advance(seconds(6));
  leader_->Tick();
  ASSERT_TRUE(snapshot.has_value() && exported.has_value());
  EXPECT_EQ(snapshot->error().code(), Code::kUnavailable);
  EXPECT_EQ(*exported, Code::kUnavailable);
  cluster_.Run(10);
}

// Seen with a disk of 64 MiB (row disk-full-hard, seed 4002): the tail for slow followers and a
// memtable that was not flushed took the disk, and what waited for space stood before what would
// have given it back.
TEST(Snapshots, ANodeWhoseDiskIsFullKeepsNoLogForOthers) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& full = cluster.Follower();
  for (int i = 0; i < 1000; ++i) {
    (void)leader.Put("key" + std::to_string(i), std::string(2000, 'x'));
    cluster.Settle();
  }
  cluster.Run(10);
  EXPECT_EQ(full.log().first_index(), raft::Index(2));
  full.ShortenSpace(true, false);
  cluster.Run(20);
  // A sixteenth of 10,000 entries.
  EXPECT_NEAR(static_cast<double>(full.log().first_index().value), 1000 - 625, 10);
  full.ShortenSpace(true, true);
  for (int i = 0; i < 600; ++i) {
    (void)leader.Put("more" + std::to_string(i), std::string(2000, 'x'));
    cluster.Settle();
  }
  cluster.Run(20);
  EXPECT_GT(full.log().first_index(), raft::Index(1500));
  EXPECT_EQ(leader.log().first_index(), raft::Index(2));
  EXPECT_EQ(ValueAt(full, "more599"), std::string(2000, 'x'));
}

}  // namespace
}  // namespace raftkv::runtime
