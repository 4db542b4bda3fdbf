// Commands as a script sees them: arguments and input in; output and exit status out.
#include "ctl/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/version.h"
#include "ctl/fake_node.h"
#include "ctl/text.h"
#include "node/storage/codec.h"
#include "node/storage/snapshot_stream.h"
#include "raftkv/v1/admin.pb.h"

namespace raftkv::ctl {
namespace {

using client::FakeNode;
using client::Refuse;
using testing::HasSubstr;
using Json = nlohmann::json;

struct Outcome {
  int status;
  std::string out;
  std::string err;
};

Outcome RunWith(const std::string& input, std::vector<std::string> args) {
  std::istringstream in(input);
  std::ostringstream out, err;
  int status = Run(args, in, out, err);
  return {status, out.str(), err.str()};
}
Outcome RunArgs(std::vector<std::string> args) { return RunWith("", std::move(args)); }

constexpr uint64_t kLeader = 0xa1, kFollower = 0xb2, kLearner = 0xc3;

v1::ClusterState Cluster() {
  v1::ClusterState cluster;
  cluster.set_cluster_id(0xc1);
  cluster.set_config_index(30);
  cluster.mutable_conf()->add_voters(kLeader);
  cluster.mutable_conf()->add_voters(kFollower);
  cluster.mutable_conf()->add_learners(kLearner);
  int n = 1;
  for (uint64_t id : {kLeader, kFollower, kLearner}) {
    auto* member = cluster.add_members();
    member->set_id(id);
    member->set_name("node" + std::to_string(n));
    member->set_peer_address("127.0.0.1:900" + std::to_string(n++));
  }
  return cluster;
}

v1::StatusResponse LeaderStatus() {
  v1::StatusResponse status;
  status.set_member_id(kLeader);
  status.set_role(v1::StatusResponse::LEADER);
  status.set_leader(kLeader);
  status.set_term(4);
  status.set_commit_index(100);
  status.set_applied_index(100);
  *status.mutable_cluster() = Cluster();
  for (auto [id, match] : {std::pair{kFollower, 97}, {kLearner, 40}}) {
    auto* progress = status.add_progress();
    progress->set_id(id);
    progress->set_match(static_cast<uint64_t>(match));
    progress->set_state("replicate");
  }
  return status;
}

void Reply(httplib::Response& response, const google::protobuf::MessageLite& message) {
  response.set_content(message.SerializeAsString(), "application/protobuf");
}

// The admin listener of the leader: the status as given, changes as wanted by the test.
FakeNode::Handler AdminNode(FakeNode::Handler on_post = nullptr) {
  return [on_post](const httplib::Request& request, httplib::Response& response) {
    if (request.path == "/admin/status") return Reply(response, LeaderStatus());
    if (on_post && request.method == "POST") return on_post(request, response);
    Refuse(response, 404, "not found", "no such route");
  };
}

// --- Keys
// -------------------------------------------------------------------------------------------

class KeysTest : public testing::Test {
 protected:
  KeysTest()
      : node_([](const httplib::Request& request, httplib::Response& response) {
          response.set_header("Raftkv-Revision", "8");
          response.set_header("ETag", "\"7\"");
          if (request.method == "GET") return response.set_content("a\xffz", "application/x");
          response.status = request.has_header("If-None-Match") ? 201 : 204;
        }) {}

  Outcome Keys(std::vector<std::string> args, const std::string& input = "") {
    args.insert(args.begin(), {"--endpoints", node_.address()});
    return RunWith(input, args);
  }
  std::string LastBody() { return node_.requests().back().body; }

