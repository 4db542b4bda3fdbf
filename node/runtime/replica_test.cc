#include "node/runtime/replica.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

using std::chrono::seconds;

TestNode& Follower(TestCluster& cluster) {
  for (const char* name : {"n1", "n2", "n3"}) {
    TestNode& node = cluster.node(name);
    if (node.running() && !node.replica().is_leader()) return node;
  }
  CHECK(false, "no follower");
  return cluster.node("n1");
}

TEST(Replica, SingleNodeWritesAndReads) {
  TestCluster cluster;
  TestNode& node = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return node.replica().is_leader(); }));
  auto put = node.Put("a", "1");
  auto read = node.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  ASSERT_TRUE((*put)->has_value());
  EXPECT_TRUE((**put)->created);
  ASSERT_TRUE(read->has_value());
  EXPECT_TRUE((*read)->ok());
  EXPECT_EQ(ValueAt(node, "a"), "1");
}

TEST(Replica, StaticListFormsOneCluster) {
  TestCluster cluster;
  cluster.StartStatic(3);
  for (const char* name : {"n1", "n2", "n3"}) {
    EXPECT_EQ(cluster.node(name).machine().cluster()->conf().voters_size(), 3) << name;
    EXPECT_EQ(cluster.node(name).machine().cluster()->cluster_id(),
              cluster.node("n1").machine().cluster()->cluster_id());
  }
}

TEST(Replica, StaticListWaitsForAllItsNodes) {
  TestCluster cluster;
  const Bootstrap list{Bootstrap::Mode::kStaticList, {"n1:1", "n2:1", "n3:1"}};
  cluster.Add("n1", list);
  cluster.Add("n2", list);
  EXPECT_FALSE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
  cluster.Add("n3", list);
  EXPECT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
}

TEST(Replica, FollowerForwardsAndAnswersFromItsOwnState) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = Follower(cluster);
  auto put = follower.Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  ASSERT_TRUE((*put)->has_value()) << (*put)->error().message();
  EXPECT_EQ(ValueAt(follower, "k"), "v");
  auto read = follower.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_TRUE(read->has_value());
  EXPECT_TRUE((*read)->ok());
}

// With the leader's disk full, a write through another member was accepted.
TEST(Replica, AFullLeaderRefusesForwardedGrowth) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = Follower(cluster);
  cluster.Leader()->FillDisk(true);
  auto put = follower.Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  ASSERT_FALSE((*put)->has_value());
  EXPECT_EQ((*put)->error().code(), Code::kOutOfSpace);
  cluster.Leader()->FillDisk(false);
  put = follower.Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value() && (*put)->has_value());
}

TEST(Replica, NothingIsAcknowledgedWithoutAMajority) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  cluster.Isolate(leader.options().name);
  auto put = leader.Put("k", "lost?");
  auto read = leader.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  EXPECT_FALSE(put->has_value());
  EXPECT_FALSE(read->has_value());
  // The others go on; the old leader's entry is overwritten, and its client told so for certain.
  ASSERT_TRUE(cluster.Run(50, [&] { return cluster.Leader() != &leader; }));
  auto other = cluster.Leader()->Put("k", "new");
  cluster.Settle();
  ASSERT_TRUE(other->has_value());
  cluster.Heal();
  cluster.Run(20);
  ASSERT_TRUE(put->has_value());
  ASSERT_FALSE((*put)->has_value());
  EXPECT_EQ((*put)->error().code(), Code::kUnavailable);
  EXPECT_EQ(ValueAt(leader, "k"), "new");
  ASSERT_TRUE(read->has_value());
}

TEST(Replica, NoLeaderRefusesAfterABoundedWait) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = Follower(cluster);
  cluster.Isolate(follower.options().name);
  cluster.Run(40);
  auto put = follower.Put("k", "v", seconds(60));
  EXPECT_TRUE(cluster.Run(40, [&] { return put->has_value(); }));
  EXPECT_EQ((*put)->error().code(), Code::kUnavailable);
}

