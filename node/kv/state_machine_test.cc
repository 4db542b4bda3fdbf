#include "node/kv/state_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/kv/test_support.h"

namespace raftkv::kv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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
  EXPECT_EQ(machine.Value("a"), "(none)");
  EXPECT_EQ(machine->live_keys(), 0u);

  EXPECT_TRUE(machine.Do(Put("a", "3")).created);
  const auto found = machine->Get("a").value();
  EXPECT_EQ(found->create_revision, 5u);
  EXPECT_EQ(found->version, 1u);
  EXPECT_EQ(machine.Value("a", 4), "(none)");
  EXPECT_EQ(machine.Value("a", 3), "2");
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
  EXPECT_EQ(machine.Value("a"), "4");

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
  // The limit counts alike whether the slice's own changes are written yet or not.
  const auto results = machine.DoAll({Delete("0"), DeleteRange("", std::string_view("\0", 1))});
  EXPECT_EQ(results[1].deleted, kMaxCommandChanges);
}

TEST(StateMachineTest, ReadsAtRevisions) {
  TestMachine machine;
  machine.DoAll({Put("a", "1"), Put("b", "1"), Put("a", "2"), Delete("b"), Put("b", "3")});
  EXPECT_EQ(machine.Value("a", 1), "(none)");
  EXPECT_EQ(machine.Value("a", 3), "1");
  EXPECT_EQ(machine.Value("a", 4), "2");
  EXPECT_EQ(machine.Value("b", 4), "1");
  EXPECT_EQ(machine.Value("b", 5), "(none)");
  EXPECT_EQ(machine.Value("b", 6), "3");
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
  for (const std::string& key : keys) EXPECT_EQ(machine.Value(key, revision), "old " + key);
  EXPECT_EQ(Keys(machine->Range({.revision = revision}).value()), keys);
}

// A key that is written more often than a jump spans, deleted and made anew now and then, beside
// one that is written once; collected half way.
TEST(StateMachineTest, EveryVersionOfALongChainIsFound) {
  TestMachine machine;
  std::vector<std::string> expected{"", "(none)"};  // by revision
  const auto put = [&] {
    expected.push_back(std::to_string(expected.size()));
    machine.Do(Put("hot", expected.back()));
  };
  const auto check = [&](uint64_t oldest) {
    for (uint64_t revision = oldest; revision < expected.size(); ++revision) {
      ASSERT_EQ(machine.Value("hot", revision), expected[revision]) << revision;
      ASSERT_EQ(
          Keys(machine->Range({.start = "h", .end = "i", .revision = revision}).value()).size(),
          expected[revision] == "(none)" ? 0u : 1u);
    }
  };
  for (int life = 0; life < 3; ++life) {
    for (int i = 0; i < 450; ++i) put();
    machine.Do(Delete("hot"));
    expected.push_back("(none)");
    machine.Do(Put("cold" + std::to_string(life), "1"));
    expected.push_back("(none)");
  }
  put();
  check(1);
  const StateHash before = machine->Hash().value();
  machine.Reopen();  // without headers in memory
  put();
  check(1);
  EXPECT_NE(machine->Hash().value(), before);

  for (const uint64_t compacted : {200, 451, 452, 453, 454, 455, 1000, 1357, 1358, 1359}) {
    machine.Do(Compact(compacted));
    const StateHash hash = machine->Hash().value();
    check(compacted);
    machine.CollectAll(37);
    check(compacted);
    EXPECT_EQ(machine->Hash().value(), hash);
  }
  for (int i = 0; i < 300; ++i) put();
  check(1359);
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
  EXPECT_EQ(machine.Value("a", 3), "2");
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
  EXPECT_EQ(machine.Value("a", 9), "3");
  EXPECT_EQ(machine.Value("b", 9), "(none)");
  EXPECT_EQ(machine.Value("c", 9), "2");
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
  EXPECT_EQ(machine.Value("a"), "(none)");
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

}  // namespace
}  // namespace raftkv::kv
