// Random commands against the reference model: every result, every kind of read, whatever the
// slices, collections and crashes.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "node/kv/format.h"
#include "node/kv/reference_model.h"
#include "node/kv/test_support.h"

namespace raftkv::kv {
namespace {

std::string RandomKey(Random& random) {
  constexpr std::string_view kBytes(
      "\x00\x01"
      "ab\xff",
      5);
  std::string key(1 + random.Uniform(3), '\0');
  for (char& byte : key) byte = kBytes[random.Uniform(kBytes.size())];
  return key;
}

// Commands that refer to what the model holds, so that conditions hold about as often as not.
class CommandSource {
 public:
  CommandSource(uint64_t seed, const ReferenceModel& model) : random_(seed), model_(model) {}

  v1::Command Next() {
    const uint64_t kind = random_.Uniform(100);
    if (kind < 35) return RandomPut();
    if (kind < 50) {
      v1::Command command = RandomPut();
      SetCondition(command.put().key(), command.mutable_put()->mutable_precondition());
      return command;
    }
    if (kind < 60) return Delete(RandomKey(random_));
    if (kind < 68) {
      v1::Command command = Delete(RandomKey(random_));
      SetCondition(command.delete_().key(), command.mutable_delete_()->mutable_precondition());
      return command;
    }
    if (kind < 73) return RandomDeleteRange();
    if (kind < 95) return RandomTxn();
    const uint64_t span = model_.revision() - model_.compact_revision();
    return Compact(model_.compact_revision() + random_.Uniform(span / 2 + 2));
  }

 private:
  v1::Command RandomPut() {
    return Put(RandomKey(random_),
               std::to_string(random_.Uniform(5)) +
                   std::string(random_.Uniform(40) * (random_.Uniform(4) == 0 ? 50 : 1), 'v'));
  }

  v1::Command RandomDeleteRange() {
    const std::string start = RandomKey(random_);
    const std::string end = random_.Uniform(8) == 0 ? std::string(1, '\0') : RandomKey(random_);
    return DeleteRange(start, end);
  }

  void SetCondition(const std::string& key, v1::Precondition* condition) {
    switch (random_.Uniform(3)) {
      case 0:
        condition->set_absent(true);
        break;
      case 1:
        condition->set_present(true);
        break;
      default: {
        const auto item = model_.Get(key, model_.revision());
        condition->set_mod_revision((item ? item->mod_revision : 0) + random_.Uniform(2));
      }
    }
  }

  void SetTarget(v1::TxnCommand::Compare* compare) {
    const auto item = model_.Get(compare->key(), model_.revision()).value_or(KeyValue());
    const uint64_t delta = random_.Uniform(2);
    switch (random_.Uniform(4)) {
      case 0:
        compare->set_version(item.version + delta);
        break;
      case 1:
        compare->set_create_revision(item.create_revision + delta);
        break;
      case 2:
        compare->set_mod_revision(item.mod_revision + delta);
        break;
      default:
        compare->set_value(item.value + std::string(delta, 'v'));
    }
  }

  void FillOp(v1::TxnCommand::Op* op) {
    switch (random_.Uniform(4)) {
      case 0:
        *op->mutable_delete_() = Delete(RandomKey(random_)).delete_();
        break;
      case 1:
        *op->mutable_delete_() = RandomDeleteRange().delete_();
        break;
      default:
        *op->mutable_put() = RandomPut().put();
    }
  }

  v1::Command RandomTxn() {
    v1::Command command = Put("", "");
    v1::TxnCommand* txn = command.mutable_txn();
    for (uint64_t i = random_.Uniform(3); i > 0; --i) {
      auto* compare = txn->add_compare();
      compare->set_key(RandomKey(random_));
      compare->set_relation(static_cast<v1::TxnCommand::Compare::Relation>(random_.Uniform(4)));
      SetTarget(compare);
    }
    for (uint64_t i = random_.Uniform(4); i > 0; --i) FillOp(txn->add_success());
    for (uint64_t i = random_.Uniform(4); i > 0; --i) FillOp(txn->add_failure());
    return command;
  }

