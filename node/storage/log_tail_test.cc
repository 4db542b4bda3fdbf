#include "node/storage/log_tail.h"

#include <gtest/gtest.h>

#include "node/storage/log_test_util.h"

namespace raftkv::storage {
namespace {

using raft::Index;
using raft::LogError;
using raft::Term;

LogTail Filled() {
  LogTail tail(1 << 20);
  tail.Reset({Term(1), Index(10)});
  for (const auto& [term, index] : {std::pair{1, 11}, {1, 12}, {3, 13}, {3, 14}, {7, 15}}) {
    tail.Append(MakeEntry(static_cast<uint64_t>(term), static_cast<uint64_t>(index)));
  }
  return tail;
}

TEST(LogTail, KnowsEveryTerm) {
  LogTail tail = Filled();
  EXPECT_EQ(tail.term(Index(9)).error(), LogError::kCompacted);
  for (const auto& [index, term] :
       {std::pair{10, 1}, {11, 1}, {12, 1}, {13, 3}, {14, 3}, {15, 7}}) {
    EXPECT_EQ(tail.term(Index(static_cast<uint64_t>(index))), Term(static_cast<uint64_t>(term)));
  }
  EXPECT_EQ(tail.term(Index(16)).error(), LogError::kUnavailable);
}

TEST(LogTail, CutsAndContinues) {
  for (uint64_t cut = 11; cut <= 16; ++cut) {
    LogTail tail = Filled();
    tail.CutFrom(Index(cut));
    EXPECT_EQ(tail.last(), Index(cut - 1));
    EXPECT_EQ(tail.cached_entries(), cut - 11);
    tail.Append(MakeEntry(8, cut));
    EXPECT_EQ(tail.term(Index(cut)), Term(8));
    EXPECT_EQ(tail.term(Index(cut - 1)), Filled().term(Index(cut - 1)));
  }
}

TEST(LogTail, CompactsEverywhere) {
  for (uint64_t to = 11; to <= 15; ++to) {
    LogTail tail = Filled();
    tail.CompactTo(Index(to));
    EXPECT_EQ(tail.first(), Index(to + 1));
    EXPECT_EQ(tail.last(), Index(15));
    EXPECT_EQ(tail.cached_entries(), 15 - to);
    for (uint64_t i = to; i <= 15; ++i) {
      EXPECT_EQ(tail.term(Index(i)), Filled().term(Index(i))) << to << " " << i;
    }
    tail.Append(MakeEntry(7, 16));
    EXPECT_EQ(tail.term(Index(16)), Term(7));
    tail.CutFrom(Index(to + 1));
    EXPECT_EQ(tail.last(), Index(to));
  }
}

TEST(LogTail, EvictsTheOldestAndKeepsTheirTerms) {
  LogTail tail(1000);
  for (uint64_t i = 1; i <= 100; ++i) tail.Append(MakeEntry(i / 10 + 1, i, std::string(72, 'x')));
  EXPECT_EQ(tail.cached_bytes(), 100u * 200);
  EXPECT_EQ(tail.Evict().size(), 95u);
  EXPECT_EQ(tail.cache_begin(), Index(96));
  EXPECT_EQ(tail.term(Index(10)), Term(2));
  tail.CutFrom(Index(50));  // before everything that is cached
  EXPECT_EQ(tail.cached_bytes(), 0u);
  EXPECT_EQ(tail.last(), Index(49));
  EXPECT_EQ(tail.cache_begin(), Index(50));
}

TEST(LogTailDeathTest, GapsAndFallingTerms) {
  LogTail tail = Filled();
  EXPECT_DEATH(tail.Append(MakeEntry(7, 17)), "no gaps");
  EXPECT_DEATH(tail.Append(MakeEntry(6, 16)), "never fall");
}

}  // namespace
}  // namespace raftkv::storage
