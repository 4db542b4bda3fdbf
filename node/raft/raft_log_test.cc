#include "node/raft/raft_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<Entry> EntriesWithSize(Index first, size_t count, size_t entry_size) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < count; ++i) {
    entries.push_back(
        {Term(1), first + i, Buffer(std::string(entry_size - kEntryOverheadBytes, 'x'))});
  }
  return entries;
}

class RaftLogTest : public testing::Test {
 protected:
  // `stable` and `unstable`: terms of the entries from 1 on.
  RaftLog Make(const std::vector<uint64_t>& stable, const std::vector<uint64_t>& unstable = {},
               uint64_t max_applying_bytes = kNoLimit) {
    memory_ = MemoryLog();
    memory_.Append(EntriesWithTerms(Index(1), stable));
    RaftLog log(memory_, Report(logger_), max_applying_bytes);
    log.Append(EntriesWithTerms(Index(stable.size() + 1), unstable));
    return log;
  }
  // Starts after a snapshot at `index`, then `unstable`.
  RaftLog MakeAfterSnapshot(Index index, Term term, const std::vector<uint64_t>& unstable = {}) {
    memory_ = MemoryLog();
    memory_.InstallSnapshot({.index = index, .term = term});
    RaftLog log(memory_, Report(logger_), kNoLimit);
    log.Append(EntriesWithTerms(index.Next(), unstable));
    return log;
  }
  static std::vector<uint64_t> Terms(const RaftLog& log) {
    return TermsOf(*log.EntriesFrom(log.first_index(), kNoLimit));
  }
  void MakeStable(RaftLog& log) {
    memory_.Append(log.unstable().NextEntries());
    log.AcceptUnstable();
    log.StableTo(log.LastId());
  }

  RecordingLogger logger_;
  MemoryLog memory_;
};

TEST_F(RaftLogTest, StartsAtTheCompactionPoint) {
  const RaftLog log = MakeAfterSnapshot(Index(7), Term(3));
  EXPECT_EQ(log.first_index(), Index(8));
  EXPECT_EQ(log.last_index(), Index(7));
  EXPECT_EQ(log.committed(), Index(7));
  EXPECT_EQ(log.applied(), Index(7));
  EXPECT_EQ(log.LastId(), (EntryId{Term(3), Index(7)}));
}

TEST_F(RaftLogTest, TermsOnBothSides) {
  memory_.InstallSnapshot({.index = Index(100), .term = Term(1)});
  memory_.Append(EntriesWithTerms(Index(101), {5, 1}));
  RaftLog log(memory_, Report(logger_), kNoLimit);
  log.Append(EntriesWithTerms(Index(103), {7}));
  EXPECT_EQ(log.TermAt(Index(99)), std::unexpected(LogError::kCompacted));
  EXPECT_EQ(log.TermAt(Index(100)), Term(1));
  EXPECT_EQ(log.TermAt(Index(101)), Term(5));
  EXPECT_EQ(log.TermAt(Index(103)), Term(7));
  EXPECT_EQ(log.TermAt(Index(104)), std::unexpected(LogError::kUnavailable));
  EXPECT_EQ(log.TermOrZero(Index(99)), Term());

  log.RestoreSnapshot({.index = Index(200), .term = Term(9)});
  EXPECT_EQ(log.TermAt(Index(102)), std::unexpected(LogError::kCompacted));
  EXPECT_EQ(log.TermAt(Index(199)), std::unexpected(LogError::kCompacted));
  EXPECT_EQ(log.TermAt(Index(200)), Term(9));
  EXPECT_EQ(log.TermAt(Index(201)), std::unexpected(LogError::kUnavailable));
}

TEST_F(RaftLogTest, UpToDateByTermThenIndex) {
  const RaftLog log = Make({1, 2, 3});
  for (uint64_t index : {2, 3, 4}) {
    EXPECT_TRUE(log.IsUpToDate({Term(4), Index(index)}));
    EXPECT_FALSE(log.IsUpToDate({Term(2), Index(index)}));
    EXPECT_EQ(log.IsUpToDate({Term(3), Index(index)}), index >= 3);
  }
}

struct AppendCase {
  EntryId prev;
  std::vector<uint64_t> terms;
  uint64_t committed;
  std::optional<uint64_t> last;  // nothing: refused
  uint64_t committed_after;
  std::vector<uint64_t> log;
};

