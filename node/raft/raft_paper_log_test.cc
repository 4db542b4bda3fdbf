// The rules of the Raft paper, section by section: the log, safety, clients. Terms and elections
// are in raft_paper_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;

constexpr int kElectionTicks = 10;  // the default of Config

// Delivers each append to the follower it names as accepted in full.
void AcknowledgeAll(TestNode& leader, const std::vector<Message>& appends) {
  for (const Message& m : Only<AppendEntries>(appends)) {
    const auto& body = m.As<AppendEntries>();
    ASSERT_TRUE(leader.Step(m.to.value, leader->term().value,
                            AppendResponse{.index = body.prev.index + body.entries.size()}));
  }
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
