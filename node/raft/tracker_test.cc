#include "node/raft/tracker.h"

#include <gtest/gtest.h>

namespace raftkv::raft {
namespace {

std::set<NodeId> Ids(std::initializer_list<uint64_t> values) {
  std::set<NodeId> ids;
  for (uint64_t value : values) ids.insert(NodeId(value));
  return ids;
}

Tracker MakeTracker(std::set<NodeId> incoming, std::set<NodeId> outgoing = {},
                    std::set<NodeId> learners = {}) {
  Tracker tracker(256, 0);
  tracker.config.voters = {MajorityConfig(std::move(incoming)),
                           MajorityConfig(std::move(outgoing))};
  tracker.config.learners = std::move(learners);
  for (NodeId id : tracker.config.voters.Ids()) tracker.progress[id];
  for (NodeId id : tracker.config.learners) tracker.progress[id].is_learner = true;
  return tracker;
}

TEST(TrackerTest, ConfigTextNamesOnlyWhatIsThere) {
  TrackerConfig config;
  EXPECT_EQ(config.ToString(), "voters=()");
  config.voters = {MajorityConfig(Ids({1, 2})), MajorityConfig(Ids({1, 17}))};
  config.learners = Ids({4});
  config.learners_next = Ids({17});
  config.auto_leave = true;
  EXPECT_EQ(config.ToString(), "voters=(1 2)&&(1 11) learners=(4) learners_next=(11) autoleave");
}

TEST(TrackerTest, ConfState) {
  TrackerConfig config;
  config.voters = {MajorityConfig(Ids({2, 1})), MajorityConfig(Ids({3}))};
  config.learners = Ids({4});
  config.learners_next = Ids({3});
  config.auto_leave = true;
  EXPECT_EQ(config.ToConfState(), (ConfState{.voters = {NodeId(1), NodeId(2)},
                                             .learners = {NodeId(4)},
                                             .voters_outgoing = {NodeId(3)},
                                             .learners_next = {NodeId(3)},
                                             .auto_leave = true}));
}

TEST(TrackerTest, Singleton) {
  EXPECT_FALSE(MakeTracker({}).IsSingleton());
  EXPECT_TRUE(MakeTracker(Ids({1})).IsSingleton());
  EXPECT_TRUE(MakeTracker(Ids({1}), {}, Ids({2})).IsSingleton());
  EXPECT_FALSE(MakeTracker(Ids({1, 2})).IsSingleton());
  EXPECT_FALSE(MakeTracker(Ids({1}), Ids({1, 2})).IsSingleton());
}

TEST(TrackerTest, LearnersDoNotCommit) {
  Tracker tracker = MakeTracker(Ids({1, 2, 3}), {}, Ids({4, 5}));
  for (auto& [id, progress] : tracker.progress) progress.match = Index(10 * id.value);
  EXPECT_EQ(tracker.Committed(), Index(20));
  EXPECT_EQ(tracker.VoterIds(), (std::vector{NodeId(1), NodeId(2), NodeId(3)}));
  EXPECT_EQ(tracker.LearnerIds(), (std::vector{NodeId(4), NodeId(5)}));
}

TEST(TrackerTest, JointCommitNeedsBothHalves) {
  Tracker tracker = MakeTracker(Ids({1}), Ids({2, 3}));
  tracker.Find(NodeId(1))->match = Index(9);
  tracker.Find(NodeId(2))->match = Index(7);
  EXPECT_EQ(tracker.Committed(), Index(0));
  tracker.Find(NodeId(3))->match = Index(8);
  EXPECT_EQ(tracker.Committed(), Index(7));
  EXPECT_EQ(tracker.VoterIds(), (std::vector{NodeId(1), NodeId(2), NodeId(3)}));
  EXPECT_EQ(tracker.Find(NodeId(4)), nullptr);
}

TEST(TrackerTest, LearnersDoNotKeepAQuorumActive) {
  Tracker tracker = MakeTracker(Ids({1, 2, 3}), {}, Ids({4}));
  tracker.Find(NodeId(1))->recently_active = true;
  tracker.Find(NodeId(4))->recently_active = true;
  EXPECT_FALSE(tracker.QuorumActive());
  tracker.Find(NodeId(2))->recently_active = true;
  EXPECT_TRUE(tracker.QuorumActive());
}

TEST(TrackerTest, TheFirstVoteCounts) {
  Tracker tracker = MakeTracker(Ids({1, 2, 3}), {}, Ids({4}));
  tracker.RecordVote(NodeId(1), true);
  tracker.RecordVote(NodeId(2), false);
  tracker.RecordVote(NodeId(2), true);
  tracker.RecordVote(NodeId(4), true);  // a learner
  tracker.RecordVote(NodeId(9), true);  // a stranger
  VoteTally tally = tracker.TallyVotes();
  EXPECT_EQ(tally.granted, 1);
  EXPECT_EQ(tally.rejected, 1);
  EXPECT_EQ(tally.result, VoteResult::kPending);

  tracker.RecordVote(NodeId(3), false);
  tally = tracker.TallyVotes();
  EXPECT_EQ(tally.rejected, 2);
  EXPECT_EQ(tally.result, VoteResult::kLost);

  tracker.ResetVotes();
  tally = tracker.TallyVotes();
  EXPECT_EQ(tally.granted + tally.rejected, 0);
  EXPECT_EQ(tally.result, VoteResult::kPending);
}

}  // namespace
}  // namespace raftkv::raft
