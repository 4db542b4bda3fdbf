// Readers in other threads than the one that applies: whatever they read is one revision's.
#include <gtest/gtest.h>

#include <algorithm>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "node/kv/test_support.h"

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

INSTANTIATE_TEST_SUITE_P(Stores, ConcurrencyTest,
                         testing::Values(StoreKind::kMemory, StoreKind::kRocks),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace raftkv::kv
