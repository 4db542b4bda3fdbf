// A new cluster from a saved snapshot, after the old one is lost.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

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

}  // namespace
}  // namespace raftkv::testing
