// Changes of the membership: what they ask for, how they meet, whom they reach.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "node/runtime/test_cluster.h"

namespace raftkv::runtime {
namespace {

TEST(Membership, GrowsFromThreeToFiveInOneChange) {
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

// It was dialed, and the answer was that nobody is there yet: for ever.
TEST(Membership, AnAddressThatNobodyCanDialIsRefusedAtOnce) {
  TestCluster cluster;
  cluster.StartStatic(1);
  for (const char* address : {"", "nonsense", ":7071", "0.0.0.0:7071", "host:0"}) {
    v1::ChangeMembershipRequest add;
    add.add_add_learners()->set_peer_address(address);
    const auto added = cluster.Leader()->Change(add);
    ASSERT_TRUE(added->has_value()) << address;
    EXPECT_EQ((*added)->error().code(), Code::kInvalidArgument) << address;
  }
}

// A new peer address took the client address away, and could not be given without the name.
TEST(Membership, AnUpdateKeepsWhatItLeavesOut) {
  TestCluster cluster;
  cluster.StartStatic(1);
  TestNode& node = *cluster.Leader();
  const auto update = [&](const std::function<void(v1::Member&)>& edit) {
    v1::ChangeMembershipRequest request;
    request.add_update()->set_id(node.id().value);
    edit(*request.mutable_update(0));
    const auto updated = node.Change(request);
    return cluster.Run(20, [&] { return updated->has_value(); }) && (*updated)->has_value();
  };
  ASSERT_TRUE(update([](v1::Member& member) { member.set_client_address("clients:1"); }));
  ASSERT_TRUE(update([](v1::Member& member) { member.set_peer_address("elsewhere:1"); }));
  const v1::Member& member = node.machine().cluster()->members(0);
  EXPECT_EQ(member.name(), "n1");
  EXPECT_EQ(member.client_address(), "clients:1");
  EXPECT_EQ(member.peer_address(), "elsewhere:1");
}

// It waited for the call to end, however long that took.
TEST(Membership, ANewMemberThatDoesNotSayWhoItIsHoldsNoChangeUp) {
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
TEST(Membership, ARemovedMemberAnswersWhatWaitsForANewOne) {
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
  (void)cluster.Follower().Change(remove);
  ASSERT_TRUE(cluster.Run(100, [&] { return leader.removed(); }));
  ASSERT_TRUE(swapped->has_value());
  EXPECT_EQ((*swapped)->error().code(), Code::kNotServing);
}

// One change for each member of five but the leader.
std::vector<v1::ChangeMembershipRequest> RemovalsOfOthers(TestCluster& cluster,
                                                          const TestNode& leader) {
  std::vector<v1::ChangeMembershipRequest> removals;
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) {
    const TestNode& node = cluster.node(name);
    if (&node != &leader) removals.emplace_back().add_remove(node.id().value);
  }
  return removals;
}

// The later one was refused, though the earlier one was done within a moment: whoever removed a
// member while a new one was being promoted had to ask again.
TEST(Membership, AChangeWithoutConditionWaitsForTheOneUnderWay) {
  TestCluster cluster;
  cluster.StartStatic(5);
  TestNode& leader = *cluster.Leader();
  const auto removals = RemovalsOfOthers(cluster, leader);
  auto first = leader.Change(removals[0]);
  auto second = leader.Change(removals[1]);
  ASSERT_TRUE(cluster.Run(50, [&] { return second->has_value(); }));
  ASSERT_TRUE(first->has_value() && (*first)->has_value());
  ASSERT_TRUE((*second)->has_value()) << (*second)->error().message();
  EXPECT_EQ((**second)->conf().voters_size(), 3);
}

TEST(Membership, AChangeWithAConditionIsRefusedAtOnceWhileAnotherIsUnderWay) {
  TestCluster cluster;
  cluster.StartStatic(5);
  TestNode& leader = *cluster.Leader();
  auto removals = RemovalsOfOthers(cluster, leader);
  for (v1::ChangeMembershipRequest& removal : removals) {
    removal.set_expected_config_index(leader.machine().cluster()->config_index());
  }
  auto first = leader.Change(removals[0]);
  auto second = leader.Change(removals[1]);
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ((*second)->error().code(), Code::kConflict);
  ASSERT_TRUE(cluster.Run(50, [&] { return first->has_value(); }));
  EXPECT_TRUE((*first)->has_value()) << (*first)->error().message();
}

TEST(Membership, AChangeIsRefusedIfTheOneUnderWayTakesLong) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  v1::ChangeMembershipRequest remove;
  remove.add_remove(cluster.Follower().id().value);
  leader.StallApply(true);
  auto first = leader.Change(remove);
  auto second = leader.Change(remove);
  EXPECT_FALSE(second->has_value());
  ASSERT_TRUE(
      cluster.Run(leader.options().election_ticks + 1, [&] { return second->has_value(); }));
  EXPECT_EQ((*second)->error().code(), Code::kConflict);
  leader.StallApply(false);
  ASSERT_TRUE(cluster.Run(50, [&] { return first->has_value(); }));
  EXPECT_TRUE((*first)->has_value()) << (*first)->error().message();
}

// A change was answered by a follower that had not heard yet that it was made: the list of members
// that it told next was the old one, and so was the index with which the next change was refused.
TEST(Membership, WhoPassesAChangeOnKnowsOfItWhenItAnswers) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& leader = *cluster.Leader();
  TestNode& asked = cluster.Follower();
  TestNode& other = cluster.ThirdOf(leader, asked);
  const auto known = [&] { return asked.machine().cluster()->config_index(); };
  v1::ChangeMembershipRequest demote;
  demote.add_demote(other.id().value);
  const uint64_t before = known();
  asked.StallApply(true);
  auto demoted = asked.Change(demote);
  ASSERT_TRUE(cluster.Run(5, [&] { return leader.machine().cluster()->config_index() > before; }));
  cluster.Run(2);
  EXPECT_FALSE(demoted->has_value());
  asked.StallApply(false);
  ASSERT_TRUE(cluster.Run(50, [&] { return demoted->has_value(); }));
  ASSERT_TRUE((*demoted)->has_value()) << (*demoted)->error().message();
  EXPECT_EQ(known(), (**demoted)->config_index());
  // The change is made, whether this member comes to know of it soon or late.
  asked.StallApply(true);
  v1::ChangeMembershipRequest promote;
  promote.add_promote(other.id().value);
  auto promoted = asked.Change(promote);
  ASSERT_TRUE(cluster.Run(50, [&] { return promoted->has_value(); }));
  ASSERT_TRUE((*promoted)->has_value()) << (*promoted)->error().message();
  EXPECT_LT(known(), (**promoted)->config_index());
}

// The simulator's: a member that missed the addition of those who lead now refused them for ever,
// and had no address for its answers.
TEST(Membership, MemberThatMissedTheAdditionOfTheLeaderIsReached) {
  TestCluster cluster;
  cluster.StartStatic(3);
  TestNode& away = cluster.Follower();
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
  auto changed = (leader == &away ? cluster.Follower() : *leader).Change(change);
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
TEST(Membership, LearnerWhoseSeedsAreGoneIsReached) {
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

// The simulator's: a learner without a configuration yet takes messages from whoever leads, and
// does not know where to send its answers. It was told once, and where that got lost, never again.
TEST(Membership, AnIntroductionThatGetsLostIsRepeated) {
  TestCluster cluster;
  TestNode& first = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
  ASSERT_TRUE(cluster.Run(50, [&] { return first.replica().is_leader(); }));
  TestNode& joiner = cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
  ASSERT_TRUE(cluster.Run(100, [&] { return !joiner.replica().blank(); }));
  joiner.Crash();
  TestNode& leader = cluster.Add("n3");
  v1::ChangeMembershipRequest change;
  change.set_force(true);
  v1::Member& voter = *change.add_add_voters();
  voter.set_id(leader.id().value);
  voter.set_name("n3");
  voter.set_peer_address("n3:1");
  change.add_remove(first.id().value);
  auto changed = first.Change(change);
  ASSERT_TRUE(cluster.Run(200, [&] {
    return changed->has_value() && leader.replica().is_leader() && first.removed();
  }));
  first.Crash();
  (void)leader.Put("news", "yes");
  joiner.Boot();
  cluster.Cut("n2", "n3");
  // The stream is there; the call beside it gets lost.
  leader.replica().OnPeerUp(joiner.id());
  cluster.Run(5);
  EXPECT_EQ(ValueAt(joiner, "news"), "<none>");
  cluster.Heal();
  EXPECT_TRUE(cluster.Run(100, [&] { return ValueAt(joiner, "news") == "yes"; }));
}

}  // namespace
}  // namespace raftkv::runtime
