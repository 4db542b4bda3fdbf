#include "node/runtime/snapshot_upload.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "node/storage/codec.h"
#include "node/storage/data_dir.h"
#include "node/storage/test_util.h"

namespace raftkv::runtime {
namespace {

const std::string kContent(10'000, 'x');

std::string Stream() {
  v1::SnapshotManifest manifest;
  manifest.set_format(storage::kDataFormat);
  manifest.set_snapshot_id(1);
  manifest.set_total_bytes(kContent.size());
  auto* file = manifest.add_files();
  file->set_name("000001.sst");
  file->set_bytes(kContent.size());
  file->set_crc32c(storage::Crc32c(kContent));
  v1::Snapshot snapshot;
  snapshot.set_index(42);
  snapshot.set_data(manifest.SerializeAsString());
  v1::SnapshotChunk chunk;
  chunk.set_file("000001.sst");
  chunk.set_data(kContent);
  return storage::SnapshotStreamBegin(snapshot) + storage::SnapshotStreamFrame(chunk) +
         storage::SnapshotStreamEnd(Status::Ok());
}

class SnapshotUploadTest : public testing::Test {
 protected:
  // In pieces of so many bytes.
  Status Send(const std::string& stream, size_t size) {
    for (size_t at = 0; at < stream.size(); at += size) {
      RETURN_IF_ERROR(upload_.Take(at, std::string_view(stream).substr(at, size)));
    }
    return Status::Ok();
  }
  void ExpectWhole() {
    EXPECT_TRUE(upload_.complete());
    const Result<std::string> dir = upload_.Finish();
    ASSERT_TRUE(dir) << dir.error().ToString();
    std::ostringstream file;
    file << std::ifstream(*dir + "/000001.sst").rdbuf();
    EXPECT_EQ(file.str(), kContent);
  }

  storage::TempDir temp_;
  SnapshotUpload upload_{temp_ / "restore"};
};

TEST_F(SnapshotUploadTest, PiecesOfAnySizeMakeTheCheckpoint) {
  for (const size_t size : {size_t{1}, size_t{7}, size_t{4096}, Stream().size()}) {
    const Status sent = Send(Stream(), size);
    ASSERT_TRUE(sent.ok()) << size << ": " << sent.ToString();
    ExpectWhole();
  }
}

TEST_F(SnapshotUploadTest, OnlyTheNextPieceIsTaken) {
  EXPECT_EQ(upload_.Take(5, "later").code(), Code::kConflict);
  const std::string stream = Stream();
  const std::string_view rest = std::string_view(stream).substr(100);
  ASSERT_TRUE(upload_.Take(0, std::string_view(stream).substr(0, 100)).ok());
  const Status gap = upload_.Take(200, rest);
  EXPECT_EQ(gap.code(), Code::kConflict);
  EXPECT_NE(gap.message().find("begins at byte 100"), std::string::npos) << gap.message();
  EXPECT_EQ(upload_.Take(50, rest).code(), Code::kConflict);
  EXPECT_FALSE(upload_.complete());
  EXPECT_EQ(upload_.Finish().error().code(), Code::kCorruption);
  ASSERT_TRUE(upload_.Take(100, rest).ok());
  ExpectWhole();
}

TEST_F(SnapshotUploadTest, WhatIsDamagedIsBegunAnew) {
  std::string damaged = Stream();
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_EQ(Send(damaged, 1000).code(), Code::kCorruption);
  EXPECT_FALSE(upload_.complete());
  EXPECT_EQ(upload_.Take(upload_.received(), "more").code(), Code::kConflict);
  EXPECT_EQ(upload_.Take(0, "something else").code(), Code::kCorruption);
  ASSERT_TRUE(Send(Stream(), 1000).ok());
  ExpectWhole();
}

}  // namespace
}  // namespace raftkv::runtime
