// Transactions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/kv/test_support.h"

namespace raftkv::kv {
namespace {

using testing::ElementsAre;

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
  const RangeResult range = machine->Range({}).value();
  for (const KeyValue& item : range.items) {
    EXPECT_EQ(item.mod_revision, 5u);
  }
  EXPECT_EQ(machine.Value("a", 4), "1");
  EXPECT_EQ(machine->live_keys(), 2u);
}

// Whoever applies in memory must not read a value, which may lie on the disk.
TEST(TxnTest, AComparedValueIsNotReadWhereADiskMayNotBe) {
  TestMachine machine(StoreKind::kBehind);
  machine.Do(Put("a", "1"));
  v1::Command txn = NewTxn();
  Compare(&txn, "a", v1::TxnCommand::Compare::EQUAL)->set_value("1");
  ThenPut(&txn, "b", "2");
  const std::vector entries = {CommandEntry(machine.next_index(), txn)};
  EXPECT_FALSE(machine->ApplyInMemory(entries));
  EXPECT_EQ(machine.Value("b"), "(none)");
  EXPECT_TRUE(machine.Do(txn).succeeded);

  v1::Command by_version = NewTxn();
  Compare(&by_version, "a", v1::TxnCommand::Compare::EQUAL)->set_version(1);
  ThenPut(&by_version, "c", "3");
  const std::vector more = {CommandEntry(machine.next_index(), by_version)};
  const auto applied = machine->ApplyInMemory(more);
  ASSERT_TRUE(applied);
  EXPECT_TRUE(applied->at(0).command->succeeded);
  EXPECT_EQ(machine.Value("c"), "3");
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

// Values of the slice's own puts are not stored yet.
TEST(TxnTest, ValuesCompareWithinTheirSliceToo) {
  TestMachine machine;
  const auto is = [](std::string_view key, std::string_view value) {
    v1::Command txn = NewTxn();
    Compare(&txn, key, v1::TxnCommand::Compare::EQUAL)->set_value(std::string(value));
    return txn;
  };
  machine.DoAll({Put("stored", "s"), Put("again", "old"), Put("gone", "g")});
  v1::Command two = NewTxn();
  ThenPut(&two, "x", "one");
  ThenPut(&two, "y", "");
  const auto results =
      machine.DoAll({Put("a", "first"), Put("again", "new"), two, Delete("gone"), is("a", "first"),
                     is("again", "new"), is("again", "old"), is("x", "one"), is("y", ""),
                     is("stored", "s"), is("gone", ""), Put("gone", "back"), is("gone", "back"),
                     Put("a", "second"), is("a", "second"), is("a", "first")});
  std::vector<bool> succeeded;
  for (size_t i = 4; i < results.size(); ++i) {
    if (i != 11 && i != 13) succeeded.push_back(results[i].succeeded);
  }
  EXPECT_THAT(succeeded, ElementsAre(true, true, false, true, true, true, true, true, true, false));
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

}  // namespace
}  // namespace raftkv::kv
