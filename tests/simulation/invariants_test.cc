// The instruments themselves: each of the checks that a simulation makes is seen to fire, on a
// state that was doctored to break it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "node/kv/test_support.h"
#include "node/raft/memory_log.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/history.h"
#include "tests/simulation/liveness.h"
#include "tests/simulation/operator.h"
#include "tests/simulation/sim_node.h"
#include "tests/simulation/world.h"

namespace raftkv::sim {
namespace {

using raft::EntryId;
using raft::Index;
using raft::NodeId;
using raft::Term;
using ::testing::HasSubstr;
using ::testing::StartsWith;

raft::Entry EntryOf(uint64_t term, uint64_t index, const std::string& data = "") {
  return {.term = Term(term), .index = Index(index), .payload = Buffer::Copy(data)};
}

raft::Entry ChangeOf(uint64_t term, uint64_t index) {
  return {.term = Term(term),
          .index = Index(index),
          .payload = std::make_shared<const raft::ConfChange>()};
}

EntryId At(uint64_t term, uint64_t index) { return {Term(term), Index(index)}; }

class Silent final : public LogObserver {
 public:
  void OnLogged(const SimLog&, NodeId, const raft::Entry&, EntryId) override {}
};

// --- Entries and what they become ----------------------------------------------------------------

class CheckerTest : public ::testing::Test {
 protected:
  // A log that begins behind index 1, with these entries on its disk.
  std::unique_ptr<SimLog> LogWith(const std::vector<raft::Entry>& entries, bool deferred = false) {
    auto log = std::make_unique<SimLog>(&coverage_, &silent_);
    EXPECT_TRUE(log->Reset(At(1, 1), {}).ok());
    log->SetDeferred(deferred);
    storage::LogWrite write;
    write.entries = entries;
    EXPECT_TRUE(log->Append(std::span(&write, 1)).ok());
    return log;
  }
  void Apply(uint64_t node, const std::vector<raft::Entry>& entries) {
    checker_.OnApply(*LogWith(entries), NodeId(node), entries);
  }
  void Decide(const v1::Command& command, uint64_t index, kv::CommandResult result,
              uint64_t request = 0) {
    const std::vector<raft::Entry> entries = {kv::CommandEntry(index, command)};
    const std::vector<kv::ApplyResult> results = {{.index = Index(index),
                                                   .origin = request == 0 ? 0U : 7U,
                                                   .request_id = request,
                                                   .command = std::move(result)}};
    checker_.OnApply(*LogWith(entries_), NodeId(1), entries_);
    checker_.OnResults(NodeId(1), entries, results);
  }
  void ExpectFailure(const std::string& begin, const std::string& more = "") {
    EXPECT_THAT(checker_.failure(), StartsWith(begin));
    EXPECT_THAT(checker_.failure(), HasSubstr(more));
  }