TEST_F(RaftLogTest, FollowerAppends) {
  const std::vector<AppendCase> cases = {
      // The entry before is missing or of another term.
      {{Term(2), Index(3)}, {4}, 3, std::nullopt, 1, {1, 2, 3}},
      {{Term(3), Index(4)}, {4}, 3, std::nullopt, 1, {1, 2, 3}},
      // Nothing new; the commit index follows as far as the message reaches.
      {{Term(3), Index(3)}, {}, 3, 3, 3, {1, 2, 3}},
      {{Term(3), Index(3)}, {}, 4, 3, 3, {1, 2, 3}},
      {{Term(3), Index(3)}, {}, 2, 3, 2, {1, 2, 3}},
      {{Term(3), Index(3)}, {}, 0, 3, 1, {1, 2, 3}},
      {{Term(), Index()}, {}, 3, 0, 1, {1, 2, 3}},
      // New entries.
      {{Term(3), Index(3)}, {4}, 3, 4, 3, {1, 2, 3, 4}},
      {{Term(3), Index(3)}, {4}, 4, 4, 4, {1, 2, 3, 4}},
      {{Term(3), Index(3)}, {4}, 5, 4, 4, {1, 2, 3, 4}},
      {{Term(3), Index(3)}, {4, 4}, 3, 5, 3, {1, 2, 3, 4, 4}},
      // In place of conflicting ones.
      {{Term(2), Index(2)}, {4}, 3, 3, 3, {1, 2, 4}},
      {{Term(1), Index(1)}, {4}, 3, 2, 2, {1, 4}},
      {{Term(1), Index(1)}, {4, 4}, 3, 3, 3, {1, 4, 4}},
      {{Term(1), Index(1)}, {2, 4}, 3, 3, 3, {1, 2, 4}},
      // A prefix that matches removes nothing.
      {{Term(1), Index(1)}, {2}, 1, 2, 1, {1, 2, 3}},
  };
  for (const AppendCase& c : cases) {
    RaftLog log = Make({1, 2, 3});
    log.CommitTo(Index(1));
    const auto last =
        log.MaybeAppend(c.prev, EntriesWithTerms(c.prev.index.Next(), c.terms), Index(c.committed));
    EXPECT_EQ(last, c.last ? std::optional(Index(*c.last)) : std::nullopt);
    EXPECT_EQ(log.committed(), Index(c.committed_after));
    EXPECT_EQ(Terms(log), c.log);
  }
}

TEST_F(RaftLogTest, ConflictsAreReported) {
  RaftLog log = Make({1, 2, 3});
  ASSERT_TRUE(log.MaybeAppend({Term(1), Index(1)}, EntriesWithTerms(Index(2), {2, 4}), Index()));
  EXPECT_TRUE(
      logger_.Contains("found conflict at index 3 [existing term: 3, conflicting term: 4]"));
}

TEST_F(RaftLogTest, FindsWhereLogsMayMeet) {
  struct Case {
    std::vector<uint64_t> log;
    uint64_t index;
    uint64_t term;
    RaftLog::Hint expected;
  };
  const std::vector<Case> cases = {
      {{}, 0, 0, {Index(), Term()}},
      {{2, 2, 5, 5, 5}, 5, 6, {Index(5), Term(5)}},
      {{2, 2, 5, 5, 5}, 5, 5, {Index(5), Term(5)}},
      {{2, 2, 5, 5, 5}, 5, 4, {Index(2), Term(2)}},
      {{2, 2, 5, 5, 5}, 5, 2, {Index(2), Term(2)}},
      {{2, 2, 5, 5, 5}, 5, 1, {Index(), Term()}},
      {{2, 2, 5, 5, 5}, 2, 4, {Index(2), Term(2)}},
      {{2, 2}, 7, 1, {Index(7), Term()}},  // not there: may match
  };
  for (const Case& c : cases) {
    const RaftLog::Hint hint = Make(c.log).FindConflictByTerm(Index(c.index), Term(c.term));
    EXPECT_EQ(hint.index, c.expected.index);
    EXPECT_EQ(hint.term, c.expected.term);
  }
  // Compacted: may match.
  const RaftLog log = MakeAfterSnapshot(Index(10), Term(4), {5});
  const RaftLog::Hint hint = log.FindConflictByTerm(Index(11), Term(3));
  EXPECT_EQ(hint.index, Index(9));
  EXPECT_EQ(hint.term, Term());
}

TEST_F(RaftLogTest, CommitNeverFalls) {
  RaftLog log = Make({1, 2, 3});
  log.CommitTo(Index(3));
  log.CommitTo(Index(1));
  EXPECT_EQ(log.committed(), Index(3));
}