  SeededRandom random_;
  const ReferenceModel& model_;
};

// The log, and what each entry must give.
struct History {
  std::vector<raft::Entry> entries;
  std::vector<CommandResult> results;
};

void ExpectSame(const CommandResult& actual, const CommandResult& expected) {
  EXPECT_EQ(actual.status.code(), expected.status.code()) << actual.status.message();
  EXPECT_EQ(actual.revision, expected.revision);
  EXPECT_EQ(actual.created, expected.created);
  EXPECT_EQ(actual.deleted, expected.deleted);
  EXPECT_EQ(actual.succeeded, expected.succeeded);
  EXPECT_EQ(actual.prev_mod_revision, expected.prev_mod_revision);
}

void ExpectSame(const KeyValue& actual, const KeyValue& expected, bool keys_only) {
  EXPECT_EQ(actual.key, expected.key);
  EXPECT_EQ(actual.value, keys_only ? "" : expected.value);
  EXPECT_EQ(actual.create_revision, expected.create_revision);
  EXPECT_EQ(actual.mod_revision, expected.mod_revision);
  EXPECT_EQ(actual.version, expected.version);
}

struct Habits {
  uint64_t max_slice = 1;
  bool collects = false;
  bool crashes = false;
  bool in_memory = false;  // whatever can be
};

// One machine that follows the log with slices, collections and crashes of its own.
class Follower {
 public:
  Follower(StoreKind kind, uint64_t seed, const Habits& habits)
      : random_(seed), habits_(habits), machine_(kind) {}

  void CatchUp(const History& history) {
    while (machine_.next_index() <= history.entries.size()) {
      ApplySlice(history);
      if (habits_.collects && random_.Uniform(3) == 0) {
        ASSERT_TRUE(machine_->CollectGarbage(1 + random_.Uniform(20)));
      }
      if (habits_.crashes && random_.Uniform(10) == 0) {
        ASSERT_TRUE(machine_.store()->Flush().ok());
      }
      if (habits_.crashes && random_.Uniform(60) == 0) {
        const raft::Index flushed = machine_->FlushedIndex().value();
        machine_.Crash();
        EXPECT_GE(machine_->applied().index, flushed);
      }
    }
  }

  void CheckReads(const ReferenceModel& model, int reads) {
    for (int i = 0; i < reads; ++i) {
      const uint64_t low = model.compact_revision() > 2 ? model.compact_revision() - 2 : 1;
      const uint64_t revision =
          random_.Uniform(4) == 0 ? 0 : low + random_.Uniform(model.revision() - low + 2);
      CheckGet(model, revision);
      CheckRange(model, revision);
    }
    EXPECT_EQ(machine_->applied().revision, model.revision());
    EXPECT_EQ(machine_->live_keys(), model.live_keys());
  }

  void CheckCollected(const ReferenceModel& model) {
    machine_.CollectAll(7);
    EXPECT_EQ(machine_->stored_versions(), model.reachable_versions());
    EXPECT_EQ(Rows(kRevisionTable), model.reachable_versions());
    EXPECT_EQ(Rows(kCurrentTable), model.reachable_keys());
    EXPECT_EQ(Rows(kValueTable), model.reachable_large_values());
  }

  StateHash hash() { return machine_->Hash().value(); }
  size_t in_memory() const { return in_memory_; }
  size_t not_in_memory() const { return not_in_memory_; }

 private:
  void ApplySlice(const History& history) {
    const size_t first = machine_->applied().index.value;
    const size_t size =
        std::min(1 + random_.Uniform(habits_.max_slice), history.entries.size() - first);
    const std::span entries = std::span(history.entries).subspan(first, size);
    std::optional<std::vector<ApplyResult>> applied;
    if (habits_.in_memory) {
      const AppliedState before = machine_->applied();
      applied = machine_->ApplyInMemory(entries);
      ++(applied ? in_memory_ : not_in_memory_);
      ASSERT_TRUE(applied || machine_->applied() == before);
    }
    if (!applied) {
      applied = machine_->Apply(entries).value();
      ASSERT_TRUE(machine_.store()->CatchUp().ok());
    }
    const std::vector<ApplyResult>& results = *applied;
    ASSERT_EQ(results.size(), size);
    for (size_t i = 0; i < size; ++i) {
      SCOPED_TRACE(first + i + 1);
      ExpectSame(*results[i].command, history.results[first + i]);
    }
  }

  Code ReadCode(const ReferenceModel& model, uint64_t revision) {
    if (revision == 0) return Code::kOk;
    if (revision > model.revision()) return Code::kInvalidArgument;
    return revision < model.compact_revision() ? Code::kConflict : Code::kOk;
  }

  void CheckGet(const ReferenceModel& model, uint64_t revision) {
    const std::string key = RandomKey(random_);
    const auto found = machine_->Get(key, revision);
    const Code code = ReadCode(model, revision);
    ASSERT_EQ(found ? Code::kOk : found.error().code(), code);
    if (code != Code::kOk) return;
    const auto expected = model.Get(key, revision == 0 ? model.revision() : revision);
    ASSERT_EQ(found->has_value(), expected.has_value());
    if (expected) ExpectSame(**found, *expected, false);
  }

