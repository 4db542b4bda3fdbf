// Nodes are killed and paused under load: no acknowledged write is lost, and the service goes on.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

using std::chrono::milliseconds;

// Large enough that some hundred of them fill the shortest logs.
std::string ValueOf(const std::string& key) { return key + std::string(500, '.'); }

// Threads that write keys of their own, each once, to any node, and remember what was acknowledged.
class Writers {
 public:
  Writers(Cluster* cluster, int threads, unsigned seed) {
    for (int t = 0; t < threads; ++t) {
      threads_.emplace_back([this, cluster, t, seed] { Write(cluster, t, seed); });
    }
  }

  std::set<std::string> Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return acknowledged_;
  }

  size_t count() {
    std::lock_guard lock(mutex_);
    return acknowledged_.size();
  }

 private:
  void Write(Cluster* cluster, int thread, unsigned seed) {
    std::mt19937 random(seed * 1000 + static_cast<unsigned>(thread));
    std::vector<HttpClient> clients;
    for (size_t i = 0; i < cluster->size(); ++i) {
      clients.emplace_back((*cluster)[i].client_port(), milliseconds(2000));
    }
    for (int n = 0; !stop_; ++n) {
      const std::string key = "w" + std::to_string(thread) + "-" + std::to_string(n);
      const HttpReply reply =
          clients[random() % clients.size()].Send("PUT", "/kv/" + key, ValueOf(key));
      if (reply.status == 201) {
        std::lock_guard lock(mutex_);
        acknowledged_.insert(key);
      } else {
        // Refused, unanswered or unknown: the key is not written again. Not too fast while a node
        // is down.
        std::this_thread::sleep_for(milliseconds(5));
      }
    }
  }

  std::vector<std::thread> threads_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::set<std::string> acknowledged_;
};

// Every acknowledged key, from every node's own state.
void ExpectAllEverywhere(Cluster& cluster, const std::set<std::string>& acknowledged) {
  for (size_t i = 0; i < cluster.size(); ++i) {
    ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
    // A linearizable read first: from then on the local state has every acknowledged write.
    ASSERT_NE(cluster[i].Client("GET", "/kv/barrier").status, 503);
    HttpClient client(cluster[i].client_port());
    for (const std::string& key : acknowledged) {
      const HttpReply reply = client.Send("GET", "/kv/" + key + "?consistency=stale");
      ASSERT_EQ(reply.status, 200) << key << " is lost on " << cluster[i].name() << "\n"
                                   << cluster.Logs();
      ASSERT_EQ(reply.body, ValueOf(key));
    }
  }
}

class CrashTest : public ::testing::TestWithParam<unsigned> {
 protected:
  // Lets writes go on for a moment that depends on the seed.
  void Pace(int most_ms) {
    std::this_thread::sleep_for(milliseconds(std::uniform_int_distribution(0, most_ms)(random_)));
  }
  // A fault did not stop the service for good.
  void ExpectProgress(Writers& writers, Cluster& cluster) {
    const size_t before = writers.count();
    ASSERT_TRUE(WaitUntil([&] { return writers.count() > before + 20; })) << cluster.Logs();
  }
  size_t Pick(size_t count) { return random_() % count; }

  std::mt19937 random_{GetParam()};
};

TEST_P(CrashTest, KillingAnyNodeLosesNoAcknowledgedWrite) {
  Cluster cluster(3);
  cluster.StartStatic();
  Writers writers(&cluster, 6, GetParam());
  for (int round = 0; round < 6; ++round) {
    ExpectProgress(writers, cluster);
    NodeProcess& victim = round == 0 ? cluster[cluster.WaitLeader()] : cluster[Pick(3)];
    Pace(200);
    victim.Kill();
    if (Pick(2) == 0) ExpectProgress(writers, cluster);  // with the other two
    Pace(200);
    victim.Start();
    ASSERT_TRUE(Cluster::WaitReady(victim)) << cluster.Logs();
  }
  ExpectAllEverywhere(cluster, writers.Stop());
}

TEST_P(CrashTest, KillingAllNodesAtOnceLosesNoAcknowledgedWrite) {
  Cluster cluster(3);
  cluster.StartStatic();
  Writers writers(&cluster, 6, GetParam());
  for (int round = 0; round < 2; ++round) {
    ExpectProgress(writers, cluster);
    Pace(300);
    for (size_t i = 0; i < 3; ++i) cluster[i].Kill();
    for (size_t i = 0; i < 3; ++i) cluster[i].Start();
    for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
  }
  ExpectAllEverywhere(cluster, writers.Stop());
}

TEST_P(CrashTest, PausingTheLeaderLosesNoAcknowledgedWrite) {
  Cluster cluster(3);
  cluster.StartStatic();
  Writers writers(&cluster, 6, GetParam());
  for (int round = 0; round < 3; ++round) {
    ExpectProgress(writers, cluster);
    NodeProcess& leader = cluster[cluster.WaitLeader()];
    leader.Pause();
    ExpectProgress(writers, cluster);
    leader.Resume();
    ASSERT_TRUE(Cluster::WaitReady(leader)) << cluster.Logs();
  }
  ExpectAllEverywhere(cluster, writers.Stop());
}