  Coverage coverage_;
  Silent silent_;
  Checker checker_{&coverage_};
  std::vector<raft::Entry> entries_;  // that Decide applies first
};

TEST_F(CheckerTest, TheSameEntryInTwoLogsIsWell) {
  const auto log = LogWith({});
  checker_.OnLogged(*log, NodeId(1), EntryOf(2, 2, "x"), At(1, 1));
  checker_.OnLogged(*log, NodeId(2), EntryOf(2, 2, "x"), At(1, 1));
  checker_.OnLogged(*log, NodeId(2), EntryOf(3, 2, "y"), At(1, 1));
  Apply(1, {EntryOf(2, 2, "x"), EntryOf(2, 3, "y")});
  Apply(2, {EntryOf(2, 2, "x"), EntryOf(2, 3, "y")});
  EXPECT_EQ(checker_.failure(), "");
}

TEST_F(CheckerTest, TwoEntriesOfOneIndexAndTermBreakLogMatching) {
  const auto log = LogWith({});
  checker_.OnLogged(*log, NodeId(1), EntryOf(2, 2, "x"), At(1, 1));
  checker_.OnLogged(*log, NodeId(2), EntryOf(2, 2, "y"), At(1, 1));
  ExpectFailure("log matching: ", "differs from another log's");
}

TEST_F(CheckerTest, AnotherEntryBeforeTheSameOneBreaksLogMatching) {
  const auto log = LogWith({});
  checker_.OnLogged(*log, NodeId(1), EntryOf(3, 3, "x"), At(1, 2));
  checker_.OnLogged(*log, NodeId(2), EntryOf(3, 3, "x"), At(2, 2));
  ExpectFailure("log matching: ", "differs from another log's");
}

TEST_F(CheckerTest, ATermThatFallsBreaksLogMatching) {
  checker_.OnLogged(*LogWith({}), NodeId(1), EntryOf(2, 3, "x"), At(3, 2));
  ExpectFailure("log matching: ", "terms fall");
}

TEST_F(CheckerTest, TwoEntriesAppliedAtOneIndexBreakStateMachineSafety) {
  Apply(1, {EntryOf(2, 2, "x")});
  Apply(2, {EntryOf(2, 2, "y")});
  ExpectFailure("state machine safety: ", "another entry was applied there");
}

TEST_F(CheckerTest, AnotherTermAppliedAtOneIndexBreaksStateMachineSafety) {
  Apply(1, {EntryOf(2, 2, "x")});
  Apply(2, {EntryOf(3, 2, "x")});
  ExpectFailure("state machine safety: ", "another entry was applied there");
}

TEST_F(CheckerTest, AnEntryAppliedBeforeThoseBeforeItBreaksStateMachineSafety) {
  const std::vector<raft::Entry> entries = {EntryOf(2, 2), EntryOf(2, 3)};
  checker_.OnApply(*LogWith(entries), NodeId(1), std::span(entries).subspan(1));
  ExpectFailure("state machine safety: ", "while only 1 are decided");
}

TEST_F(CheckerTest, AnEntryThatIsAppliedAndNotOnTheDiskIsNotDurable) {
  const std::vector<raft::Entry> entries = {EntryOf(2, 2)};
  checker_.OnApply(*LogWith(entries, /*deferred=*/true), NodeId(1), entries);
  ExpectFailure("durability: ", "not on its disk");
}

TEST_F(CheckerTest, AnotherEntryOnTheDiskThanTheOneAppliedIsNotDurable) {
  const std::vector<raft::Entry> entries = {EntryOf(3, 2)};
  checker_.OnApply(*LogWith({EntryOf(2, 2)}), NodeId(1), entries);
  ExpectFailure("durability: ", "not on its disk");
}

TEST_F(CheckerTest, AResultOtherThanTheModelsIsSeen) {
  const v1::Command put = kv::Put("a", "x");
  entries_ = {kv::CommandEntry(2, put)};
  Decide(put, 2, {.revision = 3, .created = true});
  ExpectFailure("state machine: ", "the model's ");
}

TEST_F(CheckerTest, AResultOtherThanAnotherNodesIsSeen) {
  const v1::Command put = kv::Put("a", "x");
  entries_ = {kv::CommandEntry(2, put)};
  Decide(put, 2, {.revision = 2, .created = true});
  EXPECT_EQ(checker_.failure(), "");
  Decide(put, 2, {.revision = 2, .created = false});
  ExpectFailure("state machine safety: ", "the result differs from another node's");
}

TEST_F(CheckerTest, AResultWithoutAnEntryIsSeen) {
  const std::vector<kv::ApplyResult> results = {{.index = Index(3)}};
  const std::vector<raft::Entry> entries = {EntryOf(2, 2)};
  checker_.OnResults(NodeId(1), entries, results);
  ExpectFailure("state machine: ", "a result without an entry");
}

TEST_F(CheckerTest, ARequestThatIsCarriedOutTwiceIsSeen) {
  const v1::Command put = kv::Put("a", "x");
  entries_ = {kv::CommandEntry(2, put), kv::CommandEntry(3, put)};
  Decide(put, 2, {.revision = 2, .created = true}, 5);
  Decide(put, 3, {.revision = 3, .prev_mod_revision = 2}, 5);
  ExpectFailure("clients: ", "for the second time");
}

TEST_F(CheckerTest, ARefusedRequestThatIsCarriedOutIsSeen) {
  const v1::Command put = kv::Put("a", "x");
  entries_ = {kv::CommandEntry(2, put)};
  checker_.OnRefused(7, 5);
  Decide(put, 2, {.revision = 2, .created = true}, 5);
  ExpectFailure("clients: ", "its client was told that it is not");
}

TEST_F(CheckerTest, ARequestThatIsRefusedAndWasCarriedOutIsSeen) {
  const v1::Command put = kv::Put("a", "x");
  entries_ = {kv::CommandEntry(2, put)};
  Decide(put, 2, {.revision = 2, .created = true}, 5);
  EXPECT_EQ(checker_.failure(), "");
  checker_.OnRefused(7, 5);
  ExpectFailure("clients: ", "refused as not carried out, but was, at index 2");
}

TEST_F(CheckerTest, AStateOtherThanTheModelsIsSeen) {
  kv::TestMachine machine;
  (void)machine.Do(kv::Put("a", "y"));
  const v1::Command put = kv::Put("a", "x");
  const std::vector<raft::Entry> entries = {kv::CommandEntry(2, put)};
  // Before anybody has told that it is there, and with another value than it was told.
  Checker empty(&coverage_);
  empty.OnApplied(NodeId(1), entries, 1, *machine);
  EXPECT_THAT(empty.failure(), HasSubstr("a exists, other than in the model"));
  entries_ = entries;
  Decide(put, 2, {.revision = 2, .created = true});
  checker_.OnApplied(NodeId(1), entries, 1, *machine);
  ExpectFailure("state machine safety: ", "a is not what the model has");
}

TEST_F(CheckerTest, ASnapshotWithAKeyTooManyOrTooFewIsSeen) {
  kv::TestMachine more;
  (void)more.Do(kv::Put("a", "x"));
  checker_.OnReplaced(NodeId(1), *more);
  ExpectFailure("state machine safety: ", "1 keys, but 0 in the model");
  kv::ReferenceModel model;
  (void)model.Do(kv::Put("b", "x"));
  Checker other(&coverage_);
  other.BeginWith(model, At(2, 2));
  other.OnReplaced(NodeId(1), *more);
  EXPECT_THAT(other.failure(), HasSubstr("b does not exist, other than in the model"));
}

TEST_F(CheckerTest, TwoStatesOfOneIndexAreCompared) {
  checker_.OnStateHash(NodeId(1), {.index = Index(5), .hash = 1});
  checker_.OnStateHash(NodeId(2), {.index = Index(6), .hash = 2});
  checker_.OnStateHash(NodeId(2), {.index = Index(5), .hash = 1});
  EXPECT_EQ(checker_.failure(), "");
  checker_.OnStateHash(NodeId(3), {.index = Index(5), .hash = 3});
  ExpectFailure("state machine safety: ", "the state differs from another node's");
}

TEST_F(CheckerTest, ARemovedMemberThatIsBackIsSeen) {
  v1::ClusterState cluster;
  cluster.set_config_index(9);
  cluster.add_removed_ids(3);
  cluster.add_members()->set_id(4);
  checker_.OnClusterState(NodeId(1), cluster);
  EXPECT_EQ(checker_.failure(), "");
  cluster.add_members()->set_id(3);
  checker_.OnClusterState(NodeId(1), cluster);
  ExpectFailure("membership: ", "is back, though it was removed");
}

TEST_F(CheckerTest, WhoCallsAMemberRemovedHasToKnowItForGood) {
  v1::ClusterState cluster;
  cluster.set_config_index(9);
  cluster.add_removed_ids(3);
  checker_.OnClusterState(NodeId(1), cluster);
  checker_.OnCalledRemoved(NodeId(1), NodeId(3), Index(9));
  EXPECT_EQ(checker_.failure(), "");
  Checker other = checker_;
  checker_.OnCalledRemoved(NodeId(1), NodeId(3), Index(8));
  ExpectFailure("durability: ", "a crash would make it forget that");
  other.OnCalledRemoved(NodeId(1), NodeId(4), Index(9));
  EXPECT_THAT(other.failure(), HasSubstr("removed, which it never was"));
}

// --- Roles, votes, acknowledgements: on a real cluster -------------------------------------------

class ClusterTest : public ::testing::Test {
 protected:
  ClusterTest() : world_(1, 4) {
    for (size_t host = 0; host < 4; ++host) {
      world_.nodes.push_back(std::make_unique<SimNode>(&world_, host));
    }
    world_.crashes_in_files = false;
    operator_ = std::make_unique<Operator>(&world_, 3);
    history_ = std::make_unique<History>(&world_.scheduler, &world_.checker, &world_.coverage);
    liveness_ = std::make_unique<Liveness>(&world_, operator_.get(), history_.get());
    operator_->Start();
    RunFor(std::chrono::seconds(10));
  }

