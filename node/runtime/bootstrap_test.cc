// How nodes become members: lists, joins, adoptions.

#include <gtest/gtest.h>

#include <string>

#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using std::chrono::seconds;

TEST(Bootstrap, StaticListFormsOneCluster) {
  TestCluster cluster;
  cluster.StartStatic(3);
  for (const char* name : {"n1", "n2", "n3"}) {
    EXPECT_EQ(cluster.node(name).machine().cluster()->conf().voters_size(), 3) << name;
    EXPECT_EQ(cluster.node(name).machine().cluster()->cluster_id(),
              cluster.node("n1").machine().cluster()->cluster_id());
  }
}

TEST(Bootstrap, StaticListWaitsForAllItsNodes) {
  TestCluster cluster;
  const Bootstrap list{Bootstrap::Mode::kStaticList, {"n1:1", "n2:1", "n3:1"}};
  cluster.Add("n1", list);
  cluster.Add("n2", list);
  EXPECT_FALSE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
  cluster.Add("n3", list);
  EXPECT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
}

TEST(Bootstrap, JoinsAsLearnerAndIsPromoted) {
  TestCluster cluster;
  cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return cluster.Leader() != nullptr; }));
  auto put = cluster.Leader()->Put("k", "v");
  cluster.Settle();
  TestNode& joiner = cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
  ASSERT_TRUE(cluster.Run(
      200, [&] { return cluster.node("n1").machine().cluster()->conf().voters_size() == 2; }));
  cluster.Run(10);
  EXPECT_EQ(ValueAt(joiner, "k"), "v");
  EXPECT_EQ(joiner.machine().cluster()->conf().voters_size(), 2);
}

// Both were kUnavailable, and clients waited in vain for the blank one.
TEST(Bootstrap, ABlankNodeThatNobodyMadeAMemberDoesNotServe) {
  TestCluster cluster;
  TestNode& blank = cluster.Add("n1");
  TestNode& joiner = cluster.Add("n2", {Bootstrap::Mode::kJoin, {"nobody:1"}});
  cluster.Run(5);
  const auto refusal = [&](TestNode& node) {
    auto put = node.Put("k", "v");
    auto read = node.Barrier(Consistency::kStale);
    cluster.Settle();
    EXPECT_TRUE(put->has_value() && !(*put)->has_value() && read->has_value());
    EXPECT_EQ((*put)->error(), **read);
    return **read;
  };
  EXPECT_EQ(refusal(blank).code(), Code::kNotServing);
  EXPECT_NE(refusal(blank).message().find("initialize"), std::string::npos);
  // It goes on trying, as it will once it is asked to join.
  EXPECT_EQ(refusal(joiner).code(), Code::kUnavailable);
  EXPECT_NE(refusal(joiner).message().find("nobody:1"), std::string::npos);
  const auto join = [&](const std::string& address) {
    std::optional<Result<v1::JoinResponse>> answer;
    v1::JoinRequest request;
    request.add_peer_addresses(address);
    blank.replica().Join(request, cluster.clock().Now() + seconds(1),
                         [&](const auto& done) { answer = done; });
    cluster.Run(20);
    EXPECT_TRUE(answer.has_value() && !answer->has_value());
    return answer->error().code();
  };
  for (const char* bad : {"", "nobody", "nobody:0", ":7071", "0.0.0.0:7071"}) {
    EXPECT_EQ(join(bad), Code::kInvalidArgument) << bad;
  }
  EXPECT_EQ(refusal(blank).code(), Code::kNotServing);
  EXPECT_EQ(join("nobody:1"), Code::kUnavailable);
  EXPECT_EQ(refusal(blank).code(), Code::kUnavailable);
}

// "the name of member ... is empty": what a person knows of a blank node is its id and address.
TEST(Bootstrap, InitializeAsksFirstMembersWhoTheyAre) {
  TestCluster cluster;
  TestNode& first = cluster.Add("n1");
  TestNode& second = cluster.Add("n2");
  TestNode& third = cluster.Add("n3");
  const auto add = [](v1::InitializeRequest& request, const TestNode& node, const char* address) {
    v1::Member& member = *request.add_members();
    member.set_id(node.id().value);
    member.set_peer_address(address);
  };
  const auto initialize = [&](const v1::InitializeRequest& request) {
    std::optional<Result<v1::InitializeResponse>> answer;
    first.replica().Initialize(request, [&](const auto& done) { answer = done; });
    cluster.Run(10);
    EXPECT_TRUE(answer.has_value());
    return answer->has_value() ? Code::kOk : answer->error().code();
  };
  v1::InitializeRequest request;
  add(request, first, "n1:1");
  v1::InitializeRequest absent = request, swapped = request;
  add(absent, second, "nobody:1");
  EXPECT_EQ(initialize(absent), Code::kUnavailable);
  add(swapped, second, "n3:1");
  EXPECT_EQ(initialize(swapped), Code::kFailedPrecondition);
  EXPECT_TRUE(first.replica().blank());
  add(request, second, "n2:1");
  add(request, third, "n3:1");
  EXPECT_EQ(initialize(request), Code::kOk);
  ASSERT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
  std::set<std::string> names;
  for (const v1::Member& member : first.machine().cluster()->members()) {
    names.insert(member.name());
  }
  EXPECT_EQ(names, (std::set<std::string>{"n1", "n2", "n3"}));
  EXPECT_EQ(initialize(request), Code::kOk);  // again
}

