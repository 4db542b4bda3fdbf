#include "node/storage/wal_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/random.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/log_test_util.h"

namespace raftkv::storage {
namespace {

using raft::Index;

constexpr uint64_t kEntries = 10;

// Dies without closing the log.
TEST(WalCheckChild, DISABLED_WritesTenRecords) {
  auto log = OpenRocksLog(std::getenv("LOG_PATH"), {}).value();
  for (uint64_t i = 1; i <= kEntries; ++i) {
    // 3 and 7 are longer than a block.
    const size_t padding = i % 4 == 3 ? 50'000 : 300;
    ASSERT_OK(AppendEntries(log.get(), MakeEntries(1, i, i, padding)));
  }
  ::_exit(7);
}

void ForEachFragment(const std::string& wal, const std::function<void(size_t, size_t)>& visit) {
  constexpr size_t kBlock = 32768;
  for (size_t at = 0; at < wal.size();) {
    if (kBlock - at % kBlock < 11) {
      at += kBlock - at % kBlock;
      continue;
    }
    const size_t length = static_cast<uint8_t>(wal[at + 4]) | static_cast<uint8_t>(wal[at + 5])
                                                                  << 8;
    visit(at, length);
    at += 11 + length;
  }
}

// The same records as those of another log.
std::string Renumber(std::string wal, uint32_t number) {
  ForEachFragment(wal, [&](size_t at, size_t length) {
    SetFixed32(wal.data() + at + 7, number);
    const uint32_t crc = Crc32c(std::string_view(wal).substr(at + 6, 5 + length));
    SetFixed32(wal.data() + at, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  });
  return wal;
}

// A log whose write-ahead log holds entries 1..10 of various sizes, one record each (and before
// them one for the first state), as a killed process leaves it.
class WalCheckTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(RunSelf("WalCheckChild.DISABLED_WritesTenRecords", {{"LOG_PATH", path_}}), 7);
    const std::vector<std::string> wals = FilesWith(path_, ".log");
    ASSERT_EQ(wals.size(), 1u);
    wal_ = wals[0];
    good_ = ReadFile(wal_).value();
    number_ = std::stoull(wal_.substr(path_.size() + 1));
    verdict_ = JudgeWal(good_, number_);
    ahead_ = good_.substr(verdict_.end);
    good_.resize(verdict_.end);
    ForEachFragment(good_, [this](size_t at, size_t length) {
      if (good_[at + 6] == 5 || good_[at + 6] == 8) ends_.push_back(at + 11 + length);
    });
  }

  TempDir temp_;
  const std::string path_ = temp_ / "log";
  std::string wal_;
  std::string good_;   // the records
  std::string ahead_;  // what the file holds behind them
  uint64_t number_ = 0;
  WalVerdict verdict_;
  std::vector<uint64_t> ends_;
};

TEST_F(WalCheckTest, ReadsWhatRocksDbWrites) {
  EXPECT_EQ(verdict_.records, kEntries + 1);
  EXPECT_EQ(ahead_.find_first_not_of('\0'), std::string::npos) << "written ahead";
  EXPECT_FALSE(verdict_.torn);
  EXPECT_FALSE(verdict_.valid_after_end);
  EXPECT_EQ(ends_.size(), kEntries + 1);
}

TEST_F(WalCheckTest, ATornTailIsCutWhereverItIsTorn) {
  SeededRandom random(4);
  for (int i = 0; i < 15; ++i) {
    const size_t record = random.Uniform(kEntries);  // the last whole one
    const uint64_t size = ends_[record] + random.Uniform(ends_[record + 1] - ends_[record]);
    TempDir copy;
    WriteRaw(wal_, good_.substr(0, size));
    std::filesystem::copy(path_, copy / "log");
    std::string notice;
    LogOptions options;
    options.on_notice = [&](std::string_view text) { notice = text; };
    auto log = OpenRocksLog(copy / "log", options);
    ASSERT_TRUE(log.has_value()) << log.error().ToString();
    EXPECT_EQ((*log)->last_index(), Index(record));
    // Up to 10 bytes of a header do not tell whose they are: not worth a notice.
    if (size > ends_[record] + 11) {
      EXPECT_THAT(notice, testing::HasSubstr("a crash interrupted"));
    }
    // And it goes on from there.
    ASSERT_OK(AppendEntries(log->get(), MakeEntries(2, record + 1, record + 2)));
    log->reset();
    log = OpenRocksLog(copy / "log", {});
    ASSERT_TRUE(log.has_value()) << log.error().ToString();
    EXPECT_EQ((*log)->last_index(), Index(record + 2));
  }
}

TEST_F(WalCheckTest, ATornTailMayEndInTheRemainsOfARecycledFile) {
  // A record of another log, and zeros, where the torn one would have gone on.
  for (const std::string& remains : {good_.substr(0, 5000), std::string(5000, '\0')}) {
    std::string bytes = good_.substr(0, ends_[8] - 50) + remains;
    WalVerdict verdict = JudgeWal(bytes, number_);
    EXPECT_EQ(verdict.records, 8u);
    EXPECT_TRUE(verdict.torn);
    // The same bytes under the number of this log would be records that came later.
    EXPECT_EQ(verdict.valid_after_end, remains[0] != '\0');
    EXPECT_FALSE(JudgeWal(remains, number_ + 1).torn);
    EXPECT_EQ(JudgeWal(remains, number_ + 1).records, 0u);
  }
}

TEST_F(WalCheckTest, ABitFlipIsCorruptionUnlessItIsInTheLastRecord) {
  SeededRandom random(5);
  for (int i = 0; i < 300; ++i) {
    const size_t offset = random.Uniform(good_.size());
    std::string bytes = good_;
    bytes[offset] = static_cast<char>(bytes[offset] ^ (1 << random.Uniform(8)));
    const bool in_last = offset >= ends_[kEntries - 1];
    const WalVerdict verdict = JudgeWal(bytes, number_);
    EXPECT_EQ(verdict.valid_after_end, !in_last) << offset;
    EXPECT_LE(verdict.end, offset);
  }
}

TEST_F(WalCheckTest, OpeningRefusesAgainAndAgain) {
  FlipBit(wal_, ends_[4] + 100);
  for (int i = 0; i < 3; ++i) {
    const Status error = OpenError(path_);
    EXPECT_EQ(error.code(), Code::kCorruption);
    EXPECT_THAT(error.message(), testing::HasSubstr(wal_));
    EXPECT_THAT(error.message(), testing::HasSubstr("remove the data directory"));
  }
  WriteRaw(wal_, good_);
  EXPECT_TRUE(OpenError(path_).ok());
}

TEST_F(WalCheckTest, ATornFileBeforeOneWithRecordsIsCorruption) {
  const std::string later = path_ + "/000999.log";
  WriteRaw(wal_, good_.substr(0, good_.size() - 20));
  WriteRaw(later, good_);  // recycled, nothing of its own in it
  EXPECT_TRUE(CutTornTails(path_).has_value());
  EXPECT_EQ(ReadFile(later), "");
  EXPECT_EQ(ReadFile(wal_)->size(), ends_[kEntries - 1]);
  const std::string torn = good_.substr(0, good_.size() - 20);
  WriteRaw(wal_, torn);
  WriteRaw(later, Renumber(good_, 999));
  const Result<std::string> report = CutTornTails(path_);
  ASSERT_FALSE(report.has_value());
  EXPECT_THAT(report.error().message(), testing::HasSubstr(wal_));
  EXPECT_EQ(ReadFile(wal_), torn);
}

}  // namespace
}  // namespace raftkv::storage
