// A full disk under real nodes, on small file systems of their own. Needs the right to mount;
// without it the exit status is 77, which ctest shows as skipped.

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

constexpr int kExitSkipped = 77;  // ctest's SKIP_RETURN_CODE

// Small file systems of their own for the nodes' data, seen by this test and its children only.
class SmallDisks {
 public:
  // Whether this process may have any; before it has threads. Empty if all is well.
  static std::string MountNamespace() {
    if (unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) {
      const TempDir dir;
      const std::string problem = Mount(dir.path(), "1m");
      if (problem.empty()) (void)umount2(dir.path().c_str(), MNT_DETACH);
      return problem;
    }
    return std::string("no mount namespace: ") + std::strerror(errno);
  }
  static std::string Mount(const std::string& dir, const std::string& size) {
    std::filesystem::create_directories(dir);
    const std::string options = "mode=0700,size=" + size;
    if (mount("raftkv-test", dir.c_str(), "tmpfs", 0, options.c_str()) == 0) return "";
    return "tmpfs on " + dir + ": " + std::strerror(errno);
  }
  explicit SmallDisks(Cluster* cluster) : cluster_(cluster) {}
  ~SmallDisks() {
    for (size_t i = 0; i < cluster_->size(); ++i) {
      NodeProcess& node = (*cluster_)[i];
      if (node.process() != nullptr) node.Kill();
      (void)umount2(node.data_dir().c_str(), MNT_DETACH);
    }
  }

 private:
  Cluster* const cluster_;
};