  FakeNode node_;
};

TEST_F(KeysTest, PutTakesValuesFromArgumentInputAndFile) {
  EXPECT_EQ(Keys({"put", "k", "v"}).out, "changed, revision 8\n");
  EXPECT_EQ(LastBody(), "v");
  Keys({"put", "k", ""});
  EXPECT_EQ(LastBody(), "");
  std::string bytes("\0\n\xff", 3);
  Keys({"put", "k"}, bytes);
  EXPECT_EQ(LastBody(), bytes);
  Keys({"put", "k", "-"}, "from input");
  EXPECT_EQ(LastBody(), "from input");
  Keys({"put", "k", "--", "-v"});
  EXPECT_EQ(LastBody(), "-v");
  std::string path = testing::TempDir() + "/raftkvctl-value";
  std::ofstream(path) << "from file";
  Keys({"put", "k", "--file", path});
  EXPECT_EQ(LastBody(), "from file");
  std::filesystem::remove(path);
  EXPECT_EQ(Keys({"put", "k", "--file", path}).status, 1);
  EXPECT_EQ(Keys({"put", "k", "v", "--file", path}).status, 2);
}

TEST_F(KeysTest, PutRefusesWhatNoNodeTakes) {
  EXPECT_EQ(Keys({"put", "k"}, std::string((16 << 20) + 1, 'x')).status, 2);
  EXPECT_TRUE(node_.requests().empty());
}

TEST_F(KeysTest, OutputFormats) {
  EXPECT_EQ(Keys({"-o", "raw", "put", "k", "v"}).out, "8\n");
  EXPECT_EQ(Json::parse(Keys({"put", "k", "v", "--if-absent", "-o", "json"}).out),
            Json({{"revision", 8}, {"created", true}}));
  EXPECT_EQ(Keys({"get", "k"}).out, "a\xffz\n");
  EXPECT_EQ(Keys({"get", "k", "-o", "raw"}).out, "a\xffz");
  EXPECT_EQ(Json::parse(Keys({"get", "k", "-o", "json"}).out), Json({{"key", "k"},
                                                                     {"value", "Yf96"},
                                                                     {"encoding", "base64"},
                                                                     {"mod_revision", 7},
                                                                     {"revision", 8}}));
  EXPECT_EQ(Keys({"del", "k"}).out, "deleted, revision 8\n");
}

TEST_F(KeysTest, BinaryKeys) {
  Keys({"get", "--key-base64", "/wA="});
  EXPECT_EQ(node_.requests().back().target, "/kv/%FF%00?consistency=linearizable");
  EXPECT_EQ(Keys({"get", "--key-base64", "?"}).status, 2);
}

TEST_F(KeysTest, ConditionsExcludeEachOther) {
  EXPECT_EQ(Keys({"put", "k", "v", "--if-absent", "--if-revision", "3"}).status, 2);
  EXPECT_EQ(Keys({"put", "k", "v", "--if-absent", "--if-present"}).status, 2);
  EXPECT_EQ(Keys({"del", "k", "--if-absent"}).status, 2);
  EXPECT_TRUE(node_.requests().empty());
}

TEST_F(KeysTest, TheEnvironmentNamesEndpoints) {
  setenv("RAFTKVCTL_ENDPOINTS", ("127.0.0.1:1," + node_.address()).c_str(), 1);
  EXPECT_EQ(RunArgs({"put", "k", "v"}).status, 0);
  unsetenv("RAFTKVCTL_ENDPOINTS");
  EXPECT_EQ(node_.requests().size(), 1u);
}

// Regression: the list of endpoints swallowed the words behind it.
TEST_F(KeysTest, EndpointsEndAtTheNextWord) {
  EXPECT_EQ(RunArgs({"get", "--endpoints", node_.address(), "k"}).status, 0);
  EXPECT_EQ(
      RunArgs({"get", "k", "--endpoints", "127.0.0.1:1", "--endpoints", node_.address()}).status,
      0);
}

TEST(ListTest, TableJsonRawAndCount) {
  FakeNode node([](const httplib::Request& request, httplib::Response& response) {
    if (request.has_param("count_only"))
      return response.set_content(R"({"revision":5,"count":12})", "application/json");
    const char* page =
        request.has_param("after")
            ? R"({"revision":5,"count":1,"more":false,"items":[{"key":"b","value":"2"}]})"
            : R"({"revision":5,"count":1,"more":true,"items":[{"key":"a","value":"1\n"}]})";
    response.set_content(page, "application/json");
  });
  auto list = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"--endpoints", node.address(), "list"});
    return RunArgs(args).out;
  };
  EXPECT_EQ(
      list({}),
      "KEY  REVISION  VERSION  VALUE\na    0         0        1\\x0A\nb    0         0        2\n");
  EXPECT_EQ(list({"-o", "raw"}), "a\nb\n");
  EXPECT_EQ(list({"--count"}), "12\n");
  Json json = Json::parse(list({"x", "-o", "json"}));
  EXPECT_EQ(json["revision"], 5);
  EXPECT_EQ(json["items"].size(), 2u);
  EXPECT_EQ(json["items"][0]["value"], "1\n");
  EXPECT_THAT(node.requests().back().target, HasSubstr("prefix=x&after=a"));
}

