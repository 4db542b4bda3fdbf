// Slices, restarts, crashes, replaced and damaged states, hashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/kv/format.h"
#include "node/kv/test_support.h"
#include "node/storage/memory_state.h"

namespace raftkv::kv {
namespace {

using testing::HasSubstr;

TEST(SliceTest, ResultsCarryTheWaiterAndComeInOrder) {
  TestMachine machine;
  const std::vector<raft::Entry> entries = {
      {.term = raft::Term(2), .index = raft::Index(1), .payload = Buffer()},
      CommandEntry(2, Put("a", "1")),
      CommandEntry(3, Put("a", "2"))};
  const auto results = machine->Apply(entries).value();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].index, raft::Index(1));
  EXPECT_EQ(results[0].origin, 0u);
  EXPECT_FALSE(results[0].command);
  EXPECT_EQ(results[1].origin, 5u);
  EXPECT_EQ(results[1].request_id, 6u);
  EXPECT_EQ(results[2].command->prev_mod_revision, 2u);
  EXPECT_FALSE(results[2].membership);
  EXPECT_EQ(machine->applied().index, raft::Index(3));
  EXPECT_EQ(machine->applied().term, raft::Term(2));
}

TEST(SliceTest, AppliedEntriesAreSkippedAndGapsRefused) {
  TestMachine machine;
  machine.Do(Put("a", "1"));
  const std::vector<raft::Entry> again = {CommandEntry(1, Put("a", "1")),
                                          CommandEntry(2, Put("a", "2"))};
  EXPECT_EQ(machine->Apply(again).value().size(), 1u);
  EXPECT_EQ(machine->Get("a").value()->version, 2u);
  const std::vector<raft::Entry> gap = {CommandEntry(4, Put("a", "4"))};
  EXPECT_EQ(machine->Apply(gap).error().code(), Code::kInternal);
}

TEST(SliceTest, EntriesThatCannotBeUnderstoodStopTheProcess) {
  TestMachine machine;
  v1::Command newer = Put("a", "");
  newer.set_version(kCommandVersion + 1);
  v1::Command without_version = Put("a", "");
  without_version.set_version(0);
  raft::Entry garbage = CommandEntry(2, newer);
  garbage.payload = Buffer("\xff\xff");
  raft::Entry bad_context = ChangeEntry(2, {}, {});
  bad_context.payload =
      std::make_shared<const raft::ConfChange>(raft::ConfChange{.context = Buffer("\xff\xff")});
  for (const auto& [entry, code] :
       {std::pair(CommandEntry(2, newer), Code::kFailedPrecondition),
        std::pair(CommandEntry(2, without_version), Code::kCorruption),
        std::pair(garbage, Code::kCorruption), std::pair(bad_context, Code::kCorruption)}) {
    const std::vector<raft::Entry> slice = {CommandEntry(1, Put("a", "1")), entry};
    const auto results = machine->Apply(slice);
    ASSERT_FALSE(results);
    EXPECT_EQ(results.error().code(), code);
    EXPECT_THAT(results.error().message(), HasSubstr("entry 2"));
    // The slice is one batch: nothing of it is there.
    EXPECT_EQ(machine->applied().index, raft::Index(0));
    EXPECT_EQ(machine.Value("a"), "(none)");
  }
}

TEST(SliceTest, LargeSlicesAreWrittenInParts) {
  TestMachine machine;
  const std::string large(kMaxValueBytes, 'v');
  std::vector<v1::Command> commands;
  for (int i = 0; i < 6; ++i) commands.push_back(Put("k" + std::to_string(i % 3), large));
  const auto results = machine.DoAll(commands);
  EXPECT_EQ(results.size(), 6u);
  EXPECT_EQ(results[5].prev_mod_revision, 4u);
  EXPECT_EQ(machine->applied().index, raft::Index(6));
}

