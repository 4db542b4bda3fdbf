#include "node/raft/describe.h"

#include <gtest/gtest.h>

#include "node/raft/config.h"
#include "node/raft/memory_log.h"
#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

TEST(Describe, QuotesAsGoDoes) {
  EXPECT_EQ(QuoteGo(""), R"("")");
  EXPECT_EQ(QuoteGo("plain 'text'"), R"("plain 'text'")");
  EXPECT_EQ(QuoteGo("\"\\\a\b\f\n\r\t\v"), R"("\"\\\a\b\f\n\r\t\v")");
  EXPECT_EQ(QuoteGo(std::string_view("\0\x1b\x7f", 3)), R"("\x00\x1b\x7f")");
  EXPECT_EQ(QuoteGo("é ☺ \U0001F600"), "\"é ☺ \U0001F600\"");
  EXPECT_EQ(QuoteGo("\xff\xc3("), R"("\xff\xc3(")") << "not UTF-8";
  EXPECT_EQ(QuoteGo("\xed\xa0\x80"), R"("\xed\xa0\x80")") << "a surrogate";
  EXPECT_EQ(QuoteGo("\xc0\x80"), R"("\xc0\x80")") << "not the shortest form";
  EXPECT_EQ(QuoteGo("\u00a0\u200b\ufeff"), R"("\u00a0\u200b\ufeff")");
}

TEST(Describe, Entries) {
  EXPECT_EQ(Describe(Entry{Term(1), Index(2), Buffer("hello\x00")}), R"(1/2 EntryNormal "hello")");
  EXPECT_EQ(Describe(Entry{Term(1), Index(2), {}}, [](std::string_view) { return ""; }),
            "1/2 EntryNormal");
  ConfChange change{.steps = {{ConfChangeType::kAddVoter, NodeId(10)},
                              {ConfChangeType::kAddLearner, NodeId(11)}}};
  EXPECT_EQ(Describe(Entry{Term(1), Index(2), std::make_shared<const ConfChange>(change)}),
            "1/2 EntryConfChangeV2 v10 l11");
  change.steps.pop_back();
  change.single = true;
  EXPECT_EQ(Describe(Entry{Term(1), Index(2), std::make_shared<const ConfChange>(change)}),
            "1/2 EntryConfChange v10");
  EXPECT_EQ(Describe(Entry{Term(1), Index(2), std::make_shared<const ConfChange>()}),
            "1/2 EntryConfChangeV2");
}

TEST(Describe, ConfChanges) {
  EXPECT_EQ(Describe(ConfChange{.transition = ConfChangeTransition::kJointExplicit,
                                .steps = {{ConfChangeType::kRemove, NodeId(3)},
                                          {ConfChangeType::kUpdate, NodeId(4)}},
                                .context = Buffer("why")}),
            "transition:ConfChangeTransitionJointExplicit changes:{type:ConfChangeRemoveNode "
            "node_id:3} changes:{type:ConfChangeUpdateNode node_id:4} context:\"why\"");
}

TEST(Describe, Messages) {
  const auto text = [](MessageBody body) {
    return Describe(Message{NodeId(10), NodeId(11), Term(5), std::move(body)});
  };
  EXPECT_EQ(text(AppendEntries{{Term(4), Index(6)}, {}, Index(7)}),
            "a->b MsgApp Term:5 Log:4/6 Commit:7");
  EXPECT_EQ(text(AppendEntries{{Term(4), Index(6)}, {{Term(5), Index(7), Buffer("x")}}, Index()}),
            "a->b MsgApp Term:5 Log:4/6 Entries:[5/7 EntryNormal \"x\"]");
  EXPECT_EQ(text(AppendEntries{{}, EntriesWithTerms(Index(1), {1, 2}), Index()}),
            "a->b MsgApp Term:5 Log:0/0 Entries:[\n  1/1 EntryNormal \"\"\n  2/2 EntryNormal \"\"\n"
            "]");
  EXPECT_EQ(text(AppendResponse{Index(9), true, Index(3), Term(2)}),
            "a->b MsgAppResp Term:5 Log:2/9 Rejected (Hint: 3)");
  EXPECT_EQ(text(ReadIndex{Buffer("ctx")}),
            "a->b MsgReadIndex Term:5 Log:0/0 Entries:[0/0 EntryNormal \"ctx\"]");
  EXPECT_EQ(text(ReadIndexResponse{Index(8), Buffer("ctx")}),
            "a->b MsgReadIndexResp Term:5 Log:0/8 Entries:[0/0 EntryNormal \"ctx\"]");
  EXPECT_EQ(text(InstallSnapshot{{.index = Index(4), .term = Term(2), .conf = {Ids({1, 2})}}}),
            "a->b MsgSnap Term:5 Log:0/0\n  Snapshot: Index:4 Term:2 ConfState:Voters:[1 2] "
            "VotersOutgoing:[] Learners:[] LearnersNext:[] AutoLeave:false");
  EXPECT_EQ(text(TransferLeader{}), "a->b MsgTransferLeader Term:5 Log:0/0");
}

TEST(Describe, StorageMessages) {
  StorageAppend append;
  append.hard_state = HardState{Term(3), NodeId(10), Index(2)};
  append.responses.push_back({kAppendThread, NodeId(10), Term(3),
                              StorageAppendResponse{{Term(3), Index(4)}, std::nullopt}});
  EXPECT_EQ(Describe(Message{NodeId(10), kAppendThread, Term(), std::move(append)}),
            "a->AppendThread MsgStorageAppend Term:3 Log:0/0 Commit:2 Vote:10 Responses:[\n"
            "  AppendThread->a MsgStorageAppendResp Term:3 Log:3/4\n]");
  EXPECT_EQ(Describe(Message{kApplyThread, NodeId(10), Term(), StorageApplyResponse{}}),
            "ApplyThread->a MsgStorageApplyResp Term:0 Log:0/0");
  EXPECT_EQ(Describe(Message{kNone, NodeId(10), Term(), Campaign{}}),
            "None->a MsgHup Term:0 Log:0/0");
}

TEST(Describe, Readys) {
  EXPECT_EQ(Describe(Ready{}), "<empty Ready>");
  Ready ready;
  ready.soft_state = SoftState{NodeId(10), Role::kPreCandidate};
  ready.hard_state = HardState{Term(2), kNone, Index(1)};
  ready.read_states = {{Index(5), Buffer("ab")}, {Index(6), {}}};
  ready.must_sync = true;
  EXPECT_EQ(Describe(ready),
            "Ready MustSync=true:\nLead:10 State:StatePreCandidate\nHardState Term:2 Commit:1\n"
            "ReadStates [{5 [97 98]} {6 []}]\n");
}

TEST(Describe, StepErrors) {
  EXPECT_EQ(Describe(StepError::kProposalDropped), "raft proposal dropped");
  EXPECT_EQ(Describe(StepError::kLocalMessage), "raft: cannot step raft local message");
  EXPECT_EQ(Describe(StepError::kPeerNotFound), "raft: cannot step as peer not found");
}

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() : random_(1) {
    config_.id = NodeId(1);
    config_.log = &log_;
    config_.logger = &logger_;
    config_.random = &random_;
  }
  std::string Error() const { return config_.Validate().message(); }

  MemoryLog log_;
  RecordingLogger logger_;
  SeededRandom random_;
  Config config_;
};