TEST_F(RaftLogTest, LeaderCommitsItsTermOnly) {
  RaftLog log = Make({1, 2, 3});
  EXPECT_FALSE(log.MaybeCommit({Term(3), Index(2)}));
  EXPECT_FALSE(log.MaybeCommit({Term(), Index(9)})) << "an unknown term is not term 0";
  EXPECT_TRUE(log.MaybeCommit({Term(3), Index(3)}));
  EXPECT_FALSE(log.MaybeCommit({Term(3), Index(3)}));
}

TEST_F(RaftLogTest, SlicesAcrossTheBoundary) {
  memory_.Append(EntriesWithSize(Index(1), 3, 20));
  RaftLog log(memory_, Report(logger_), kNoLimit);
  log.Append(EntriesWithSize(Index(4), 3, 20));
  const auto sizes = [&](uint64_t low, uint64_t high, uint64_t max_bytes) {
    return log.Slice(Index(low), Index(high), max_bytes)->size();
  };
  EXPECT_EQ(sizes(1, 7, kNoLimit), 6u);
  EXPECT_EQ(sizes(1, 4, kNoLimit), 3u);
  EXPECT_EQ(sizes(4, 7, kNoLimit), 3u);
  EXPECT_EQ(sizes(3, 3, kNoLimit), 0u);
  EXPECT_EQ(sizes(1, 7, 0), 1u);
  EXPECT_EQ(sizes(1, 7, 59), 2u);
  EXPECT_EQ(sizes(1, 7, 60), 3u);
  EXPECT_EQ(sizes(1, 7, 79), 3u) << "not even one unstable entry fits";
  EXPECT_EQ(sizes(1, 7, 80), 4u);
  EXPECT_EQ(sizes(1, 7, 120), 6u);
  EXPECT_EQ(sizes(4, 7, 0), 1u);
  EXPECT_THAT(*log.EntriesFrom(Index(7), kNoLimit), IsEmpty());
  memory_.CompactTo(Index(2));
  EXPECT_EQ(log.Slice(Index(2), Index(5), kNoLimit), std::unexpected(LogError::kCompacted));
}

TEST_F(RaftLogTest, ScansInPages) {
  const RaftLog log = Make({1, 2, 3, 4}, {5, 6});
  std::vector<uint64_t> seen;
  const auto until = [&seen](uint64_t term) {
    return [&seen, term](const Entry& entry) {
      seen.push_back(entry.term.value);
      return entry.term == Term(term);
    };
  };
  EXPECT_TRUE(log.ScanUntil(Index(2), Index(7), 1, until(5)));
  EXPECT_THAT(seen, ElementsAre(2, 3, 4, 5));
  EXPECT_FALSE(log.ScanUntil(Index(1), Index(7), kNoLimit, until(9)));
}

TEST_F(RaftLogTest, HandsOutCommittedOnce) {
  RaftLog log = Make({1, 1, 1}, {1, 1});
  EXPECT_FALSE(log.HasNextCommitted(true));
  log.CommitTo(Index(4));
  EXPECT_EQ(log.NextCommitted(true).size(), 4u);
  EXPECT_EQ(log.NextCommitted(false).size(), 3u) << "what is not on this disk waits";
  log.AcceptApplying(Index(3), 3 * kEntryOverheadBytes, false);
  EXPECT_FALSE(log.HasNextCommitted(false));
  log.AppliedTo(Index(2), 2 * kEntryOverheadBytes);
  EXPECT_FALSE(log.HasNextCommitted(false)) << "applying already";
  MakeStable(log);
  EXPECT_THAT(TermsOf(log.NextCommitted(false)), ElementsAre(1));
}

TEST_F(RaftLogTest, NothingIsAppliedBesideASnapshot) {
  RaftLog log = Make({1, 1, 1});
  log.CommitTo(Index(2));
  log.RestoreSnapshot({.index = Index(10), .term = Term(2)});
  EXPECT_EQ(log.committed(), Index(10));
  EXPECT_FALSE(log.HasNextCommitted(true));
  EXPECT_THAT(log.NextCommitted(true), IsEmpty());
}