TEST(Replica, LeaseReadsNeedNoRoundButEnd) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  auto first = leader.Barrier(Consistency::kLinearizable);
  cluster.Settle();
  ASSERT_TRUE(first->has_value());
  const uint64_t rounds = leader.replica().counters().read_rounds;
  auto second = leader.Barrier(Consistency::kLease);
  cluster.Settle();
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ(leader.replica().counters().read_rounds, rounds);
  // The process slept: its lease is over although no tick told it so.
  cluster.Isolate(leader.options().name);
  cluster.clock().Advance(seconds(2));
  auto third = leader.Barrier(Consistency::kLease);
  cluster.Settle();
  EXPECT_FALSE(third->has_value());
}

TEST(Replica, RestartKeepsAcknowledgedWrites) {
  TestCluster cluster;
  cluster.StartStatic(3);
  auto put = cluster.Leader()->Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value());
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Crash();
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Boot();
  ASSERT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
  auto read = cluster.Leader()->Barrier(Consistency::kLinearizable);
  cluster.Run(5);
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ(ValueAt(*cluster.Leader(), "k"), "v");
}

TEST(Replica, JoinsAsLearnerAndIsPromoted) {
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
TEST(Replica, ABlankNodeThatNobodyMadeAMemberDoesNotServe) {
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
TEST(Replica, InitializeAsksFirstMembersWhoTheyAre) {
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

// It answered 200 with its own cluster, whomever the request named.
TEST(Replica, AMemberJoinsNoOtherCluster) {
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
TEST(Replica, AJoinIsAnsweredByAnAdoption) {
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
TEST(Replica, SecondJoinerGetsASnapshotThatNamesIt) {
  TestCluster cluster;
  cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return cluster.Leader() != nullptr; }));
  cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
  cluster.Add("n3", {Bootstrap::Mode::kJoin, {"n1:1"}});
  EXPECT_TRUE(cluster.Run(
      300, [&] { return cluster.node("n1").machine().cluster()->conf().voters_size() == 3; }));
}

TEST(Replica, GrowsFromThreeToFiveInOneChange) {
  TestCluster cluster;
  cluster.StartStatic(3);
  cluster.Add("n4");
  cluster.Add("n5");
  v1::ChangeMembershipRequest learners;
  for (const char* name : {"n4", "n5"}) {
    v1::Member& member = *learners.add_add_learners();
    member.set_peer_address(std::string(name) + ":1");
  }
  TestNode& leader = *cluster.Leader();
  auto added = leader.Change(learners);
  ASSERT_TRUE(cluster.Run(50, [&] { return added->has_value(); }));
  ASSERT_TRUE((*added)->has_value()) << (*added)->error().message();
  cluster.Run(50);
  v1::ChangeMembershipRequest promote;
  promote.set_expected_config_index((**added)->config_index());
  promote.add_promote(cluster.node("n4").id().value);
  promote.add_promote(cluster.node("n5").id().value);
  auto promoted = leader.Change(promote);
  ASSERT_TRUE(cluster.Run(50, [&] { return promoted->has_value(); }));
  ASSERT_TRUE((*promoted)->has_value()) << (*promoted)->error().message();
  EXPECT_EQ((**promoted)->conf().voters_size(), 5);
  EXPECT_EQ((**promoted)->conf().voters_outgoing_size(), 0);
  // The same decision once more is refused: the configuration is another one now.
  auto stale = leader.Change(promote);
  cluster.Run(5);
  ASSERT_TRUE(stale->has_value());
  EXPECT_EQ((*stale)->error().code(), Code::kConflict);
}

// It waited for the call to end, however long that took.
TEST(Replica, ANewMemberThatDoesNotSayWhoItIsHoldsNoChangeUp) {
  TestCluster cluster;
  cluster.StartStatic(3);
  cluster.Add("n4");
  TestNode& leader = *cluster.Leader();
  leader.LoseReplies(true);
  v1::ChangeMembershipRequest add;
  add.add_add_learners()->set_peer_address("n4:1");
  auto added = leader.Change(add, std::chrono::seconds(1));
  ASSERT_TRUE(cluster.Run(20, [&] { return added->has_value(); }));
  ASSERT_FALSE((*added)->has_value());
  EXPECT_EQ((*added)->error().code(), Code::kUnavailable);
}

// The simulator's: nobody answered a change that waited for that when the member was removed.
TEST(Replica, ARemovedMemberAnswersWhatWaitsForANewOne) {
  TestCluster cluster;
  cluster.StartStatic(3);
  cluster.Add("n4");
  TestNode& leader = *cluster.Leader();
  leader.LoseReplies(true);
  v1::ChangeMembershipRequest swap;
  swap.add_remove(leader.id().value);
  swap.add_add_learners()->set_peer_address("n4:1");
  auto swapped = leader.Change(swap);
  v1::ChangeMembershipRequest remove;
  remove.add_remove(leader.id().value);
  (void)cluster.node(leader.options().name == "n1" ? "n2" : "n1").Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] { return leader.removed(); }));
  ASSERT_TRUE(swapped->has_value());
  EXPECT_EQ((*swapped)->error().code(), Code::kNotServing);
}