  void RunFor(Duration time) {
    const SimTime end = world_.scheduler.now() + time;
    while (world_.scheduler.RunOne(end)) {
    }
  }
  SimNode& leader() { return *world_.Leader(); }
  // The n-th of the other members.
  SimNode& follower(size_t n = 0) {
    for (const auto& node : world_.nodes) {
      const bool other = node.get() != &leader() && !node->disk().blank();
      if (other && n-- == 0) return *node;
    }
    ADD_FAILURE() << "no such member";
    return leader();
  }
  SimNode& blank() { return *world_.nodes[3]; }
  Term term() { return leader().replica().core()->term(); }
  void StepLeaderAs(NodeId node) {
    (void)checker_.OnStep(node, *leader().replica().core(), leader().disk().log());
  }
  std::vector<raft::Entry> Applied() {
    std::vector<raft::Entry> entries;
    for (const raft::Entry& entry : leader().disk().log().all()) {
      if (entry.index > Index(1) && entry.index <= leader().replica().core()->applied()) {
        entries.push_back(entry);
      }
    }
    return entries;
  }
  void Ask(const v1::ChangeMembershipRequest& request) {
    leader().OnRaftThread([request, this](runtime::Replica& replica) {
      replica.ChangeMembership(request, leader().Now() + std::chrono::seconds(9),
                               [](const Result<v1::ChangeMembershipResponse>&) {});
    });
  }
  raft::Message Vote(const SimNode& from, uint64_t to, Term term) {
    return {.from = from.id(), .to = NodeId(to), .term = term, .body = raft::VoteResponse{}};
  }
  void ExpectFailure(const std::string& begin, const std::string& more) {
    EXPECT_THAT(checker_.failure(), StartsWith(begin));
    EXPECT_THAT(checker_.failure(), HasSubstr(more));
  }

