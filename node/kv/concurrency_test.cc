// Readers in other threads than the one that applies: whatever they read is one revision's.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/random.h"
#include "node/kv/format.h"
#include "node/kv/test_support.h"
#include "node/storage/memory_state.h"

namespace raftkv::kv {
namespace {

// Each command writes its own revision to all keys, so any read knows what it must find.
constexpr int kKeys = 5;

v1::Command PutAll(uint64_t revision) {
  v1::Command command = Put("", "");
  for (int i = 0; i < kKeys; ++i) {
    *command.mutable_txn()->add_success()->mutable_put() =
        Put("k" + std::to_string(i), std::to_string(revision)).put();
  }
  return command;
}

void ReadAll(const StateMachine& machine, uint64_t revision, SeededRandom& random) {
  const auto range = machine.Range({.revision = revision, .descending = random.Uniform(2) == 0});
  if (!range) {
    EXPECT_EQ(range.error().code(), Code::kConflict) << range.error().message();
    return;
  }
  EXPECT_EQ(range->items.size(), static_cast<size_t>(kKeys));
  for (const KeyValue& item : range->items) {
    EXPECT_EQ(item.value, std::to_string(range->revision));
    EXPECT_EQ(item.mod_revision, range->revision);
  }
  const auto one = machine.Get("k1", revision);
  EXPECT_TRUE(one ? one->has_value() : one.error().code() == Code::kConflict);
}

void Read(const StateMachine& machine, uint64_t seed, std::stop_token stop) {
  SeededRandom random(seed);
  AppliedState last = machine.applied();
  while (!stop.stop_requested()) {
    const AppliedState now = machine.applied();
    EXPECT_GE(now.index, last.index);
    EXPECT_GE(now.revision, last.revision);
    last = now;
    ReadAll(machine, 0, random);
    const uint64_t oldest = std::max<uint64_t>(now.compact_revision, 2);
    ReadAll(machine, oldest + random.Uniform(now.revision - oldest + 1), random);
    EXPECT_EQ(machine.cluster()->members_size(), 3);
    EXPECT_EQ(machine.live_keys(), static_cast<uint64_t>(kKeys));
    const raft::Index flushed = machine.FlushedIndex().value();
    EXPECT_LE(flushed, machine.applied().index);
    EXPECT_TRUE(machine.Hash());
  }
}

class ConcurrencyTest : public testing::TestWithParam<StoreKind> {};

TEST_P(ConcurrencyTest, ReadsSeeWholeRevisions) {
  TestMachine machine(GetParam());
  ASSERT_TRUE(machine->InitializeCluster(InitialState({1, 2, 3})).ok());
  machine.Do(PutAll(2));
  // Their destructors stop and join them.
  std::vector<std::jthread> readers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&machine, seed](std::stop_token stop) { Read(*machine, seed, stop); });
  }
  for (uint64_t revision = 3; revision < 1500; ++revision) {
    ASSERT_EQ(machine.Do(PutAll(revision)).revision, revision);
    if (revision % 20 == 0) {
      machine.Do(Compact(revision - 10));
    }
    ASSERT_TRUE(machine->CollectGarbage(7));
    if (revision % 100 == 0) {
      ASSERT_TRUE(machine.store()->Flush().ok());
      machine.Apply({.steps = {{raft::ConfChangeType::kUpdate, raft::NodeId(1)}}}, {});
    }
  }
}

// Point reads beside a writer that overwrites, compacts and collects faster than they
// can go on.
TEST_P(ConcurrencyTest, AKeyThatIsOverwrittenAndCollectedAllTheTimeIsNeverMissed) {
  TestMachine machine(GetParam());
  machine.Do(Put("k", "1"));
  std::vector<std::jthread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&machine](const std::stop_token& stop) {
      uint64_t last = 0;
      while (!stop.stop_requested()) {
        const auto found = machine->Get("k");
        ASSERT_TRUE(found) << found.error().message();
        ASSERT_TRUE(found->has_value());
        EXPECT_EQ((*found)->value, std::to_string((*found)->version));
        EXPECT_GE((*found)->version, last);
        last = (*found)->version;
      }
    });
  }
  for (uint64_t version = 2; version < 3000; ++version) {
    machine.DoAll({Put("k", std::to_string(version)), Compact(version + 1)});
    machine.CollectAll(100);
  }
}