// The limit covers everything handed out and not yet applied, over all Readys.
TEST_F(RaftLogTest, ApplyingIsLimited) {
  memory_.Append(EntriesWithSize(Index(1), 5, 100));
  RaftLog log(memory_, Report(logger_), 250);
  log.CommitTo(Index(5));
  EXPECT_EQ(log.NextCommitted(false).size(), 2u);
  log.AcceptApplying(Index(2), 200, false);
  EXPECT_FALSE(log.HasNextCommitted(false)) << "a third would exceed the limit";
  log.AppliedTo(Index(1), 100);
  EXPECT_EQ(log.NextCommitted(false).size(), 1u);
  log.AcceptApplying(Index(3), 100, false);
  log.AppliedTo(Index(3), 200);
  log.AcceptApplying(Index(5), 200, false);
  EXPECT_FALSE(log.HasNextCommitted(false));
  log.AppliedTo(Index(5), 10'000);  // never underflows
  EXPECT_EQ(log.applied(), Index(5));
}

TEST_F(RaftLogTest, SurvivesCompactionUpToApplied) {
  RaftLog log = Make({1, 1, 1, 1, 1});
  log.CommitTo(Index(5));
  log.AppliedTo(Index(4), 0);
  for (uint64_t index : {1, 3, 4}) {
    memory_.CompactTo(Index(index));
    EXPECT_EQ(log.first_index(), Index(index + 1));
    EXPECT_EQ(log.last_index(), Index(5));
    EXPECT_EQ(log.NextCommitted(false).size(), 1u);
    EXPECT_TRUE(log.Matches({Term(1), Index(index)}));
  }
}

// The thread that compacts came in between: the process ended with "unavailable from storage".
TEST_F(RaftLogTest, EntriesThatAreCompactedWhileTheyAreReadAreCalledSo) {
  struct CompactsMeanwhile : MemoryLog {
    LogResult<std::vector<Entry>> entries(Index, Index, uint64_t) const override {
      return std::unexpected(LogError::kCompacted);
    }
  } memory;
  memory.Append(EntriesWithTerms(Index(1), {1, 1, 1}));
  RaftLog log(memory, Report(logger_), kNoLimit);
  log.Append(EntriesWithTerms(Index(4), {1}));
  EXPECT_EQ(log.EntriesFrom(Index(2), kNoLimit).error(), LogError::kCompacted);
}

TEST_F(RaftLogTest, OffersOnlyWhatIsAtHand) {
  struct Slow : MemoryLog {
    bool AtHand(Index low) const override { return low >= at_hand; }
    Index at_hand{3};
  } memory;
  memory.Append(EntriesWithTerms(Index(1), {1, 1, 1}));
  RaftLog log(memory, Report(logger_), kNoLimit);
  log.Append(EntriesWithTerms(Index(4), {1}));
  EXPECT_FALSE(log.AtHand(Index(2)));
  EXPECT_TRUE(log.AtHand(Index(3)));
  EXPECT_TRUE(log.AtHand(Index(4))) << "not stable yet, so in memory";
  log.CommitTo(Index(4));
  EXPECT_FALSE(log.HasNextCommitted(false));
  EXPECT_THAT(log.NextCommitted(false), IsEmpty());
  memory.at_hand = Index(1);
  EXPECT_EQ(log.NextCommitted(false).size(), 3u);
}

TEST_F(RaftLogTest, DescribesItselfWhenRestoring) {
  RaftLog log = Make({1, 1}, {1});
  log.CommitTo(Index(2));
  log.RestoreSnapshot({.index = Index(9), .term = Term(4)});
  EXPECT_TRUE(logger_.Contains(
      "log [committed=2, applied=0, applying=0, unstable.offset=3, unstable.offsetInProgress=3, "
      "len(unstable.Entries)=1] starts to restore snapshot [index: 9, term: 4]"));
}

using RaftLogDeathTest = RaftLogTest;

TEST_F(RaftLogDeathTest, RefusesWhatWouldLoseData) {
  RaftLog log = Make({1, 2, 3});
  log.CommitTo(Index(2));
  EXPECT_DEATH(log.Append(EntriesWithTerms(Index(2), {4})),
               R"(after\(1\) is out of range \[committed\(2\)\])");
  EXPECT_DEATH((void)log.MaybeAppend({Term(1), Index(1)}, EntriesWithTerms(Index(2), {4}), Index()),
               R"(entry 2 conflict with committed entry \[committed\(2\)\])");
  EXPECT_DEATH(log.CommitTo(Index(4)),
               R"(tocommit\(4\) is out of range \[lastIndex\(3\)\]\. Was the raft log corrupted)");
  EXPECT_DEATH(log.AppliedTo(Index(3), 0), R"(applied\(3\) is out of range)");
  EXPECT_DEATH((void)log.Slice(Index(1), Index(5), kNoLimit), "out of bound");
}

}  // namespace
}  // namespace raftkv::raft
