#include "operator/raftkv/node_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <nlohmann/json.hpp>
#include <thread>

namespace raftkv::op {
namespace {

using Json = nlohmann::json;
using Role = NodeReport::Role;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As a node prints it (docs/api.md).
Json StatusOf(const std::string& id, const std::string& role, uint64_t term,
              uint64_t config_index) {
  Json member = {{"id", "00000000000000a1"},
                 {"name", "store-0"},
                 {"peer_address", "store-0.store-peers.ns.svc:7071"}};
  return {{"version", "0.1.0"},
          {"member_id", id},
          {"name", "store-7"},
          {"cluster_id", "00000000000000c1"},
          {"role", role},
          {"leader", "00000000000000a1"},
          {"term", term},
          {"commit_index", 20},
          {"applied_index", 19},
          {"cluster",
           {{"conf",
             {{"voters", {"00000000000000a1", "00000000000000b2"}},
              {"learners", {"00000000000000d4"}},
              {"voters_outgoing", Json::array()},
              {"learners_next", Json::array()}}},
            {"config_index", config_index},
            {"members", Json::array({member})},
            {"removed_ids", {"00000000000000e5"}},
            {"epoch", 3}}},
          {"progress",
           Json::array({{{"id", "00000000000000a1"}, {"match", 20}, {"recently_active", false}}})},
          {"warnings", {"the disk is full"}}};
}

NodeStatus Parse(const Json& json) {
  auto parsed = ParseNodeStatus(json.dump());
  EXPECT_TRUE(parsed);
  return parsed ? *parsed : NodeStatus{};
}

TEST(ParseNodeStatus, OfALeader) {
  NodeStatus status = Parse(StatusOf("00000000000000a1", "LEADER", 2, 5));
  EXPECT_EQ(status.name, "store-7");
  EXPECT_EQ(status.report.role, Role::kLeader);
  EXPECT_EQ(status.report.member, 0xa1U);
  EXPECT_EQ(status.report.cluster, 0xc1U);
  EXPECT_EQ(status.report.applied_index, 19U);
  EXPECT_THAT(status.report.warnings, ElementsAre("the disk is full"));
  const Membership& membership = status.membership;
  EXPECT_EQ(membership.config_index, 5U);
  EXPECT_THAT(membership.voters, ElementsAre(0xa1, 0xb2));
  EXPECT_THAT(membership.learners, ElementsAre(0xd4));
  EXPECT_THAT(membership.removed, ElementsAre(0xe5));
  EXPECT_FALSE(membership.joint());
  EXPECT_EQ(membership.epoch, 3U);
  EXPECT_EQ(membership.leader, 0xa1U);
  EXPECT_EQ(membership.leader_commit, 20U);
  const MemberView& self = membership.members.at(0xa1);
  EXPECT_EQ(self.match, 20U);
  EXPECT_TRUE(self.active) << "a leader is in touch with itself";
  EXPECT_EQ(self.name, "store-0");
}

TEST(ParseNodeStatus, OfABlankNode) {
  NodeStatus status = Parse(
      {{"member_id", "00000000000000a1"}, {"role", "BLANK"}, {"cluster_id", "0000000000000000"}});
  EXPECT_EQ(status.report.role, Role::kBlank);
  EXPECT_EQ(status.report.cluster, 0U);
  EXPECT_EQ(status.membership.config_index, 0U);
}

TEST(ParseNodeStatus, OfADamagedNode) {
  NodeStatus status = Parse({{"member_id", "00000000000000a1"},
                             {"cluster_id", "00000000000000c1"},
                             {"role", "DAMAGED"},
                             {"warnings", {"log/000012.sst: corrupt"}}});
  EXPECT_EQ(status.report.role, Role::kDamaged);
  EXPECT_EQ(status.report.member, 0xa1U);
  EXPECT_THAT(status.report.warnings, ElementsAre("log/000012.sst: corrupt"));
  status = Parse({{"member_id", "0000000000000000"}, {"role", "DAMAGED"}});
  EXPECT_EQ(status.report.member, 0U) << "its identity cannot be read";
}

TEST(ParseNodeStatus, RefusesWhatIsNone) {
  for (const char* text : {"", "[]", "{}", R"({"member_id":"a1"})", R"({"role":"LEADER"})",
                           R"({"member_id":"00000000000000a1","role":"KING"})"}) {
    EXPECT_FALSE(ParseNodeStatus(text)) << text;
  }
}

TEST(JoinMemberships, NewestConfigurationAndLeader) {
  std::vector<NodeStatus> nodes = {Parse(StatusOf("00000000000000a1", "LEADER", 2, 5)),
                                   Parse(StatusOf("00000000000000b2", "LEADER", 3, 5)),
                                   Parse(StatusOf("00000000000000d4", "FOLLOWER", 3, 9))};
  auto joined = JoinMemberships(nodes, 0xc1);
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->config_index, 9U);
  EXPECT_EQ(joined->leader, 0xb2U) << "the leader of the newest term";
  EXPECT_EQ(joined->leader_term, 3U);

