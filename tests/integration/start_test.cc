// How nodes start, restart and refuse to start.

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "base/hex_id.h"
#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

bool IsVoter(const v1::StatusResponse& status, uint64_t id) {
  const auto& voters = status.cluster().conf().voters();
  return std::find(voters.begin(), voters.end(), id) != voters.end();
}

size_t VotersSeenBy(const NodeProcess& node) {
  const std::optional<v1::StatusResponse> status = node.Status();
  return status ? static_cast<size_t>(status->cluster().conf().voters_size()) : 0;
}

bool HasValue(const NodeProcess& node, const std::string& key, const std::string& value) {
  const HttpReply reply = node.Client("GET", "/kv/" + key);
  return reply.status == 200 && reply.body == value;
}

TEST(StartTest, ASingleNodeRestartsWithTheSameCommandLine) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "single"});
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  ASSERT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
  const uint64_t id = cluster[0].Status()->member_id();
  ASSERT_EQ(cluster[0].Stop(), 0) << cluster.Logs();
  cluster[0].Start();
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_TRUE(HasValue(cluster[0], "a", "1"));
  EXPECT_EQ(cluster[0].Status()->member_id(), id);
}

TEST(StartTest, AStaticListRestartsWithTheSameCommandLine) {
  Cluster cluster(3);
  cluster.StartStatic();
  ASSERT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
  const uint64_t cluster_id = cluster[0].Status()->cluster_id();
  for (size_t i = 0; i < 3; ++i) cluster[i].Kill();
  for (size_t i = 0; i < 3; ++i) cluster[i].Start();
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
    EXPECT_TRUE(HasValue(cluster[i], "a", "1"));
    EXPECT_EQ(cluster[i].Status()->cluster_id(), cluster_id);
    EXPECT_EQ(VotersSeenBy(cluster[i]), 3u);
  }
}

TEST(StartTest, ANodeJoinsByAddressAndRestartsWithTheSameCommandLine) {
  Cluster cluster(2);
  cluster[0].Start({"--start-mode", "single"});
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  ASSERT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
  cluster[1].Start({"--start-mode", "join", "--start-peers", cluster[0].peer_address()});
  ASSERT_TRUE(WaitUntil([&] { return VotersSeenBy(cluster[0]) == 2; })) << cluster.Logs();
  ASSERT_TRUE(Cluster::WaitReady(cluster[1])) << cluster.Logs();
  const uint64_t id = cluster[1].Status()->member_id();
  cluster[1].Kill();
  cluster[1].Start();
  ASSERT_TRUE(Cluster::WaitReady(cluster[1])) << cluster.Logs();
  EXPECT_TRUE(HasValue(cluster[1], "a", "1"));
  EXPECT_EQ(cluster[1].Status()->member_id(), id);
  EXPECT_EQ(VotersSeenBy(cluster[0]), 2u);
}

// A new address that the old list does not hold, or a way to join that leads to the node itself,
// kept a member from starting.
TEST(StartTest, AMemberStartsWhateverItsBootstrapSettingsSay) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "single"});
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  const uint64_t id = cluster[0].Status()->member_id();
  const std::string own = cluster[0].peer_address();
  const std::vector<std::vector<std::string>> settings = {
      {"--start-mode", "static", "--start-peers", "127.0.0.1:1,127.0.0.1:2"},
      {"--start-mode", "join", "--start-peers", own},
      {"--start-mode", "join"},
      {"--start-mode", "restore"},
  };
  for (const std::vector<std::string>& start : settings) {
    ASSERT_EQ(cluster[0].Stop(), 0) << cluster.Logs();
    cluster[0].Start(start);
    ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << start[1] << cluster.Logs();
    EXPECT_EQ(cluster[0].Status()->member_id(), id);
  }
}

// It asks them in turn, three times a second, for as long as it takes.
TEST(StartTest, ANodeThatCannotJoinSaysOnceOfEachAddressWhy) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "join", "--start-peers", "127.0.0.1:1,127.0.0.1:2"});
  const auto said = [&](const std::string& text) {
    const std::string log = cluster[0].Log();
    size_t count = 0;
    for (size_t at = log.find(text); at != log.npos; at = log.find(text, at + 1)) ++count;
    return count;
  };
  const std::string waits = "waiting to become a member";
  ASSERT_TRUE(WaitUntil([&] { return said(waits) >= 2; })) << cluster.Logs();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(said(waits), 2u) << cluster.Logs();
}

