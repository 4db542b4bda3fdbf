// status, member, transfer, compact, initialize and join.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "ctl/fake_node.h"
#include "ctl/run_util.h"
#include "raftkv/v1/admin.pb.h"

namespace raftkv::ctl {
namespace {

using client::FakeNode;
using client::Refuse;
using testing::HasSubstr;
using Json = nlohmann::json;

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

TEST(StatusTest, OfBlankNodesSaysWhatToDo) {
  v1::StatusResponse blank;
  blank.set_member_id(0xd4);
  blank.set_role(v1::StatusResponse::BLANK);
  FakeNode node([&](const auto&, auto& response) { Reply(response, blank); });
  Outcome outcome = RunArgs({"--admin-endpoints", node.address(), "status"});
  EXPECT_EQ(outcome.status, 8);
  EXPECT_THAT(outcome.out, HasSubstr("00000000000000d4"));
  EXPECT_THAT(outcome.err, HasSubstr("raftkvctl initialize"));
  // This one needs nobody's help, but time.
  EXPECT_EQ(RunArgs({"--admin-endpoints", node.address(), "-o", "raw", "status"}).out,
            "00000000000000d4 blank\n");
  blank.add_warnings("waiting to become a member: node3 does not answer yet");
  outcome = RunArgs({"--admin-endpoints", node.address(), "status"});
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.out, HasSubstr("node3 does not answer yet"));
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

// Regression: a voter's address in place of a new node's only removed the old member, for ever.
TEST(MemberTest, ReplaceByAVoterIsRefused) {
  FakeNode admin(AdminNode());
  Outcome outcome = RunArgs(
      {"--admin-endpoints", admin.address(), "member", "replace", "node2", "127.0.0.1:9001"});
  EXPECT_EQ(outcome.status, 8);
  EXPECT_THAT(outcome.err, HasSubstr("is a voter already"));
  for (const auto& request : admin.requests()) EXPECT_EQ(request.method, "GET");
}

// Answers changes as a leader does: learners that are added get the ID 0xd4, what is updated or
// removed shows in the status from then on.
class ChangingNode {
 public:
  void Handle(const httplib::Request& request, httplib::Response& response) {
    if (request.method != "POST") return Reply(response, status_);
    v1::ChangeMembershipRequest change;
    ASSERT_TRUE(change.ParseFromString(request.body));
    requests_.push_back(change);
    v1::ClusterState& cluster = *status_.mutable_cluster();
    for (const v1::Member& update : change.update()) Record(update.id()).MergeFrom(update);
    for (v1::Member added : change.add_learners()) {
      added.set_id(0xd4);
      added.set_name("node2");
      cluster.mutable_conf()->add_learners(added.id());
      *cluster.add_members() = added;
    }
    v1::ChangeMembershipResponse answer;
    Reply(response, answer);
  }
  const std::vector<v1::ChangeMembershipRequest>& requests() const { return requests_; }

