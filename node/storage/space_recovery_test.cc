// Who looks for space after which error; that a database goes on, the tests of log and state say.

#include "node/storage/space_recovery.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "node/storage/test_util.h"

namespace raftkv::storage {
namespace {

using rocksdb::BackgroundErrorReason;
using Severity = rocksdb::Status::Severity;

class SpaceRecoveryTest : public testing::Test {
 protected:
  // Whether RocksDB looks by itself.
  bool RocksDbLooks(const rocksdb::Status& error, Severity severity) {
    bool looks = true;
    recovery_.OnErrorRecoveryBegin(BackgroundErrorReason::kFlush, rocksdb::Status(error, severity),
                                   &looks);
    return looks;
  }
  void Recovered() { recovery_.OnErrorRecoveryEnd({rocksdb::Status(), rocksdb::Status()}); }

  const rocksdb::Status full_ = rocksdb::Status::NoSpace("no space");
  SpaceRecovery recovery_;
};

TEST_F(SpaceRecoveryTest, TheOwnerLooksAfterWhatStopsWrites) {
  EXPECT_FALSE(RocksDbLooks(full_, Severity::kHardError));
  EXPECT_FALSE(RocksDbLooks(full_, Severity::kHardError)) << "nor when the owner finds none";
  EXPECT_FALSE(RocksDbLooks(full_, Severity::kSoftError)) << "nor for a compaction then";
  Recovered();
  EXPECT_TRUE(RocksDbLooks(full_, Severity::kSoftError));
}

TEST_F(SpaceRecoveryTest, WhatBeganWithACompactionIsLeftToRocksDb) {
  EXPECT_TRUE(RocksDbLooks(full_, Severity::kSoftError));
  EXPECT_TRUE(RocksDbLooks(full_, Severity::kHardError)) << "of which RocksDB makes the most";
  Recovered();
  EXPECT_FALSE(RocksDbLooks(full_, Severity::kHardError));
}

TEST_F(SpaceRecoveryTest, OtherErrorsAreNotItsOwn) {
  EXPECT_TRUE(RocksDbLooks(rocksdb::Status::IOError("broken"), Severity::kHardError));
  EXPECT_FALSE(RocksDbLooks(full_, Severity::kHardError));
}

TEST_F(SpaceRecoveryTest, WhatWasNotStoppedIsLeftAlone) {
  TempDir temp;
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, temp / "db", &db).ok());
  const std::unique_ptr<rocksdb::DB> owned(db);
  ASSERT_TRUE(db->Put({}, "k", "v").ok());
  const auto unflushed = [db] {
    std::string entries;
    (void)db->GetProperty(rocksdb::DB::Properties::kNumEntriesActiveMemTable, &entries);
    return entries;
  };
  ASSERT_OK(recovery_.Resume(db));
  EXPECT_EQ(unflushed(), "1");
  // Although a call was: that may have been the disk's last word before there was space again.
  recovery_.Refused();
  ASSERT_OK(recovery_.Resume(db));
  EXPECT_EQ(unflushed(), "1");
}

}  // namespace
}  // namespace raftkv::storage
