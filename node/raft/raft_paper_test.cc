// The rules of the Raft paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus
// Algorithm", extended version), section by section.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "node/raft/describe.h"
#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;

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

// Delivers each append to the follower it names as accepted in full.
void AcknowledgeAll(TestNode& leader, const std::vector<Message>& appends) {
  for (const Message& m : Only<AppendEntries>(appends)) {
    const auto& body = m.As<AppendEntries>();
    ASSERT_TRUE(leader.Step(m.to.value, leader->term().value,
                            AppendResponse{.index = body.prev.index + body.entries.size()}));
  }
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

// --- 5.3 Log replication -------------------------------------------------------------------------

std::unique_ptr<TestNode> LeaderWithCommittedNoop(TestNodeOptions options = {}) {
  auto leader = std::make_unique<TestNode>(std::move(options));
  AcknowledgeAll(*leader, leader->BecomeLeader());
  leader->Drain();
  return leader;
}

// "The leader appends the command to its log as a new entry, then issues AppendEntries RPCs in
// parallel to each of the other servers to replicate the entry", with the index and term of the
// entry that precedes it.
TEST(PaperReplication, LeaderReplicatesProposals) {
  auto leader = LeaderWithCommittedNoop();
  const Index last = leader->core().last_index();
  ASSERT_TRUE(leader->Propose("some data"));
  EXPECT_EQ(leader->core().last_index(), last.Next());
  EXPECT_EQ(leader->core().committed(), last);
  const std::vector<Message> sent = leader->Drain();
  ASSERT_EQ(sent.size(), 2u);
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(sent[i].to, NodeId(2 + i));
    const auto& append = sent[i].As<AppendEntries>();
    EXPECT_EQ(append.prev, (EntryId{Term(1), last}));
    EXPECT_EQ(append.commit, last);
    ASSERT_EQ(append.entries.size(), 1u);
    EXPECT_EQ(append.entries[0], (Entry{Term(1), last.Next(), Buffer("some data")}));
  }
}

// "When the entry has been safely replicated, the leader applies the entry to its state machine",
// and tells the followers with the next messages.
TEST(PaperReplication, LeaderCommitsReplicatedEntry) {
  auto leader = LeaderWithCommittedNoop();
  ASSERT_TRUE(leader->Propose("some data"));
  AcknowledgeAll(*leader, leader->Drain());
  const std::vector<Message> sent = leader->Drain();
  EXPECT_EQ(leader->core().committed(), leader->core().last_index());
  EXPECT_THAT(leader->AppliedData(), ElementsAre("some data"));
  ASSERT_EQ(Only<AppendEntries>(sent).size(), 2u);
  for (const Message& m : sent) {
    EXPECT_EQ(m.As<AppendEntries>().commit, leader->core().last_index());
  }
}

// "A log entry is committed once the leader that created the entry has replicated it on a majority
// of the servers."
TEST(PaperReplication, CommitNeedsMajority) {
  struct Case {
    size_t size;
    std::vector<uint64_t> acknowledged_by;
    bool committed;
  };
  const std::vector<Case> cases = {
      {1, {}, true},        {3, {}, false},          {3, {2}, true},    {3, {2, 3}, true},
      {5, {}, false},       {5, {2}, false},         {5, {2, 3}, true}, {5, {4, 5}, true},
      {5, {2, 3, 4}, true}, {5, {2, 3, 4, 5}, true},
  };
  for (const Case& c : cases) {
    TestNodeOptions options{.voters = {}};
    for (uint64_t id = 1; id <= c.size; ++id) options.voters.emplace_back(id);
    auto leader = LeaderWithCommittedNoop(options);
    ASSERT_TRUE(leader->Propose("some data"));
    leader->Drain();
    const Index last = leader->core().last_index();
    for (uint64_t follower : c.acknowledged_by) {
      ASSERT_TRUE(leader->Step(follower, 1, AppendResponse{.index = last}));
    }
    EXPECT_EQ(leader->core().committed() == last, c.committed)
        << c.size << " " << testing::PrintToString(c.acknowledged_by);
  }
}

// "This also commits all preceding entries in the leader's log, including entries created by
// previous leaders."
TEST(PaperReplication, CommitCoversPrecedingEntries) {
  for (const std::vector<uint64_t>& terms :
       std::vector<std::vector<uint64_t>>{{}, {2}, {1, 2}, {1}}) {
    auto leader =
        std::make_unique<TestNode>(TestNodeOptions{.log = terms, .hard_state = {.term = Term(2)}});
    leader->BecomeLeader();
    ASSERT_TRUE(leader->Propose("some data"));
    leader->Drain();
    ASSERT_TRUE(leader->Step(2, 3, AppendResponse{.index = leader->core().last_index()}));
    leader->Drain();
    std::vector<uint64_t> expected = terms;
    expected.insert(expected.end(), {3, 3});
    EXPECT_EQ(TermsOf(leader->applied()), expected);
  }
}

