#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ctl/fake_node.h"
#include "ctl/run_util.h"
#include "node/storage/codec.h"
#include "node/storage/snapshot_stream.h"

namespace raftkv::ctl {
namespace {

using client::FakeNode;
using client::Refuse;
using testing::HasSubstr;
using Json = nlohmann::json;

std::string SnapshotStream(const std::string& content) {
  v1::SnapshotManifest manifest;
  manifest.set_cluster_id(0xc1);
  manifest.set_total_bytes(content.size());
  auto* file = manifest.add_files();
  file->set_name("000001.sst");
  file->set_bytes(content.size());
  file->set_crc32c(storage::Crc32c(content));
  v1::Snapshot snapshot;
  snapshot.set_index(42);
  snapshot.set_term(3);
  snapshot.set_data(manifest.SerializeAsString());
  v1::SnapshotChunk chunk;
  chunk.set_file("000001.sst");
  chunk.set_data(content);
  return storage::SnapshotStreamBegin(snapshot) + storage::SnapshotStreamFrame(chunk) +
         storage::SnapshotStreamEnd(Status::Ok());
}

class SnapshotTest : public testing::Test {
 protected:
  SnapshotTest() { std::filesystem::remove(path_); }
  ~SnapshotTest() override { std::filesystem::remove(path_); }

  Outcome Save(FakeNode& node, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"--admin-endpoints", node.address(), "snapshot", "save",
                                     path_};
    args.insert(args.end(), more.begin(), more.end());
    return RunArgs(args);
  }
  bool Saved() const {
    EXPECT_FALSE(std::filesystem::exists(path_ + ".partial"));
    return std::filesystem::exists(path_);
  }
  void Damage() {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-40, std::ios::end);
    file.put('!');
  }

  std::string path_ = testing::TempDir() + "/raftkvctl-snapshot";
};

TEST_F(SnapshotTest, SaveThenInspect) {
  FakeNode node([](const auto&, auto& response) {
    response.set_content(SnapshotStream(std::string(100'000, 'x')),
                         "application/vnd.raftkv.snapshot");
  });
  Outcome saved = Save(node);
  EXPECT_EQ(saved.status, 0) << saved.err;
  EXPECT_TRUE(Saved());
  Json json = Json::parse(RunArgs({"-o", "json", "snapshot", "inspect", path_}).out);
  EXPECT_EQ(json["index"], 42);
  EXPECT_EQ(json["cluster_id"], "00000000000000c1");
  EXPECT_EQ(json["files"][0]["bytes"], 100'000);
  EXPECT_EQ(Save(node).status, 8);  // it is there
  EXPECT_EQ(Save(node, {"--force"}).status, 0);
  Damage();
  Outcome damaged = RunArgs({"snapshot", "inspect", path_});
  EXPECT_EQ(damaged.status, 1);
  EXPECT_THAT(damaged.err, HasSubstr("checksum"));
}

TEST_F(SnapshotTest, WhatIsCutShortIsNotSaved) {
  FakeNode node([](const auto&, auto& response) {
    std::string stream = SnapshotStream("some bytes");
    response.set_content(stream.substr(0, stream.size() - 3), "application/vnd.raftkv.snapshot");
  });
  EXPECT_EQ(Save(node).status, 1);
  EXPECT_FALSE(Saved());
}

TEST_F(SnapshotTest, ABlankNodeHasNothingToSave) {
  FakeNode node(
      [](const auto&, auto& response) { Refuse(response, 409, "failed precondition", "x"); });
  EXPECT_EQ(Save(node).status, 8);
  EXPECT_FALSE(Saved());
}

TEST_F(SnapshotTest, InspectTellsOtherFilesFromSnapshots) {
  std::ofstream(path_) << "not a snapshot at all";
  EXPECT_EQ(RunArgs({"snapshot", "inspect", path_}).status, 1);
  EXPECT_EQ(RunArgs({"snapshot", "inspect", "/nowhere/at/all"}).status, 1);
}

}  // namespace
}  // namespace raftkv::ctl
