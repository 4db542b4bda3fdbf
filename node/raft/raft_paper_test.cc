// The rules of the Raft paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus
// Algorithm", extended version), section by section: terms and elections.
#include <gtest/gtest.h>

#include <set>

#include "node/raft/describe.h"
#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

constexpr int kElectionTicks = 10;  // the default of Config

void BecomeCandidate(TestNode& node) {
  ASSERT_TRUE(node->StartCampaign());
  ASSERT_EQ(node->role(), Role::kCandidate);
}

// A node of three in the wanted role; term 1, or 0 for a fresh follower.
std::unique_ptr<TestNode> NodeInRole(Role role, const TestNodeOptions& options = {}) {
  auto node = std::make_unique<TestNode>(options);
  if (role == Role::kCandidate) BecomeCandidate(*node);
  if (role == Role::kLeader) node->BecomeLeader();
  node->Drain();
  return node;
}

class EveryRole : public testing::TestWithParam<Role> {};

INSTANTIATE_TEST_SUITE_P(Roles, EveryRole,
                         testing::Values(Role::kFollower, Role::kCandidate, Role::kLeader),
                         [](const auto& role) { return Describe(role.param).substr(5); });

// --- 5.1 Raft basics -----------------------------------------------------------------------------

// "If one server's current term is smaller than the other's, then it updates its current term to
// the larger value. If a candidate or leader discovers that its term is out of date, it immediately
// reverts to follower state."
TEST_P(EveryRole, AdoptsNewerTermAndBecomesFollower) {
  auto node = NodeInRole(GetParam());
  ASSERT_TRUE(node->Step(2, 7, AppendEntries{}));
  EXPECT_EQ(node->core().term(), Term(7));
  EXPECT_EQ(node->core().role(), Role::kFollower);
  EXPECT_EQ(node->core().leader(), NodeId(2));
}

// "If a server receives a request with a stale term number, it rejects the request."
TEST_P(EveryRole, RejectsStaleTerm) {
  auto node = NodeInRole(GetParam(), {.hard_state = {.term = Term(3)}});
  const Term term = node->core().term();
  const Role role = node->core().role();
  const Index last = node->core().last_index();
  ASSERT_TRUE(node->Step(2, term.value - 1,
                         AppendEntries{{Term(), Index()}, EntriesWithTerms(Index(1), {2}), {}}));
  EXPECT_EQ(node->core().term(), term);
  EXPECT_EQ(node->core().role(), role);
  EXPECT_EQ(node->core().last_index(), last);
  EXPECT_TRUE(node->Drain().empty());
}

// --- 5.2 Leader election -------------------------------------------------------------------------

// "When servers start up, they begin as followers."
TEST(PaperElection, StartsAsFollower) {
  TestNode node({});
  EXPECT_EQ(node->role(), Role::kFollower);
  EXPECT_EQ(node->leader(), kNone);
}

// "Leaders send periodic heartbeats to all followers in order to maintain their authority."
TEST(PaperElection, LeaderSendsHeartbeats) {
  constexpr int kHeartbeatTicks = 3;
  auto node =
      NodeInRole(Role::kLeader, {.tweak = [](Config& c) { c.heartbeat_ticks = kHeartbeatTicks; }});
  for (int round = 0; round < 3; ++round) {
    node->Tick(kHeartbeatTicks - 1);
    EXPECT_TRUE(node->Drain().empty());
    node->Tick();
    const std::vector<Message> sent = node->Drain();
    ASSERT_EQ(sent.size(), 2u);
    for (size_t i = 0; i < sent.size(); ++i) {
      EXPECT_TRUE(sent[i].Is<Heartbeat>());
      EXPECT_EQ(sent[i].to, NodeId(2 + i));
      EXPECT_EQ(sent[i].term, Term(1));
    }
  }
}

// "If a follower receives no communication over a period of time called the election timeout, then
// it begins an election. To begin an election, a follower increments its current term and
// transitions to candidate state. It then votes for itself and issues RequestVote RPCs in parallel
// to each of the other servers." A candidate whose election ends without a winner starts another.
TEST(PaperElection, StartsElectionAfterTimeout) {
  for (Role role : {Role::kFollower, Role::kCandidate}) {
    auto node = NodeInRole(role);
    const Term before = node->core().term();
    node->Tick(2 * kElectionTicks - 1);
    EXPECT_EQ(node->core().role(), Role::kCandidate);
    EXPECT_EQ(node->core().term(), before.Next());
    const std::vector<Message> sent = node->Drain();
    EXPECT_EQ(node->log().hard_state().vote, NodeId(1));
    ASSERT_EQ(sent.size(), 2u);
    for (size_t i = 0; i < sent.size(); ++i) {
      EXPECT_TRUE(sent[i].Is<RequestVote>());
      EXPECT_EQ(sent[i].to, NodeId(2 + i));
      EXPECT_EQ(sent[i].term, before.Next());
    }
  }
}

struct ElectionCase {
  size_t size;
  std::vector<bool> votes;  // of 2, 3, ...; the candidate votes for itself
  Role outcome;
};