TEST(StartTest, ABlankNodeServesNobodyUntilItIsInitialized) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "wait"});
  ASSERT_TRUE(WaitUntil([&] { return cluster[0].Admin("GET", "/livez").status == 200; }))
      << cluster.Logs();
  EXPECT_FALSE(cluster[0].IsReady());
  const HttpReply refused = cluster[0].Client("PUT", "/kv/a", "1");
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("urn:raftkv:problem:not-serving"), std::string::npos) << refused.body;
  EXPECT_EQ(cluster[0].Status()->role(), v1::StatusResponse::BLANK);
  EXPECT_EQ(cluster[0].Admin("POST", "/admin/initialize", "{}").status, 200);
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
}

// A wiped directory must not come back as a member that has forgotten what it voted for.
class WipedTest : public ::testing::TestWithParam<size_t> {};

TEST_P(WipedTest, AWipedDirectoryOfAStaticListDoesNotServeOrVote) {
  Cluster cluster(3);
  cluster.StartStatic();
  ASSERT_EQ(cluster[0].Client("PUT", "/kv/a", "1").status, 201);
  NodeProcess& wiped = cluster[GetParam()];
  const uint64_t old_id = wiped.Status()->member_id();
  wiped.Kill();
  wiped.Wipe();
  wiped.Start();
  NodeProcess& survivor = cluster[(GetParam() + 1) % 3];
  ASSERT_TRUE(WaitUntil([&] { return survivor.Client("PUT", "/kv/b", "2").status / 100 == 2; }))
      << cluster.Logs();
  ASSERT_TRUE(WaitUntil([&] { return wiped.Status().has_value(); })) << cluster.Logs();
  // For several elections' time it stays out, whatever it hears from the others.
  EXPECT_FALSE(WaitUntil([&] { return wiped.Status()->role() != v1::StatusResponse::BLANK; },
                         std::chrono::seconds(4)))
      << cluster.Logs();
  EXPECT_FALSE(wiped.IsReady());
  EXPECT_EQ(wiped.Client("GET", "/kv/a").status, 503);
  EXPECT_NE(wiped.Status()->member_id(), old_id);
  EXPECT_EQ(survivor.Status()->cluster().members_size(), 3);
  EXPECT_TRUE(IsVoter(*survivor.Status(), old_id));
}

INSTANTIATE_TEST_SUITE_P(FirstAndLastOfTheList, WipedTest, ::testing::Values(0, 2));

TEST(StartTest, TwoProcessesOnOneDirectoryAreRefused) {
  Cluster cluster(2);
  cluster[0].Start({"--start-mode", "single"});
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  cluster[1].Start({"--start-mode", "single", "--data-dir", cluster[0].data_dir()});
  EXPECT_EQ(cluster[1].process()->Wait(), 1) << cluster.Logs();
  EXPECT_NE(cluster[1].Log().find(std::to_string(cluster[0].process()->pid())), std::string::npos)
      << cluster[1].Log();
  EXPECT_TRUE(cluster[0].IsReady());
}

TEST(StartTest, ATakenPortIsNamed) {
  Cluster cluster(2);
  cluster[0].Start({"--start-mode", "single"});
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  for (const std::string flag : {"--client-listen", "--peer-listen"}) {
    const std::string taken = flag == "--client-listen"
                                  ? "127.0.0.1:" + std::to_string(cluster[0].client_port())
                                  : cluster[0].peer_address();
    cluster[1].Start({"--start-mode", "single", flag, taken});
    EXPECT_EQ(cluster[1].process()->Wait(), 1) << cluster[1].Log();
    EXPECT_NE(cluster[1].Log().find(taken), std::string::npos) << cluster[1].Log();
  }
}

