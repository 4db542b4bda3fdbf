#include "node/storage/snapshot_stream.h"

#include <gtest/gtest.h>

#include <map>

#include "node/storage/codec.h"

namespace raftkv::storage {
namespace {

using Files = std::map<std::string, std::string>;

v1::Snapshot Describe(const Files& files) {
  v1::SnapshotManifest manifest;
  manifest.set_cluster_id(0xc1);
  manifest.set_snapshot_id(7);
  uint64_t total = 0;
  for (const auto& [name, content] : files) {
    auto* file = manifest.add_files();
    file->set_name(name);
    file->set_bytes(content.size());
    file->set_crc32c(Crc32c(content));
    total += content.size();
  }
  manifest.set_total_bytes(total);
  v1::Snapshot snapshot;
  snapshot.set_index(42);
  snapshot.set_term(3);
  snapshot.mutable_conf()->add_voters(1);
  snapshot.set_data(manifest.SerializeAsString());
  return snapshot;
}

std::string Chunk(const std::string& file, uint64_t offset, const std::string& data) {
  v1::SnapshotChunk chunk;
  chunk.set_file(file);
  chunk.set_offset(offset);
  chunk.set_data(data);
  return SnapshotStreamFrame(chunk);
}

std::string Whole(const Files& files, size_t chunk_bytes = 5) {
  std::string out = SnapshotStreamBegin(Describe(files));
  for (const auto& [name, content] : files) {
    for (size_t at = 0; at < content.size(); at += chunk_bytes)
      out += Chunk(name, at, content.substr(at, chunk_bytes));
  }
  return out + SnapshotStreamEnd(Status::Ok());
}

Status Read(std::string_view stream, size_t piece = 1 << 20) {
  SnapshotStreamReader reader;
  for (size_t at = 0; at < stream.size(); at += piece)
    RETURN_IF_ERROR(reader.Feed(stream.substr(at, piece)));
  return reader.Finish();
}

const Files kFiles = {
    {"000012.sst", "some table data"}, {"CURRENT", "MANIFEST-1\n"}, {"EMPTY", ""}};

TEST(SnapshotStreamTest, RoundTripInPiecesOfAnySize) {
  for (size_t piece : {1, 7, 100, 1 << 20}) {
    Files read;
    SnapshotStreamReader reader([&](const v1::SnapshotChunk& chunk) {
      read[chunk.file()] += chunk.data();
      return Status::Ok();
    });
    std::string stream = Whole(kFiles);
    for (size_t at = 0; at < stream.size(); at += piece)
      ASSERT_TRUE(reader.Feed(std::string_view(stream).substr(at, piece)).ok());
    ASSERT_TRUE(reader.Finish().ok()) << reader.Finish().message();
    read["EMPTY"];
    EXPECT_EQ(read, kFiles);
    EXPECT_EQ(reader.snapshot().index(), 42u);
    EXPECT_EQ(reader.manifest().cluster_id(), 0xc1u);
    EXPECT_EQ(reader.bytes_read(), stream.size());
  }
}

TEST(SnapshotStreamTest, NoFilesAtAll) { EXPECT_TRUE(Read(Whole({})).ok()); }

TEST(SnapshotStreamTest, EveryCutIsNoticed) {
  std::string stream = Whole(kFiles);
  for (size_t length = 0; length < stream.size(); ++length)
    EXPECT_EQ(Read(std::string_view(stream).substr(0, length)).code(), Code::kCorruption) << length;
}

TEST(SnapshotStreamTest, EveryFlippedBitIsNoticed) {
  std::string stream = Whole(kFiles);
  for (size_t at = 0; at < stream.size(); ++at) {
    std::string damaged = stream;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    EXPECT_FALSE(Read(damaged).ok()) << at;
  }
}

TEST(SnapshotStreamTest, RefusesWhatTheManifestDoesNotAnnounce) {
  const Files files = {{"a", "12345"}, {"b", "678"}};
  const std::string begin = SnapshotStreamBegin(Describe(files));
  const std::string end = SnapshotStreamEnd(Status::Ok());
  auto refused = [&](const std::string& chunks) {
    return Read(begin + chunks + end).code() == Code::kCorruption;
  };
  const std::string a = Chunk("a", 0, "12345"), b = Chunk("b", 0, "678");
  EXPECT_FALSE(refused(a + b));
  EXPECT_TRUE(refused(a));                                               // a file is missing
  EXPECT_TRUE(refused(b + a));                                           // wrong order
  EXPECT_TRUE(refused(a + a + b));                                       // twice
  EXPECT_TRUE(refused(Chunk("a", 1, "2345") + b));                       // a hole
  EXPECT_TRUE(refused(Chunk("a", 0, "123456") + b));                     // too long
  EXPECT_TRUE(refused(Chunk("a", 0, "12346") + b));                      // the file's checksum
  EXPECT_TRUE(refused(Chunk("a", 0, "") + a + b));                       // an empty chunk
  EXPECT_TRUE(refused(a + b + Chunk("c", 0, "x")));                      // a file more
  EXPECT_EQ(Read(begin + a + b + end + "x").code(), Code::kCorruption);  // bytes behind
}

TEST(SnapshotStreamTest, RefusesPathsAndWrongSums) {
  for (const char* name : {"", ".", "..", "../x", "a/b", "/etc/passwd"})
    EXPECT_EQ(Read(Whole({{name, "x"}})).code(), Code::kCorruption) << name;
  v1::Snapshot snapshot = Describe(kFiles);
  v1::SnapshotManifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(snapshot.data()));
  manifest.set_total_bytes(1);
  snapshot.set_data(manifest.SerializeAsString());
  EXPECT_EQ(Read(SnapshotStreamBegin(snapshot)).code(), Code::kCorruption);
}

TEST(SnapshotStreamTest, TellsWhyTheSenderGaveUp) {
  std::string stream = SnapshotStreamBegin(Describe(kFiles)) +
                       SnapshotStreamEnd(Status(Code::kIoError, "disk gone"));
  Status status = Read(stream);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find("disk gone"), std::string::npos);
}

TEST(SnapshotStreamTest, RefusesHugeFramesBeforeBufferingThem) {
  std::string stream = "RKVSNAP1";
  stream += std::string("\xff\xff\xff\x7f", 4) + std::string(4, '\0');
  EXPECT_EQ(Read(stream).code(), Code::kCorruption);
}

TEST(SnapshotStreamTest, OtherFilesAreNamedAsSuch) {
  Status status = Read("PK\x03\x04 something else entirely");
  EXPECT_EQ(status.code(), Code::kCorruption);
  EXPECT_NE(status.message().find("not a raftkv snapshot"), std::string::npos);
}

}  // namespace
}  // namespace raftkv::storage
