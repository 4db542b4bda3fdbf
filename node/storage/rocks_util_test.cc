#include "node/storage/rocks_util.h"

#include <gtest/gtest.h>

namespace raftkv::storage {
namespace {

using rocksdb::Status;

// The process ended as by a broken disk, when a write waited for a flush that found no space.
TEST(FromRocks, AFullDiskIsOneHoweverItIsSaid) {
  const Status full = Status::NoSpace("While appending to file: x", "No space left on device");
  for (const Status& status : {full, Status::Incomplete(full.ToString())}) {
    EXPECT_EQ(FromRocks(status, "cannot write").code(), Code::kOutOfSpace) << status.ToString();
  }
  EXPECT_EQ(FromRocks(Status::Incomplete("no block cached"), "cannot read").code(), Code::kIoError);
  EXPECT_EQ(FromRocks(Status::IOError("broken"), "cannot write").code(), Code::kIoError);
  EXPECT_EQ(FromRocks(Status::Corruption("torn"), "cannot read").code(), Code::kCorruption);
}

}  // namespace
}  // namespace raftkv::storage