TEST(RestartTest, AReopenedStateIsTheSame) {
  TestMachine machine;
  ASSERT_TRUE(machine->InitializeCluster(InitialState({1, 2, 3})).ok());
  machine.DoAll({Put("a", "1"), Put("a", "2"), Put("b", ""), Delete("b"), Compact(3)});
  machine->CollectGarbage(1).value();
  const StateHash hash = machine->Hash().value();
  const uint64_t versions = machine->stored_versions();
  machine.Reopen();
  EXPECT_EQ(machine->Hash().value(), hash);
  EXPECT_EQ(machine->stored_versions(), versions);
  EXPECT_EQ(machine->cluster()->members_size(), 3);
  machine.CollectAll(1);
  EXPECT_EQ(machine->Hash().value(), hash);
}

TEST(RestartTest, FlushedIndexIsWhatACrashLeaves) {
  TestMachine machine;
  machine.Do(Put("a", "1"));
  EXPECT_EQ(machine->FlushedIndex(), raft::Index(0));
  ASSERT_TRUE(machine.store()->Flush().ok());
  EXPECT_EQ(machine->FlushedIndex(), raft::Index(1));
  machine.Do(Put("a", "2"));
  EXPECT_EQ(machine->FlushedIndex(), raft::Index(1));
  machine.Crash();
  EXPECT_EQ(machine->applied().index, raft::Index(1));
  EXPECT_EQ(machine.Value("a"), "1");
}

TEST(RestartTest, UnknownFormatsAreRefused) {
  storage::MemoryState store;
  store.Install({{"mf", std::string("\0\0\0\x09", 4)}});
  auto machine = StateMachine::Open(&store);
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(machine.error().message(), HasSubstr("format 9"));
  store.Install({{"mf", std::string("\0\0\0\x01", 4)}});  // records with values in them
  EXPECT_THAT(StateMachine::Open(&store).error().message(), HasSubstr("format 1"));
  store.Install({{"mf", std::string("\0\0\0\x02", 4)}});  // with a table of older headers
  EXPECT_THAT(StateMachine::Open(&store).error().message(), HasSubstr("format 2"));
  store.Install({{"other", "data"}});
  EXPECT_EQ(StateMachine::Open(&store).error().code(), Code::kCorruption);
  for (const char* key : {"mf", "ma", "mc", "mg"}) {
    store.Install({{"mf", EncodeFormat(kStateFormat)}});
    auto contents = store.Dump();
    contents[key] = "\xff";
    store.Install(contents);
    EXPECT_EQ(StateMachine::Open(&store).error().code(), Code::kCorruption) << key;
  }
}

TEST(RestartTest, ReloadShowsTheReplacedState) {
  TestMachine source;
  ASSERT_TRUE(source->InitializeCluster(InitialState({1})).ok());
  source.DoAll({Put("a", "1"), Put("a", "2"), Compact(2)});
  storage::MemoryState store;
  const auto machine = StateMachine::Open(&store).value();
  store.Install(static_cast<storage::MemoryState*>(source.store())->Dump());
  ASSERT_TRUE(machine->ReloadAfterReplace().ok());
  EXPECT_EQ(machine->applied().index, raft::Index(4));
  EXPECT_EQ(machine->applied().compact_revision, 2u);
  EXPECT_EQ(machine->cluster()->cluster_id(), 77u);
  EXPECT_EQ(machine->Hash().value(), source->Hash().value());
  EXPECT_EQ(machine->FlushedIndex(), raft::Index(4));
}