// It ended the node, as a failed disk does.
TEST(Bootstrap, FirstMembersOfOneNameAreRefusedAndTheNodeStaysBlank) {
  TestCluster cluster;
  TestNode& first = cluster.Add("n1");
  TestNode& second = cluster.Add("n2");
  v1::InitializeRequest request;
  for (const TestNode* node : {&first, &second}) {
    v1::Member& member = *request.add_members();
    member.set_id(node->id().value);
    member.set_name("x");
    member.set_peer_address(node->options().name + ":1");
  }
  std::optional<Result<v1::InitializeResponse>> answer;
  first.replica().Initialize(request, [&](const auto& done) { answer = done; });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->error().code(), Code::kConflict);
  EXPECT_TRUE(first.replica().blank());
}

// It ended the node, as a failed disk does.
TEST(Bootstrap, AnAdoptionByNoClusterIsRefusedAndTheNodeStaysBlank) {
  TestCluster cluster;
  TestNode& blank = cluster.Add("n1");
  v1::Adopt good;
  good.set_cluster_id(7);
  good.set_member_id(blank.id().value);
  good.mutable_initial()->set_cluster_id(7);
  for (const uint64_t id : {blank.id().value, uint64_t{2}}) {
    v1::Member& member = *good.mutable_initial()->add_members();
    member.set_id(id);
    member.set_name("m" + std::to_string(id));
    member.set_peer_address("m" + std::to_string(id) + ":1");
  }
  const auto adopt = [&](const std::function<void(v1::Adopt&)>& change) {
    v1::PeerCall call;
    *call.mutable_adopt() = good;
    change(*call.mutable_adopt());
    std::optional<uint32_t> code;
    blank.replica().OnStrangerCall({}, call,
                                   [&](const v1::PeerReply& reply) { code = reply.code(); });
    cluster.Settle();
    return code;
  };
  const std::optional<uint32_t> refused = static_cast<uint32_t>(Code::kInvalidArgument);
  EXPECT_EQ(adopt([](v1::Adopt& a) { a.mutable_initial()->mutable_members(1)->set_id(0); }),
            refused);
  EXPECT_EQ(adopt([](v1::Adopt& a) { a.mutable_initial()->clear_members(); }), refused);
  EXPECT_EQ(adopt([](v1::Adopt& a) { a.mutable_initial()->set_cluster_id(8); }), refused);
  EXPECT_EQ(adopt([](v1::Adopt& a) { a.mutable_initial()->mutable_members(0)->set_id(3); }),
            refused);
  EXPECT_TRUE(blank.replica().blank());
  EXPECT_EQ(adopt([](v1::Adopt&) {}), 0u);
  EXPECT_FALSE(blank.replica().blank());
}

// Its configuration had not come yet, and nobody was left to ask: the process died of a division by
// zero.
TEST(Bootstrap, AJoinerStartsAgainWithoutAList) {
  TestCluster cluster;
  cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return cluster.Leader() != nullptr; }));
  TestNode& joiner = cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
  ASSERT_TRUE(cluster.Run(50, [&] { return !joiner.replica().blank(); }));
  ASSERT_TRUE(joiner.machine().cluster()->members().empty()) << "it knows more than it should";
  joiner.Crash();
  joiner.options().bootstrap.addresses.clear();
  joiner.Boot();
  EXPECT_TRUE(cluster.Run(
      300, [&] { return cluster.node("n1").machine().cluster()->conf().voters_size() == 2; }));
}

