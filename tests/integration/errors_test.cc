// What clients are told when the cluster cannot do what they ask: 429, 503 and 504, by real
// processes (507: full_disk_test.cc).

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <future>
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

}  // namespace
}  // namespace raftkv::testing
