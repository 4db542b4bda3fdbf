#include "node/raft/unstable_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class UnstableLogTest : public testing::Test {
 protected:
  // Entries with the terms, from `first` on; `accepted` of them handed to storage.
  UnstableLog Make(Index first, const std::vector<uint64_t>& terms, size_t accepted = 0) {
    UnstableLog log(first, Report(logger_));
    if (accepted > 0) {
      log.TruncateAndAppend(
          EntriesWithTerms(first, {terms.begin(), terms.begin() + static_cast<long>(accepted)}), 0);
      log.AcceptInProgress();
    }
    if (accepted < terms.size()) {
      log.TruncateAndAppend(
          EntriesWithTerms(first + accepted,
                           {terms.begin() + static_cast<long>(accepted), terms.end()}),
          0);
    }
    return log;
  }
  static std::vector<uint64_t> Terms(const UnstableLog& log) {
    return TermsOf(log.Slice(log.offset(), log.end()));
  }

  RecordingLogger logger_;
};

TEST_F(UnstableLogTest, EmptyKnowsNothing) {
  const UnstableLog log(Index(5), Report(logger_));
  EXPECT_EQ(log.LastIndex(), std::nullopt);
  EXPECT_EQ(log.TermAt(Index(5)), std::nullopt);
  EXPECT_EQ(log.TermAt(Index(4)), std::nullopt);
  EXPECT_FALSE(log.HasNextEntries());
  EXPECT_FALSE(log.HasNextSnapshot());
  EXPECT_THAT(log.NextEntries(), IsEmpty());
}

TEST_F(UnstableLogTest, KnowsItsEntriesAndSnapshot) {
  UnstableLog log(Index(1), Report(logger_));
  log.Restore({.index = Index(4), .term = Term(2)});
  EXPECT_EQ(log.LastIndex(), Index(4));
  EXPECT_EQ(log.TermAt(Index(4)), Term(2));
  EXPECT_EQ(log.TermAt(Index(3)), std::nullopt);
  log.TruncateAndAppend(EntriesWithTerms(Index(5), {3, 4}), 0);
  EXPECT_EQ(log.LastIndex(), Index(6));
  EXPECT_EQ(log.TermAt(Index(5)), Term(3));
  EXPECT_EQ(log.TermAt(Index(6)), Term(4));
  EXPECT_EQ(log.TermAt(Index(7)), std::nullopt);
}

TEST_F(UnstableLogTest, HandsOutOnce) {
  UnstableLog log = Make(Index(5), {1, 1, 1}, 1);
  EXPECT_EQ(log.accepted(), Index(6));
  EXPECT_EQ(log.NextEntries(), EntriesWithTerms(Index(6), {1, 1}));
  log.AcceptInProgress();
  EXPECT_FALSE(log.HasNextEntries());
  log.TruncateAndAppend(EntriesWithTerms(Index(8), {2}), 0);
  EXPECT_EQ(log.NextEntries(), EntriesWithTerms(Index(8), {2}));

  log.Restore({.index = Index(20), .term = Term(3)});
  EXPECT_TRUE(log.HasNextSnapshot());
  log.AcceptInProgress();
  EXPECT_FALSE(log.HasNextSnapshot());
  EXPECT_TRUE(log.snapshot());
}

TEST_F(UnstableLogTest, StableEntriesAreDropped) {
  UnstableLog log = Make(Index(5), {1, 1, 1}, 3);
  log.StableTo({Term(1), Index(6)});
  EXPECT_EQ(log.offset(), Index(7));
  EXPECT_EQ(log.accepted(), Index(8));
  EXPECT_THAT(Terms(log), ElementsAre(1));
  // Stable although it was never handed out: somebody else vouches for it.
  log = Make(Index(5), {1, 1}, 0);
  log.StableTo({Term(1), Index(6)});
  EXPECT_EQ(log.offset(), Index(7));
  EXPECT_EQ(log.accepted(), Index(7));
}

TEST_F(UnstableLogTest, StableReportsThatDoNotFitAreIgnored) {
  UnstableLog log = Make(Index(5), {2, 2}, 2);
  log.StableTo({Term(1), Index(5)});  // replaced since
  log.StableTo({Term(2), Index(4)});  // long stable
  log.StableTo({Term(2), Index(7)});  // truncated since
  EXPECT_EQ(log.offset(), Index(5));
  EXPECT_THAT(Terms(log), ElementsAre(2, 2));
  EXPECT_TRUE(logger_.Contains(
      "entry at (index,term)=(5,1) mismatched with entry at (5,2) in unstable log; ignoring"));
  EXPECT_TRUE(logger_.Contains("entry at index 4 missing from unstable log; ignoring"));

  log.Restore({.index = Index(6), .term = Term(2)});
  log.StableTo({Term(2), Index(6)});
  EXPECT_TRUE(log.snapshot());
  EXPECT_TRUE(logger_.Contains("entry at index 6 matched unstable snapshot; ignoring"));
}

