#include "node/kv/state_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/kv/test_support.h"
#include "node/storage/memory_state.h"

namespace raftkv::kv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Keys(const RangeResult& result) {
  std::vector<std::string> keys;
  for (const KeyValue& item : result.items) keys.push_back(item.key);
  return keys;
}

std::string Value(TestMachine& machine, std::string_view key, uint64_t revision = 0) {
  const auto found = machine->Get(key, revision).value();
  return found ? found->value : "(none)";
}

TEST(StateMachineTest, AnEmptyStoreIsAtRevisionOne) {
  TestMachine machine;
  EXPECT_EQ(machine->applied().index, raft::Index(0));
  EXPECT_EQ(machine->applied().revision, 1u);
  EXPECT_EQ(machine->FlushedIndex(), raft::Index(0));
  EXPECT_TRUE(machine->cluster()->members().empty());
  EXPECT_EQ(machine->Get("a").value(), std::nullopt);
  EXPECT_EQ(machine->Range({}).value().revision, 1u);
}

TEST(StateMachineTest, APutMakesAndChangesAKey) {
  TestMachine machine;
  const CommandResult first = machine.Do(Put("a", "1"));
  EXPECT_TRUE(first.status.ok());
  EXPECT_TRUE(first.created);
  EXPECT_EQ(first.revision, 2u);
  EXPECT_EQ(first.prev_mod_revision, 0u);

  const CommandResult second = machine.Do(Put("a", "1"));  // the same value is a change
  EXPECT_FALSE(second.created);
  EXPECT_EQ(second.revision, 3u);
  EXPECT_EQ(second.prev_mod_revision, 2u);

  const auto found = machine->Get("a").value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->value, "1");
  EXPECT_EQ(found->create_revision, 2u);
  EXPECT_EQ(found->mod_revision, 3u);
  EXPECT_EQ(found->version, 2u);
  EXPECT_EQ(machine->live_keys(), 1u);
  EXPECT_EQ(machine->stored_versions(), 2u);
}

TEST(StateMachineTest, ADeleteResetsTheVersion) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("a", "2")});
  const CommandResult deleted = machine.Do(Delete("a"));
  EXPECT_EQ(deleted.deleted, 1u);
  EXPECT_EQ(deleted.revision, 4u);
  EXPECT_EQ(deleted.prev_mod_revision, 3u);
  EXPECT_EQ(Value(machine, "a"), "(none)");
  EXPECT_EQ(machine->live_keys(), 0u);

  EXPECT_TRUE(machine.Do(Put("a", "3")).created);
  const auto found = machine->Get("a").value();
  EXPECT_EQ(found->create_revision, 5u);
  EXPECT_EQ(found->version, 1u);
  EXPECT_EQ(Value(machine, "a", 4), "(none)");
  EXPECT_EQ(Value(machine, "a", 3), "2");
}

TEST(StateMachineTest, DeletingWhatIsNotThereMakesNoRevision) {
  TestMachine machine;
  machine.Do(Put("a", "1"));
  for (const CommandResult& result : machine.DoAll(
           {Delete("b"), DeleteRange("b", "z"), DeleteRange("z", "a"), Delete("a"), Delete("a")})) {
    EXPECT_TRUE(result.status.ok());
  }
  EXPECT_EQ(machine->applied().revision, 3u);
  EXPECT_EQ(machine.Do(Delete("a")).deleted, 0u);
}

TEST(StateMachineTest, ARangeDeleteIsOneRevision) {
  TestMachine machine;
  machine.DoAll({Put("a", ""), Put("b", ""), Put("b1", ""), Put("c", ""), Delete("b1")});
  const CommandResult result = machine.Do(DeleteRange("a", "c"));
  EXPECT_EQ(result.deleted, 2u);
  EXPECT_EQ(result.revision, 7u);
  EXPECT_THAT(Keys(machine->Range({}).value()), ElementsAre("c"));
  EXPECT_THAT(Keys(machine->Range({.revision = 6}).value()), ElementsAre("a", "b", "c"));
  // One zero byte: to the last key.
  machine.Do(Put("d", ""));
  EXPECT_EQ(machine.Do(DeleteRange("", std::string_view("\0", 1))).deleted, 2u);
  EXPECT_EQ(machine->live_keys(), 0u);
}