// "A candidate wins an election if it receives votes from a majority of the servers in the full
// cluster for the same term."
TEST(PaperElection, MajorityDecidesInOneRound) {
  const std::vector<ElectionCase> cases = {
      {1, {}, Role::kLeader},
      {3, {true, true}, Role::kLeader},
      {3, {true}, Role::kLeader},
      {3, {}, Role::kCandidate},
      {3, {false, false}, Role::kFollower},
      {3, {false, true}, Role::kLeader},
      {5, {true, true, true, true}, Role::kLeader},
      {5, {true, true}, Role::kLeader},
      {5, {true}, Role::kCandidate},
      {5, {false, true}, Role::kCandidate},
      {5, {false, false}, Role::kCandidate},
      {5, {false, false, false}, Role::kFollower},
      {5, {true, false, false, false}, Role::kFollower},
  };
  for (const ElectionCase& c : cases) {
    SCOPED_TRACE(testing::Message() << c.size << ": " << testing::PrintToString(c.votes));
    TestNodeOptions options{.voters = {}};
    for (uint64_t id = 1; id <= c.size; ++id) options.voters.emplace_back(id);
    TestNode node(options);
    ASSERT_TRUE(node->StartCampaign());
    node.Drain();
    for (size_t i = 0; i < c.votes.size(); ++i) {
      ASSERT_TRUE(node.Step(2 + i, 1, VoteResponse{.rejected = !c.votes[i]}));
    }
    EXPECT_EQ(node->role(), c.outcome);
    EXPECT_EQ(node->term(), Term(1));
  }
}

// Its own vote counts once it is on disk, not before.
TEST(PaperElection, OwnVoteMustBeDurable) {
  TestNode node({.voters = Ids({1})});
  ASSERT_TRUE(node->StartCampaign());
  EXPECT_EQ(node->role(), Role::kCandidate);
  node.Drain();
  EXPECT_EQ(node->role(), Role::kLeader);
  EXPECT_EQ(node.log().hard_state().vote, NodeId(1));
}

// "Each server will vote for at most one candidate in a given term, on a first-come-first-served
// basis."
TEST(PaperElection, VotesOnceInATerm) {
  for (uint64_t voted : {0, 2, 3}) {
    for (uint64_t asks : {2, 3}) {
      TestNode node({.hard_state = {.term = Term(1), .vote = NodeId(voted)}});
      ASSERT_TRUE(node.Step(asks, 1, RequestVote{}));
      const std::vector<Message> sent = node.Drain();
      ASSERT_EQ(sent.size(), 1u);
      EXPECT_EQ(sent[0].to, NodeId(asks));
      EXPECT_EQ(sent[0].As<VoteResponse>().rejected, voted != 0 && voted != asks);
    }
  }
}

// "If the leader's term is at least as large as the candidate's current term, then the candidate
// recognizes the leader as legitimate and returns to follower state."
TEST(PaperElection, CandidateGivesWayToLeader) {
  for (uint64_t term : {1, 2}) {
    for (const MessageBody& body :
         {MessageBody(AppendEntries{}), MessageBody(Heartbeat{}), MessageBody(InstallSnapshot{})}) {
      auto node = NodeInRole(Role::kCandidate);
      ASSERT_TRUE(node->Step(2, term, body));
      EXPECT_EQ(node->core().role(), Role::kFollower);
      EXPECT_EQ(node->core().term(), Term(term));
      EXPECT_EQ(node->core().leader(), NodeId(2));
    }
  }
}

// "Raft uses randomized election timeouts to ensure that split votes are rare. ... Election
// timeouts are chosen randomly from a fixed interval", anew at the start of each election.
TEST(PaperElection, TimeoutIsRandomInFixedInterval) {
  for (Role role : {Role::kFollower, Role::kCandidate}) {
    std::set<int> seen;
    auto node = NodeInRole(role);
    for (int round = 0; round < 50 * kElectionTicks; ++round) {
      if (role == Role::kFollower) node->BecomeFollower(node->core().term().value + 1, 2);
      int ticks = 0;
      const Term before = node->core().term();
      while (node->core().term() == before) {
        node->Tick();
        ++ticks;
      }
      node->Drain();
      seen.insert(ticks);
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(kElectionTicks));
    EXPECT_GE(*seen.begin(), kElectionTicks);
    EXPECT_LT(*seen.rbegin(), 2 * kElectionTicks);
  }
}

// "... so in most cases only a single server will time out."
TEST(PaperElection, SimultaneousTimeoutsAreRare) {
  constexpr int kRounds = 500;
  constexpr int kNodes = 5;
  std::vector<std::unique_ptr<TestNode>> nodes;
  for (uint64_t id = 1; id <= kNodes; ++id) {
    nodes.push_back(
        std::make_unique<TestNode>(TestNodeOptions{.id = id, .voters = Ids({1, 2, 3, 4, 5})}));
  }
  int conflicts = 0;
  for (int round = 0; round < kRounds; ++round) {
    int candidates = 0;
    while (candidates == 0) {
      for (auto& node : nodes) {
        node->Tick();
        if (!node->Drain().empty()) ++candidates;
      }
    }
    if (candidates > 1) ++conflicts;
    for (uint64_t id = 1; id <= kNodes; ++id) {
      nodes[id - 1]->BecomeFollower(static_cast<uint64_t>(round) + 2, id % kNodes + 1);
    }
  }
  EXPECT_LT(conflicts, kRounds * 3 / 10);
}

}  // namespace
}  // namespace raftkv::raft