TEST(Replica, LeaderHandsOverBeforeItIsRemoved) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& old_leader = *cluster.Leader();
  v1::ChangeMembershipRequest remove;
  remove.add_remove(old_leader.id().value);
  auto removed = old_leader.Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
  ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
  EXPECT_EQ((**removed)->conf().voters_size(), 2);
  ASSERT_NE(cluster.Leader(), nullptr);
  EXPECT_NE(cluster.Leader(), &old_leader);
  EXPECT_TRUE(cluster.Run(50, [&] { return old_leader.removed(); }));
}

// Was answered as one of unknown outcome (504): whoever is removed is let in no more, and the
// successor's answer was lost with the stream.
TEST(Replica, LeaderThatRemovesItselfKnowsThatItWorked) {
  for (const bool others_too : {false, true}) {
    TestCluster cluster;
    cluster.StartStatic(5);
    TestNode& old_leader = *cluster.Leader();
    old_leader.LoseReplies(true);
    v1::ChangeMembershipRequest change;
    change.add_remove(old_leader.id().value);
    if (others_too) {
      TestNode& other = cluster.node(old_leader.options().name == "n1" ? "n2" : "n1");
      change.add_demote(other.id().value);
    }
    auto removed = old_leader.Change(change, std::chrono::seconds(5));
    ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
    ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
    EXPECT_EQ((**removed)->conf().voters_size(), others_too ? 3 : 4);
    EXPECT_EQ((**removed)->conf().learners_size(), others_too ? 1 : 0);
    EXPECT_EQ((**removed)->conf().voters_outgoing_size(), 0);
    EXPECT_TRUE(cluster.Run(50, [&] { return old_leader.removed(); }));
  }
}

// ... but not if nobody says that it is removed.
TEST(Replica, RemovalOfOneselfThatNobodyConfirmsIsOfUnknownOutcome) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& asked = cluster.node(leader.options().name == "n1" ? "n2" : "n1");
  asked.LoseReplies(true);
  v1::ChangeMembershipRequest remove;
  remove.add_remove(asked.id().value);
  auto removed = asked.Change(remove, std::chrono::seconds(2));
  cluster.Settle();
  cluster.Isolate(asked.options().name);
  ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
  ASSERT_FALSE((*removed)->has_value());
  EXPECT_EQ((*removed)->error().code(), Code::kUnknownOutcome);
}

