// raftkvctl's commands against real nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/encoding.h"
#include "base/hex_id.h"
#include "ctl/app.h"
#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

struct Outcome {
  int status;
  std::string out;
  std::string err;
};

std::string Address(const NodeProcess& node) {
  return "127.0.0.1:" + std::to_string(node.client_port());
}

Outcome Ctl(const std::string& endpoints, std::vector<std::string> args,
            const std::string& input = "") {
  args.insert(args.begin(), {"--endpoints", endpoints});
  std::istringstream in(input);
  std::ostringstream out, err;
  int status = ctl::Run(args, in, out, err);
  return {status, out.str(), err.str()};
}

// Makes a running cluster of three and runs commands with all of them as endpoints.
class RaftkvctlTest : public ::testing::Test {
 protected:
  explicit RaftkvctlTest() : cluster_(3) {}
  void SetUp() override { cluster_.StartStatic(); }

  Outcome Run(std::vector<std::string> args, const std::string& input = "") {
    return Ctl(Endpoints(), std::move(args), input);
  }
  // Fails the test unless the command does what it should.
  std::string Good(std::vector<std::string> args, const std::string& input = "") {
    Outcome outcome = Run(args, input);
    EXPECT_EQ(outcome.status, 0) << args[0] << ": " << outcome.err;
    return outcome.out;
  }
  std::string Endpoints() {
    std::string list;
    for (size_t i = 0; i < 3; ++i) list += (i == 0 ? "" : ",") + Address(cluster_[i]);
    return list;
  }
  std::vector<std::string> Ids(const char* kind) {
    std::vector<std::string> ids;
    Json members = Json::parse(Good({"member", "list", "-o", "json"}))["members"];
    for (const Json& member : members)
      if (member["kind"] == kind) ids.push_back(member["id"]);
    return ids;
  }

  Cluster cluster_;
};

// Regression: exit status 6 (outcome unknown), although no node ever had a leader to propose to.
TEST_F(RaftkvctlTest, NoLeaderWithinTheTimeoutIsExitStatus5) {
  cluster_[0].Kill();
  cluster_[1].Kill();
  ASSERT_TRUE(WaitUntil([&] {
    auto status = cluster_[2].Status();
    return status && status->leader() == 0;
  }));
  for (const char* timeout : {"2", "4"}) {
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"put", "k", "v"}, {"get", "k"}, {"del", "k"}}) {
      std::vector<std::string> args = {"--timeout", timeout};
      args.insert(args.end(), command.begin(), command.end());
      Outcome outcome = Run(args);
      EXPECT_EQ(outcome.status, 5) << command[0] << " " << timeout << ": " << outcome.err;
    }
  }
}

TEST_F(RaftkvctlTest, KeysWithConditionsRevisionsAndBytes) {
  std::string bytes("\0\xff\n", 3);
  std::string first = Good({"-o", "raw", "put", "dir/a b", "--if-absent"}, bytes);
  EXPECT_EQ(Good({"get", "dir/a b", "-o", "raw"}), bytes);
  EXPECT_EQ(Run({"put", "dir/a b", "x", "--if-absent"}).status, 4);
  first.pop_back();
  Good({"put", "dir/a b", "new", "--if-revision", first});
  EXPECT_EQ(Run({"put", "dir/a b", "x", "--if-revision", first}).status, 4);
  EXPECT_EQ(Good({"get", "dir/a b"}), "new\n");
  EXPECT_EQ(Good({"get", "dir/a b", "-o", "raw", "--revision", first}), bytes);
  Json json = Json::parse(Good({"get", "dir/a b", "-o", "json", "--revision", first}));
  EXPECT_EQ(json["value"], "AP8K");
  EXPECT_EQ(json["create_revision"], std::stoull(first));
  EXPECT_EQ(json["mod_revision"], std::stoull(first));
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(Json::parse(Good({"get", "dir/a b", "-o", "json"}))["version"], 2);
  Good({"put", "--key-base64", "/wA=", "binary"});
  EXPECT_EQ(Good({"get", "--key-base64", "/wA="}), "binary\n");
  EXPECT_EQ(Good({"list", "--key-base64", "/w==", "--count"}), "1\n");
  EXPECT_EQ(Run({"list", "--key-base64", "*"}).status, 2);
  EXPECT_EQ(Run({"del", "dir/a b", "--if-revision", first}).status, 4);
  Good({"del", "dir/a b"});
  EXPECT_EQ(Run({"get", "dir/a b"}).status, 3);
  EXPECT_EQ(Run({"del", "dir/a b"}).status, 3);
  EXPECT_EQ(Run({"put", std::string(5000, 'k'), "v"}).status, 2);
  EXPECT_EQ(Run({"get", "k", "--revision", "1000000"}).status, 2);
}