TEST(StateMachineTest, ARangeDeleteSeesTheKeysOfItsOwnSlice) {
  TestMachine machine;
  machine.DoAll({Put("a", ""), Put("b", ""), Put("c", "")});
  const auto results = machine.DoAll({Put("b1", ""), Delete("a"), DeleteRange("a", "c")});
  EXPECT_EQ(results[2].deleted, 2u);  // b, b1
  EXPECT_THAT(Keys(machine->Range({}).value()), ElementsAre("c"));
}

TEST(StateMachineTest, Preconditions) {
  const auto mod = [](uint64_t revision) {
    return [revision](v1::Precondition* p) { p->set_mod_revision(revision); };
  };
  const auto absent = [](v1::Precondition* p) { p->set_absent(true); };
  const auto present = [](v1::Precondition* p) { p->set_present(true); };
  TestMachine machine;
  EXPECT_EQ(machine.Do(PutIf("a", "", present)).status.code(), Code::kConflict);
  EXPECT_EQ(machine.Do(PutIf("a", "", mod(1))).status.code(), Code::kConflict);
  EXPECT_TRUE(machine.Do(PutIf("a", "1", absent)).status.ok());
  const CommandResult refused = machine.Do(PutIf("a", "2", absent));
  EXPECT_EQ(refused.status.code(), Code::kConflict);
  EXPECT_EQ(refused.prev_mod_revision, 2u);
  EXPECT_EQ(refused.revision, 2u);
  EXPECT_TRUE(machine.Do(PutIf("a", "3", present)).status.ok());
  EXPECT_EQ(machine.Do(PutIf("a", "4", mod(2))).status.code(), Code::kConflict);
  EXPECT_TRUE(machine.Do(PutIf("a", "4", mod(3))).status.ok());
  EXPECT_TRUE(machine.Do(PutIf("new", "4", mod(0))).status.ok());
  EXPECT_EQ(Value(machine, "a"), "4");

  v1::Command del = Delete("a");
  del.mutable_delete_()->mutable_precondition()->set_mod_revision(3);
  EXPECT_EQ(machine.Do(del).status.code(), Code::kConflict);
  del.mutable_delete_()->mutable_precondition()->set_mod_revision(4);
  EXPECT_EQ(machine.Do(del).deleted, 1u);
  // A deleted key has no revision, the one of its tombstone least of all.
  const CommandResult gone = machine.Do(PutIf("a", "", mod(6)));
  EXPECT_EQ(gone.status.code(), Code::kConflict);
  EXPECT_EQ(gone.prev_mod_revision, 0u);
}

TEST(StateMachineTest, InvalidArgumentsAreRefusedAlike) {
  std::vector<v1::Command> invalid = {
      Put("", "v"),
      Put(std::string(kMaxKeyBytes + 1, 'k'), "v"),
      Put("a", std::string(kMaxValueBytes + 1, 'v')),
      Delete(""),
      DeleteRange("a", std::string(kMaxKeyBytes + 2, 'k')),
      PutIf("a", "", [](v1::Precondition*) {}),
      PutIf("a", "", [](v1::Precondition* p) { p->set_absent(false); }),
      PutIf("a", "", [](v1::Precondition* p) { p->set_present(false); }),
      Compact(2),
  };
  v1::Command conditional_range = DeleteRange("a", "b");
  conditional_range.mutable_delete_()->mutable_precondition()->set_present(true);
  invalid.push_back(conditional_range);
  v1::Command empty = Put("a", "");
  empty.clear_put();
  invalid.push_back(empty);

  TestMachine machine;
  for (const v1::Command& command : invalid) {
    const CommandResult result = machine.Do(command);
    EXPECT_EQ(result.status.code(), Code::kInvalidArgument) << command.ShortDebugString();
    EXPECT_FALSE(result.status.message().empty());
    EXPECT_EQ(result.revision, 1u);
  }
  EXPECT_EQ(machine->applied().index.value, invalid.size());
  EXPECT_TRUE(machine.Do(Put(std::string(kMaxKeyBytes, 'k'), "v")).status.ok());
}