  // All pages of a random range.
  void CheckRange(const ReferenceModel& model, uint64_t revision) {
    RangeRequest request{.start = random_.Uniform(3) == 0 ? "" : RandomKey(random_),
                         .end = random_.Uniform(3) == 0 ? "" : RandomKey(random_),
                         .revision = revision,
                         .limit = random_.Uniform(3) == 0 ? 0 : 1 + random_.Uniform(8),
                         .keys_only = random_.Uniform(4) == 0,
                         .descending = random_.Uniform(2) == 0};
    if (random_.Uniform(3) == 0) request.max_bytes = random_.Uniform(200);
    const Code code = ReadCode(model, revision);
    std::vector<KeyValue> expected;
    if (code == Code::kOk) {
      expected =
          model.Range(request.start, request.end, revision == 0 ? model.revision() : revision);
    }
    RangeRequest count = request;
    count.count_only = true;
    if (const auto counted = machine_->Range(count)) {
      EXPECT_EQ(counted->count, expected.size());
    }
    if (request.descending) std::ranges::reverse(expected);
    auto next = expected.begin();
    for (bool more = true; more;) {
      const auto page = machine_->Range(request);
      ASSERT_EQ(page ? Code::kOk : page.error().code(), code);
      if (code != Code::kOk) return;
      EXPECT_EQ(page->revision, revision == 0 ? model.revision() : revision);
      CheckPage(request, *page);
      for (const KeyValue& item : page->items) {
        ASSERT_NE(next, expected.end());
        ExpectSame(item, *next++, request.keys_only);
      }
      more = page->more;
      if (more) (request.descending ? request.end : request.start) = After(*page, request);
    }
    EXPECT_EQ(next, expected.end());
  }

  static void CheckPage(const RangeRequest& request, const RangeResult& page) {
    uint64_t bytes = 0;
    for (const KeyValue& item : page.items) bytes += item.key.size() + item.value.size();
    EXPECT_TRUE(bytes <= request.max_bytes || page.items.size() == 1);
    EXPECT_TRUE(request.limit == 0 || page.items.size() <= request.limit);
    EXPECT_FALSE(page.more && page.items.empty());
  }

  static std::string After(const RangeResult& page, const RangeRequest& request) {
    const std::string& last = page.items.back().key;
    return request.descending ? last : last + '\0';
  }

  uint64_t Rows(char table) {
    const auto view = machine_.store()->View();
    const auto it = view->NewIterator(std::string(1, table), TableEnd(table));
    uint64_t rows = 0;
    for (it->SeekToFirst(); it->Valid(); it->Next()) ++rows;
    EXPECT_TRUE(it->status().ok());
    return rows;
  }

  SeededRandom random_;
  const Habits habits_;
  TestMachine machine_;
  size_t in_memory_ = 0;  // slices
  size_t not_in_memory_ = 0;
};

void RunModel(StoreKind kind, uint64_t seed, int rounds) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  ReferenceModel model;
  CommandSource source(seed, model);
  History history;
  Follower plain(StoreKind::kMemory, seed + 1, {});
  Follower rough(kind, seed + 2, {.max_slice = 30, .collects = true, .crashes = true});
  Follower lazy(kind, seed + 3, {.max_slice = 200});
  Follower quick(kind, seed + 4,
                 {.max_slice = 3, .collects = true, .crashes = true, .in_memory = true});
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 100; ++i) {
      const v1::Command command = source.Next();
      history.results.push_back(model.Do(command));
      history.entries.push_back(CommandEntry(history.entries.size() + 1, command));
    }
    for (Follower* follower : {&plain, &rough, &lazy, &quick}) {
      follower->CatchUp(history);
      follower->CheckReads(model, 20);
    }
    EXPECT_EQ(plain.hash(), rough.hash());
    EXPECT_EQ(plain.hash(), lazy.hash());
    EXPECT_EQ(plain.hash(), quick.hash());
    if (round % 4 == 3) rough.CheckCollected(model);
    if (testing::Test::HasFailure()) return;
  }
  for (Follower* follower : {&lazy, &quick}) {
    follower->CheckCollected(model);
    EXPECT_EQ(plain.hash(), follower->hash());
  }
  EXPECT_GT(quick.not_in_memory(), 0u);
  EXPECT_EQ(quick.in_memory() > 0, kind != StoreKind::kMemory) << "of which nothing says so";
}

TEST(ModelTest, InMemory) {
  for (uint64_t seed = 1; seed <= 40 && !HasFailure(); ++seed) {
    RunModel(StoreKind::kMemory, seed * 1000, 8);
  }
}

TEST(ModelTest, GatheringWrites) {
  for (uint64_t seed = 1; seed <= 20 && !HasFailure(); ++seed) {
    RunModel(StoreKind::kBehind, seed * 1000, 8);
  }
}

TEST(ModelTest, OnRocksDb) {
  for (uint64_t seed = 1; seed <= 4 && !HasFailure(); ++seed) {
    RunModel(StoreKind::kRocks, seed * 1000, 8);
  }
}

}  // namespace
}  // namespace raftkv::kv