 private:
  v1::Member& Record(uint64_t id) {
    auto& members = *status_.mutable_cluster()->mutable_members();
    return *std::ranges::find(members, id, &v1::Member::id);
  }
  v1::StatusResponse status_ = LeaderStatus();
  std::vector<v1::ChangeMembershipRequest> requests_;
};

// It was refused, with no word of what to do.
TEST(MemberTest, ReplaceAtTheSameAddressGivesNameAndAddressToTheNewOne) {
  ChangingNode node;
  FakeNode admin([&](const auto& request, auto& response) { node.Handle(request, response); });
  const std::vector<std::string> command = {"--admin-endpoints", admin.address(), "member",
                                            "replace",           "node2",         "127.0.0.1:9002"};
  Outcome outcome = RunArgs(command);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  ASSERT_EQ(node.requests().size(), 2u);
  const v1::ChangeMembershipRequest& first = node.requests()[0];
  EXPECT_EQ(first.expected_config_index(), 30u);
  ASSERT_EQ(first.update_size(), 1);
  EXPECT_EQ(first.update(0).id(), kFollower);
  EXPECT_EQ(first.update(0).name(), "node2.00000000000000b2");
  EXPECT_EQ(first.update(0).peer_address(), "00000000000000b2.former.invalid:9002");
  ASSERT_EQ(first.add_learners_size(), 1);
  EXPECT_EQ(first.add_learners(0).peer_address(), "127.0.0.1:9002");
  EXPECT_EQ(first.remove_size(), 0);
  const v1::ChangeMembershipRequest& swap = node.requests()[1];
  EXPECT_THAT(swap.promote(), testing::ElementsAre(0xd4));
  EXPECT_THAT(swap.remove(), testing::ElementsAre(kFollower));

  // As after an interruption between the two: the name is the new one's, the old one is meant.
  for (const char* old : {"node2", "00000000000000b2"}) {
    std::vector<std::string> again = command;
    again[4] = old;
    outcome = RunArgs(again);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const v1::ChangeMembershipRequest& last = node.requests().back();
    EXPECT_EQ(last.add_learners_size() + last.update_size(), 0);
    EXPECT_THAT(last.promote(), testing::ElementsAre(0xd4));
    EXPECT_THAT(last.remove(), testing::ElementsAre(kFollower));
  }
  EXPECT_EQ(node.requests().size(), 4u);
}

TEST(MemberTest, ReplaceOfAMemberThatIsThereItselfChangesNothing) {
  FakeNode admin(AdminNode([&](const auto&, auto& response) {
    Refuse(response, 409, "conflict",
           "00000000000000b2 is a member already: promote, demote or update it");
  }));
  const std::vector<std::string> command = {"--admin-endpoints", admin.address(), "member",
                                            "replace",           "node2",         "127.0.0.1:9002"};
  Outcome outcome = RunArgs(command);
  EXPECT_EQ(outcome.status, 8);
  EXPECT_THAT(outcome.err, HasSubstr("itself, with its data"));
  EXPECT_THAT(outcome.err, HasSubstr("start it with an empty directory"));
}

// Regression: replacing the member that was asked ended with an unknown outcome although it had
// worked.
TEST(MemberTest, ALostAnswerIsLookedUpNotRepeated) {
  std::atomic<int> posts = 0;
  FakeNode admin([&](const httplib::Request& request, httplib::Response& response) {
    if (request.method == "POST") {
      ++posts;
      return Refuse(response, 504, "unknown outcome", "the connection broke");
    }
    v1::StatusResponse status = LeaderStatus();
    if (posts > 0) {
      status.mutable_cluster()->mutable_conf()->clear_learners();
      status.mutable_cluster()->set_config_index(31);
    }
    Reply(response, status);
  });
  Outcome outcome = RunArgs({"--admin-endpoints", admin.address(), "member", "remove", "node3"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("learners none"));
  EXPECT_EQ(posts, 1);
  // Not done as far as can be seen: that is said.
  outcome = RunArgs({"--admin-endpoints", admin.address(), "member", "remove", "node2"});
  EXPECT_EQ(outcome.status, 6);
  EXPECT_EQ(posts, 2);
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

TEST(ProbeTest, WaitsUntilTheServerIsWell) {
  std::atomic<int> asked = 0;
  FakeNode server([&](const httplib::Request& request, httplib::Response& response) {
    response.status = request.path == "/readyz" && ++asked > 2 ? 200
                      : request.path == "/readyz"              ? 503
                                                               : 404;
    response.set_content("ok", "text/plain");
  });
  Outcome well = RunArgs({"probe", server.address()});
  EXPECT_EQ(well.status, 0) << well.err;
  EXPECT_EQ(well.out, "ok\n");
  Outcome elsewhere = RunArgs({"probe", server.address(), "/nowhere"});
  EXPECT_EQ(elsewhere.status, 8);
  EXPECT_THAT(elsewhere.err, HasSubstr("/nowhere answers 404"));
  EXPECT_EQ(RunArgs({"--timeout", "0.2", "probe", "127.0.0.1:1"}).status, 5);
  EXPECT_EQ(RunArgs({"probe", server.address(), "readyz"}).status, 2);
}

TEST(AdminTest, AnotherKindOfServerIsNamedAsSuch) {
  FakeNode web([](const auto&, auto& response) { response.set_content("<html>", "text/html"); });
  Outcome outcome = RunArgs({"--admin-endpoints", web.address(), "member", "list"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("is it the admin listener of a raftkv node?"));
}

}  // namespace
}  // namespace raftkv::ctl