// --- Exit statuses
// ----------------------------------------------------------------------------------

TEST(ExitStatusTest, EachKindOfFailureHasItsOwn) {
  struct Case {
    int http;
    const char* code;
    int exit;
  };
  for (Case c : {Case{400, "invalid argument", 2},
                 {404, "not found", 3},
                 {412, "conflict", 4},
                 {503, "failed precondition", 8},
                 {504, "unknown outcome", 6},
                 {507, "out of space", 7},
                 {500, "internal", 1},
                 {500, "corruption", 1}}) {
    FakeNode node(
        [&](const auto&, auto& response) { Refuse(response, c.http, c.code, "because"); });
    Outcome outcome = RunArgs({"--endpoints", node.address(), "put", "k", "v"});
    EXPECT_EQ(outcome.status, c.exit) << c.code;
    EXPECT_THAT(outcome.err, HasSubstr("because"));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(ExitStatusTest, NobodyThereIsUnavailable) {
  Outcome outcome = RunArgs({"--endpoints", client::DeadEndpoint().ToString(), "get", "k"});
  EXPECT_EQ(outcome.status, 5);
}

TEST(ExitStatusTest, WrongUsage) {
  EXPECT_EQ(RunArgs({}).status, 2);
  EXPECT_EQ(RunArgs({"frobnicate"}).status, 2);
  EXPECT_EQ(RunArgs({"get"}).status, 2);
  EXPECT_EQ(RunArgs({"--endpoints", "nonsense", "get", "k"}).status, 2);
  EXPECT_EQ(RunArgs({"--timeout", "0", "get", "k"}).status, 2);
  EXPECT_EQ(RunArgs({"-o", "xml", "get", "k"}).status, 2);
  EXPECT_EQ(RunArgs({"get", "k", "--consistency", "eventual"}).status, 2);
}

TEST(ExitStatusTest, HelpAndVersion) {
  EXPECT_EQ(RunArgs({"--help"}).status, 0);
  EXPECT_THAT(RunArgs({"--help"}).out, HasSubstr("Exit status:"));
  EXPECT_EQ(RunArgs({"version"}).out, std::string(Version()) + "\n");
}

// --- Cluster
// ----------------------------------------------------------------------------------------

TEST(StatusTest, ShowsMembersThatCannotBeAskedAsTheLeaderSeesThem) {
  FakeNode admin(AdminNode());
  Outcome table = RunArgs({"--admin-endpoints", admin.address(), "status"});
  EXPECT_EQ(table.status, 0) << table.err;
  EXPECT_THAT(table.out,
              HasSubstr("00000000000000a1  node1  leader       voter    4     100    0"));
  EXPECT_THAT(table.out,
              HasSubstr("00000000000000b2  node2  unreachable  voter    -     -      3"));
  Json json =
      Json::parse(RunArgs({"--admin-endpoints", admin.address(), "status", "-o", "json"}).out);
  EXPECT_EQ(json["leader"], "00000000000000a1");
  EXPECT_EQ(json["members"].size(), 3u);
  EXPECT_EQ(json["members"][2]["lag"], 60);
  EXPECT_EQ(json["members"][2]["kind"], "learner");
}

TEST(StatusTest, FindsAdminListenersThroughClientAddresses) {
  v1::StatusResponse follower;
  follower.set_member_id(kFollower);
  follower.set_role(v1::StatusResponse::FOLLOWER);
  follower.set_leader(kLeader);
  follower.set_term(4);
  follower.set_applied_index(99);
  FakeNode follower_admin([&](const auto&, auto& response) { Reply(response, follower); });
  auto cluster_route = [](const FakeNode& admin) {
    return [port = admin.endpoint().port](const auto&, auto& response) {
      response.set_content("{\"admin_port\":" + std::to_string(port) + "}", "application/json");
    };
  };
  FakeNode follower_client(cluster_route(follower_admin));
  v1::StatusResponse leader = LeaderStatus();
  leader.mutable_cluster()->mutable_members(1)->set_client_address(follower_client.address());
  FakeNode leader_admin([&](const auto&, auto& response) { Reply(response, leader); });
  FakeNode leader_client(cluster_route(leader_admin));

  Outcome outcome = RunArgs({"--endpoints", leader_client.address(), "-o", "raw", "status"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "00000000000000a1 leader\n00000000000000b2 follower\n00000000000000c3 unreachable\n");
}

TEST(StatusTest, NoLeaderIsAnErrorBehindTheTable) {
  v1::StatusResponse status = LeaderStatus();
  status.set_role(v1::StatusResponse::FOLLOWER);
  status.set_leader(0);
  FakeNode admin([&](const auto&, auto& response) { Reply(response, status); });
  Outcome outcome = RunArgs({"--admin-endpoints", admin.address(), "status"});
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.out, HasSubstr("node1  follower"));
}

// Parses the body of the last POST.
template <typename Message>
Message LastPost(FakeNode& node) {
  Message message;
  for (const auto& request : node.requests())
    if (request.method == "POST") {
      EXPECT_EQ(request.get_header_value("Content-Type"), "application/protobuf");
      message.Clear();
      EXPECT_TRUE(message.ParseFromString(request.body));
    }
  return message;
}

FakeNode::Handler TakesChanges() {
  return AdminNode([](const auto&, auto& response) {
    v1::ChangeMembershipResponse answer;
    answer.set_config_index(31);
    answer.mutable_conf()->add_voters(kLeader);
    Reply(response, answer);
  });
}

TEST(MemberTest, ListShowsKindAndLeader) {
  FakeNode admin(AdminNode());
  Outcome outcome = RunArgs({"--admin-endpoints", admin.address(), "member", "list"});
  EXPECT_THAT(outcome.out, HasSubstr("00000000000000a1  node1  voter    yes     127.0.0.1:9001"));
  EXPECT_THAT(outcome.out, HasSubstr("00000000000000c3  node3  learner  -       127.0.0.1:9003"));
}

TEST(MemberTest, ChangesAreOneRequestBoundToTheConfigurationSeen) {
  FakeNode admin(TakesChanges());
  Outcome outcome = RunArgs(
      {"--admin-endpoints", admin.address(), "member", "remove", "node2", "00000000000000c3"});
  EXPECT_EQ(outcome.out, "voters 00000000000000a1; learners none\n") << outcome.err;
  auto request = LastPost<v1::ChangeMembershipRequest>(admin);
  EXPECT_EQ(request.expected_config_index(), 30u);
  EXPECT_THAT(request.remove(), testing::ElementsAre(kFollower, kLearner));

  RunArgs({"--admin-endpoints", admin.address(), "member", "promote", "node3", "--force"});
  request = LastPost<v1::ChangeMembershipRequest>(admin);
  EXPECT_THAT(request.promote(), testing::ElementsAre(kLearner));
  EXPECT_TRUE(request.force());
  RunArgs({"--admin-endpoints", admin.address(), "member", "demote", "node2"});
  EXPECT_THAT(LastPost<v1::ChangeMembershipRequest>(admin).demote(),
              testing::ElementsAre(kFollower));
}

TEST(MemberTest, UnknownMembersAreNamedBeforeAnythingIsSent) {
  FakeNode admin(TakesChanges());
  Outcome outcome =
      RunArgs({"--admin-endpoints", admin.address(), "member", "remove", "node2", "node9"});
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.err, HasSubstr("node1"));
  for (const auto& request : admin.requests()) EXPECT_EQ(request.method, "GET");
}

TEST(MemberTest, AddIsALearnerUnlessToldOtherwise) {
  FakeNode admin(TakesChanges());
  RunArgs(
      {"--admin-endpoints", admin.address(), "member", "add", "127.0.0.1:9009", "--name", "new"});
  auto request = LastPost<v1::ChangeMembershipRequest>(admin);
  ASSERT_EQ(request.add_learners_size(), 1);
  EXPECT_EQ(request.add_learners(0).peer_address(), "127.0.0.1:9009");
  EXPECT_EQ(request.add_learners(0).name(), "new");
  EXPECT_EQ(request.add_learners(0).id(), 0u);
  RunArgs({"--admin-endpoints", admin.address(), "member", "add", "127.0.0.1:9009", "--voter"});
  EXPECT_EQ(LastPost<v1::ChangeMembershipRequest>(admin).add_voters_size(), 1);
  EXPECT_EQ(RunArgs({"--admin-endpoints", admin.address(), "member", "add", "9009"}).status, 2);
}

TEST(MemberTest, ReplaceWaitsForTheNewOneThenSwapsInOneChange) {
  std::atomic<int> posts = 0;
  FakeNode admin(AdminNode([&](const auto&, auto& response) {
    if (++posts < 3) return Refuse(response, 409, "failed precondition", "has not caught up");
    v1::ChangeMembershipResponse answer;
    Reply(response, answer);
  }));
  // The learner is there already, as after an interrupted replace.
  Outcome outcome = RunArgs(
      {"--admin-endpoints", admin.address(), "member", "replace", "node2", "127.0.0.1:9003"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(posts, 3);
  auto request = LastPost<v1::ChangeMembershipRequest>(admin);
  EXPECT_THAT(request.promote(), testing::ElementsAre(kLearner));
  EXPECT_THAT(request.remove(), testing::ElementsAre(kFollower));
}

TEST(MemberTest, ReplaceGivesUpAndSaysHowToGoOn) {
  FakeNode admin(AdminNode([&](const auto&, auto& response) {
    Refuse(response, 409, "failed precondition", "has not caught up");
  }));
  Outcome outcome = RunArgs({"--admin-endpoints", admin.address(), "member", "replace", "node2",
                             "127.0.0.1:9003", "--wait", "0"});
  EXPECT_EQ(outcome.status, 8);
  EXPECT_THAT(outcome.err, HasSubstr("repeat the command"));
}

TEST(AdminTest, TransferCompactInitializeJoin) {
  FakeNode admin(AdminNode([](const httplib::Request& request, httplib::Response& response) {
    if (request.path == "/admin/transfer") {
      v1::TransferLeadershipResponse answer;
      answer.set_leader(kFollower);
      return Reply(response, answer);
    }
    if (request.path == "/admin/compact") {
      v1::CompactResponse answer;
      answer.set_revision(12);
      return Reply(response, answer);
    }
    v1::InitializeResponse answer;  // the same fields as JoinResponse
    answer.set_cluster_id(0xc1);
    answer.set_member_id(kLeader);
    Reply(response, answer);
  }));
  auto run = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"--admin-endpoints", admin.address(), "-o", "raw"});
    return RunArgs(args).out;
  };
  EXPECT_EQ(run({"transfer", "node2"}), "00000000000000b2\n");
  EXPECT_EQ(LastPost<v1::TransferLeadershipRequest>(admin).to(), kFollower);
  EXPECT_EQ(run({"compact", "12"}), "12\n");
  EXPECT_EQ(LastPost<v1::CompactRequest>(admin).revision(), 12u);
  EXPECT_EQ(run({"initialize", "--cluster-id", "00000000000000c1", "--member",
                 "00000000000000a1=127.0.0.1:9001", "--member", "00000000000000b2=127.0.0.1:9002"}),
            "00000000000000c1 00000000000000a1\n");
  auto initialize = LastPost<v1::InitializeRequest>(admin);
  EXPECT_EQ(initialize.cluster_id(), 0xc1u);
  ASSERT_EQ(initialize.members_size(), 2);
  EXPECT_EQ(initialize.members(1).peer_address(), "127.0.0.1:9002");
  EXPECT_EQ(run({"join", "127.0.0.1:9001", "--learner"}), "00000000000000c1 00000000000000a1\n");
  EXPECT_TRUE(LastPost<v1::JoinRequest>(admin).remain_learner());
}