TEST(StateMachineTest, OneCommandCannotChangeWithoutLimit) {
  TestMachine machine;
  std::vector<v1::Command> puts;
  for (size_t i = 0; i <= kMaxCommandChanges; ++i) puts.push_back(Put(std::to_string(i), ""));
  machine.DoAll(puts);
  const CommandResult refused = machine.Do(DeleteRange("", std::string_view("\0", 1)));
  EXPECT_EQ(refused.status.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.revision, puts.size() + 1);
  machine.Do(Delete("0"));
  EXPECT_EQ(machine.Do(DeleteRange("", std::string_view("\0", 1))).deleted, kMaxCommandChanges);

  const std::string large(kMaxValueBytes, 'v');
  for (const char* key : {"a", "b", "c", "d"}) machine.Do(Put(key, large));
  EXPECT_EQ(machine.Do(DeleteRange("a", "z")).status.code(), Code::kInvalidArgument);
  EXPECT_EQ(machine.Do(DeleteRange("a", "d")).deleted, 3u);
}

TEST(StateMachineTest, ReadsAtRevisions) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("b", "1"), Put("a", "2"), Delete("b"), Put("b", "3")});
  EXPECT_EQ(Value(machine, "a", 1), "(none)");
  EXPECT_EQ(Value(machine, "a", 3), "1");
  EXPECT_EQ(Value(machine, "a", 4), "2");
  EXPECT_EQ(Value(machine, "b", 4), "1");
  EXPECT_EQ(Value(machine, "b", 5), "(none)");
  EXPECT_EQ(Value(machine, "b", 6), "3");
  EXPECT_EQ(machine->Get("b", 7).error().code(), Code::kInvalidArgument);
  EXPECT_THAT(Keys(machine->Range({.revision = 5}).value()), ElementsAre("a"));
  EXPECT_EQ(machine->Range({.revision = 5}).value().revision, 5u);
  EXPECT_EQ(machine->Range({.revision = 7}).error().code(), Code::kInvalidArgument);
}

TEST(StateMachineTest, KeysThatEscapingCouldConfuse) {
  TestMachine machine;
  const std::vector<std::string> keys = {std::string("\0", 1),
                                         std::string("\0\1", 2),
                                         std::string("\0\xff", 2),
                                         "a",
                                         std::string("a\0", 2),
                                         std::string("a\0\1", 3),
                                         "a\1",
                                         "\xff",
                                         "\xff\xff"};
  for (const std::string& key : keys) machine.Do(Put(key, "old " + key));
  for (const std::string& key : keys) machine.Do(Put(key, "new " + key));
  const uint64_t revision = keys.size() + 1;
  for (const std::string& key : keys) EXPECT_EQ(Value(machine, key, revision), "old " + key);
  EXPECT_EQ(Keys(machine->Range({.revision = revision}).value()), keys);
}

TEST(StateMachineTest, RangesAreCutByLimitAndBytes) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("b", "22"), Put("c", "333"), Put("d", "4444"), Delete("d")});
  RangeResult result = machine->Range({.limit = 2}).value();
  EXPECT_THAT(Keys(result), ElementsAre("a", "b"));
  EXPECT_TRUE(result.more);
  result = machine->Range({.limit = 3}).value();  // the tombstone is nothing more
  EXPECT_FALSE(result.more);
  result = machine->Range({.start = "b", .end = "c"}).value();
  EXPECT_THAT(Keys(result), ElementsAre("b"));
  EXPECT_FALSE(result.more);
  result = machine->Range({.limit = 2, .descending = true}).value();
  EXPECT_THAT(Keys(result), ElementsAre("c", "b"));
  EXPECT_TRUE(result.more);
  result = machine->Range({.max_bytes = 5}).value();
  EXPECT_THAT(Keys(result), ElementsAre("a", "b"));
  EXPECT_TRUE(result.more);
  result = machine->Range({.max_bytes = 4}).value();
  EXPECT_THAT(Keys(result), ElementsAre("a"));
  result = machine->Range({.start = "c", .max_bytes = 1}).value();  // at least one
  EXPECT_THAT(Keys(result), ElementsAre("c"));
  result = machine->Range({.keys_only = true, .max_bytes = 3}).value();
  EXPECT_THAT(Keys(result), ElementsAre("a", "b", "c"));
  EXPECT_EQ(result.items[2].value, "");
  EXPECT_EQ(result.items[2].mod_revision, 4u);
  result = machine->Range({.limit = 1, .count_only = true}).value();
  EXPECT_EQ(result.count, 3u);
  EXPECT_TRUE(result.items.empty());
  EXPECT_TRUE(Keys(machine->Range({.start = "b", .end = "a"}).value()).empty());
}

