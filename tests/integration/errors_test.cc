// What clients are told when the cluster cannot do what they ask: 429, 503, 504 and 507, by real
// processes.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <thread>
#include <vector>

#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

void ExpectProblem(const HttpReply& reply, int status, const std::string& code) {
  EXPECT_EQ(reply.status, status) << reply.body;
  EXPECT_NE(reply.body.find("\"code\":\"" + code + "\""), std::string::npos) << reply.body;
}

void StartAll(Cluster& cluster, std::vector<std::string> flags) {
  const std::vector<std::string> start = {"--start-mode", "static", "--start-peers",
                                          cluster.StaticList()};
  flags.insert(flags.end(), start.begin(), start.end());
  for (size_t i = 0; i < cluster.size(); ++i) cluster[i].Start(flags);
  for (size_t i = 0; i < cluster.size(); ++i) {
    ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
  }
}

TEST(ErrorsTest, WithoutAQuorumWritesAndReadsAre503AndStaleReadsGoOn) {
  Cluster cluster(3);
  cluster.StartStatic();
  ASSERT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
  ASSERT_TRUE(
      WaitUntil([&] { return cluster[0].Client("GET", "/kv/a?consistency=stale").status == 200; }));
  cluster[1].Kill();
  cluster[2].Kill();
  ASSERT_TRUE(WaitUntil([&] {
    const auto status = cluster[0].Status();
    return status && status->leader() == 0;
  })) << cluster.Logs();
  const HttpReply put = cluster[0].Client("PUT", "/kv/a", "2");
  ExpectProblem(put, 503, "unavailable");
  EXPECT_TRUE(put.headers.contains("retry-after"));
  ExpectProblem(cluster[0].Client("GET", "/kv/a"), 503, "unavailable");
  EXPECT_EQ(cluster[0].Client("GET", "/kv/a?consistency=stale").body, "1");
  EXPECT_EQ(cluster[0].Admin("GET", "/livez").status, 200);
  EXPECT_EQ(cluster[0].Admin("GET", "/readyz").status, 503);
  cluster[1].Start();
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  // What was refused did not happen.
  EXPECT_EQ(cluster[0].Client("GET", "/kv/a").body, "1");
}

// On every interface, with addresses that say where: what a container does.
TEST(ErrorsTest, EveryListenerMayBeEveryInterface) {
  TempDir directory;
  const std::string port = std::to_string(ReservePort());
  const int client = ReservePort(), admin = ReservePort();
  Process node(
      {NodeBinary(), "--data-dir", "data", "--start-mode", "single", "--client-listen",
       "0.0.0.0:" + std::to_string(client), "--admin-listen", "0.0.0.0:" + std::to_string(admin),
       "--peer-listen", "0.0.0.0:" + port, "--peer-advertise", "localhost:" + port,
       "--client-advertise", "localhost:" + std::to_string(client)},
      directory.path(), directory.path() + "/log");
  ASSERT_TRUE(WaitUntil([&] { return Http("GET", admin, "/readyz").status == 200; })) << node.Log();
  EXPECT_EQ(Http("PUT", client, "/kv/k", "v").status, 201);
  const std::string members = Http("GET", client, "/cluster").body;
  EXPECT_NE(members.find("localhost:" + port), std::string::npos) << members;
  EXPECT_EQ(members.find("0.0.0.0"), std::string::npos) << members;
  node.Signal(SIGTERM);
  EXPECT_EQ(node.Wait(), 0);
}

TEST(ErrorsTest, TheAdminListenerHasItsOwnLimitOfConnections) {
  Cluster cluster(1);
  StartAll(cluster, {"--http-max-admin-connections", "8"});
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(cluster[0].admin_port()));
  std::vector<int> idle;
  for (int i = 0; i < 8; ++i) {
    idle.push_back(socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(connect(idle.back(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_EQ(Http("GET", cluster[0].admin_port(), "/readyz").status, 503);
  EXPECT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
  for (const int fd : idle) close(fd);
  EXPECT_TRUE(
      WaitUntil([&] { return Http("GET", cluster[0].admin_port(), "/readyz").status == 200; }));
}

TEST(ErrorsTest, AWriteWithoutAnswerIs504AndOneTooManyIs429) {
  Cluster cluster(3);
  StartAll(cluster, {"--limits-inflight-requests", "1"});
  const size_t leader = cluster.WaitLeader();
  NodeProcess& node = cluster[leader];
  ASSERT_TRUE(WaitUntil([&] { return node.Client("PUT", "/kv/a", "1").status == 201; }));
  for (size_t i = 0; i < 3; ++i) {
    if (i != leader) cluster[i].Pause();
  }
  const auto pending = [&](int count) {
    const std::string gauge = "raftkv_server_proposals_pending " + std::to_string(count) + "\n";
    return WaitUntil(
        [&] { return node.Admin("GET", "/metrics").body.find(gauge) != std::string::npos; },
        std::chrono::seconds(4));
  };
  // The gauge follows some time later: it might still speak of the write before.
  ASSERT_TRUE(pending(0)) << cluster.Logs();
  // Proposed, and sent to members that do not answer.
  auto first = std::async(std::launch::async, [&] { return node.Client("PUT", "/kv/b", "1"); });
  ASSERT_TRUE(pending(1)) << cluster.Logs();
  const HttpReply second = node.Client("PUT", "/kv/c", "1");
  ExpectProblem(second, 429, "resource exhausted");
  EXPECT_TRUE(second.headers.contains("retry-after"));
  ExpectProblem(first.get(), 504, "unknown outcome");
  for (size_t i = 0; i < 3; ++i) {
    if (i != leader) cluster[i].Resume();
  }
  ASSERT_TRUE(Cluster::WaitReady(node)) << cluster.Logs();
  EXPECT_EQ(node.Client("GET", "/kv/c").status, 404);
}

// Small file systems of their own for the nodes' data, seen by this test and its children only.
class SmallDisks {
 public:
  // Empty if all went well.
  static std::string Mount(const std::string& dir, const std::string& size) {
    static const int kError = [] {
      const bool own = unshare(CLONE_NEWNS) == 0 &&
                       mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
      return own ? 0 : errno;
    }();
    if (kError != 0) return std::string("no mount namespace: ") + std::strerror(kError);
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
    const std::string problem = SmallDisks::Mount(cluster_[i].data_dir(), "144m");
    if (!problem.empty()) GTEST_SKIP() << "this test needs root and small disks: " << problem;
  }
  StartAll(cluster_, {"--limits-min-free-bytes", "24MiB", "--storage-reserve-bytes", "8MiB",
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
    ExpectProblem(reply, 507, "out of space");
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
  const std::string problem = SmallDisks::Mount(cluster_[0].data_dir(), "96m");
  if (!problem.empty()) GTEST_SKIP() << "this test needs root and small disks: " << problem;
  StartAll(cluster_, {"--limits-min-free-bytes", "1MiB", "--storage-reserve-bytes", "0",
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
