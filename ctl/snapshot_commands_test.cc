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

// A node that puts the pieces of a snapshot together.
class BlankNode {
 public:
  FakeNode::Handler Handler() {
    return [this](const httplib::Request& request, httplib::Response& response) {
      if (request.path != "/admin/restore") return Refuse(response, 404, "not found", "x");
      const uint64_t offset = std::stoull(request.get_param_value("offset"));
      if (offset != received.size()) return Refuse(response, 409, "conflict", "wrong offset");
      received += request.body;
      ++pieces;
      storage::SnapshotStreamReader reader;
      EXPECT_TRUE(reader.Feed(received).ok());
      v1::RestoreResponse answer;
      answer.set_received(received.size());
      if (reader.Finish().ok()) {
        answer.set_cluster_id(0xc2);
        answer.set_member_id(0xa2);
      }
      response.set_content(answer.SerializeAsString(), "application/protobuf");
    };
  }

  std::string received;
  int pieces = 0;
};

TEST_F(SnapshotTest, RestoreSendsTheFileInPieces) {
  const std::string stream = SnapshotStream(std::string(1'000'000, 'x'));
  std::ofstream(path_, std::ios::binary) << stream;
  BlankNode blank;
  FakeNode node(blank.Handler());
  Outcome restored =
      RunArgs({"-o", "raw", "--admin-endpoints", node.address(), "snapshot", "restore", path_});
  EXPECT_EQ(restored.status, 0) << restored.err;
  EXPECT_EQ(restored.out, "00000000000000c2 00000000000000a2\n");
  EXPECT_EQ(blank.received, stream);
  EXPECT_EQ(blank.pieces, 2);
  Json json = [&] {
    blank = {};
    return Json::parse(
        RunArgs({"-o", "json", "--admin-endpoints", node.address(), "snapshot", "restore", path_})
            .out);
  }();
  EXPECT_EQ(json["cluster_id"], "00000000000000c2");
  EXPECT_EQ(json["index"], 42);
}

TEST_F(SnapshotTest, RestoreRefusesADamagedFileBeforeTheNodeHearsOfIt) {
  std::ofstream(path_, std::ios::binary) << SnapshotStream(std::string(1000, 'x'));
  Damage();
  BlankNode blank;
  FakeNode node(blank.Handler());
  Outcome outcome = RunArgs({"--admin-endpoints", node.address(), "snapshot", "restore", path_});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("checksum"));
  EXPECT_TRUE(node.requests().empty());
}

TEST_F(SnapshotTest, RestoreIsForOneBlankNode) {
  std::ofstream(path_, std::ios::binary) << SnapshotStream("x");
  FakeNode node([](const auto&, auto& response) {
    Refuse(response, 409, "failed precondition", "this node belongs to cluster 1 already");
  });
  Outcome member = RunArgs({"--admin-endpoints", node.address(), "snapshot", "restore", path_});
  EXPECT_EQ(member.status, 8);
  EXPECT_THAT(member.err, HasSubstr("belongs to cluster"));
  Outcome several = RunArgs(
      {"--admin-endpoints", node.address() + "," + node.address(), "snapshot", "restore", path_});
  EXPECT_NE(several.status, 0);
}

}  // namespace
}  // namespace raftkv::ctl
