// What the owner takes out, with and without asynchronous storage writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

void Async(Config& c) { c.async_storage_writes = true; }

std::vector<StorageAppend> Appends(const Ready& ready) {
  std::vector<StorageAppend> out;
  for (const Message& m : Only<StorageAppend>(ready.messages)) out.push_back(m.As<StorageAppend>());
  return out;
}

TEST(Ready, NothingToDoAtStart) {
  TestNode node({.log = {1}, .hard_state = {.term = Term(1), .commit = Index(1)}});
  EXPECT_TRUE(node->HasReady()) << "one committed entry";
  EXPECT_THAT(TermsOf(node->TakeReady().committed), ElementsAre(1));
  node->Advance();
  EXPECT_FALSE(node->HasReady());
}

TEST(Ready, AppliedEntriesAreNotHandedOutAgain) {
  TestNode node({.log = {1, 1, 1},
                 .hard_state = {.term = Term(1), .commit = Index(3)},
                 .tweak = [](Config& c) { c.applied = Index(2); }});
  EXPECT_THAT(node->TakeReady().committed, SizeIs(1));
}

TEST(Ready, OnlyEntriesTermAndVoteNeedASync) {
  TestNode node({});
  ASSERT_TRUE(node.Step(2, 1, AppendEntries{{}, EntriesWithTerms(Index(1), {1}), {}}));
  Ready ready = node->TakeReady();
  EXPECT_TRUE(ready.must_sync);
  EXPECT_EQ(ready.soft_state->leader, NodeId(2));
  EXPECT_THAT(ready.messages, SizeIs(1));
  node.log().Append(ready.entries);
  node->Advance();
  ASSERT_TRUE(node.Step(2, 1, Heartbeat{.commit = Index(1)}));
  ready = node->TakeReady();
  EXPECT_FALSE(ready.must_sync) << "the commit index alone";
  EXPECT_EQ(ready.hard_state->commit, Index(1));
  EXPECT_FALSE(ready.soft_state);
  EXPECT_THAT(ready.committed, SizeIs(1));
}

TEST(Ready, CommittedEntriesArePaged) {
  TestNode node(
      {.log = std::vector<uint64_t>(5, 1),
       .hard_state = {.term = Term(1), .commit = Index(5)},
       .tweak = [](Config& c) { c.max_committed_bytes_per_ready = 2 * kEntryOverheadBytes; }});
  std::vector<size_t> pages;
  while (node->HasReady()) {
    pages.push_back(node->TakeReady().committed.size());
    node->Advance();
  }
  EXPECT_THAT(pages, ElementsAre(2, 2, 1));
}

using ReadyDeathTest = testing::Test;

TEST(ReadyDeathTest, AdvanceBelongsToSynchronousReadys) {
  TestNode node({.voters = Ids({1})});
  ASSERT_TRUE(node->StartCampaign());
  (void)node->TakeReady();
  EXPECT_DEATH((void)node->TakeReady(), "two accepted Ready structs without call to Advance");
  TestNode async({.tweak = Async});
  EXPECT_DEATH(async->Advance(), "Advance must not be called when using AsyncStorageWrites");
}

// --- Asynchronous storage writes -----------------------------------------------------------------

TEST(AsyncReady, AcknowledgementsTravelWithTheWrite) {
  TestNode node({.tweak = Async});
  ASSERT_TRUE(node.Step(2, 1, AppendEntries{{}, EntriesWithTerms(Index(1), {1}), {}}));
  const Ready ready = node->TakeReady();
  ASSERT_THAT(ready.messages, SizeIs(1));
  EXPECT_EQ(ready.messages[0].to, kAppendThread);
  const auto& append = ready.messages[0].As<StorageAppend>();
  EXPECT_EQ(append.hard_state, (HardState{Term(1), kNone, Index()}));
  ASSERT_THAT(append.responses, SizeIs(2));
  EXPECT_EQ(append.responses[0].to, NodeId(2));
  EXPECT_TRUE(append.responses[0].Is<AppendResponse>());
  EXPECT_EQ(append.responses[1].to, NodeId(1));
  EXPECT_EQ(append.responses[1].As<StorageAppendResponse>().last, (EntryId{Term(1), Index(1)}));
  EXPECT_FALSE(node->HasReady()) << "the same is not handed out twice";
}

TEST(AsyncReady, WritesWithoutResponsesNeedNotBeDurable) {
  TestNode node({.tweak = Async});
  ASSERT_TRUE(node.Step(2, 1, AppendEntries{{}, EntriesWithTerms(Index(1), {1}), {}}));
  node.Drain();
  ASSERT_TRUE(node.Step(2, 1, Heartbeat{.commit = Index(1)}));
  const Ready ready = node->TakeReady();
  ASSERT_THAT(Appends(ready), SizeIs(1));
  EXPECT_THAT(Appends(ready)[0].responses, IsEmpty());
  EXPECT_THAT(Only<StorageApply>(ready.messages), SizeIs(1));
  EXPECT_THAT(Only<HeartbeatResponse>(ready.messages), SizeIs(1)) << "leaves at once";
}