TEST_F(ConfigTest, DefaultsAreValid) { EXPECT_EQ(Error(), ""); }

TEST_F(ConfigTest, Identity) {
  config_.id = kNone;
  EXPECT_EQ(Error(), "cannot use none as id");
  config_.id = kApplyThread;
  EXPECT_EQ(Error(), "cannot use local target as id");
}

TEST_F(ConfigTest, Ticks) {
  config_.heartbeat_ticks = 0;
  EXPECT_EQ(Error(), "heartbeat tick must be greater than 0");
  config_.heartbeat_ticks = config_.election_ticks;
  EXPECT_EQ(Error(), "election tick must be greater than heartbeat tick");
}

TEST_F(ConfigTest, Limits) {
  config_.max_bytes_per_append = 100;
  config_.max_inflight_bytes = 99;
  EXPECT_EQ(Error(), "max inflight bytes must be >= max message size");
  config_.max_inflight_messages = 0;
  EXPECT_EQ(Error(), "max inflight messages must be greater than 0");
}

TEST_F(ConfigTest, LeaseNeedsCheckQuorum) {
  config_.read_only = ReadOnlyOption::kLeaseBased;
  EXPECT_EQ(Error(), "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
  config_.check_quorum = true;
  EXPECT_EQ(Error(), "");
}

TEST_F(ConfigTest, Parts) {
  config_.random = nullptr;
  EXPECT_EQ(Error(), "random cannot be nil");
  config_.logger = nullptr;
  EXPECT_EQ(Error(), "logger cannot be nil");
  config_.log = nullptr;
  EXPECT_EQ(Error(), "storage cannot be nil");
}

}  // namespace
}  // namespace raftkv::raft