TEST_F(RaftkvctlTest, ListPagesAreAllOfOneRevision) {
  for (int i = 0; i < 7; ++i) Good({"put", "p/" + std::to_string(i), std::to_string(i)});
  Good({"put", "q", "outside"});
  EXPECT_EQ(Good({"list", "p/", "-o", "raw", "--page-size", "2"}),
            "p/0\np/1\np/2\np/3\np/4\np/5\np/6\n");
  EXPECT_EQ(Good({"list", "p/", "-o", "raw", "--desc", "--limit", "3", "--page-size", "2"}),
            "p/6\np/5\np/4\n");
  EXPECT_EQ(Good({"list", "--start", "p/2", "--end", "p/4", "-o", "raw"}), "p/2\np/3\n");
  EXPECT_EQ(Good({"list", "p/", "--count"}), "7\n");
  Json json = Json::parse(Good({"list", "p/", "-o", "json", "--page-size", "3"}));
  EXPECT_EQ(json["items"].size(), 7u);
  EXPECT_EQ(json["items"][6]["value"], "6");
  EXPECT_THAT(Good({"list", "q"}), HasSubstr("outside"));
}

TEST_F(RaftkvctlTest, ListPagesOfTheLongestBinaryKeys) {
  const std::string prefix(4095, '\xff');
  std::string keys;
  for (const char last : {'\x01', '\xfe', '\xff'}) {
    Good({"put", "--key-base64", Base64Encode(prefix + last), "v"});
    keys += prefix + last + "\n";
  }
  EXPECT_TRUE(Good({"list", "--key-base64", Base64Encode(prefix), "-o", "raw", "--page-size",
                    "1"}) == keys);
}

TEST_F(RaftkvctlTest, StatusTransferAndALostLeader) {
  size_t leader = cluster_.WaitLeader();
  // One endpoint is enough to find them all.
  Outcome status = Ctl(Address(cluster_[leader]), {"status", "-o", "json"});
  ASSERT_EQ(status.status, 0) << status.err;
  Json members = Json::parse(status.out)["members"];
  ASSERT_EQ(members.size(), 3u);
  for (const Json& member : members) {
    EXPECT_NE(member["role"], "unreachable");
    EXPECT_EQ(member["term"], members[0]["term"]);
  }
  size_t next = (leader + 1) % 3;
  Good({"transfer", cluster_[next].name()});
  EXPECT_EQ(cluster_.WaitLeader(), next);
  cluster_[next].Kill();
  // Certainly not done at the dead one, and then refused until there is a leader again.
  Good({"put", "k", "after"});
  EXPECT_EQ(Good({"get", "k"}), "after\n");
  EXPECT_THAT(Good({"status"}), HasSubstr("unreachable"));
  EXPECT_EQ(Ctl(Address(cluster_[next]), {"put", "k", "v"}).status, 5);
}

TEST_F(RaftkvctlTest, MembersComeAndGo) {
  NodeProcess& fourth = cluster_.AddNode();
  fourth.Start({"--start-mode", "wait"});
  Good({"put", "k", "v"});
  // A blank node is up once it tells its status.
  ASSERT_TRUE(WaitUntil([&] { return fourth.Status().has_value(); }));
  Good({"member", "add", fourth.peer_address()});
  ASSERT_EQ(Ids("learner").size(), 1u);
  std::string fourth_id = Ids("learner")[0];
  ASSERT_TRUE(WaitUntil([&] { return Run({"member", "promote", fourth.name()}).status == 0; }));
  EXPECT_EQ(Ids("voter").size(), 4u);
  Good({"member", "demote", fourth.name()});
  EXPECT_EQ(Ids("learner"), std::vector<std::string>{fourth_id});
  Good({"member", "remove", fourth_id});
  EXPECT_EQ(Ids("voter").size(), 3u);
  EXPECT_EQ(Run({"member", "remove", fourth_id}).status, 3);

  NodeProcess& fifth = cluster_.AddNode();
  fifth.Start({"--start-mode", "wait"});
  ASSERT_TRUE(WaitUntil([&] { return fifth.Status().has_value(); }));
  Good({"member", "replace", cluster_[0].name(), fifth.peer_address()});
  std::string listed = Good({"member", "list"});
  EXPECT_THAT(listed, HasSubstr(fifth.peer_address()));
  EXPECT_THAT(listed, ::testing::Not(HasSubstr(cluster_[0].peer_address())));
  EXPECT_EQ(Ids("voter").size(), 3u);
  EXPECT_EQ(Ctl(Address(fifth), {"get", "k"}).out, "v\n");
}