// The simulator's: the old members were gone before the new ones knew that the joint configuration
// had been left; they asked the old ones for votes, in vain, for ever.
TEST(Replica, RemovedMembersStayUntilAMajorityKnows) {
  TestCluster cluster;
  TestNode& old = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return old.replica().is_leader(); }));
  v1::ChangeMembershipRequest swap;
  swap.set_force(true);
  swap.add_remove(old.id().value);
  for (const char* name : {"n2", "n3"}) {
    v1::Member& voter = *swap.add_add_voters();
    voter.set_id(cluster.Add(name).id().value);
    voter.set_name(name);
    voter.set_peer_address(std::string(name) + ":1");
  }
  (void)old.Change(swap);
  // The old leader learns that the change is complete; what it says of it gets lost.
  ASSERT_TRUE(cluster.Run(100, [&] {
    for (const char* name : {"n2", "n3"}) {
      if (cluster.node(name).replica().blank()) return false;
      cluster.node(name).StallApply(cluster.node(name).machine().cluster()->conf().voters_size() >
                                    0);
    }
    return old.machine().cluster()->removed_ids_size() == 1;
  }));
  for (const char* name : {"n2", "n3"}) cluster.Cut(name, "n1");
  cluster.Run(50);
  EXPECT_FALSE(old.removed()) << "nobody has called it removed";
  for (const char* name : {"n2", "n3"}) {
    TestNode& node = cluster.node(name);
    node.Crash();
    node.Boot();
    node.StallApply(false);
  }
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(300, [&] { return cluster.Leader() != nullptr && old.removed(); }));
}

// The simulator's: what is left of three members forgot in a crash that it was alone, and asked the
// others, who had gone, for votes for ever.
TEST(Replica, LastMemberOfThreeRemembersThatItIsAlone) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& last = *cluster.Leader();
  v1::ChangeMembershipRequest remove;
  for (const char* name : {"n1", "n2", "n3"}) {
    if (&cluster.node(name) != &last) remove.add_remove(cluster.node(name).id().value);
  }
  auto removed = last.Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] {
    for (const char* name : {"n1", "n2", "n3"}) {
      if (&cluster.node(name) != &last && !cluster.node(name).removed()) return false;
    }
    return removed->has_value();
  }));
  ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Crash();
  last.Boot();
  EXPECT_TRUE(cluster.Run(100, [&] { return last.replica().is_leader(); }));
}

// The answer must not have to come through the leader that is removed.
TEST(Replica, FollowerIsAnsweredWhenItRemovesTheLeader) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& old_leader = *cluster.Leader();
  TestNode& asked = cluster.node(old_leader.options().name == "n1" ? "n2" : "n1");
  v1::ChangeMembershipRequest remove;
  remove.add_remove(old_leader.id().value);
  auto removed = asked.Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != &old_leader; }));
  cluster.Isolate(old_leader.options().name);
  ASSERT_TRUE(cluster.Run(100, [&] { return removed->has_value(); }));
  ASSERT_TRUE((*removed)->has_value()) << (*removed)->error().message();
  EXPECT_EQ((**removed)->conf().voters_size(), 2);
}

TEST(Replica, LaggingFollowerGetsASnapshot) {
  TestCluster cluster;
  cluster.StartStatic(3, [](Options& options) {
    options.log_keep_entries = 10;
    options.flush_after_bytes = 1000;
  });
  TestNode& leader = *cluster.Leader();
  TestNode& follower = Follower(cluster);
  cluster.Isolate(follower.options().name);
  for (int i = 0; i < 500; ++i) {
    (void)leader.Put("key" + std::to_string(i), std::string(100, 'x'));
    cluster.Settle();
  }
  cluster.Run(20);
  ASSERT_GT(leader.replica().core()->first_index(), raft::Index(300));
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(100, [&] { return ValueAt(follower, "key499") != "<none>"; }));
  EXPECT_EQ(follower.replica().counters().snapshots_installed, 1u);
  // And goes on from there, also after a crash.
  (void)leader.Put("after", "1");
  cluster.Run(5);
  EXPECT_EQ(ValueAt(follower, "after"), "1");
  follower.Crash();
  follower.Boot();
  cluster.Run(30);
  EXPECT_EQ(ValueAt(follower, "after"), "1");
}