TEST(StateMachineTest, PrefixEnds) {
  EXPECT_EQ(PrefixEnd("a"), "b");
  EXPECT_EQ(PrefixEnd("a\xff\xff"), "b");
  EXPECT_EQ(PrefixEnd(std::string("a\0", 2)), "a\1");
  EXPECT_EQ(PrefixEnd("\x7f"), "\x80");
  EXPECT_EQ(PrefixEnd("\xff\xff"), "");
  EXPECT_EQ(PrefixEnd(""), "");
}

// --- Transactions
// ---------------------------------------------------------------------------------

v1::Command NewTxn() {
  v1::Command command = Put("", "");
  command.mutable_txn();
  return command;
}

v1::TxnCommand::Compare* Compare(v1::Command* command, std::string_view key,
                                 v1::TxnCommand::Compare::Relation relation) {
  auto* compare = command->mutable_txn()->add_compare();
  compare->set_key(std::string(key));
  compare->set_relation(relation);
  return compare;
}

void ThenPut(v1::Command* command, std::string_view key, std::string_view value) {
  *command->mutable_txn()->add_success()->mutable_put() = Put(key, value).put();
}

void ThenDelete(v1::Command* command, std::string_view key, std::string_view end = {}) {
  *command->mutable_txn()->add_success()->mutable_delete_() = DeleteRange(key, end).delete_();
}

TEST(TxnTest, AllChangesAreOneRevision) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("d1", ""), Put("d2", "")});
  v1::Command txn = NewTxn();
  ThenPut(&txn, "a", "2");
  ThenPut(&txn, "b", "2");
  ThenDelete(&txn, "d1", "d9");
  ThenDelete(&txn, "d", "d2");  // finds d1 gone
  ThenDelete(&txn, "nothing");
  const CommandResult result = machine.Do(txn);
  EXPECT_TRUE(result.succeeded);
  EXPECT_EQ(result.revision, 5u);
  EXPECT_EQ(result.deleted, 2u);
  for (const KeyValue& item : machine->Range({}).value().items) {
    EXPECT_EQ(item.mod_revision, 5u);
  }
  EXPECT_EQ(Value(machine, "a", 4), "1");
  EXPECT_EQ(machine->live_keys(), 2u);
}

TEST(TxnTest, ComparesDecide) {
  using C = v1::TxnCommand::Compare;
  TestMachine machine;
  machine.DoAll({Put("a", "m"), Put("a", "m")});  // create 2, mod 3, version 2
  const auto holds = [&](auto&& set) {
    v1::Command txn = NewTxn();
    set(&txn);
    return machine.Do(txn).succeeded;
  };
  for (const auto& [relation, low, equal, high] :
       {std::tuple(C::EQUAL, false, true, false), std::tuple(C::NOT_EQUAL, true, false, true),
        std::tuple(C::GREATER, true, false, false), std::tuple(C::LESS, false, false, true)}) {
    const auto r = relation;
    for (const auto& [delta, expected] :
         {std::pair(-1, low), std::pair(0, equal), std::pair(1, high)}) {
      const auto d = static_cast<uint64_t>(delta);
      EXPECT_EQ(holds([&](auto* t) { Compare(t, "a", r)->set_version(2 + d); }), expected);
      EXPECT_EQ(holds([&](auto* t) { Compare(t, "a", r)->set_create_revision(2 + d); }), expected);
      EXPECT_EQ(holds([&](auto* t) { Compare(t, "a", r)->set_mod_revision(3 + d); }), expected);
      const std::string value(1, static_cast<char>('m' + delta));
      EXPECT_EQ(holds([&](auto* t) { Compare(t, "a", r)->set_value(value); }), expected);
    }
  }
  // An absent key, also a deleted one, compares as zeros and the empty value.
  machine.DoAll({Put("gone", "v"), Delete("gone")});
  for (const char* key : {"none", "gone"}) {
    EXPECT_TRUE(holds([&](auto* t) { Compare(t, key, C::EQUAL)->set_version(0); }));
    EXPECT_TRUE(holds([&](auto* t) { Compare(t, key, C::EQUAL)->set_create_revision(0); }));
    EXPECT_TRUE(holds([&](auto* t) { Compare(t, key, C::LESS)->set_mod_revision(1); }));
    EXPECT_TRUE(holds([&](auto* t) { Compare(t, key, C::EQUAL)->set_value(""); }));
  }
  // All must hold.
  EXPECT_FALSE(holds([&](auto* t) {
    Compare(t, "a", C::EQUAL)->set_version(2);
    Compare(t, "a", C::EQUAL)->set_version(3);
  }));
}