// Whether the logs of all others begin after what they ended with when this was made.
class LogsForgetSince {
 public:
  LogsForgetSince(Cluster* cluster, const NodeProcess* down) : cluster_(cluster), down_(down) {
    ForOthers([this](const v1::StatusResponse& status) {
      end_ = std::max(end_, status.last_index());
      return true;
    });
  }
  bool operator()() const {
    return ForOthers(
        [this](const v1::StatusResponse& status) { return status.first_index() > end_; });
  }

 private:
  bool ForOthers(const std::function<bool(const v1::StatusResponse&)>& holds) const {
    for (size_t i = 0; i < cluster_->size(); ++i) {
      if (&(*cluster_)[i] == down_) continue;
      const std::optional<v1::StatusResponse> status = (*cluster_)[i].Status();
      if (!status || !holds(*status)) return false;
    }
    return true;
  }

  Cluster* const cluster_;
  const NodeProcess* const down_;
  uint64_t end_ = 0;
};

// Logs so short that whoever was away for a moment needs a snapshot; killed while it gets it.
TEST_P(CrashTest, KillingNodesThatInstallSnapshotsLosesNoAcknowledgedWrite) {
  Cluster cluster(3);
  cluster.StartStatic({"--storage-log-keep-entries", "20", "--storage-log-keep-bytes", "64KiB",
                       "--storage-flush-after-bytes", "64KiB"});
  Writers writers(&cluster, 6, GetParam());
  ExpectProgress(writers, cluster);
  for (int round = 0; round < 4; ++round) {
    NodeProcess& victim = cluster[Pick(3)];
    victim.Kill();
    ASSERT_TRUE(WaitUntil(LogsForgetSince(&cluster, &victim))) << cluster.Logs();
    for (int again = 0; again < 2; ++again) {
      victim.Start();
      Pace(400);
      victim.Kill();
    }
    victim.Start();
    ASSERT_TRUE(Cluster::WaitReady(victim)) << cluster.Logs();
  }
  ExpectAllEverywhere(cluster, writers.Stop());
  EXPECT_NE(cluster.Logs().find("snapshot installed"), std::string::npos) << cluster.Logs();
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrashTest, ::testing::Values(1u, 2u));

TEST(StopTest, StoppingTheLeaderHandsLeadershipOver) {
  Cluster cluster(3);
  cluster.StartStatic();
  const size_t leader = cluster.WaitLeader();
  const uint64_t term = cluster[leader].Status()->term();
  EXPECT_EQ(cluster[leader].Stop(), 0) << cluster.Logs();
  const size_t next = cluster.WaitLeader();
  EXPECT_NE(next, leader);
  // A handover takes one term; an election after a timeout could take more.
  EXPECT_EQ(cluster[next].Status()->term(), term + 1) << cluster.Logs();
}

// A client that had sent half of a request held the leadership up for half of the grace period,
// with the listeners closed.
TEST(StopTest, LeadershipIsHandedOverBeforeSlowClientsAreWaitedFor) {
  Cluster cluster(3);
  cluster.StartStatic({"--stop-grace", "60s"});
  const size_t leader = cluster.WaitLeader();
  const int slow = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(cluster[leader].client_port()));
  ASSERT_EQ(connect(slow, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const std::string half = "PUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
  ASSERT_EQ(send(slow, half.data(), half.size(), MSG_NOSIGNAL), static_cast<ssize_t>(half.size()));
  // It is under way.
  ASSERT_TRUE(WaitUntil([&] {
    return cluster[leader]
               .Admin("GET", "/metrics")
               .body.find(R"(raftkv_http_connections{listener="client"} 1)") != std::string::npos;
  }));
  cluster[leader].process()->Signal(SIGTERM);
  ASSERT_TRUE(WaitUntil([&] {
    const auto status = cluster[(leader + 1) % 3].Status();
    const auto other = cluster[(leader + 2) % 3].Status();
    return (status && status->role() == v1::StatusResponse::LEADER) ||
           (other && other->role() == v1::StatusResponse::LEADER);
  })) << cluster.Logs();
  EXPECT_TRUE(cluster[leader].process()->IsRunning()) << "it waits for the slow client";
  close(slow);
  EXPECT_EQ(cluster[leader].process()->Wait(), 0) << cluster.Logs();
}

TEST(StopTest, StoppingEveryNodeUnderLoadLosesNoAcknowledgedWrite) {
  Cluster cluster(3);
  cluster.StartStatic();
  Writers writers(&cluster, 4, 7);
  ASSERT_TRUE(WaitUntil([&] { return writers.count() > 50; })) << cluster.Logs();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster[i].Stop(), 0) << cluster.Logs();
  for (size_t i = 0; i < 3; ++i) cluster[i].Start();
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
  ExpectAllEverywhere(cluster, writers.Stop());
}

}  // namespace
}  // namespace raftkv::testing