// The usual case outside of Kubernetes: the disk is lost, the node starts with the same command
// line, on the same host and port. It was refused, with no word of what to do.
TEST_F(RaftkvctlTest, AMemberWhoseDiskIsLostIsReplacedAtItsAddress) {
  Good({"put", "k", "v"});
  // The first of the static list; and a leader, which comes back as one that joins.
  for (const bool leads : {false, true}) {
    const size_t at = leads ? cluster_.WaitLeader() : 0;
    NodeProcess& lost = cluster_[at];
    std::string others;
    for (size_t i = 0; i < 3; ++i) {
      if (i != at) others += (others.empty() ? "" : ",") + Address(cluster_[i]);
    }
    const std::vector<std::string> replace = {"member", "replace", lost.name(),
                                              lost.peer_address()};
    Outcome outcome;
    // Not available (5): the others elect a leader.
    const auto replace_it = [&] {
      return WaitUntil([&] {
        outcome = Ctl(others, replace);
        return outcome.status != 5;
      });
    };
    const auto config_index = [&] {
      return Json::parse(Ctl(others, {"member", "list", "-o", "json"}).out)["config_index"];
    };
    const Json before = config_index();
    ASSERT_TRUE(replace_it());
    EXPECT_EQ(outcome.status, 8) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("itself, with its data"));
    EXPECT_EQ(config_index(), before);
    const uint64_t old_id = lost.Status()->member_id();

    lost.Kill();
    lost.Wipe();
    // Nobody is there yet.
    EXPECT_EQ(Ctl(others, replace).status, 5);
    if (leads) {
      lost.Start({"--start-mode", "join", "--start-peers", cluster_[(at + 1) % 3].peer_address()});
    } else {
      lost.Start();
    }
    const std::string waits = leads ? "another member" : "member replace OLD-NAME";
    ASSERT_TRUE(WaitUntil([&] { return lost.Log().find(waits) != std::string::npos; }))
        << lost.Log();
    ASSERT_TRUE(replace_it());
    ASSERT_EQ(outcome.status, 0) << outcome.err << cluster_.Logs();
    // The member that was asked knows; the others, a moment later.
    outcome = Ctl(others, {"member", "list", "-o", "json"});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const Json members = Json::parse(outcome.out)["members"];
    EXPECT_EQ(members.size(), 3u);
    for (const Json& member : members) {
      EXPECT_EQ(member["kind"], "voter");
      EXPECT_NE(member["id"], HexId(old_id));
      EXPECT_EQ(member["peer_address"] == lost.peer_address(), member["name"] == lost.name());
    }
    ASSERT_TRUE(Cluster::WaitReady(lost)) << lost.Log();
    EXPECT_NE(lost.Status()->member_id(), old_id);
    EXPECT_EQ(Ctl(Address(lost), {"get", "k"}).out, "v\n");
    // Done: repeated, it finds the new member there itself.
    ASSERT_TRUE(replace_it());
    EXPECT_EQ(outcome.status, 8) << outcome.err;
  }
  // Both count as voters.
  for (size_t i = 0; i < 3; ++i) {
    cluster_[i].Kill();
    Good({"put", "k", "without " + cluster_[i].name()});
    cluster_[i].Start();
    ASSERT_TRUE(Cluster::WaitReady(cluster_[i])) << cluster_[i].Log();
  }
}