// The simulator's: a member that missed the addition of those who lead now refused them for ever,
// and had no address for its answers.
TEST(Replica, MemberThatMissedTheAdditionOfTheLeaderIsReached) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& away = Follower(cluster);
  cluster.Isolate(away.options().name);
  v1::ChangeMembershipRequest change;
  for (const char* name : {"n4", "n5"}) {
    TestNode& node = cluster.Add(name);
    cluster.Cut(name, away.options().name);
    v1::Member& member = *change.add_add_voters();
    member.set_id(node.id().value);
    member.set_name(name);
    member.set_peer_address(std::string(name) + ":1");
  }
  for (const char* name : {"n1", "n2", "n3"}) {
    if (name != away.options().name) change.add_remove(cluster.node(name).id().value);
  }
  change.set_force(true);
  TestNode* leader = cluster.Leader();
  auto changed = (leader == &away ? Follower(cluster) : *leader).Change(change);
  ASSERT_TRUE(cluster.Run(200, [&] { return changed->has_value(); }));
  ASSERT_TRUE(cluster.Run(100, [&] {
    return cluster.Leader() != nullptr && cluster.Leader()->options().name >= "n4";
  }));
  cluster.Heal();
  (void)cluster.Leader()->Put("news", "yes");
  EXPECT_TRUE(cluster.Run(100, [&] { return ValueAt(away, "news") == "yes"; }));
  EXPECT_EQ(away.replica().leader(), cluster.Leader()->id());
}

// The simulator's: the members that a node was told when it joined may all be gone before the log
// reaches it.
TEST(Replica, LearnerWhoseSeedsAreGoneIsReached) {
  TestCluster cluster;
  TestNode& first = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return first.replica().is_leader(); }));
  TestNode& second = cluster.Add("n2");
  v1::ChangeMembershipRequest add;
  add.set_force(true);
  v1::Member& voter = *add.add_add_voters();
  voter.set_id(second.id().value);
  voter.set_name("n2");
  voter.set_peer_address("n2:1");
  auto added = first.Change(add);
  TestNode& joiner = cluster.Add("n3", {Bootstrap::Mode::kJoin, {"n1:1"}});
  ASSERT_TRUE(cluster.Run(100, [&] { return added->has_value() && !joiner.replica().blank(); }));
  joiner.Crash();
  v1::ChangeMembershipRequest remove;
  remove.add_remove(first.id().value);
  auto removed = second.Change(remove);
  ASSERT_TRUE(
      cluster.Run(200, [&] { return removed->has_value() && second.replica().is_leader(); }));
  (void)second.Put("news", "yes");
  joiner.Boot();
  EXPECT_TRUE(cluster.Run(100, [&] { return ValueAt(joiner, "news") == "yes"; }));
}

// The entry that leaves a joint configuration, once it is in an append message; and what messages
// say of it.
class LeaveWatch {
 public:
  void Look(const raft::Message& message) {
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    if (append == nullptr) return;
    for (const raft::Entry& entry : append->entries) {
      if (!entry.IsConfChange() || entry.index <= last_change_) continue;
      last_change_ = entry.index;
      if (++changes_ == 2) leave_ = entry.index;
    }
  }
  bool seen() const { return leave_ > raft::Index(0); }
  bool Commits(const raft::Message& message) const {
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    const auto* heartbeat = std::get_if<raft::Heartbeat>(&message.body);
    return seen() && ((append != nullptr && append->commit >= leave_) ||
                      (heartbeat != nullptr && heartbeat->commit >= leave_));
  }
  bool HasMore(const raft::Message& message) const {
    const auto* append = std::get_if<raft::AppendEntries>(&message.body);
    return seen() && append != nullptr && !append->entries.empty() &&
           append->entries.back().index > leave_;
  }

 private:
  size_t changes_ = 0;
  raft::Index last_change_{0};
  raft::Index leave_{0};
};