// "Once a follower learns that a log entry is committed, it applies the entry to its local state
// machine (in log order)."
TEST(PaperReplication, FollowerAppliesCommitted) {
  const std::vector<std::string> data = {"one", "two", "three"};
  for (size_t committed = 0; committed <= data.size(); ++committed) {
    TestNode node({});
    AppendEntries append{{Term(), Index()}, {}, Index(committed)};
    for (size_t i = 0; i < data.size(); ++i) {
      append.entries.push_back({Term(1), Index(i + 1), Buffer(data[i])});
    }
    ASSERT_TRUE(node.Step(2, 1, append));
    node.Drain();
    EXPECT_EQ(node->applied(), Index(committed));
    EXPECT_EQ(node.AppliedData(), std::vector<std::string>(data.begin(), data.begin() + committed));
  }
}

// "If the follower does not find an entry in its log with the same index and term, then it refuses
// the new entries."
TEST(PaperReplication, FollowerChecksPrecedingEntry) {
  struct Case {
    EntryId prev;
    AppendResponse answer;
  };
  const std::vector<Case> cases = {
      {{Term(), Index()}, {.index = Index(1)}},  // at or before the commit index: known to match
      {{Term(1), Index(1)}, {.index = Index(1)}},
      {{Term(2), Index(2)}, {.index = Index(2)}},  // uncommitted, but matches
      {{Term(1), Index(2)}, {Index(2), true, Index(1), Term(1)}},
      {{Term(3), Index(3)}, {Index(3), true, Index(2), Term(2)}},
  };
  for (const Case& c : cases) {
    TestNode node({.log = {1, 2}, .hard_state = {.term = Term(2), .commit = Index(1)}});
    node.BecomeFollower(2, 2);
    ASSERT_TRUE(node.Step(2, 2, AppendEntries{c.prev, {}, {}}));
    const std::vector<Message> sent = node.Drain();
    ASSERT_EQ(sent.size(), 1u);
    const auto& answer = sent[0].As<AppendResponse>();
    EXPECT_EQ(answer.index, c.answer.index);
    EXPECT_EQ(answer.rejected, c.answer.rejected);
    EXPECT_EQ(answer.hint_index, c.answer.hint_index);
    EXPECT_EQ(answer.hint_term, c.answer.hint_term);
  }
}

// "Deletes any entries in the follower's log after that point, and sends the follower all of the
// leader's entries after that point."
TEST(PaperReplication, FollowerReplacesConflictingEntries) {
  struct Case {
    EntryId prev;
    std::vector<uint64_t> terms;
    std::vector<uint64_t> log;
  };
  const std::vector<Case> cases = {
      {{Term(2), Index(2)}, {3}, {1, 2, 3}},
      {{Term(1), Index(1)}, {3, 4}, {1, 3, 4}},
      {{Term(), Index()}, {1}, {1, 2}},  // a prefix that matches truncates nothing
      {{Term(), Index()}, {3}, {3}},
  };
  for (const Case& c : cases) {
    TestNode node({.log = {1, 2}, .hard_state = {.term = Term(2)}});
    node.BecomeFollower(4, 2);
    ASSERT_TRUE(
        node.Step(2, 4, AppendEntries{c.prev, EntriesWithTerms(c.prev.index.Next(), c.terms), {}}));
    EXPECT_EQ(TermsOf(node.AllEntries()), c.log);
  }
}

