#include "tests/simulation/sim_wal.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace raftkv::sim {
namespace {

TEST(SimWal, OneRecordIsThereOrItIsNotAndNeverTakenForDamage) {
  Coverage coverage;
  SeededRandom random(1);
  // Shorter and longer than a sector, and than a block of the file.
  for (const size_t size : {size_t{1}, size_t{40}, size_t{500}, size_t{70'000}}) {
    std::set<uint64_t> records;
    for (int i = 0; i < 100; ++i) {
      const storage::WalVerdict verdict = JudgeTornWal(std::span(&size, 1), random, &coverage);
      EXPECT_FALSE(verdict.valid_after_end) << size;
      records.insert(verdict.records);
    }
    EXPECT_EQ(records, (std::set<uint64_t>{1, 2})) << size;
  }
  EXPECT_GT(coverage.count(Path::crash_tore_write), 0u);
  EXPECT_EQ(coverage.count(Path::crash_left_hole), 0u);
}

TEST(SimWal, OfSeveralRecordsThoseBeforeTheFirstHoleAreThere) {
  Coverage coverage;
  SeededRandom random(2);
  const std::vector<size_t> sizes = {100, 30, 300};
  std::set<uint64_t> records;
  for (int i = 0; i < 300; ++i) {
    const storage::WalVerdict verdict = JudgeTornWal(sizes, random, &coverage);
    records.insert(verdict.records);
    EXPECT_TRUE(verdict.records < 4 || !verdict.torn);
  }
  EXPECT_EQ(records, (std::set<uint64_t>{1, 2, 3, 4}));
  EXPECT_GT(coverage.count(Path::crash_left_hole), 0u);
}

}  // namespace
}  // namespace raftkv::sim