  World world_;
  std::unique_ptr<Operator> operator_;
  std::unique_ptr<History> history_;
  std::unique_ptr<Liveness> liveness_;
  Coverage coverage_;
  Checker checker_{&coverage_};  // of what is doctored
};

TEST_F(ClusterTest, IsWell) {
  EXPECT_EQ(world_.checker.failure(), "");
  EXPECT_EQ(liveness_->Missing(), "");
  StepLeaderAs(leader().id());
  EXPECT_EQ(checker_.failure(), "");
}

TEST_F(ClusterTest, TwoLeadersOfOneTermBreakElectionSafety) {
  StepLeaderAs(leader().id());
  StepLeaderAs(follower().id());
  ExpectFailure("election safety: ", " lead in term ");
}

TEST_F(ClusterTest, ALeaderThatLacksWhatWasDecidedIsSeen) {
  const std::vector<raft::Entry> applied = Applied();
  ASSERT_FALSE(applied.empty());
  checker_.OnApply(leader().disk().log(), follower().id(), applied);  // in an earlier term
  StepLeaderAs(leader().id());
  checker_.OnLogged(leader().disk().log(), leader().id(), EntryOf(term().value, 2), At(1, 1));
  ExpectFailure("leader completeness: ", "lacks what is decided up to index");
}

TEST_F(ClusterTest, WhatIsDecidedBehindTheBackOfALaterLeaderIsSeen) {
  StepLeaderAs(leader().id());
  checker_.OnLogged(leader().disk().log(), leader().id(), EntryOf(term().value, 2, "other"),
                    At(1, 1));
  EXPECT_EQ(checker_.failure(), "");
  checker_.OnApply(leader().disk().log(), follower().id(), Applied());
  ExpectFailure("leader completeness: ", " lacks it");
}

TEST_F(ClusterTest, TwoChangesInFlightAreSeen) {
  StepLeaderAs(leader().id());
  const Index applied = leader().replica().core()->applied();
  Silent silent;
  SimLog log(&coverage_, &silent);
  ASSERT_TRUE(log.Reset({term(), applied}, {}).ok());
  storage::LogWrite write;
  write.entries = {ChangeOf(term().value, applied.value + 1)};
  ASSERT_TRUE(log.Append(std::span(&write, 1)).ok());
  checker_.OnLogged(log, leader().id(), write.entries[0], {term(), applied});
  EXPECT_EQ(checker_.failure(), "");
  checker_.OnLogged(log, leader().id(), ChangeOf(term().value, applied.value + 2),
                    {term(), applied + 1});
  ExpectFailure("membership: ", "that is not applied yet");
}

TEST_F(ClusterTest, VotesOfBlankAndRemovedNodesAreSeen) {
  checker_.OnSend(blank().disk(), false, Vote(blank(), 5, Term(1)));
  ExpectFailure("membership: ", "votes, though it is blank");
  Checker other(&coverage_);
  other.OnSend(follower().disk(), true, Vote(follower(), 5, Term(1)));
  EXPECT_THAT(other.failure(), HasSubstr("votes, though it is removed"));
  // What it refuses is no vote.
  Checker third(&coverage_);
  raft::Message refusal = Vote(blank(), 5, Term(1));
  refusal.body = raft::VoteResponse{.rejected = true};
  third.OnSend(blank().disk(), true, refusal);
  EXPECT_EQ(third.failure(), "");
}

TEST_F(ClusterTest, TwoVotesInOneTermBreakElectionSafety) {
  const raft::HardState hard = follower().disk().log().durable_hard_state();
  checker_.OnSend(follower().disk(), false, Vote(follower(), hard.vote.value, hard.term));
  EXPECT_EQ(checker_.failure(), "");
  checker_.OnSend(follower().disk(), false, Vote(follower(), hard.vote.value + 1, hard.term));
  ExpectFailure("election safety: ", "votes twice in term");
}

TEST_F(ClusterTest, ACandidateThatVotedForAnotherBreaksElectionSafety) {
  const raft::HardState hard = follower().disk().log().durable_hard_state();
  ASSERT_NE(hard.vote, follower().id());
  checker_.OnSend(follower().disk(), false, Vote(follower(), hard.vote.value, hard.term));
  checker_.OnSend(follower().disk(), false,
                  {.from = follower().id(),
                   .to = leader().id(),
                   .term = hard.term,
                   .body = raft::RequestVote{}});
  ExpectFailure("election safety: ", "in which it voted for another");
}

TEST_F(ClusterTest, AVoteBeforeItIsOnTheDiskIsNotDurable) {
  checker_.OnSend(follower().disk(), false, Vote(follower(), 5, term().Next()));
  ExpectFailure("durability: ", "before the vote is on its disk");
}

TEST_F(ClusterTest, AnAcknowledgementBeforeItIsOnTheDiskIsNotDurable) {
  const Index last = follower().disk().log().durable_last_index();
  raft::Message message{.from = follower().id(),
                        .to = leader().id(),
                        .term = term(),
                        .body = raft::AppendResponse{.index = last}};
  checker_.OnSend(follower().disk(), false, message);
  EXPECT_EQ(checker_.failure(), "");
  message.body = raft::AppendResponse{.index = last.Next()};
  checker_.OnSend(follower().disk(), false, message);
  ExpectFailure("durability: ", "acknowledged, but only");
}

TEST_F(ClusterTest, WhoSpeaksAsAnotherOrWithoutItsDiskIsSeen) {
  checker_.OnSend(follower().disk(), false, Vote(leader(), 5, term()));
  ExpectFailure("identity: ", "it is not who sends");
  Checker other(&coverage_);
  other.OnLost(follower().id());
  other.OnSend(follower().disk(), false, Vote(follower(), 5, term()));
  EXPECT_THAT(other.failure(), HasSubstr("its disk is lost"));
}

TEST_F(ClusterTest, ACopyThatTakesPartIsSeen) {
  const SimDisk::Image image = follower().disk().Copy();
  blank().Crash();
  blank().FormatAs(image);
  ASSERT_TRUE(blank().disk().copied());
  checker_.OnSend(blank().disk(), false, Vote(blank(), 5, Term(1)));
  ExpectFailure("identity: a copy of the disk", "takes part");
  Checker other(&coverage_);
  other.OnStepOfCopy(blank().id(), *leader().replica().core());
  EXPECT_THAT(other.failure(), StartsWith("identity: a copy of the disk"));
}

TEST(CampaignTest, WithAChangeThatIsCommittedAndNotAppliedIsSeen) {
  class Quiet final : public raft::Logger {
    bool Enabled(raft::LogLevel) const override { return false; }
    void Log(raft::LogLevel, std::string_view) override {}
  } quiet;
  raft::MemoryLog stored;
  raft::Snapshot snapshot;
  snapshot.term = Term(1);
  snapshot.index = Index(1);
  snapshot.conf.voters = {NodeId(1), NodeId(2)};
  ASSERT_TRUE(stored.InstallSnapshot(snapshot));
  stored.Append({EntryOf(1, 2)});
  stored.SetHardState({Term(1), NodeId(), Index(2)});
  SeededRandom random(1);
  raft::Config config;
  config.id = NodeId(1);
  config.log = &stored;
  config.logger = &quiet;
  config.random = &random;
  config.applied = Index(1);
  raft::Core core(config);
  Coverage coverage;
  Silent silent;
  SimLog log(&coverage, &silent);
  ASSERT_TRUE(log.Reset(At(1, 1), {}).ok());
  storage::LogWrite write;
  write.entries = {ChangeOf(1, 2)};
  ASSERT_TRUE(log.Append(std::span(&write, 1)).ok());
  Checker checker(&coverage);
  (void)checker.OnStep(NodeId(1), core, log);
  EXPECT_EQ(checker.failure(), "");
  (void)core.StartCampaign();
  ASSERT_EQ(core.role(), raft::Role::kCandidate);
  (void)checker.OnStep(NodeId(1), core, log);
  EXPECT_THAT(checker.failure(), HasSubstr("has not applied the change committed there"));
}

// --- What clients are told -----------------------------------------------------------------------

class HistoryTest : public ::testing::Test {
 protected:
  HistoryTest() {
    for (const char* key : {"k0", "k1", "k2"}) (void)model_.Do(kv::Put(key, "x"));
    checker_.BeginWith(model_, At(2, 4));
    history_.BeginAt(1);
  }
  size_t Begin(Operation::Kind kind, const std::string& key, uint64_t limit = 0) {
    Operation operation;
    operation.kind = kind;
    operation.key = key;
    operation.limit = limit;
    return history_.Begin(operation);
  }
  kv::RangeResult All(uint64_t limit = 0) {
    kv::RangeResult result;
    result.revision = 4;
    result.items = model_.Range("k", "l", 4);
    if (limit > 0) {
      result.more = result.items.size() > limit;
      result.items.resize(std::min<size_t>(result.items.size(), limit));
    }
    return result;
  }
  // Reads all keys, and is answered so.
  std::string Read(const kv::RangeResult& answer, uint64_t limit = 0) {
    history_.EndRead(Begin(Operation::Kind::kRange, "k", limit), answer);
    return checker_.failure();
  }