// It answered 200 with its own cluster, whomever the request named.
TEST(Bootstrap, AMemberJoinsNoOtherCluster) {
  TestCluster cluster;
  cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  TestNode& other = cluster.Add("x1", {Bootstrap::Mode::kSingle, {}});
  TestNode& joiner = cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
  ASSERT_TRUE(cluster.Run(200, [&] { return !joiner.replica().blank(); }));
  const auto join = [&](const std::string& address) {
    std::optional<Result<v1::JoinResponse>> answer;
    v1::JoinRequest request;
    request.add_peer_addresses(address);
    joiner.replica().Join(request, cluster.clock().Now() + seconds(5),
                          [&](const auto& done) { answer = done; });
    cluster.Run(3);
    EXPECT_TRUE(answer.has_value());
    return *answer;
  };
  const auto again = join("n1:1");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->member_id(), joiner.id().value);
  ASSERT_FALSE(join("x1:1").has_value());
  EXPECT_EQ(join("x1:1").error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(join("nobody:1").error().code(), Code::kUnavailable);
  EXPECT_EQ(other.machine().cluster()->members_size(), 1);
}

// Its call was let in, but the answer was lost; then the member itself came. Whoever had asked for
// the join waited for ever.
TEST(Bootstrap, AJoinIsAnsweredByAnAdoption) {
  TestCluster cluster;
  TestNode& first = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return first.replica().is_leader(); }));
  TestNode& joiner = cluster.Add("n2");
  std::optional<Result<v1::JoinResponse>> answer;
  v1::JoinRequest request;
  request.add_peer_addresses("nobody:1");
  joiner.replica().Join(request, cluster.clock().Now() + seconds(600),
                        [&](const auto& done) { answer = done; });
  v1::ChangeMembershipRequest change;
  change.add_add_learners()->set_peer_address("n2:1");
  auto added = first.Change(change);
  ASSERT_TRUE(cluster.Run(100, [&] { return added->has_value() && !joiner.replica().blank(); }));
  ASSERT_TRUE(answer.has_value() && answer->has_value());
  EXPECT_EQ((*answer)->cluster_id(), first.machine().cluster()->cluster_id());
}

// A snapshot from before a node was added does not name it, and the node refuses it.
TEST(Bootstrap, SecondJoinerGetsASnapshotThatNamesIt) {
  TestCluster cluster;
  cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return cluster.Leader() != nullptr; }));
  cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
  cluster.Add("n3", {Bootstrap::Mode::kJoin, {"n1:1"}});
  EXPECT_TRUE(cluster.Run(
      300, [&] { return cluster.node("n1").machine().cluster()->conf().voters_size() == 3; }));
}

TEST(Bootstrap, WipedDirectoryIsANewNodeAndIsRefused) {
  TestCluster cluster;
  cluster.StartStatic(3);
  cluster.node("n1").Crash();
  std::filesystem::remove_all(cluster.node("n1").options().data_dir);
  cluster.node("n1").Boot();
  cluster.Run(100);
  // It is the first of the static list, but the others have a cluster already.
  EXPECT_TRUE(cluster.node("n1").replica().blank());
  ASSERT_NE(cluster.Leader(), nullptr);
  EXPECT_EQ(cluster.Leader()->machine().cluster()->conf().voters_size(), 3);
}

// It waited for the first of the list to initialize a cluster that had been there for long.
TEST(Bootstrap, WipedNodeOfAListSaysWhatToDo) {
  for (const std::string name : {"n1", "n3"}) {
    TestCluster cluster;
    cluster.StartStatic(3);
    TestNode& node = cluster.node(name);
    node.Crash();
    std::filesystem::remove_all(node.options().data_dir);
    node.Boot();
    cluster.Run(100);
    const v1::StatusResponse status = node.replica().Status();
    EXPECT_EQ(status.role(), v1::StatusResponse::BLANK);
    ASSERT_EQ(status.warnings_size(), 1) << name;
    EXPECT_NE(status.warnings(0).find("member replace OLD-NAME " + name + ":1"), std::string::npos)
        << status.warnings(0);
  }
}

// A node that had moved said nothing, and the others went on dialing where it had been.
TEST(Bootstrap, MovedNodeSaysThatTheListHasItsOldAddress) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& node = cluster.Follower();
  EXPECT_EQ(node.replica().Status().warnings_size(), 0);
  node.Crash();
  node.options().client_advertise = "elsewhere:7070";
  node.Boot();
  cluster.Run(5);
  EXPECT_EQ(node.replica().Status().warnings_size(), 0) << "no client address is listed";
  node.Crash();
  node.options().peer_advertise = "elsewhere:1";
  node.Boot();
  cluster.Run(5);
  const v1::StatusResponse status = node.replica().Status();
  ASSERT_EQ(status.warnings_size(), 1);
  EXPECT_NE(status.warnings(0).find("elsewhere:1"), std::string::npos) << status.warnings(0);
}

}  // namespace
}  // namespace raftkv::runtime