// Headers that were remembered must not be mixed with those of the new state.
TEST(RestartTest, NothingIsRememberedOfAReplacedState) {
  TestMachine source;
  source.DoAll({Put("other", "1"), Put("a", "2"), Delete("gone"), Put("a", "3"), Put("a", "4")});
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("gone", "1"), Put("a", "x")});
  machine->PrepareReplace();
  EXPECT_EQ(machine->Get("a").value()->value, "x");
  static_cast<storage::MemoryState*>(machine.store())
      ->Install(static_cast<storage::MemoryState*>(source.store())->Dump());
  EXPECT_EQ(machine->Get("a").value()->value, "4");
  ASSERT_TRUE(machine->ReloadAfterReplace().ok());
  EXPECT_EQ(machine->Get("a").value()->value, "4");
  EXPECT_EQ(machine->Get("gone").value(), std::nullopt);
  const uint64_t next = machine->applied().index.value + 1;
  const std::vector<raft::Entry> entries = {
      CommandEntry(next, Put("a", "5")),
      CommandEntry(next + 1, PutIf("gone", "2", [](auto* p) { p->set_absent(true); }))};
  const auto results = machine->Apply(entries).value();
  EXPECT_EQ(results[0].command->prev_mod_revision, 5u);
  EXPECT_TRUE(results[1].command->status.ok());
  EXPECT_EQ(machine->Get("a").value()->version, 4u);
}

TEST(RestartTest, DamagedRecordsAreReported) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("a", "2")});
  auto* store = static_cast<storage::MemoryState*>(machine.store());
  auto contents = store->Dump();
  contents["ca"] = "\x07";
  machine->PrepareReplace();
  store->Install(contents);
  ASSERT_TRUE(machine->ReloadAfterReplace().ok());
  EXPECT_EQ(machine->Get("a").error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Get("a", 2).error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Range({}).error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Hash().error().code(), Code::kCorruption);
  const std::vector<raft::Entry> entries = {CommandEntry(3, Put("a", "3"))};
  EXPECT_EQ(machine->Apply(entries).error().code(), Code::kCorruption);
}

// Values in their rows, and larger ones beside them.
class MissingTest : public testing::TestWithParam<size_t> {};

TEST_P(MissingTest, ValuesAreReported) {
  const std::string padding(GetParam(), 'x');
  TestMachine machine;
  machine.DoAll({Put("a", "1" + padding), Put("a", "2" + padding)});
  auto* store = static_cast<storage::MemoryState*>(machine.store());
  auto contents = store->Dump();
  const char table = padding.empty() ? kRevisionTable : kValueTable;
  ASSERT_EQ(std::erase_if(contents, [&](const auto& item) { return item.first[0] == table; }), 2u);
  store->Install(contents);
  EXPECT_EQ(machine->Get("a").error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Get("a", 2).error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Range({}).error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Hash().error().code(), Code::kCorruption);
  v1::Command txn = Put("", "");
  auto* compare = txn.mutable_txn()->add_compare();
  compare->set_key("a");
  compare->set_value("2" + padding);
  const std::vector<raft::Entry> entries = {CommandEntry(3, txn)};
  EXPECT_EQ(machine->Apply(entries).error().code(), Code::kCorruption);
  // What needs no value works, and what needs none but its own.
  EXPECT_EQ(machine->Range({.keys_only = true}).value().items.size(), 1u);
  EXPECT_EQ(machine->Range({.count_only = true}).value().count, 1u);
  machine.Do(Put("a", "3"));
  EXPECT_EQ(machine.Value("a"), "3");
}

INSTANTIATE_TEST_SUITE_P(Sizes, MissingTest, testing::Values(0, kMaxRowValueBytes));

TEST(HashTest, DiffersWhenAnythingVisibleDiffers) {
  TestMachine base;
  base.DoAll({Put("a", "1"), Put("a", "2")});
  const auto hash = [](const std::vector<v1::Command>& commands) {
    TestMachine machine;
    machine.DoAll(commands);
    return machine->Hash().value();
  };
  EXPECT_EQ(hash({Put("a", "1"), Put("a", "2")}), base->Hash().value());
  EXPECT_NE(hash({Put("a", "0"), Put("a", "2")}), base->Hash().value());
  EXPECT_NE(hash({Put("a", "1"), Put("a", "3")}), base->Hash().value());
  EXPECT_NE(hash({Put("a", "1"), Put("b", "2")}), base->Hash().value());
  EXPECT_NE(hash({Put("a", "1"), Delete("a")}), hash({Put("a", "1"), Delete("b")}));
}

}  // namespace
}  // namespace raftkv::kv