TEST_F(UnstableLogTest, StableSnapshotIsDropped) {
  UnstableLog log(Index(1), Report(logger_));
  log.Restore({.index = Index(4), .term = Term(1)});
  log.AcceptInProgress();
  log.StableSnapshotTo(Index(3));
  EXPECT_TRUE(log.snapshot());
  log.StableSnapshotTo(Index(4));
  EXPECT_FALSE(log.snapshot());
  EXPECT_EQ(log.offset(), Index(5));
}

TEST_F(UnstableLogTest, RestoreReplacesEverything) {
  UnstableLog log = Make(Index(5), {1, 1}, 2);
  log.Restore({.index = Index(9), .term = Term(3)});
  EXPECT_EQ(log.offset(), Index(10));
  EXPECT_EQ(log.accepted(), Index(10));
  EXPECT_TRUE(log.entries().empty());
}

TEST_F(UnstableLogTest, AppendsAndTruncates) {
  struct Case {
    std::vector<uint64_t> terms;  // from index 5
    size_t accepted;
    uint64_t from;
    std::vector<uint64_t> appended;
    uint64_t offset;
    uint64_t accepted_index;
    std::vector<uint64_t> result;
  };
  const std::vector<Case> cases = {
      {{1}, 0, 6, {1, 1}, 5, 5, {1, 1, 1}},     // to the end
      {{1}, 1, 6, {1, 1}, 5, 6, {1, 1, 1}},     //
      {{1}, 0, 5, {2, 2}, 5, 5, {2, 2}},        // in place of everything
      {{1}, 0, 4, {2, 2, 2}, 4, 4, {2, 2, 2}},  // also of what is stable
      {{1}, 1, 5, {2, 2}, 5, 5, {2, 2}},        // also of what is being written
      {{1, 1, 1}, 0, 6, {2}, 5, 5, {1, 2}},     // in place of a part
      {{1, 1, 1}, 0, 7, {2, 2}, 5, 5, {1, 1, 2, 2}},
      {{1, 1, 1}, 1, 6, {2}, 5, 6, {1, 2}},
      {{1, 1, 1}, 2, 6, {2}, 5, 6, {1, 2}},
  };
  for (const Case& c : cases) {
    UnstableLog log = Make(Index(5), c.terms, c.accepted);
    log.TruncateAndAppend(EntriesWithTerms(Index(c.from), c.appended), 0);
    EXPECT_EQ(log.offset(), Index(c.offset));
    EXPECT_EQ(log.accepted(), Index(c.accepted_index));
    EXPECT_EQ(Terms(log), c.result);
  }
}

TEST_F(UnstableLogTest, AppendsFromTheMiddleOfABatch) {
  UnstableLog log = Make(Index(5), {1, 1});
  log.TruncateAndAppend(EntriesWithTerms(Index(5), {1, 2, 2}), 1);
  EXPECT_THAT(Terms(log), ElementsAre(1, 2, 2));
}

TEST_F(UnstableLogTest, SliceHasASizeLimit) {
  const UnstableLog log = Make(Index(5), {1, 1, 1});
  EXPECT_EQ(log.Slice(Index(5), Index(8)).size(), 3u);
  EXPECT_EQ(log.Slice(Index(5), Index(8), 2 * kEntryOverheadBytes).size(), 2u);
  EXPECT_EQ(log.Slice(Index(5), Index(8), 2 * kEntryOverheadBytes - 1).size(), 1u);
  EXPECT_EQ(log.Slice(Index(5), Index(8), 0).size(), 1u) << "never empty for want of room";
  EXPECT_THAT(log.Slice(Index(6), Index(6), 0), IsEmpty());
}

using UnstableLogDeathTest = UnstableLogTest;

TEST_F(UnstableLogDeathTest, GapsAndForeignRangesAreBugs) {
  UnstableLog log = Make(Index(5), {1, 1});
  EXPECT_DEATH(log.TruncateAndAppend(EntriesWithTerms(Index(8), {1}), 0), "gap");
  EXPECT_DEATH((void)log.Slice(Index(4), Index(6)), "out of bound");
  EXPECT_DEATH((void)log.Slice(Index(6), Index(8)), "out of bound");
  EXPECT_DEATH((void)log.Slice(Index(6), Index(5)), "invalid");
}

}  // namespace
}  // namespace raftkv::raft