TEST(AdminTest, WhatConcernsOneNodeRefusesSeveral) {
  EXPECT_EQ(RunArgs({"--admin-endpoints", "127.0.0.1:1,127.0.0.1:2", "initialize"}).status, 2);
  EXPECT_EQ(RunArgs({"--endpoints", "127.0.0.1:1,127.0.0.1:2", "join", "127.0.0.1:3"}).status, 2);
}

TEST(AdminTest, AnotherKindOfServerIsNamedAsSuch) {
  FakeNode web([](const auto&, auto& response) { response.set_content("<html>", "text/html"); });
  Outcome outcome = RunArgs({"--admin-endpoints", web.address(), "member", "list"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("is it the admin listener of a raftkv node?"));
}

// --- Snapshots
// --------------------------------------------------------------------------------------

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

// --- Completion
// -------------------------------------------------------------------------------------

// What bash offers when the cursor is behind the last of `words`.
std::string Complete(const std::string& words) {
  std::string path = testing::TempDir() + "/raftkvctl-completion";
  std::ofstream(path) << RunArgs({"completion", "bash"}).out << "COMP_WORDS=(" << words << ")\n"
                      << "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_raftkvctl\n"
                      << "echo \"${COMPREPLY[@]}\"\n";
  FILE* bash = popen(("bash " + path + " 2>&1").c_str(), "r");
  std::string out;
  char buffer[256];
  while (std::fgets(buffer, sizeof buffer, bash) != nullptr) out += buffer;
  pclose(bash);
  std::filesystem::remove(path);
  return out;
}

TEST(CompletionTest, BashKnowsCommandsAndOptions) {
  EXPECT_EQ(Complete("raftkvctl pu"), "put\n");
  EXPECT_EQ(Complete("raftkvctl --endpoints x member pro"), "promote\n");
  EXPECT_EQ(Complete("raftkvctl put k --if-a"), "--if-absent\n");
  EXPECT_EQ(Complete("raftkvctl put k --outp"), "--output\n");
  EXPECT_EQ(Complete("raftkvctl get k --consistency st"), "stale\n");
  EXPECT_EQ(Complete("raftkvctl completion f"), "fish\n");
}

TEST(CompletionTest, OtherShells) {
  EXPECT_THAT(RunArgs({"completion", "zsh"}).out, HasSubstr("#compdef raftkvctl"));
  EXPECT_THAT(
      RunArgs({"completion", "fish"}).out,
      HasSubstr("__fish_seen_subcommand_from member; and not __fish_seen_subcommand_from list"));
  EXPECT_EQ(RunArgs({"completion", "tcsh"}).status, 2);
}

}  // namespace
}  // namespace raftkv::ctl