// Another cluster's member at a known address: nobody takes it for the old one.
TEST(StartTest, AMemberOfAnotherClusterIsRefused) {
  Cluster cluster(3);
  cluster.StartStatic();
  Cluster other(1);
  other[0].Start({"--start-mode", "single"});
  ASSERT_TRUE(Cluster::WaitReady(other[0])) << other.Logs();
  ASSERT_EQ(other[0].Client("PUT", "/kv/mine", "other").status, 201);
  const uint64_t other_cluster = other[0].Status()->cluster_id();
  ASSERT_EQ(other[0].Stop(), 0) << other.Logs();

  cluster[2].Kill();
  cluster[2].Wipe();
  std::filesystem::rename(other[0].data_dir(), cluster[2].data_dir());
  cluster[2].Start();
  ASSERT_TRUE(Cluster::WaitReady(cluster[2])) << cluster.Logs();
  EXPECT_EQ(cluster[2].Status()->cluster_id(), other_cluster);
  EXPECT_TRUE(HasValue(cluster[2], "mine", "other"));
  ASSERT_TRUE(WaitUntil([&] { return cluster[0].Client("PUT", "/kv/b", "2").status / 100 == 2; }))
      << cluster.Logs();
  EXPECT_EQ(cluster[2].Client("GET", "/kv/b").status, 404);
  EXPECT_EQ(cluster[0].Client("GET", "/kv/mine").status, 404);
}

// It led with the other's entries, and what had been acknowledged to its own clients was gone.
TEST(StartTest, TheLogOfAnotherMemberIsRefused) {
  Cluster cluster(2);
  for (size_t i = 0; i < 2; ++i) {
    cluster[i].Start({"--start-mode", "single"});
    ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
    ASSERT_EQ(cluster[i].Client("PUT", "/kv/mine", std::to_string(i)).status, 201);
  }
  for (size_t i = 0; i < 2; ++i) cluster[i].Kill();
  const std::filesystem::path own = std::filesystem::path(cluster[0].data_dir()) / "log";
  const std::filesystem::path other = std::filesystem::path(cluster[1].data_dir()) / "log";
  const std::filesystem::path aside = std::filesystem::path(cluster[0].data_dir()) / "aside";
  std::filesystem::rename(own, aside);
  std::filesystem::copy(other, own, std::filesystem::copy_options::recursive);
  cluster[0].Start();
  EXPECT_EQ(cluster[0].process()->Wait(), 1);
  EXPECT_NE(cluster[0].Log().find(own.string() + " is the log of member"), std::string::npos)
      << cluster[0].Log();
  // The remedy.
  std::filesystem::remove_all(own);
  std::filesystem::rename(aside, own);
  cluster[0].Start();
  ASSERT_TRUE(Cluster::WaitReady(cluster[0])) << cluster.Logs();
  EXPECT_TRUE(HasValue(cluster[0], "mine", "0"));
}

TEST(StartTest, WrongSettingsEndWithStatusTwoAndAHint) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mod", "single"});
  EXPECT_EQ(cluster[0].process()->Wait(), 2);
  EXPECT_NE(cluster[0].Log().find("did you mean --start-mode?"), std::string::npos)
      << cluster[0].Log();
}

TEST(StartTest, TheAdminAddressStandsInTheDataDirectory) {
  Cluster cluster(1);
  cluster[0].Start({"--start-mode", "single", "--admin-listen", "127.0.0.1:0"});
  const std::string file = cluster[0].data_dir() + "/admin.addr";
  ASSERT_TRUE(WaitUntil([&] { return !ReadFileOrEmpty(file).empty(); })) << cluster.Logs();
  const std::string address = ReadFileOrEmpty(file);
  ASSERT_TRUE(address.starts_with("127.0.0.1:") && address.ends_with("\n")) << address;
  const int port = std::stoi(address.substr(address.find(':') + 1));
  EXPECT_EQ(Http("GET", port, "/livez").status, 200);
}

// Was answered with 504, although it worked.
TEST(StartTest, LeaderThatIsAskedToRemoveItselfAnswersAndEnds) {
  Cluster cluster(3);
  cluster.StartStatic();
  for (int left = 3; left > 1; --left) {
    NodeProcess& leader = cluster[cluster.WaitLeader()];
    const std::string id = HexId(leader.Status()->member_id());
    const HttpReply reply =
        Http("POST", leader.admin_port(), "/admin/membership", "{\"remove\":[\"" + id + "\"]}",
             {{"Content-Type", "application/json"}});
    EXPECT_EQ(reply.status, 200) << reply.body << cluster.Logs();
    EXPECT_EQ(leader.process()->Wait(), 0) << cluster.Logs();
  }
}

}  // namespace
}  // namespace raftkv::testing