// Three leaders in turn write, replace and restore the same entry while the first write is still
// under way. Its report must not make the unstable log forget the entry: the second write will
// still replace it on disk before the third restores it.
TEST(AsyncReady, ReportsOfReplacedWritesAreIgnored) {
  TestNode node({.voters = Ids({1, 2, 3, 4, 5}), .tweak = Async});
  std::vector<StorageAppend> writes;
  const auto append = [&](uint64_t from, uint64_t term, uint64_t entry_term) {
    ASSERT_TRUE(node.Step(from, term,
                          AppendEntries{{}, EntriesWithTerms(Index(1), {entry_term}), Index()}));
    for (StorageAppend& write : Appends(node->TakeReady())) writes.push_back(std::move(write));
  };
  append(2, 1, 1);
  append(3, 2, 2);
  append(2, 3, 1);  // the entry of term 1 again
  ASSERT_THAT(writes, SizeIs(3));

  const auto finish = [&](const StorageAppend& write) {
    node.log().Append(write.entries);
    for (const Message& m : write.responses) {
      ASSERT_TRUE(m.to != NodeId(1) || node.Step(m));
    }
  };
  for (const StorageAppend& write : writes) {
    // Whatever the disk says in between, the log is the third leader's.
    finish(write);
    ASSERT_TRUE(node.Step(2, 3, AppendEntries{{Term(1), Index(1)}, {}, Index()}));
    for (const StorageAppend& answer : Appends(node->TakeReady())) {
      for (const Message& m : Only<AppendResponse>(answer.responses)) {
        EXPECT_FALSE(m.As<AppendResponse>().rejected);
      }
    }
  }
  EXPECT_EQ(node.log().term(Index(1)), Term(1));
}

// The limit for entries being applied covers all that was handed out, not each Ready by itself.
TEST(AsyncReady, CommittedEntriesArePagedAcrossReadys) {
  TestNode node({.voters = Ids({1}), .tweak = [](Config& c) {
                   c.async_storage_writes = true;
                   c.max_committed_bytes_per_ready = 2048;
                 }});
  node.BecomeLeader();
  // Proposes, persists, and returns what is handed out to be applied.
  const auto propose = [&](size_t size) {
    EXPECT_TRUE(node.Propose(std::string(size, 'x')));
    std::vector<Message> applies;
    while (node->HasReady()) {
      const Ready ready = node->TakeReady();
      for (const StorageAppend& write : Appends(ready)) {
        if (write.hard_state) node.log().SetHardState(*write.hard_state);
        node.log().Append(write.entries);
        for (const Message& m : write.responses) EXPECT_TRUE(node.Step(m));
      }
      for (const Message& m : Only<StorageApply>(ready.messages)) applies.push_back(m);
    }
    return applies;
  };
  const auto finish = [&](const Message& apply) {
    for (const Message& m : apply.As<StorageApply>().responses) EXPECT_TRUE(node.Step(m));
  };
  const std::vector<Message> first = propose(1024);
  ASSERT_THAT(first, SizeIs(1));
  const std::vector<Message> second = propose(512);
  ASSERT_THAT(second, SizeIs(1)) << "both fit";
  const std::vector<Message> third = propose(1024);
  ASSERT_THAT(third, SizeIs(1)) << "one that does not fit may exceed the limit";
  EXPECT_THAT(propose(16), IsEmpty()) << "then even a small one waits";
  finish(first[0]);
  ASSERT_TRUE(node->HasReady());
  const std::vector<Message> fourth = Only<StorageApply>(node->TakeReady().messages);
  ASSERT_THAT(fourth, SizeIs(1));
  EXPECT_THAT(fourth[0].As<StorageApply>().entries, SizeIs(1));
  for (const auto* rest : {&second, &third, &fourth}) finish(rest->front());
  EXPECT_EQ(node->applied(), node->committed());
}

TEST(AsyncReady, NetworkOfAsyncNodesWorks) {
  TestNetwork net(3, Async);
  net.Campaign(1);
  for (const char* data : {"a", "b", "c"}) net.Propose(2, data);
  net.Tick(2);
  for (uint64_t id : {1, 2, 3}) {
    EXPECT_THAT(net[id].AppliedData(), ElementsAre("a", "b", "c"));
  }
}

}  // namespace
}  // namespace raftkv::raft