// The simulator's: two of three voters go, and the leader among them dies when the joint
// configuration has been left. The one that stays does not know that, needs a vote of one of them,
// and their logs are longer by entries that nobody can commit any more: no leader ever again.
TEST(Replica, VoterThatIsLeftAloneIsToldSoByThoseWhoRefuseTheirVotes) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& stays = Follower(cluster);
  TestNode* third = nullptr;
  for (const char* name : {"n1", "n2", "n3"}) {
    TestNode& node = cluster.node(name);
    if (&node != &leader && &node != &stays) third = &node;
  }
  TestNode& other = *third;
  v1::ChangeMembershipRequest change;
  for (TestNode* node : {&leader, &other}) change.add_remove(node->id().value);
  // The leader does not hand over to somebody whom it has not heard of.
  cluster.Isolate(stays.options().name);
  cluster.Run(25);
  (void)leader.Change(change);
  LeaveWatch watch;
  cluster.Hold([&](const raft::Message& message) {
    if (message.to != stays.id()) return false;
    const bool seen = watch.seen();
    watch.Look(message);
    if (!seen && watch.seen()) stays.StallDisk(true);
    return watch.Commits(message) || watch.HasMore(message);
  });
  cluster.Heal();
  ASSERT_TRUE(cluster.Run(100, [&] { return watch.seen(); }));
  for (int i = 0; i < 3; ++i) (void)leader.Put("lost", "yes");
  cluster.Settle();
  leader.StallApply(true);
  stays.StallDisk(false);
  ASSERT_TRUE(cluster.Run(50, [&] { return other.machine().cluster()->members_size() == 1; }));
  ASSERT_EQ(stays.machine().cluster()->conf().voters_outgoing_size(), 3);
  leader.Crash();
  cluster.Release();
  ASSERT_TRUE(cluster.Run(300, [&] { return stays.replica().is_leader(); }));
  auto put = stays.Put("news", "yes");
  EXPECT_TRUE(cluster.Run(50, [&] { return put->has_value() && (*put)->has_value(); }));
}

// The simulator's: five voters give way to two new ones, who do not know yet that the joint
// configuration has been left. Members that were only demoted called the others removed, and half
// a minute later these went; the two still needed their votes.
TEST(Replica, RemovedMembersWaitForThoseWhoStayHoweverLong) {
  TestCluster cluster;
  cluster.StartStatic(5);
  TestNode& leader = *cluster.Leader();
  v1::ChangeMembershipRequest change;
  change.set_force(true);
  change.add_remove(leader.id().value);
  std::vector<TestNode*> removed = {&leader};
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) {
    TestNode& node = cluster.node(name);
    if (&node == &leader) continue;
    if (change.demote_size() < 2) {
      change.add_demote(node.id().value);
    } else {
      change.add_remove(node.id().value);
      removed.push_back(&node);
    }
  }
  for (const char* name : {"n6", "n7"}) {
    v1::Member& voter = *change.add_add_voters();
    voter.set_id(cluster.Add(name).id().value);
    voter.set_name(name);
    voter.set_peer_address(std::string(name) + ":1");
  }
  LeaveWatch watch;
  cluster.Hold([&](const raft::Message& message) {
    watch.Look(message);
    if (!watch.Commits(message)) return false;
    for (const char* name : {"n6", "n7"}) cluster.Isolate(name);
    return false;
  });
  (void)leader.Change(change);
  ASSERT_TRUE(
      cluster.Run(100, [&] { return leader.machine().cluster()->removed_ids_size() == 3; }));
  cluster.Run(400);
  for (const TestNode* node : removed) EXPECT_FALSE(node->removed()) << node->options().name;
  cluster.Hold({});
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(300, [&] {
    return std::ranges::all_of(removed, [](const TestNode* node) { return node->removed(); });
  }));
  EXPECT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
}