TEST(TxnTest, FailureListRunsWhenAComparisonFails) {
  TestMachine machine;
  v1::Command txn = NewTxn();
  Compare(&txn, "a", v1::TxnCommand::Compare::EQUAL)->set_version(1);
  ThenPut(&txn, "yes", "");
  *txn.mutable_txn()->add_failure()->mutable_put() = Put("no", "").put();
  const CommandResult result = machine.Do(txn);
  EXPECT_FALSE(result.succeeded);
  EXPECT_EQ(result.revision, 2u);
  EXPECT_THAT(Keys(machine->Range({}).value()), ElementsAre("no"));
}

TEST(TxnTest, ATxnThatChangesNothingMakesNoRevision) {
  TestMachine machine;
  v1::Command txn = NewTxn();
  ThenDelete(&txn, "a", "b");
  const CommandResult result = machine.Do(txn);
  EXPECT_TRUE(result.succeeded);
  EXPECT_EQ(result.revision, 1u);
}

TEST(TxnTest, InvalidTransactionsChangeNothing) {
  const auto build = [](auto&& fill) {
    v1::Command txn = NewTxn();
    ThenPut(&txn, "first", "");
    fill(&txn);
    return txn;
  };
  const std::vector<v1::Command> invalid = {
      build([](auto* t) { ThenPut(t, "first", ""); }),
      build([](auto* t) { ThenDelete(t, "first"); }),
      build([](auto* t) { ThenDelete(t, "f", "g"); }),
      build([](auto* t) { ThenDelete(t, "", std::string_view("\0", 1)); }),
      build([](auto* t) { ThenPut(t, "", ""); }),
      build([](auto* t) { t->mutable_txn()->add_failure(); }),
      build([](auto* t) { Compare(t, "a", v1::TxnCommand::Compare::EQUAL); }),
      build([](auto* t) { Compare(t, "", v1::TxnCommand::Compare::EQUAL)->set_version(0); }),
      build([](auto* t) {
        Compare(t, "a", static_cast<v1::TxnCommand::Compare::Relation>(9))->set_version(0);
      }),
      build([](auto* t) {
        ThenPut(t, "b", "");
        t->mutable_txn()->mutable_success(1)->mutable_put()->mutable_precondition()->set_absent(
            true);
      }),
      build([](auto* t) {
        for (size_t i = 0; i < kMaxTxnOps; ++i) ThenPut(t, std::to_string(i), "");
      }),
      build([](auto* t) {
        for (size_t i = 0; i <= kMaxTxnOps; ++i) {
          Compare(t, "a", v1::TxnCommand::Compare::EQUAL)->set_version(0);
        }
      }),
  };
  TestMachine machine;
  for (const v1::Command& command : invalid) {
    const CommandResult result = machine.Do(command);
    EXPECT_EQ(result.status.code(), Code::kInvalidArgument) << command.ShortDebugString();
    EXPECT_FALSE(result.succeeded);
  }
  EXPECT_EQ(machine->applied().revision, 1u);
  EXPECT_TRUE(machine.Do(build([](auto* t) { ThenDelete(t, "g", "h"); })).succeeded);
}

// --- Compaction
// -----------------------------------------------------------------------------------