std::string Noise(size_t size) {  // does not compress
  static std::atomic<unsigned> seed{1};
  std::mt19937 random(seed.fetch_add(1));
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class FullDiskTest : public ::testing::Test {
 protected:
  // Writes to every node at once until each has refused; the keys that were stored.
  std::vector<std::string> Fill() {
    std::vector<std::vector<std::string>> stored(cluster_.size());
    std::vector<std::thread> writers;
    for (size_t i = 0; i < cluster_.size(); ++i) {
      writers.emplace_back([&, i] {
        for (int n = 0; n < 2000; ++n) {
          const std::string key = "fill/" + std::to_string(i) + "/" + std::to_string(n);
          const HttpReply reply = cluster_[i].Client("PUT", "/kv/" + key, Noise(128 << 10));
          if (reply.status / 100 == 2) stored[i].push_back(key);
          if (reply.status == 507) {
            refused_.fetch_add(1);
            if (refused_ >= 3 * 20) return;
          }
        }
      });
    }
    for (std::thread& writer : writers) writer.join();
    std::vector<std::string> all;
    for (const auto& keys : stored) all.insert(all.end(), keys.begin(), keys.end());
    return all;
  }

  // A file of another program on the same disk.
  std::string Filler(size_t i) { return cluster_[i].data_dir() + "/filler"; }

  bool AllRun() {
    for (size_t i = 0; i < cluster_.size(); ++i) {
      if (!cluster_[i].process()->IsRunning()) return false;
    }
    return true;
  }

  Cluster cluster_{3};
  std::atomic<int> refused_{0};
};

TEST_F(FullDiskTest, WritesAre507ReadsAndDeletesGoOnAndSpaceBringsWritesBack) {
  const SmallDisks disks(&cluster_);
  for (size_t i = 0; i < cluster_.size(); ++i) {
    ASSERT_EQ(SmallDisks::Mount(cluster_[i].data_dir(), "144m"), "");
  }
  cluster_.StartStatic({"--limits-min-free-bytes", "24MiB", "--storage-reserve-bytes", "8MiB",
                        "--storage-log-keep-bytes", "4MiB", "--storage-flush-after-bytes", "4MiB",
                        "--history-keep-revisions", "1", "--history-keep-age", "0s"});
  for (size_t i = 0; i < cluster_.size(); ++i) {
    std::ofstream(Filler(i), std::ios::binary) << std::string(48 << 20, 'x');
  }
  const std::vector<std::string> keys = Fill();
  ASSERT_TRUE(AllRun()) << cluster_.Logs();
  ASSERT_GE(refused_, 1) << cluster_.Logs();
  ASSERT_GT(keys.size(), 20u);
  // Held by the disk's limit, not by what was written just before.
  ASSERT_TRUE(WaitUntil([&] {
    HttpReply reply;
    for (size_t i = 0; i < cluster_.size(); ++i) {
      reply = cluster_[i].Client("PUT", "/kv/more", Noise(512 << 10));
      if (reply.status != 507) return false;
    }
    EXPECT_NE(reply.body.find("\"code\":\"out of space\""), std::string::npos) << reply.body;
    return true;
  })) << cluster_.Logs();
  for (size_t i = 0; i < cluster_.size(); ++i) {
    EXPECT_EQ(cluster_[i].Client("GET", "/kv/" + keys[0]).status, 200);
    EXPECT_EQ(cluster_[i].Admin("GET", "/readyz").status, 200);
  }
  for (const std::string& key : keys) {
    ASSERT_EQ(cluster_[0].Client("DELETE", "/kv/" + key).status, 204) << cluster_.Logs();
  }
  // The other program makes room.
  for (size_t i = 0; i < cluster_.size(); ++i) std::filesystem::remove(Filler(i));
  for (size_t i = 0; i < cluster_.size(); ++i) {
    EXPECT_TRUE(WaitUntil([&] {
      return cluster_[i].Client("PUT", "/kv/again", "1").status / 100 == 2;
    })) << cluster_.Logs();
  }
  EXPECT_TRUE(AllRun()) << cluster_.Logs();
}

// Ended with status 74: the leader does not know that this member has less room than itself.
TEST_F(FullDiskTest, FollowerWithASmallerDiskWaitsForSpaceAndCatchesUp) {
  const SmallDisks disks(&cluster_);
  ASSERT_EQ(SmallDisks::Mount(cluster_[0].data_dir(), "96m"), "");
  cluster_.StartStatic({"--limits-min-free-bytes", "1MiB", "--storage-reserve-bytes", "0",
                        "--storage-log-keep-bytes", "4MiB", "--storage-flush-after-bytes", "4MiB"});
  ASSERT_TRUE(WaitUntil([&] {
    if (cluster_.WaitLeader() != 0) return true;
    (void)cluster_[0].Admin("POST", "/admin/transfer");
    return false;
  })) << cluster_.Logs();
  std::ofstream(Filler(0), std::ios::binary) << std::string(50 << 20, 'x');
  NodeProcess& small = cluster_[0];
  NodeProcess& leader = cluster_[cluster_.WaitLeader()];
  for (int n = 0; small.Log().find("waiting for space") == std::string::npos; ++n) {
    ASSERT_LT(n, 2000) << cluster_.Logs();
    ASSERT_TRUE(small.process()->IsRunning()) << cluster_.Logs();
    ASSERT_EQ(leader.Client("PUT", "/kv/" + std::to_string(n), Noise(128 << 10)).status, 201)
        << cluster_.Logs();
  }
  // The others go on without it.
  for (int n = 0; n < 100; ++n) {
    ASSERT_EQ(leader.Client("PUT", "/kv/b" + std::to_string(n), Noise(128 << 10)).status, 201);
  }
  EXPECT_TRUE(small.process()->IsRunning()) << cluster_.Logs();
  EXPECT_EQ(small.Admin("GET", "/livez").status, 200);
  std::filesystem::remove(Filler(0));
  EXPECT_TRUE(WaitUntil([&] {
    const auto status = small.Status();
    return status && status->revision() == leader.Status()->revision();
  })) << cluster_.Logs();
  EXPECT_TRUE(small.process()->IsRunning());
}

}  // namespace
}  // namespace raftkv::testing

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::string problem = raftkv::testing::SmallDisks::MountNamespace();
  if (!problem.empty()) {
    std::printf("skipped: this test needs root and small disks: %s\n", problem.c_str());
    return raftkv::testing::kExitSkipped;
  }
  return RUN_ALL_TESTS();
}