// The simulator's: of the members that stayed when this one was removed, most were removed
// themselves before they could tell it so. It waited for a majority of them, for ever.
TEST(Replica, RemovedMemberDoesNotWaitForThoseWhoWereRemovedAfterIt) {
  TestCluster cluster;
  cluster.StartStatic(5);
  TestNode& leader = *cluster.Leader();
  std::vector<TestNode*> others;
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) {
    if (&cluster.node(name) != &leader) others.push_back(&cluster.node(name));
  }
  TestNode& away = *others[0];
  v1::ChangeMembershipRequest change;
  for (TestNode* node : {&away, others[1]}) change.add_remove(node->id().value);
  // It knows the joint configuration, not that it has been left.
  LeaveWatch watch;
  cluster.Hold([&](const raft::Message& message) {
    watch.Look(message);
    if (watch.Commits(message)) cluster.Isolate(away.options().name);
    return false;
  });
  auto changed = leader.Change(change);
  ASSERT_TRUE(cluster.Run(100, [&] { return changed->has_value() && others[1]->removed(); }));
  ASSERT_EQ(away.machine().cluster()->conf().voters_outgoing_size(), 5);
  v1::ChangeMembershipRequest again;
  for (TestNode* node : {others[2], others[3]}) again.add_remove(node->id().value);
  auto alone = leader.Change(again);
  ASSERT_TRUE(cluster.Run(
      100, [&] { return alone->has_value() && others[2]->removed() && others[3]->removed(); }));
  for (size_t i = 1; i < others.size(); ++i) others[i]->Crash();
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(600, [&] { return away.removed(); }));
}

TEST(Replica, WipedDirectoryIsANewNodeAndIsRefused) {
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
TEST(Replica, WipedNodeOfAListSaysWhatToDo) {
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
    EXPECT_NE(status.warnings(0).find("--start-mode join"), std::string::npos)
        << status.warnings(0);
  }
}

// A node that had moved said nothing, and the others went on dialing where it had been.
TEST(Replica, MovedNodeSaysThatTheListHasItsOldAddress) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& node = Follower(cluster);
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

TEST(Replica, ElectionsStayCalmWhileTheLeadersDiskStalls) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  const raft::Term term = leader.replica().core()->term();
  leader.StallDisk(true);
  auto put = leader.Put("k", "v");
  cluster.Run(100);
  EXPECT_EQ(cluster.Leader(), &leader);
  EXPECT_EQ(leader.replica().core()->term(), term);
  // The followers' disks are a majority by themselves, but only what is durable here is applied
  // here: the client waits.
  EXPECT_FALSE(put->has_value() && (*put)->has_value());
  leader.StallDisk(false);
  cluster.Run(5);
  EXPECT_EQ(ValueAt(leader, "k"), "v");
}

TEST(Replica, TransferMovesTheLeader) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& follower = Follower(cluster);
  auto slot = std::make_shared<std::optional<Result<v1::TransferLeadershipResponse>>>();
  v1::TransferLeadershipRequest request;
  request.set_to(follower.id().value);
  // Asked of the follower: it passes the call on.
  follower.replica().TransferLeadership(
      request, cluster.clock().Now() + seconds(5),
      [slot](Result<v1::TransferLeadershipResponse> response) { *slot = std::move(response); });
  ASSERT_TRUE(cluster.Run(20, [&] { return slot->has_value(); }));
  EXPECT_TRUE((*slot)->has_value());
  EXPECT_EQ(cluster.Leader(), &follower);
}

TEST(Replica, HistoryIsCompactedByCountAndAge) {
  TestCluster cluster;
  TestNode& node = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}}, [](Options& options) {
    options.compact_keep_revisions = 1000;
    options.compact_keep_age = seconds(10);
  });
  ASSERT_TRUE(cluster.Run(50, [&] { return node.replica().is_leader(); }));
  for (int i = 0; i < 3000; ++i) (void)node.Put("k", std::to_string(i));
  cluster.Settle();
  EXPECT_EQ(node.machine().applied().compact_revision, 0u) << "younger than the age to keep";
  cluster.Run(300);
  EXPECT_GT(node.machine().applied().compact_revision, 1000u);
  EXPECT_LE(node.machine().applied().compact_revision, 2001u);
}

}  // namespace
}  // namespace raftkv::runtime
