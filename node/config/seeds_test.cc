#include "node/config/seeds.h"

#include <gtest/gtest.h>

#include "node/config/config.h"

namespace raftkv {
namespace {

using runtime::Bootstrap;
using Addresses = std::vector<std::string>;

Result<Invocation> Parse(const std::vector<std::string>& args) {
  return ParseCommandLine(args, {});
}

NodeConfig Config(const std::vector<std::string>& args) {
  Result<Invocation> invocation = Parse(args);
  EXPECT_TRUE(invocation) << (invocation ? "" : invocation.error().message());
  return invocation ? invocation->config : NodeConfig();
}

std::string Refusal(const std::vector<std::string>& args) {
  Result<Invocation> invocation = Parse(args);
  return invocation ? "accepted" : invocation.error().message();
}

TEST(SeedFlagsTest, RaftexampleSingleNode) {
  const NodeConfig config =
      Config({"--id", "1", "--cluster", "http://127.0.0.1:12379", "--port", "12380"});
  EXPECT_EQ(config.node.name, "1");
  EXPECT_EQ(config.node.data_dir, "raftexample-1");
  EXPECT_EQ(config.node.peer_listen, "127.0.0.1:12379");
  EXPECT_EQ(config.node.peer_advertise, "127.0.0.1:12379");
  EXPECT_EQ(config.client_listen, ":12380");
  EXPECT_EQ(config.node.client_advertise, "127.0.0.1:12380");
  EXPECT_EQ(config.admin_listen, "127.0.0.1:0");
  EXPECT_EQ(config.client_dialect, "raftexample");
  EXPECT_EQ(config.node.bootstrap.mode, Bootstrap::Mode::kSingle);
}

TEST(SeedFlagsTest, RaftexampleThreeNodes) {
  const std::string cluster =
      "http://127.0.0.1:12379,http://127.0.0.1:22379,http://127.0.0.1:32379";
  const NodeConfig config = Config({"--id=2", "--cluster=" + cluster, "--port=22380"});
  EXPECT_EQ(config.node.peer_listen, "127.0.0.1:22379");
  EXPECT_EQ(config.node.bootstrap.mode, Bootstrap::Mode::kStaticList);
  EXPECT_EQ(config.node.bootstrap.addresses,
            (Addresses{"127.0.0.1:12379", "127.0.0.1:22379", "127.0.0.1:32379"}));
}

TEST(SeedFlagsTest, RaftexampleJoinsThroughTheOthers) {
  const std::string cluster =
      "http://127.0.0.1:12379,http://127.0.0.1:22379,http://127.0.0.1:42379";
  for (const char* join : {"--join", "-join=true"}) {
    const NodeConfig config = Config({"--id", "3", "--cluster", cluster, "--port", "42380", join});
    EXPECT_EQ(config.node.bootstrap.mode, Bootstrap::Mode::kJoin);
    EXPECT_EQ(config.node.bootstrap.addresses, (Addresses{"127.0.0.1:12379", "127.0.0.1:22379"}));
    EXPECT_EQ(config.node.name, "3");
  }
}

TEST(SeedFlagsTest, RaftexampleHasItsDefaults) {
  const NodeConfig config = Config({"--id", "1"});
  EXPECT_EQ(config.client_listen, ":9121");
  EXPECT_EQ(config.node.peer_listen, "127.0.0.1:9021");
}

TEST(SeedFlagsTest, RaftexampleRefusesWhatCannotBe) {
  EXPECT_NE(Refusal({"--id", "2", "--cluster", "http://a:1"}).find("from 1 to 1"),
            std::string::npos);
  EXPECT_NE(Refusal({"--id", "0", "--port", "1"}).find("--id"), std::string::npos);
  EXPECT_NE(Refusal({"--id", "x", "--port", "1"}).find("--id"), std::string::npos);
  EXPECT_NE(Refusal({"--cluster", "https://a:1"}).find("http://"), std::string::npos);
  EXPECT_NE(Refusal({"--cluster", "http://a:1,"}).find("--cluster"), std::string::npos);
  EXPECT_NE(Refusal({"--port", "70000"}).find("--port"), std::string::npos);
  EXPECT_NE(Refusal({"--port", "1", "--join"}).find("no other node"), std::string::npos);
  EXPECT_NE(Refusal({"--port", "1", "--join", "a:1"}).find("takes no value"), std::string::npos);
}

TEST(SeedFlagsTest, KvstoreBootstrapsAndJoins) {
  const NodeConfig first =
      Config({"--id", "node1", "--addr", "localhost:9001", "--http", ":8001", "--bootstrap"});
  EXPECT_EQ(first.node.name, "node1");
  EXPECT_EQ(first.node.data_dir, "data/node1");
  EXPECT_EQ(first.node.peer_listen, "localhost:9001");
  EXPECT_EQ(first.node.peer_advertise, "localhost:9001");
  EXPECT_EQ(first.client_listen, ":8001");
  EXPECT_EQ(first.admin_listen, "127.0.0.1:0");
  EXPECT_EQ(first.client_dialect, "native");
  EXPECT_EQ(first.node.bootstrap.mode, Bootstrap::Mode::kSingle);

  const NodeConfig second = Config(
      {"--id", "node2", "--addr", "localhost:9002", "--http", ":8002", "--join", "localhost:9001"});
  EXPECT_EQ(second.node.bootstrap.mode, Bootstrap::Mode::kJoin);
  EXPECT_EQ(second.node.bootstrap.addresses, (Addresses{"localhost:9001"}));

  const NodeConfig blank = Config({"--id", "7", "--addr", "localhost:9003", "--http", ":8003"});
  EXPECT_EQ(blank.node.bootstrap.mode, Bootstrap::Mode::kWait);
}

TEST(SeedFlagsTest, KvstoreRefusesWhatCannotBe) {
  EXPECT_NE(Refusal({"--id", "node1"}).find("--addr is missing"), std::string::npos);
  EXPECT_NE(Refusal({"--id", "a/b", "--addr", "a:1", "--http", ":2"}).find("--id"),
            std::string::npos);
  EXPECT_NE(Refusal({"--id", "..", "--addr", "a:1", "--http", ":2"}).find("--id"),
            std::string::npos);
  EXPECT_NE(Refusal({"--id", "a", "--addr", "a:1", "--http", ":2", "--bootstrap", "--join", "b:1"})
                .find("use one of them"),
            std::string::npos);
  EXPECT_NE(Refusal({"--id", "a", "--addr", "a:1", "--http", ":2", "--join"}).find("--join"),
            std::string::npos);
  const NodeConfig itself = Config({"--id", "a", "--addr", ":1", "--http", ":2", "--join", ":1"});
  EXPECT_NE(ValidateBootstrap(itself.node).message().find("through itself"), std::string::npos);
}

TEST(SeedFlagsTest, RaftTutorialStartsAndJoins) {
  const NodeConfig first = Config({"-state_dir=/tmp/x/1", "-raft", ":8080", "-api", ":9090"});
  EXPECT_EQ(first.node.name, "raft-8080");
  EXPECT_EQ(first.client_dialect, "shaj13");
  EXPECT_EQ(first.node.data_dir, "/tmp/x/1");
  EXPECT_EQ(first.node.peer_listen, ":8080");
  EXPECT_EQ(first.node.peer_advertise, "127.0.0.1:8080");
  EXPECT_EQ(first.client_listen, ":9090");
  EXPECT_EQ(first.node.bootstrap.mode, Bootstrap::Mode::kSingle);

  const NodeConfig second = Config({"-raft", ":8081", "-api", ":9091", "-join", ":8080"});
  EXPECT_EQ(second.node.data_dir, "raft-8081");
  EXPECT_EQ(second.node.bootstrap.mode, Bootstrap::Mode::kJoin);
  EXPECT_EQ(second.node.bootstrap.addresses, (Addresses{"127.0.0.1:8080"}));
  EXPECT_NE(Refusal({"-join", ":8080"}).find("-raft is missing"), std::string::npos);
}

TEST(SeedFlagsTest, MixedSetsAreRefusedNamingBoth) {
  std::string refusal = Refusal({"--id", "1", "--port", "1", "--http", ":2"});
  EXPECT_NE(refusal.find("--port"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("--http"), std::string::npos) << refusal;
  refusal = Refusal({"-raft", ":1", "-api", ":2", "--cluster", "http://a:1"});
  EXPECT_NE(refusal.find("--raft"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("--cluster"), std::string::npos) << refusal;
  refusal = Refusal({"-raft", ":1", "-api", ":2", "--id", "1"});
  EXPECT_NE(refusal.find("--id"), std::string::npos) << refusal;
}

TEST(SeedFlagsTest, NativeFlagsForTheSameSettingAreRefusedNamingBoth) {
  const std::string refusal =
      Refusal({"--id", "1", "--port", "12380", "--client-listen", "127.0.0.1:7000"});
  EXPECT_NE(refusal.find("--client-listen"), std::string::npos) << refusal;
  EXPECT_NE(refusal.find("--port"), std::string::npos) << refusal;
}

TEST(SeedFlagsTest, OtherNativeSettingsMayBeAdded) {
  Result<Invocation> invocation = ParseCommandLine(
      {"--id", "1", "--port", "12380", "--log-format=json", "--data-dir", "elsewhere"},
      {{"RAFTKV_ADMIN_LISTEN", "127.0.0.1:7300"}});
  ASSERT_TRUE(invocation) << invocation.error().message();
  EXPECT_EQ(invocation->config.log_format, "json");
  EXPECT_EQ(invocation->config.node.data_dir, "elsewhere");
  EXPECT_EQ(invocation->config.admin_listen, "127.0.0.1:7300");
}

TEST(SeedFlagsTest, SeedFlagsWinOverTheEnvironment) {
  Result<Invocation> invocation = ParseCommandLine({"--id", "1", "--port", "12380"},
                                                   {{"RAFTKV_CLIENT_LISTEN", "127.0.0.1:7000"}});
  ASSERT_TRUE(invocation) << invocation.error().message();
  EXPECT_EQ(invocation->config.client_listen, ":12380");
}

}  // namespace
}  // namespace raftkv