TEST(CompactionTest, ReadsBelowTheCompactRevisionFail) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("a", "2"), Put("a", "3")});
  const CommandResult result = machine.Do(Compact(3));
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.revision, 4u);
  EXPECT_EQ(machine->applied().compact_revision, 3u);
  EXPECT_EQ(machine->Get("a", 2).error().code(), Code::kConflict);
  EXPECT_THAT(machine->Get("a", 2).error().message(), HasSubstr("compacted"));
  EXPECT_EQ(machine->Range({.revision = 2}).error().code(), Code::kConflict);
  EXPECT_EQ(Value(machine, "a", 3), "2");
  EXPECT_EQ(machine.Do(Compact(3)).status.code(), Code::kConflict);
  EXPECT_EQ(machine.Do(Compact(5)).status.code(), Code::kInvalidArgument);
}

TEST(CompactionTest, GarbageCollectionKeepsWhatIsReadable) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("a", "2"), Put("a", "3"), Put("b", "1"), Delete("b"),
                 Put("c", "1"), Delete("c"), Put("c", "2"), Put("d", "1")});
  EXPECT_EQ(machine->stored_versions(), 9u);
  machine.Do(Compact(9));
  const StateHash before = machine->Hash().value();
  EXPECT_TRUE(machine->CollectGarbage(1).value());
  EXPECT_EQ(machine->Hash().value().hash, before.hash);
  machine.CollectAll(2);
  EXPECT_EQ(machine->Hash().value().hash, before.hash);
  // a=3, c=2, d=1; the tombstones are gone.
  EXPECT_EQ(machine->stored_versions(), 3u);
  EXPECT_FALSE(machine->CollectGarbage(100).value());
  EXPECT_EQ(Value(machine, "a", 9), "3");
  EXPECT_EQ(Value(machine, "b", 9), "(none)");
  EXPECT_EQ(Value(machine, "c", 9), "2");
}

// A watch may start at the compact revision itself, so its rows and tombstones stay until the next
// compaction (the event that etcd lost in its issue 19179).
TEST(CompactionTest, TombstonesAtTheCompactRevisionStay) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("b", "1"), DeleteRange("a", "z")});
  machine.Do(Compact(4));
  machine.CollectAll(1);
  EXPECT_EQ(machine->stored_versions(), 2u);  // both values went
  machine.Do(Put("x", ""));
  machine.Do(Compact(5));
  machine.CollectAll(1);
  EXPECT_EQ(machine->stored_versions(), 1u);
  EXPECT_EQ(Value(machine, "a"), "(none)");
}

TEST(CompactionTest, ANewTargetTakesUpTheRowsThatTheOldOneLeft) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("b", "1"), DeleteRange("a", "z")});
  machine.Do(Compact(4));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(machine->CollectGarbage(1).value());
  machine.Do(Put("x", ""));
  machine.Do(Compact(5));  // in the middle of the delete's rows
  machine.CollectAll(1);
  EXPECT_EQ(machine->stored_versions(), 1u);
}

// --- Slices, crashes, formats
// ---------------------------------------------------------------------

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
    EXPECT_EQ(Value(machine, "a"), "(none)");
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
  EXPECT_EQ(Value(machine, "a"), "1");
}

TEST(RestartTest, UnknownFormatsAreRefused) {
  storage::MemoryState store;
  store.Install({{"mf", std::string("\0\0\0\x09", 4)}});
  auto machine = StateMachine::Open(&store);
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(machine.error().message(), HasSubstr("format 9"));
  store.Install({{"other", "data"}});
  EXPECT_EQ(StateMachine::Open(&store).error().code(), Code::kCorruption);
  for (const char* key : {"mf", "ma", "mc", "mg"}) {
    store.Install({{"mf", std::string("\0\0\0\x01", 4)}});
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

TEST(RestartTest, DamagedRecordsAreReported) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("a", "2")});
  auto* store = static_cast<storage::MemoryState*>(machine.store());
  auto contents = store->Dump();
  contents["ca"] = "\x07";
  store->Install(contents);
  EXPECT_EQ(machine->Get("a").error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Get("a", 2).error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Range({}).error().code(), Code::kCorruption);
  EXPECT_EQ(machine->Hash().error().code(), Code::kCorruption);
  const std::vector<raft::Entry> entries = {CommandEntry(3, Put("a", "3"))};
  EXPECT_EQ(machine->Apply(entries).error().code(), Code::kCorruption);
}

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