// "In Raft, the leader handles inconsistencies by forcing the followers' logs to duplicate its
// own": the logs of figure 7.
TEST(PaperReplication, LeaderBringsFollowersInLine) {
  const std::vector<uint64_t> leader_log = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
  const std::vector<std::vector<uint64_t>> follower_logs = {
      {1, 1, 1, 4, 4, 5, 5, 6, 6},
      {1, 1, 1, 4},
      {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
      {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},
      {1, 1, 1, 4, 4, 4, 4},
      {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
  };
  for (const std::vector<uint64_t>& follower_log : follower_logs) {
    TestNetwork net(3);
    net.Add({.id = 1, .log = leader_log, .hard_state = {.term = Term(8), .commit = Index(10)}});
    net.Add({.id = 2, .log = follower_log, .hard_state = {.term = Term(8)}});
    // The third votes for the first, whose log may not be the longest.
    net.Isolate(2);
    net.Campaign(1);
    ASSERT_EQ(net[1]->role(), Role::kLeader);
    net.Heal();
    net.Tick(2);
    net.Propose(1, "in line");
    EXPECT_EQ(net[2].AllEntries(), net[1].AllEntries()) << testing::PrintToString(follower_log);
    EXPECT_EQ(net[2]->applied(), net[1]->applied());
  }
}

// --- 5.4 Safety ----------------------------------------------------------------------------------

// 5.4.1: "the RequestVote RPC includes information about the candidate's log".
TEST(PaperSafety, VoteRequestCarriesLastEntry) {
  for (const std::vector<uint64_t>& terms : std::vector<std::vector<uint64_t>>{{1}, {1, 2}}) {
    TestNode node({.log = terms, .hard_state = {.term = Term(2)}});
    node.Tick(2 * kElectionTicks - 1);
    const std::vector<Message> requests = Only<RequestVote>(node.Drain());
    ASSERT_EQ(requests.size(), 2u);
    for (const Message& m : requests) {
      EXPECT_EQ(m.term, Term(3));
      EXPECT_EQ(m.As<RequestVote>().last, (EntryId{Term(terms.back()), Index(terms.size())}));
    }
  }
}

// 5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate".
TEST(PaperSafety, VoterDeniesOutdatedCandidate) {
  struct Case {
    std::vector<uint64_t> log;
    EntryId last;
    bool rejected;
  };
  const std::vector<Case> cases = {
      {{1}, {Term(1), Index(1)}, false},   {{1}, {Term(1), Index(2)}, false},
      {{1, 1}, {Term(1), Index(1)}, true}, {{1}, {Term(2), Index(1)}, false},
      {{1}, {Term(2), Index(2)}, false},   {{1, 1}, {Term(2), Index(1)}, false},
      {{2}, {Term(1), Index(1)}, true},    {{2}, {Term(1), Index(2)}, true},
      {{2, 2}, {Term(1), Index(1)}, true},
  };
  for (const Case& c : cases) {
    TestNode node({.log = c.log, .hard_state = {.term = Term(2)}});
    ASSERT_TRUE(node.Step(2, 3, RequestVote{c.last}));
    const std::vector<Message> sent = node.Drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].As<VoteResponse>().rejected, c.rejected);
  }
}

// 5.4.2: "Only log entries from the leader's current term are committed by counting replicas."
TEST(PaperSafety, LeaderCommitsOnlyItsOwnTermByCounting) {
  for (const auto& [index, commit] :
       std::vector<std::pair<uint64_t, uint64_t>>{{1, 0}, {2, 0}, {3, 3}, {4, 4}}) {
    TestNode leader({.log = {1, 2}, .hard_state = {.term = Term(2)}});
    leader.BecomeLeader();  // appends an entry of term 3 at index 3
    ASSERT_TRUE(leader.Propose("at index 4"));
    leader.Drain();
    ASSERT_TRUE(leader.Step(2, 3, AppendResponse{.index = Index(index)}));
    EXPECT_EQ(leader->committed(), Index(commit));
  }
}

// --- 5.5, 8 --------------------------------------------------------------------------------------

// 5.5: "Raft RPCs are idempotent": a request that reaches a follower twice does no harm.
TEST(PaperIdempotence, RepeatedAppend) {
  TestNode node({});
  const AppendEntries append{{Term(), Index()}, EntriesWithTerms(Index(1), {1, 1, 1}), Index(2)};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(node.Step(2, 1, append));
    const std::vector<Message> sent = node.Drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_FALSE(sent[0].As<AppendResponse>().rejected);
    EXPECT_THAT(TermsOf(node.AllEntries()), ElementsAre(1, 1, 1));
    EXPECT_EQ(node->applied(), Index(2));
  }
}

// 8: "each leader commits a blank no-op entry into the log at the start of its term".
TEST(PaperClients, NewLeaderAppendsNoop) {
  TestNode leader({.log = {1}, .hard_state = {.term = Term(1)}});
  const std::vector<Message> sent = leader.BecomeLeader();
  ASSERT_EQ(sent.size(), 2u);
  const auto& append = sent[0].As<AppendEntries>();
  EXPECT_EQ(append.entries, EntriesWithTerms(Index(2), {2}));
}

}  // namespace
}  // namespace raftkv::raft
