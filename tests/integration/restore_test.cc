// A new cluster from a saved snapshot, after the old one is lost.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/hex_id.h"
#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

class RestoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    old_.StartStatic();
    for (int i = 0; i < 50; ++i) {
      const HttpReply put = old_[0].Client("PUT", "/kv/k" + std::to_string(i), "old");
      ASSERT_EQ(put.status, 201);
    }
    first_revision_ = old_[0].Client("GET", "/kv/k7").headers["etag"];
    ASSERT_EQ(old_[1].Client("PUT", "/kv/k7", "new").status, 204);
    ASSERT_EQ(old_[1].Client("DELETE", "/kv/k8").status, 204);
    revision_ = old_[1].Status()->revision();
    const HttpReply snapshot = old_[1].Admin("GET", "/admin/snapshot/file");
    ASSERT_EQ(snapshot.status, 200);
    saved_ = snapshot.body;
    Write(saved_);
  }

  void Write(const std::string& bytes) const {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  }
  std::string file() const { return directory_.path() + "/state.snap"; }
  std::vector<std::string> Flags() const {
    return {"--start-mode", "restore", "--start-snapshot", file()};
  }

  TempDir directory_;
  Cluster old_{3};
  std::string saved_;
  std::string first_revision_;
  uint64_t revision_ = 0;
};

TEST_F(RestoreTest, ANewClusterHasTheStateAndGrows) {
  const v1::StatusResponse before = *old_[1].Status();
  for (size_t i = 0; i < 3; ++i) old_[i].Kill();
  Cluster cluster(3);
  cluster[0].Start(Flags());
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  v1::StatusResponse after = *cluster[0].Status();
  EXPECT_NE(after.cluster_id(), before.cluster_id());
  EXPECT_NE(after.member_id(), before.member_id());
  EXPECT_EQ(after.revision(), revision_);
  ASSERT_EQ(after.cluster().conf().voters_size(), 1);
  EXPECT_EQ(after.cluster().conf().voters(0), after.member_id());
  EXPECT_EQ(after.cluster().removed_ids_size(), 3);
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k7").body, "new");
  const std::string old_revision = first_revision_.substr(1, first_revision_.size() - 2);
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k7?revision=" + old_revision).body, "old");
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k8").status, 404);
  const HttpReply put = cluster[0].Client("PUT", "/kv/new", "1");
  ASSERT_EQ(put.status, 201);
  EXPECT_EQ(put.headers.at("raftkv-revision"), std::to_string(revision_ + 1));

  for (size_t i = 1; i < 3; ++i) {
    cluster[i].Start({"--start-mode", "join", "--start-peers", cluster[0].peer_address()});
  }
  ASSERT_TRUE(WaitUntil([&] {
    const auto status = cluster[0].Status();
    return status && status->cluster().conf().voters_size() == 3;
  })) << cluster.Logs();
  // The same command line again is a restart, also without the file.
  cluster[0].Kill();
  std::filesystem::remove(file());
  cluster[0].Start();
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
    EXPECT_EQ(cluster[i].Client("GET", "/kv/new").body, "1");
    EXPECT_EQ(cluster[i].Client("GET", "/kv/k7").body, "new");
    EXPECT_EQ(cluster[i].Status()->cluster_id(), after.cluster_id());
  }
  // Members of the old cluster go on as what they are, and are nobody's here.
  for (size_t i = 0; i < 3; ++i) old_[i].Start();
  ASSERT_TRUE(Cluster::WaitReady(old_[1])) << old_.Logs();
  EXPECT_EQ(old_[1].Client("GET", "/kv/new").status, 404);
  EXPECT_EQ(old_[1].Status()->cluster_id(), before.cluster_id());
}

TEST_F(RestoreTest, ADamagedFileIsRefusedAndTheDirectoryStaysBlank) {
  std::string damaged = saved_;
  damaged[damaged.size() / 2] ^= 1;
  Cluster cluster(1);
  for (const std::string& bytes : {damaged, saved_.substr(0, saved_.size() - 5), std::string()}) {
    Write(bytes);
    cluster[0].Start(Flags());
    EXPECT_EQ(cluster[0].process()->Wait(), 1) << cluster.Logs();
    EXPECT_NE(cluster[0].Log().find("cannot restore the snapshot " + file()), std::string::npos)
        << cluster.Logs();
  }
  Write(saved_);
  cluster[0].Start(Flags());
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k7").body, "new");
}

constexpr size_t kPiece = 4000;

// POST /admin/restore of `bytes`, piece by piece, until the first answer that is not 200.
HttpReply Upload(const NodeProcess& node, const std::string& bytes) {
  HttpReply reply;
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    reply =
        node.Admin("POST", "/admin/restore?offset=" + std::to_string(at), bytes.substr(at, kPiece),
                   {{"Content-Type", "application/vnd.raftkv.snapshot"}});
    if (reply.status != 200) break;
  }
  return reply;
}