// It ended with 5 (try again) or 6 (outcome unknown).
TEST_F(RaftkvctlTest, APeerPortIsToldFromANode) {
  const std::string peer_port = cluster_[0].peer_address();
  for (const std::vector<std::string>& command : {std::vector<std::string>{"get", "k"},
                                                  {"put", "k", "v"},
                                                  {"list"},
                                                  {"status"},
                                                  {"member", "list"}}) {
    const Outcome outcome = Ctl(peer_port, command);
    EXPECT_EQ(outcome.status, 1) << command[0] << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("peer port of a node (peer.listen)")) << command[0];
  }
  const Outcome admin = Ctl("127.0.0.1:1", {"--admin-endpoints", peer_port, "status"});
  EXPECT_EQ(admin.status, 1) << admin.err;
  EXPECT_THAT(admin.err, HasSubstr("peer port of a node"));
}

TEST_F(RaftkvctlTest, SnapshotsAndCompaction) {
  std::string old = Good({"-o", "raw", "put", "k", "old"});
  old.pop_back();
  std::string revision = Good({"-o", "raw", "put", "k", "new"});
  revision.pop_back();
  std::string path = ::testing::TempDir() + "/raftkvctl-real-snapshot";
  std::filesystem::remove(path);
  Json saved = Json::parse(Good({"-o", "json", "snapshot", "save", path}));
  Json inspected = Json::parse(Good({"-o", "json", "snapshot", "inspect", path}));
  EXPECT_EQ(saved, inspected);
  EXPECT_GT(inspected["index"], 0);
  EXPECT_FALSE(inspected["files"].empty());
  EXPECT_EQ(inspected["voters"].size(), 3u);
  std::filesystem::remove(path);
  EXPECT_THAT(Good({"snapshot", "take"}), HasSubstr("index"));

  EXPECT_EQ(Good({"get", "k", "--revision", old}), "old\n");
  Good({"compact", revision});
  EXPECT_EQ(Run({"get", "k", "--revision", old}).status, 4);
  EXPECT_EQ(Good({"get", "k"}), "new\n");
}

TEST(RaftkvctlBlankTest, InitializeAndJoin) {
  Cluster cluster(2);
  for (size_t i = 0; i < 2; ++i) {
    cluster[i].Start({"--start-mode", "wait"});
    ASSERT_TRUE(WaitUntil([&] { return cluster[i].Status().has_value(); })) << cluster.Logs();
  }
  // Waited for its whole timeout, here longer than any test may take.
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"put", "k", "v"}, {"get", "k"}, {"transfer"}, {"status"}}) {
    std::vector<std::string> args = {"--timeout", "86400"};
    args.insert(args.end(), command.begin(), command.end());
    Outcome outcome = Ctl(Address(cluster[0]), args);
    EXPECT_EQ(outcome.status, 8) << command[0] << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("raftkvctl initialize")) << command[0];
  }
  std::vector<std::string> initialize = {"-o", "raw", "initialize", "--cluster-id",
                                         "00000000000000c1"};
  Outcome first = Ctl(Address(cluster[0]), initialize);
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("00000000000000c1 "));
  Outcome again = Ctl(Address(cluster[0]), initialize);
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(Ctl(Address(cluster[0]), {"put", "k", "v"}).status, 0);
  Outcome joined = Ctl(Address(cluster[1]), {"join", cluster[0].peer_address()});
  EXPECT_EQ(joined.status, 0) << joined.err;
  EXPECT_TRUE(WaitUntil([&] { return Ctl(Address(cluster[1]), {"get", "k"}).out == "v\n"; }));
}

// Regression: refused because the members have no names, which the command line cannot give.
TEST(RaftkvctlBlankTest, InitializeSeveral) {
  Cluster cluster(3);
  std::vector<std::string> args = {"--timeout", "60", "initialize"};
  for (size_t i = 0; i < 3; ++i) {
    cluster[i].Start({"--start-mode", "wait"});
    ASSERT_TRUE(WaitUntil([&] { return cluster[i].Status().has_value(); })) << cluster.Logs();
    args.insert(args.end(), {"--member", HexId(cluster[i].Status()->member_id()) + "=" +
                                             cluster[i].peer_address()});
  }
  Outcome made = Ctl(Address(cluster[0]), args);
  ASSERT_EQ(made.status, 0) << made.err;
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
  Outcome status = Ctl(Address(cluster[1]), {"status"});
  EXPECT_EQ(status.status, 0) << status.err;
  EXPECT_THAT(status.out, ::testing::Not(HasSubstr("unreachable")));
  for (size_t i = 0; i < 3; ++i) EXPECT_THAT(status.out, HasSubstr(cluster[i].name()));
}

}  // namespace
}  // namespace raftkv::testing
