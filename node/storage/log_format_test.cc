// Logs as earlier versions wrote them, byte for byte: not made with our encoders, which write the
// format of now.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/storage/log_test_util.h"

namespace raftkv::storage {
namespace {

using raft::EntryId;
using raft::HardState;
using raft::Index;
using raft::NodeId;
using raft::Term;
using testing::HasSubstr;

using Records = std::vector<std::pair<std::string_view, std::string_view>>;  // in hexadecimal

// Entries 5 and 6 of term 2, "first" and "second"; keys are an index and a kind, values a checksum,
// a kind, a term and the command.
constexpr std::pair<std::string_view, std::string_view> kFirst = {
    "0000000000000005"
    "00",
    "5fbfe3dd"
    "00"
    "0200000000000000"
    "6669727374"};
constexpr std::pair<std::string_view, std::string_view> kSecond = {
    "0000000000000006"
    "00",
    "f31194c4"
    "00"
    "0200000000000000"
    "7365636f6e64"};
constexpr std::string_view kStateKey =
    "0000000000000006"
    "01";
// Term 3, vote for 9, committed up to 5; what is before entry 5 was of term 2. No owner.
constexpr std::string_view kStateOfFormat1 =
    "e6aaa45f"
    "01000000"
    "0300000000000000"
    "0900000000000000"
    "0500000000000000"
    "0200000000000000"
    "0400000000000000";
constexpr std::string_view kStateOfFormat3 =
    "98e2069f"
    "03000000"
    "0300000000000000"
    "0900000000000000"
    "0500000000000000"
    "0200000000000000"
    "0400000000000000";

std::string Bytes(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

class LogFormatTest : public ::testing::Test {
 protected:
  void Write(const Records& records) {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB* opened = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, path_, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    for (const auto& [key, value] : records) {
      ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), Bytes(key), Bytes(value)).ok());
    }
    ASSERT_TRUE(db->Flush(rocksdb::FlushOptions()).ok());
  }
  Status Refusal(uint64_t owner) {
    LogOptions options;
    options.owner = owner;
    const auto log = OpenRocksLog(path_, options);
    return log.has_value() ? Status::Ok() : log.error();
  }

  TempDir temp_;
  const std::string path_ = temp_ / "log";
};

TEST_F(LogFormatTest, Format1IsRead) {
  Write({kFirst, kSecond, {kStateKey, kStateOfFormat1}});
  LogOptions options;
  options.owner = 7;
  const auto log = OpenRocksLog(path_, options);
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  EXPECT_EQ((*log)->hard_state(), (HardState{Term(3), NodeId(9), Index(5)}));
  EXPECT_EQ((*log)->compacted(), (EntryId{Term(2), Index(4)}));
  EXPECT_EQ(ReadAll(**log), (std::vector{MakeEntry(2, 5, "first"), MakeEntry(2, 6, "second")}));
}

// Whoever writes the next state is the owner from then on.
TEST_F(LogFormatTest, Format1GivesWayWithTheNextState) {
  Write({kFirst, kSecond, {kStateKey, kStateOfFormat1}});
  EXPECT_EQ(Refusal(7), Status::Ok());
  EXPECT_EQ(Refusal(8), Status::Ok()) << "nobody's yet";
  LogOptions options;
  options.owner = 7;
  ASSERT_OK(SetHardState(OpenRocksLog(path_, options).value().get(), 4, 7, 6));
  EXPECT_EQ(Refusal(7), Status::Ok());
  EXPECT_EQ(Refusal(8).code(), Code::kFailedPrecondition);
  const auto log = OpenRocksLog(path_, options);
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  EXPECT_EQ((*log)->hard_state(), (HardState{Term(4), NodeId(7), Index(6)}));
  EXPECT_EQ(ReadAll(**log), (std::vector{MakeEntry(2, 5, "first"), MakeEntry(2, 6, "second")}));
}

TEST_F(LogFormatTest, AWrongBitInAStateOfFormat1IsSeen) {
  std::string state(kStateOfFormat1);
  state[17] = '2';  // the term
  Write({kFirst, kSecond, {kStateKey, state}});
  EXPECT_EQ(Refusal(7).code(), Code::kCorruption);
}

TEST_F(LogFormatTest, AFormatOfTheFutureIsRefusedAndLeftAlone) {
  Write({kFirst, kSecond, {kStateKey, kStateOfFormat3}});
  const Status refusal = Refusal(7);
  EXPECT_EQ(refusal.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refusal.message(), HasSubstr("format 3"));
}

}  // namespace
}  // namespace raftkv::storage
