#include "node/storage/snapshot_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "node/storage/state_store.h"
#include "node/storage/test_util.h"

namespace raftkv::storage {
namespace {

using testing::HasSubstr;

class SnapshotFilesTest : public testing::Test {
 protected:
  // Files of one byte, several chunks, exactly one chunk, and none.
  void SetUp() override {
    ASSERT_OK(MakeDirs(from_));
    SeededRandom random(1);
    for (const size_t size : {size_t{1}, size_t{2'500'000}, kSnapshotChunkBytes, size_t{0}}) {
      std::string bytes(size, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random.Next());
      WriteRaw(from_ + "/file" + std::to_string(size), bytes);
    }
    manifest_ = DescribeCheckpoint(from_, 5, 77).value();
  }

  std::unique_ptr<SnapshotSink> Sink() {
    return std::move(SnapshotSink::Open(to_, manifest_, kMax).value());
  }
  std::unique_ptr<SnapshotSource> Source(const v1::SnapshotResume& resume) {
    return std::move(SnapshotSource::Open(from_, manifest_, resume).value());
  }
  // Hands on `chunks` chunks, or all; returns how many there were.
  int Transfer(SnapshotSink* sink, int chunks = -1) {
    const auto source = Source(sink->Resume());
    int n = 0;
    v1::SnapshotChunk chunk;
    for (; n != chunks && source->Next(&chunk).value(); ++n) {
      EXPECT_LE(chunk.data().size(), kSnapshotChunkBytes);
      const Status status = sink->Write(chunk);
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
    return n;
  }
  void ExpectComplete(SnapshotSink* sink) {
    const Result<std::string> dir = sink->Finish();
    ASSERT_TRUE(dir.has_value()) << dir.error().ToString();
    EXPECT_EQ(ListDir(*dir), ListDir(from_));
    EXPECT_EQ(DescribeCheckpoint(*dir, 5, 77).value().SerializeAsString(),
              manifest_.SerializeAsString());
  }
  Status OpenError(uint64_t max_bytes = kMax) {
    auto sink = SnapshotSink::Open(to_, manifest_, max_bytes);
    return sink.has_value() ? Status::Ok() : sink.error();
  }

  static constexpr uint64_t kMax = 10 << 20;
  TempDir temp_;
  const std::string from_ = temp_ / "from";
  const std::string to_ = temp_ / "to";
  v1::SnapshotManifest manifest_;
};

TEST_F(SnapshotFilesTest, TransfersEverything) {
  EXPECT_EQ(manifest_.files_size(), 4);
  EXPECT_EQ(manifest_.total_bytes(), 1 + 2'500'000 + kSnapshotChunkBytes);
  const auto sink = Sink();
  EXPECT_FALSE(sink->Finish().has_value());
  EXPECT_EQ(Transfer(sink.get()), 5);
  ExpectComplete(sink.get());
}

TEST_F(SnapshotFilesTest, ResumesAfterAnyNumberOfChunks) {
  for (int cut = 0; cut <= 5; ++cut) {
    ASSERT_OK(RemoveTree(to_));
    EXPECT_EQ(Transfer(Sink().get(), cut), cut);
    const auto sink = Sink();
    EXPECT_EQ(Transfer(sink.get()), 5 - cut);
    ExpectComplete(sink.get());
  }
}

TEST_F(SnapshotFilesTest, ResumesInTheMiddleOfAChunkAndAfterDamage) {
  std::string dir;
  {
    const auto sink = Sink();
    Transfer(sink.get());
    dir = sink->Finish().value();
  }
  const std::string big = dir + "/file2500000";
  const std::string bytes = ReadFile(big).value();
  WriteRaw(big, bytes.substr(0, 1'700'001));  // part of a chunk had been written
  {
    const auto sink = Sink();
    EXPECT_EQ(sink->Resume().partial_bytes(), 1'700'001u);
    EXPECT_EQ(sink->Resume().have_size(), 3);
    EXPECT_EQ(Transfer(sink.get()), 1);
    ExpectComplete(sink.get());
  }
  FlipBit(big, 1000);  // whole, but wrong: sent again
  WriteRaw(dir + "/stranger", "x");
  const auto sink = Sink();
  EXPECT_EQ(Transfer(sink.get()), 3);
  ExpectComplete(sink.get());
}

TEST_F(SnapshotFilesTest, ADamagedTransferIsNoticedAtTheEndOfTheFile) {
  const auto sink = Sink();
  const auto source = Source(sink->Resume());
  v1::SnapshotChunk chunk;
  Status status;
  for (int n = 0; status.ok() && source->Next(&chunk).value(); ++n) {
    if (n == 2) (*chunk.mutable_data())[5] ^= 1;
    status = sink->Write(chunk);
  }
  EXPECT_EQ(status.code(), Code::kCorruption);
  EXPECT_THAT(status.message(), HasSubstr(chunk.file()));
  EXPECT_FALSE(sink->Finish().has_value());
  const auto again = Sink();
  Transfer(again.get());
  ExpectComplete(again.get());
}

TEST_F(SnapshotFilesTest, ChunksOutOfOrderAreRefused) {
  const auto sink = Sink();
  v1::SnapshotChunk chunk;
  ASSERT_TRUE(Source(sink->Resume())->Next(&chunk).value());
  const v1::SnapshotChunk good = chunk;
  const auto refused = [&sink](const v1::SnapshotChunk& bad) {
    return sink->Write(bad).code() == Code::kInvalidArgument;
  };
  chunk.set_file("../escape");
  EXPECT_TRUE(refused(chunk));
  chunk = good;
  chunk.set_offset(1);
  EXPECT_TRUE(refused(chunk));
  chunk = good;
  chunk.set_data("");
  EXPECT_TRUE(refused(chunk));
  chunk.set_data("more than was announced" + std::string(3'000'000, 'x'));
  EXPECT_TRUE(refused(chunk));
  ASSERT_OK(sink->Write(good));
  EXPECT_TRUE(refused(good)) << "a second time";
  Transfer(sink.get());
  EXPECT_TRUE(refused(good)) << "after the end";
  ExpectComplete(sink.get());
}

TEST_F(SnapshotFilesTest, ManifestsThatCannotBeAreRefused) {
  const v1::SnapshotManifest good = manifest_;
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string(".."), std::string("a\0b", 3),
        std::string(300, 'x'), good.files(1).name()}) {
    manifest_ = good;
    manifest_.mutable_files(0)->set_name(name);
    EXPECT_EQ(OpenError().code(), Code::kInvalidArgument) << name;
  }
  manifest_ = good;
  manifest_.mutable_files(0)->set_bytes(~0ull);
  EXPECT_EQ(OpenError().code(), Code::kInvalidArgument);
  manifest_ = good;
  manifest_.set_total_bytes(good.total_bytes() + 1);
  EXPECT_EQ(OpenError().code(), Code::kInvalidArgument);
  manifest_ = good;
  manifest_.set_format(2);
  EXPECT_EQ(OpenError().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(Exists(to_));
}

// Found by the fuzz target snapshot_files: it was accepted, and complete at once.
TEST_F(SnapshotFilesTest, AManifestWithoutFilesIsRefused) {
  manifest_.clear_files();
  manifest_.set_total_bytes(0);
  EXPECT_EQ(OpenError().code(), Code::kInvalidArgument);
  EXPECT_FALSE(Exists(to_));
}

TEST_F(SnapshotFilesTest, LimitsOfSizeAndSpace) {
  EXPECT_EQ(OpenError(manifest_.total_bytes() - 1).code(), Code::kOutOfSpace);
  ASSERT_OK(OpenError(manifest_.total_bytes()));
  const uint64_t more = uint64_t{1} << 60;
  manifest_.mutable_files(0)->set_bytes(manifest_.files(0).bytes() + more);
  manifest_.set_total_bytes(manifest_.total_bytes() + more);
  const Status error = OpenError(~0ull);
  EXPECT_EQ(error.code(), Code::kOutOfSpace);
  EXPECT_THAT(error.message(), HasSubstr("are free"));
}

TEST_F(SnapshotFilesTest, AnotherTransferRemovesThePartialOneButNothingElse) {
  Transfer(Sink().get(), 2);
  ASSERT_OK(MakeDirs(to_ + "/checkpoint-being-sent"));
  manifest_.set_snapshot_id(78);
  const auto sink = Sink();
  EXPECT_EQ(sink->Resume().have_size(), 1);  // the empty file
  EXPECT_EQ(ListDir(to_)->size(), 2u);
  EXPECT_TRUE(Exists(to_ + "/checkpoint-being-sent"));
}

TEST_F(SnapshotFilesTest, FilesThatShrinkBelowTheSourceAreAnError) {
  const auto source = Source({});
  WriteRaw(from_ + "/file2500000", "short");
  v1::SnapshotChunk chunk;
  Result<bool> more = source->Next(&chunk);
  while (more.has_value() && *more) more = source->Next(&chunk);
  ASSERT_FALSE(more.has_value());
  EXPECT_EQ(more.error().code(), Code::kCorruption);
  EXPECT_EQ(DescribeCheckpoint(temp_ / "nowhere", 1, 1).error().code(), Code::kNotFound);
}

// The whole way: from one state store to another.
TEST(SnapshotFiles, AStateTravelsFromOneStoreToAnother) {
  TempDir temp;
  auto from = OpenRocksState(temp / "a/state", {}).value();
  const auto batch = from->NewBatch();
  for (int i = 0; i < 1000; ++i) batch->Put("key" + std::to_string(i), std::string(2000, 'v'));
  ASSERT_OK(from->Write(*batch));
  ASSERT_OK(MakeDirs(temp / "a/snapshots"));
  ASSERT_OK(from->Checkpoint(temp / "a/snapshots/s"));
  const v1::SnapshotManifest manifest = DescribeCheckpoint(temp / "a/snapshots/s", 1, 2).value();

  auto to = OpenRocksState(temp / "b/state", {}).value();
  const auto sink = std::move(SnapshotSink::Open(temp / "b/snapshots", manifest, 1 << 30).value());
  const auto source =
      std::move(SnapshotSource::Open(temp / "a/snapshots/s", manifest, sink->Resume()).value());
  v1::SnapshotChunk chunk;
  while (source->Next(&chunk).value()) ASSERT_OK(sink->Write(chunk));
  ASSERT_OK(to->Replace(sink->Finish().value(), {}));
  EXPECT_EQ(to->Get("key999").value(), std::string(2000, 'v'));
  to = nullptr;
  to = OpenRocksState(temp / "b/state", {}).value();
  EXPECT_EQ(to->Get("key0").value(), std::string(2000, 'v'));
}

}  // namespace
}  // namespace raftkv::storage