  Scheduler scheduler_;
  Coverage coverage_;
  kv::ReferenceModel model_;
  Checker checker_{&coverage_};
  History history_{&scheduler_, &checker_, &coverage_};
};

TEST_F(HistoryTest, RightAnswersAreWell) {
  EXPECT_EQ(Read(All()), "");
  EXPECT_EQ(Read(All(2), 2), "");
  EXPECT_EQ(Read(All(3), 3), "");
  EXPECT_GT(coverage_.count(Path::range_cut), 0u);
}

TEST_F(HistoryTest, AValueThatTheLogDoesNotHaveIsSeen) {
  kv::RangeResult answer = All();
  answer.items[1].value = "y";
  EXPECT_THAT(Read(answer), HasSubstr("sees something else than the log says"));
}

TEST_F(HistoryTest, AKeyThatIsMissingIsSeen) {
  kv::RangeResult answer = All();
  answer.items.pop_back();
  EXPECT_THAT(Read(answer), HasSubstr("sees something else than the log says"));
}

TEST_F(HistoryTest, MoreKeysThanTheLimitAreSeen) {
  EXPECT_THAT(Read(All(), 2), StartsWith("clients: "));
}

// Nobody looked at it.
TEST_F(HistoryTest, AnAnswerThatDoesNotSayThatThereIsMoreIsSeen) {
  kv::RangeResult answer = All(2);
  answer.more = false;
  EXPECT_THAT(Read(answer, 2), HasSubstr("says that there are no more keys, but there are"));
}

TEST_F(HistoryTest, AnAnswerThatWronglySaysThatThereIsMoreIsSeen) {
  kv::RangeResult answer = All(3);
  answer.more = true;
  EXPECT_THAT(Read(answer, 3), HasSubstr("says that there are more keys"));
}

TEST_F(HistoryTest, ARevisionThatIsNotDecidedIsSeen) {
  kv::RangeResult answer = All();
  answer.revision = 5;
  EXPECT_THAT(Read(answer), HasSubstr("sees a revision that is not decided"));
}

TEST_F(HistoryTest, AReadBehindWhatWasSeenIsSeen) {
  EXPECT_EQ(Read(All()), "");
  kv::RangeResult answer;
  answer.revision = 3;
  answer.items = model_.Range("k", "l", 3);
  EXPECT_THAT(Read(answer), StartsWith("linearizability: "));
}

TEST_F(HistoryTest, AWriteBehindWhatWasSeenIsSeen) {
  EXPECT_EQ(Read(All()), "");
  history_.EndWrite(Begin(Operation::Kind::kPut, "k0"), kv::CommandResult{.revision = 4});
  EXPECT_THAT(checker_.failure(), StartsWith("linearizability: "));
}

TEST_F(HistoryTest, AWriteThatIsAcknowledgedAndWasNeverAppliedIsSeen) {
  history_.OnResult(7, 5, kv::CommandResult{.revision = 5});
  EXPECT_THAT(checker_.failure(), HasSubstr("acknowledged, but nobody has applied it"));
}

TEST_F(HistoryTest, ARevisionThatIsWronglyCalledCompactedIsSeen) {
  Operation operation;
  operation.kind = Operation::Kind::kOldGet;
  operation.key = "k0";
  operation.condition = 3;
  const size_t number = history_.Begin(operation);
  history_.EndRead(number, Error(Code::kConflict, "compacted"));
  EXPECT_THAT(checker_.failure(), HasSubstr("is called compacted, but is not"));
}

TEST_F(HistoryTest, AReadThatFailsForNoReasonIsSeen) {
  history_.EndRead(Begin(Operation::Kind::kGet, "k0"), Error(Code::kInternal, "a bug"));
  EXPECT_THAT(checker_.failure(), HasSubstr(" fails: "));
}

// --- Getting well --------------------------------------------------------------------------------

using LivenessTest = ClusterTest;

TEST_F(LivenessTest, MissesALeader) {
  const raft::NodeId one = follower(0).id();
  leader().Crash();
  EXPECT_EQ(liveness_->Missing(), "there is no leader");
  world_.ById(one)->Crash();
  RunFor(std::chrono::seconds(30));
  EXPECT_EQ(liveness_->Missing(), "there is no leader");
}

TEST_F(LivenessTest, MissesAMemberThatDoesNotRun) {
  follower().Crash();
  EXPECT_THAT(liveness_->Missing(), HasSubstr(" does not run"));
}

TEST_F(LivenessTest, MissesAMemberThatIsLost) {
  SimNode& lost = follower();
  lost.Crash();
  lost.Format();
  EXPECT_EQ(liveness_->Missing(), "a lost member has not been replaced");
}

TEST_F(LivenessTest, MissesAMemberThatIsBehind) {
  SimNode& behind = follower();
  behind.Pause();
  liveness_->AskEveryMember();
  RunFor(std::chrono::seconds(10));
  EXPECT_THAT(liveness_->Missing(), HasSubstr(" has applied "));
  EXPECT_THAT(liveness_->Unanswered(), HasSubstr("does not carry out a write and a read"));
  behind.Resume();
  RunFor(std::chrono::seconds(10));
  EXPECT_EQ(liveness_->Missing(), "");
}

TEST_F(LivenessTest, MissesTheEndOfAJointConfiguration) {
  std::string missing;
  world_.on_moment = [&](Moment moment, SimNode& node) {
    if (moment == Moment::joint_entered && node.leads()) missing = liveness_->Missing();
  };
  v1::ChangeMembershipRequest request;
  request.set_force(true);
  request.add_demote(follower(0).id().value);
  request.add_remove(follower(1).id().value);
  Ask(request);
  RunFor(std::chrono::seconds(10));
  EXPECT_EQ(missing, "the configuration is joint");
}

TEST_F(LivenessTest, MissesTheEndOfAMemberThatWasRemoved) {
  SimNode& removed = follower();
  removed.Pause();
  v1::ChangeMembershipRequest request;
  request.set_force(true);
  request.add_remove(removed.id().value);
  Ask(request);
  RunFor(std::chrono::seconds(10));
  EXPECT_THAT(liveness_->Missing(), HasSubstr("runs, but is no member"));
}

TEST_F(LivenessTest, MissesAnAnswerOfWhoHasRoom) {
  SimNode& silent = follower();
  silent.Pause();
  liveness_->Expect({&leader(), &silent});
  liveness_->AskToDelete();
  RunFor(std::chrono::seconds(10));
  EXPECT_EQ(liveness_->MissingThough(),
            silent.options().name + " has room, but does not carry out a delete");
}

}  // namespace
}  // namespace raftkv::sim