TEST_F(RestoreTest, ABlankNodeThatRunsIsGivenTheSnapshot) {
  for (size_t i = 0; i < 3; ++i) old_[i].Kill();
  Cluster cluster(2);
  for (size_t i = 0; i < 2; ++i) {
    cluster[i].Start({"--start-mode", "wait"});
    ASSERT_TRUE(WaitUntil([&] { return cluster[i].Status().has_value(); })) << cluster.Logs();
  }
  // What is damaged, or cut short, leaves it blank; the whole file can come after it.
  std::string damaged = saved_;
  damaged[damaged.size() / 2] ^= 1;
  const HttpReply refused = Upload(cluster[0], damaged);
  EXPECT_EQ(refused.status, 400) << refused.body;
  EXPECT_NE(refused.body.find("the snapshot is damaged"), std::string::npos) << refused.body;
  EXPECT_EQ(Upload(cluster[0], saved_.substr(0, saved_.size() - 5)).status, 200);
  EXPECT_EQ(cluster[0].Status()->role(), v1::StatusResponse::BLANK);
  const HttpReply done = Upload(cluster[0], saved_);
  ASSERT_EQ(done.status, 200) << done.body << cluster.Logs();
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  const v1::StatusResponse status = *cluster[0].Status();
  EXPECT_EQ(status.revision(), revision_);
  ASSERT_EQ(status.cluster().conf().voters_size(), 1);
  EXPECT_EQ(status.cluster().removed_ids_size(), 3);
  EXPECT_NE(done.body.find(HexId(status.cluster_id())), std::string::npos) << done.body;
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k7").body, "new");
  ASSERT_EQ(cluster[0].Client("PUT", "/kv/new", "1").status, 201);

  // Never over a member, and a member never again.
  const HttpReply again = Upload(cluster[0], saved_);
  EXPECT_EQ(again.status, 409) << again.body;
  EXPECT_NE(again.body.find(HexId(status.cluster_id())), std::string::npos) << again.body;
  cluster[0].Kill();
  cluster[0].Start({"--start-mode", "wait"});
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_EQ(cluster[0].Client("GET", "/kv/new").body, "1");
  EXPECT_EQ(cluster[0].Status()->cluster_id(), status.cluster_id());

  // The other one, still blank, joins.
  const std::string join = R"({"peer_addresses":[")" + cluster[0].peer_address() + R"("]})";
  ASSERT_EQ(
      cluster[1].Admin("POST", "/admin/join", join, {{"Content-Type", "application/json"}}).status,
      200)
      << cluster.Logs();
  ASSERT_TRUE(Cluster::WaitReady(cluster[1])) << cluster.Logs();
  EXPECT_EQ(cluster[1].Client("GET", "/kv/k7").body, "new");
}

// A kill at any moment leaves a blank node or the whole cluster, and a blank one takes the file
// from its beginning.
TEST_F(RestoreTest, AKillInTheMiddleOfAnUploadLeavesABlankNode) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "wait"});
  ASSERT_TRUE(WaitUntil([&] { return cluster[0].Status().has_value(); })) << cluster.Logs();
  ASSERT_EQ(Upload(cluster[0], saved_.substr(0, saved_.size() / 2)).status, 200);
  cluster[0].Kill();
  cluster[0].Start({"--start-mode", "wait"});
  ASSERT_TRUE(WaitUntil([&] { return cluster[0].Status().has_value(); })) << cluster.Logs();
  EXPECT_EQ(cluster[0].Status()->role(), v1::StatusResponse::BLANK);
  const std::string at = std::to_string(saved_.size() / 2);
  EXPECT_EQ(cluster[0]
                .Admin("POST", "/admin/restore?offset=" + at, "more",
                       {{"Content-Type", "application/vnd.raftkv.snapshot"}})
                .status,
            409);
  ASSERT_EQ(Upload(cluster[0], saved_).status, 200) << cluster.Logs();
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k7").body, "new");
}

// Of three members the survivor has no quorum, and gives its state nevertheless.
TEST_F(RestoreTest, AMemberWithoutAQuorumGivesItsState) {
  old_[0].Kill();
  old_[2].Kill();
  ASSERT_TRUE(WaitUntil([&] { return old_[1].Client("GET", "/kv/k7").status == 503; }));
  const HttpReply snapshot = old_[1].Admin("GET", "/admin/snapshot/file");
  ASSERT_EQ(snapshot.status, 200);
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "wait"});
  ASSERT_TRUE(WaitUntil([&] { return cluster[0].Status().has_value(); })) << cluster.Logs();
  ASSERT_EQ(Upload(cluster[0], snapshot.body).status, 200) << cluster.Logs();
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_EQ(cluster[0].Client("GET", "/kv/k7").body, "new");
}

}  // namespace
}  // namespace raftkv::testing
