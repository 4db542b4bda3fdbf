#include "node/raft/progress.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/random.h"

namespace raftkv::raft {
namespace {

Progress MakeProgress(ProgressState state, uint64_t match, uint64_t next) {
  Progress progress;
  progress.state = state;
  progress.match = Index(match);
  progress.next = Index(next);
  progress.inflights = Inflights(256);
  return progress;
}

TEST(InflightsTest, BoundedByCount) {
  Inflights window(3);
  for (uint64_t i = 1; i <= 3; ++i) {
    EXPECT_FALSE(window.Full());
    window.Add(Index(i), 100);
  }
  EXPECT_TRUE(window.Full());
  window.FreeUpTo(Index(0));
  EXPECT_EQ(window.count(), 3);
  window.FreeUpTo(Index(2));
  EXPECT_EQ(window.count(), 1);
  EXPECT_EQ(window.bytes(), 100u);
  EXPECT_FALSE(window.Full());
  window.Reset();
  EXPECT_EQ(window.count(), 0);
  EXPECT_EQ(window.bytes(), 0u);
}

// The message that reaches the limit is still sent, so that one larger than the limit can be.
TEST(InflightsTest, BoundedByBytes) {
  Inflights window(100, 10);
  window.Add(Index(1), 9);
  EXPECT_FALSE(window.Full());
  window.Add(Index(2), 50);
  EXPECT_TRUE(window.Full());
  window.FreeUpTo(Index(1));
  EXPECT_TRUE(window.Full());
  window.FreeUpTo(Index(2));
  EXPECT_FALSE(window.Full());
}

TEST(InflightsDeathTest, AddingToAFullWindowIsAnError) {
  Inflights window(1);
  window.Add(Index(1), 1);
  EXPECT_DEATH(window.Add(Index(2), 1), "window is full");
}

// Against a plain list that is filtered.
TEST(InflightsTest, AgreesWithAPlainList) {
  SeededRandom random(1);
  for (int round = 0; round < 200; ++round) {
    const int max_count = static_cast<int>(1 + random.Uniform(10));
    const uint64_t max_bytes = random.Uniform(50);
    Inflights window(max_count, max_bytes);
    std::vector<std::pair<Index, uint64_t>> sent;
    Index last;
    for (int i = 0; i < 100; ++i) {
      const uint64_t bytes = std::accumulate(sent.begin(), sent.end(), uint64_t{0},
                                             [](uint64_t n, auto& s) { return n + s.second; });
      const bool full =
          sent.size() == static_cast<size_t>(max_count) || (max_bytes != 0 && bytes >= max_bytes);
      ASSERT_EQ(window.Full(), full);
      ASSERT_EQ(window.count(), static_cast<int>(sent.size()));
      ASSERT_EQ(window.bytes(), bytes);
      if (!full && random.Uniform(3) != 0) {
        last = last + 1 + random.Uniform(3);
        sent.emplace_back(last, random.Uniform(20));
        window.Add(last, sent.back().second);
      } else {
        const Index to(random.Uniform(last.value + 2));
        std::erase_if(sent, [&](auto& s) { return s.first <= to; });
        window.FreeUpTo(to);
      }
    }
  }
}

TEST(ProgressTest, Text) {
  Progress progress = MakeProgress(ProgressState::kSnapshot, 1, 2);
  progress.inflights = Inflights(1);
  progress.pending_snapshot = Index(123);
  progress.is_learner = true;
  progress.inflights.Add(Index(123), 1);
  EXPECT_EQ(
      progress.ToString(),
      "StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]");
  progress = MakeProgress(ProgressState::kReplicate, 3, 9);
  progress.recently_active = true;
  progress.inflights.Add(Index(8), 1);
  EXPECT_EQ(progress.ToString(), "StateReplicate match=3 next=9 inflight=1");
  EXPECT_EQ(Describe(ProgressMap{{NodeId(3), progress}, {NodeId(11), MakeProgress({}, 0, 1)}}),
            "3: StateReplicate match=3 next=9 inflight=1\n"
            "11: StateProbe match=0 next=1 inactive\n");
}

TEST(ProgressTest, PausedByProbeAndSnapshot) {
  for (const bool paused : {false, true}) {
    Progress progress = MakeProgress(ProgressState::kProbe, 0, 1);
    progress.append_flow_paused = paused;
    EXPECT_EQ(progress.IsPaused(), paused);
    progress.state = ProgressState::kReplicate;
    EXPECT_EQ(progress.IsPaused(), paused);
    progress.state = ProgressState::kSnapshot;
    EXPECT_TRUE(progress.IsPaused());
  }
}

TEST(ProgressTest, AcknowledgementReopensTheFlow) {
  Progress progress = MakeProgress(ProgressState::kProbe, 0, 2);
  progress.append_flow_paused = true;
  EXPECT_TRUE(progress.MaybeDecrementTo(Index(1), Index(1)));
  EXPECT_FALSE(progress.append_flow_paused);
  progress.append_flow_paused = true;
  EXPECT_TRUE(progress.MaybeUpdate(Index(2)));
  EXPECT_FALSE(progress.append_flow_paused);
}

TEST(ProgressTest, ProbeStartsBehindMatchOrSnapshot) {
  Progress progress = MakeProgress(ProgressState::kReplicate, 1, 5);
  progress.sent_commit = Index(4);
  progress.BecomeProbe();
  EXPECT_EQ(progress.state, ProgressState::kProbe);
  EXPECT_EQ(progress.next, Index(2));
  EXPECT_EQ(progress.sent_commit, Index(1));

  progress.BecomeSnapshot(Index(10));
  EXPECT_EQ(progress.next, Index(11));
  EXPECT_EQ(progress.sent_commit, Index(10));
  progress.BecomeProbe();  // the snapshot arrived
  EXPECT_EQ(progress.next, Index(11));

  progress.BecomeSnapshot(Index(20));
  progress.pending_snapshot = Index();  // it did not
  progress.BecomeProbe();
  EXPECT_EQ(progress.next, Index(2));
}

TEST(ProgressTest, ReplicateStartsBehindMatch) {
  Progress progress = MakeProgress(ProgressState::kProbe, 1, 5);
  progress.append_flow_paused = true;
  progress.BecomeReplicate();
  EXPECT_EQ(progress.next, Index(2));
  EXPECT_FALSE(progress.IsPaused());
}

TEST(ProgressTest, MaybeUpdateIgnoresWhatItKnows) {
  Progress progress = MakeProgress(ProgressState::kReplicate, 3, 5);
  EXPECT_FALSE(progress.MaybeUpdate(Index(2)));
  EXPECT_FALSE(progress.MaybeUpdate(Index(3)));
  EXPECT_EQ(progress.next, Index(5));
  EXPECT_TRUE(progress.MaybeUpdate(Index(4)));
  EXPECT_EQ(progress.next, Index(5));
  EXPECT_TRUE(progress.MaybeUpdate(Index(7)));
  EXPECT_EQ(progress.match, Index(7));
  EXPECT_EQ(progress.next, Index(8));
}

TEST(ProgressTest, RejectionLowersNext) {
  struct Case {
    ProgressState state;
    uint64_t match, next, rejected, hint;
    bool accepted;
    uint64_t next_after;
  };
  const ProgressState probe = ProgressState::kProbe;
  const ProgressState replicate = ProgressState::kReplicate;
  for (const Case& c : std::vector<Case>{
           {replicate, 5, 10, 5, 5, false, 10},  // overtaken: not above match
           {replicate, 5, 10, 4, 4, false, 10},
           {replicate, 5, 10, 9, 9, true, 6},  // back to match + 1
           {probe, 0, 0, 0, 0, false, 0},      // next - 1 is not what was rejected
           {probe, 0, 10, 5, 5, false, 10},
           {probe, 0, 10, 9, 9, true, 9},
           {probe, 0, 2, 1, 1, true, 1},
           {probe, 0, 10, 9, 2, true, 3},  // straight to the hint
           {probe, 0, 10, 9, 0, true, 1},
           {probe, 4, 10, 9, 2, true, 5},  // never down to match
       }) {
    Progress progress = MakeProgress(c.state, c.match, c.next);
    progress.sent_commit = Index(c.next == 0 ? 0 : c.next - 1);
    EXPECT_EQ(progress.MaybeDecrementTo(Index(c.rejected), Index(c.hint)), c.accepted);
    EXPECT_EQ(progress.match, Index(c.match));
    EXPECT_EQ(progress.next, Index(c.next_after));
    EXPECT_TRUE(!c.accepted || progress.sent_commit < progress.next);
  }
}

TEST(ProgressTest, SendingInReplicateFillsTheWindow) {
  Progress progress = MakeProgress(ProgressState::kReplicate, 1, 2);
  progress.inflights = Inflights(2);
  progress.SentEntries(3, 30);
  EXPECT_EQ(progress.next, Index(5));
  EXPECT_FALSE(progress.IsPaused());
  progress.SentEntries(0, 0);
  EXPECT_EQ(progress.inflights.count(), 1);
  progress.SentEntries(1, 10);
  EXPECT_TRUE(progress.IsPaused());
  // A heartbeat response opens the flow for one empty append, which closes it again.
  progress.append_flow_paused = false;
  progress.SentEntries(0, 0);
  EXPECT_TRUE(progress.IsPaused());
}

TEST(ProgressTest, SendingInProbePausesUnlessEmpty) {
  Progress progress = MakeProgress(ProgressState::kProbe, 1, 2);
  progress.SentEntries(0, 0);
  EXPECT_FALSE(progress.IsPaused());
  progress.SentEntries(2, 5);
  EXPECT_TRUE(progress.IsPaused());
  EXPECT_EQ(progress.next, Index(2));
}

TEST(ProgressDeathTest, SendingDuringASnapshotIsAnError) {
  Progress progress = MakeProgress(ProgressState::kSnapshot, 1, 2);
  EXPECT_DEATH(progress.SentEntries(1, 1), "snapshot is on its way");
}

TEST(ProgressTest, CommitIsSentOncePerWindow) {
  Progress progress = MakeProgress(ProgressState::kReplicate, 5, 10);
  progress.SentCommit(Index(4));
  EXPECT_FALSE(progress.CanBumpCommit(Index(4)));
  EXPECT_TRUE(progress.CanBumpCommit(Index(5)));
  EXPECT_TRUE(progress.CanBumpCommit(Index(20)));
  progress.SentCommit(Index(20));  // covers everything up to next - 1
  EXPECT_FALSE(progress.CanBumpCommit(Index(21)));
  progress.next = Index(30);
  EXPECT_TRUE(progress.CanBumpCommit(Index(21)));
}

}  // namespace
}  // namespace raftkv::raft