  nodes.pop_back();
  nodes.pop_back();
  nodes[0].report.role = Role::kFollower;
  joined = JoinMemberships(nodes, 0);
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->leader, 0U) << "a belief is no leader";
}

TEST(JoinMemberships, LeavesForeignNodesOut) {
  std::vector<NodeStatus> nodes = {Parse(StatusOf("00000000000000a1", "LEADER", 2, 5))};
  EXPECT_FALSE(JoinMemberships(nodes, 0xc2));
  EXPECT_FALSE(JoinMemberships({}, 0));
}

class NodeServer {
 public:
  NodeServer() {
    server_.Get("/admin/status", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(status.dump(), "application/json");
    });
    server_.Post(".*", [this](const httplib::Request& request, httplib::Response& response) {
      path = request.path;
      body = Json::parse(request.body, nullptr, false);
      response.status = answer;
      response.set_content(R"({"detail":"because"})", "application/problem+json");
    });
    port = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~NodeServer() {
    server_.stop();
    thread_.join();
  }

  Json status = StatusOf("00000000000000a1", "LEADER", 2, 5);
  int answer = 200;
  std::string path;
  Json body;
  int port = 0;

 private:
  httplib::Server server_;
  std::thread thread_;
};

TEST(NodeClient, AsksAllAndLeavesOutWhoIsSilent) {
  NodeServer server;
  NodeHttp http({.port = server.port});
  NodeClient client(&http);
  // Nothing listens at this address of the loopback network.
  auto statuses = client.Statuses({{0, "127.0.0.1"}, {1, "127.0.0.9"}});
  ASSERT_EQ(statuses.size(), 1U);
  EXPECT_EQ(statuses.at(0).report.member, 0xa1U);
}

TEST(NodeClient, SendsWhatWasPlanned) {
  NodeServer server;
  NodeHttp http({.port = server.port});
  NodeClient client(&http);
  MemberView member{.id = 0xd4, .name = "store-3", .peer_address = "p:1"};
  Json as_json = {{"id", "00000000000000d4"},
                  {"name", "store-3"},
                  {"peer_address", "p:1"},
                  {"client_address", "p:7070"}};

  EXPECT_TRUE(
      client.SendInitialize("127.0.0.1", {.slot = 0, .cluster = 0xc1, .members = {member}}).ok());
  EXPECT_EQ(server.path, "/admin/initialize");
  EXPECT_EQ(server.body, Json({{"cluster_id", "00000000000000c1"}, {"members", {as_json}}}));

  EXPECT_TRUE(client
                  .SendMembership("127.0.0.1", {.expected_config_index = 5,
                                                .epoch = 2,
                                                .add_learners = {member},
                                                .promote = {0xb2},
                                                .remove = {0xa1},
                                                .update = {member}})
                  .ok());
  EXPECT_EQ(server.path, "/admin/membership");
  EXPECT_EQ(server.body["expected_config_index"], 5);
  EXPECT_EQ(server.body["epoch"], 2);
  EXPECT_EQ(server.body["add_learners"], Json::array({as_json}));
  EXPECT_EQ(server.body["promote"], Json::array({"00000000000000b2"}));
  EXPECT_EQ(server.body["remove"], Json::array({"00000000000000a1"}));
  EXPECT_EQ(server.body["update"], Json::array({as_json}));

  EXPECT_TRUE(client
                  .SendTransfer("127.0.0.1",
                                {.from = 0xa1, .to = 0xb2, .expected_config_index = 5, .epoch = 2})
                  .ok());
  EXPECT_EQ(server.path, "/admin/transfer");
  EXPECT_EQ(server.body, Json({{"to", "00000000000000b2"},
                               {"from", "00000000000000a1"},
                               {"expected_config_index", 5},
                               {"epoch", 2}}));
}

TEST(NodeClient, ErrorsTellWhetherItMayHaveHappened) {
  NodeServer server;
  NodeHttp http({.port = server.port});
  NodeClient client(&http);
  for (auto [answer, code] : {std::pair(409, Code::kConflict), std::pair(503, Code::kUnavailable),
                              std::pair(504, Code::kUnknownOutcome)}) {
    server.answer = answer;
    Status status = client.SendTransfer("127.0.0.1", {});
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(status.message(), HasSubstr("because"));
  }
  EXPECT_EQ(client.SendTransfer("127.0.0.9", {}).code(), Code::kUnavailable);
}

}  // namespace
}  // namespace raftkv::op