// A key's header may come from memory and another's from the store: one point read after another
// must not go back behind a batch that the first has seen.
TEST_P(ConcurrencyTest, PointReadsOfSeveralKeysNeverGoBack) {
  TestMachine machine(GetParam());
  machine.Do(PutAll(2));
  std::vector<std::jthread> readers;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&machine, seed](const std::stop_token& stop) {
      SeededRandom random(seed);
      uint64_t last = 0;
      while (!stop.stop_requested()) {
        const auto found = machine->Get("k" + std::to_string(random.Uniform(kKeys)));
        ASSERT_TRUE(found) << found.error().message();
        if (!found->has_value()) continue;  // between a delete and the next command
        EXPECT_EQ((*found)->value, std::to_string((*found)->mod_revision));
        EXPECT_GE((*found)->mod_revision, last);
        last = (*found)->mod_revision;
      }
    });
  }
  for (uint64_t revision = 3; revision < 6000; ++revision) {
    // A deleted key is not in memory, the others are.
    if (revision % 7 == 0) {
      machine.Do(Delete("k" + std::to_string(revision % kKeys)));
    } else {
      machine.Do(PutAll(revision));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, ConcurrencyTest,
                         testing::Values(StoreKind::kMemory, StoreKind::kBehind, StoreKind::kRocks),
                         testing::PrintToStringParamName());

// Calls back before each point read of a value and after each write, and is full after some writes.
class InterruptedStore final : public storage::StateStore {
 public:
  using Value = Result<std::optional<std::string>>;

  std::function<void()> before_value_read;
  std::function<void()> after_write;
  size_t writes_left = SIZE_MAX;

  Value Get(std::string_view key) const override {
    if (key.front() == kRevisionTable && before_value_read) before_value_read();
    return store_.Get(key);
  }
  std::shared_ptr<const storage::StateView> View() const override { return store_.View(); }
  std::unique_ptr<storage::StateBatch> NewBatch() const override { return store_.NewBatch(); }
  Status Write(storage::StateBatch& batch) override {
    if (writes_left == 0) return {Code::kOutOfSpace, "full"};
    --writes_left;
    Status status = store_.Write(batch);
    if (after_write) after_write();
    return status;
  }
  Value FlushedGet(std::string_view key) const override { return store_.FlushedGet(key); }
  Status Flush() override { return store_.Flush(); }
  Status Checkpoint(const std::string& dir) override { return store_.Checkpoint(dir); }
  Status Replace(const std::string& dir, raft::EntryId snapshot) override {
    return store_.Replace(dir, snapshot);
  }
  std::optional<raft::EntryId> installing() const override { return store_.installing(); }
  Status FinishInstallation(raft::EntryId snapshot) override {
    return store_.FinishInstallation(snapshot);
  }
  storage::StateStats stats() const override { return store_.stats(); }

 private:
  storage::MemoryState store_;
};

// A read of the newest version looks up its header, then its value. In between the version may be
// overwritten, compacted and collected, each time anew.
class ReadRaceTest : public testing::Test {
 protected:
  void Apply(const v1::Command& command) {
    const uint64_t next = machine_->applied().index.value + 1;
    const std::vector<raft::Entry> entries = {CommandEntry(next, command)};
    ASSERT_TRUE(machine_->Apply(entries).value().at(0).command->status.ok());
  }
  void CompactAndCollect() {
    Apply(Compact(machine_->applied().revision));
    while (machine_->CollectGarbage(1).value()) {
    }
  }

  InterruptedStore store_;
  std::unique_ptr<StateMachine> machine_ = StateMachine::Open(&store_).value();
};

TEST_F(ReadRaceTest, AVersionCollectedBeforeItsValueIsReadIsNotDamage) {
  Apply(Put("k", "1"));
  int writes = 1;
  store_.before_value_read = [&] {
    Apply(Put("k", std::to_string(++writes)));
    CompactAndCollect();
  };
  for (int read = 1; read <= 3; ++read) {
    const auto found = machine_->Get("k");
    ASSERT_TRUE(found) << found.error().message();
    ASSERT_TRUE(found->has_value());
    EXPECT_EQ((*found)->value, std::to_string(writes));
    EXPECT_EQ((*found)->version, static_cast<uint64_t>(writes));
    EXPECT_EQ(writes, read + 1);
  }
}

TEST_F(ReadRaceTest, AKeyDeletedBeforeItsValueIsReadIsGone) {
  Apply(Put("k", "1"));
  store_.before_value_read = [&] {
    Apply(Delete("k"));
    CompactAndCollect();
  };
  EXPECT_EQ(machine_->Get("k").value(), std::nullopt);
}

// The fault suite (row flip-snapshot, seed 7601): between the write of a batch and the word that it
// is applied one key was read with the batch's revision, the next one with the revision before.
TEST_F(ReadRaceTest, WhatAReaderWasShownIsNotTakenBack) {
  Apply(Put("k", "1"));
  Apply(Put("other", "1"));
  int looked = 0;
  store_.after_write = [&] {
    ++looked;
    ASSERT_EQ(machine_->Get("k").value()->mod_revision, 4U);
    EXPECT_EQ(machine_->readable_revision(), 4U);
    EXPECT_EQ(machine_->applied().revision, 3U) << "it is told only later";
  };
  Apply(Put("k", "2"));
  store_.after_write = [&] {
    ++looked;
    ASSERT_EQ(machine_->Range({}).value().revision, 5U);
    EXPECT_EQ(machine_->readable_revision(), 5U);
  };
  Apply(Put("other", "2"));
  EXPECT_EQ(looked, 2);
}

TEST_F(ReadRaceTest, AVersionOverwrittenButNotCollectedIsStillRead) {
  Apply(Put("k", "1"));
  store_.before_value_read = [&] { Apply(Put("k", "2")); };
  EXPECT_EQ(machine_->Get("k").value()->value, "1");
}

// Regression: the results of the first part were lost, with the answers and membership changes in
// them, because what is written is not applied again.
TEST(FullStoreTest, WhatWasWrittenBeforeTheDiskWasFullIsTold) {
  InterruptedStore store;
  const auto machine = StateMachine::Open(&store).value();
  std::vector<raft::Entry> entries;
  for (uint64_t i = 1; i <= 6; ++i) {
    entries.push_back(CommandEntry(i, Put("k" + std::to_string(i), std::string(16 << 20, 'v'))));
  }
  store.writes_left = 0;
  EXPECT_EQ(machine->Apply(entries).error().code(), Code::kOutOfSpace);
  store.writes_left = 1;
  const auto first = machine->Apply(entries).value();
  ASSERT_GT(first.size(), 0u);
  ASSERT_LT(first.size(), entries.size());
  EXPECT_EQ(machine->applied().index, first.back().index);
  EXPECT_EQ(machine->Apply(entries).error().code(), Code::kOutOfSpace);
  store.writes_left = SIZE_MAX;
  const auto rest = machine->Apply(entries).value();
  EXPECT_EQ(first.size() + rest.size(), entries.size());
  EXPECT_EQ(rest.front().index, first.back().index.Next());
  EXPECT_EQ(machine->applied().index, entries.back().index);
  EXPECT_EQ(machine->live_keys(), entries.size());
}

}  // namespace
}  // namespace raftkv::kv
