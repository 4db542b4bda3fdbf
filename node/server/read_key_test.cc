#include "node/server/read_key.h"

#include <gtest/gtest.h>

#include <functional>

#include "node/kv/test_support.h"

namespace raftkv::server {
namespace {

// A state machine to which something happens just before the newest state of a key is read.
class RacingState final : public kv::StateMachine {
 public:
  explicit RacingState(kv::TestMachine* machine) : machine_(machine) {}
  void BeforeGet(std::function<void()> race) { race_ = std::move(race); }

  Result<std::optional<kv::KeyValue>> Get(std::string_view key, uint64_t revision) const override {
    if (revision == 0 && race_) std::exchange(race_, nullptr)();
    return (*machine_)->Get(key, revision);
  }
  kv::AppliedState applied() const override { return (*machine_)->applied(); }

  Status InitializeCluster(const v1::ClusterState& initial) override {
    return (*machine_)->InitializeCluster(initial);
  }
  Result<std::vector<kv::ApplyResult>> Apply(std::span<const raft::Entry> entries) override {
    return (*machine_)->Apply(entries);
  }
  std::optional<std::vector<kv::ApplyResult>> ApplyInMemory(
      std::span<const raft::Entry> entries) override {
    return (*machine_)->ApplyInMemory(entries);
  }
  Result<bool> CollectGarbage(size_t most) override { return (*machine_)->CollectGarbage(most); }
  void PrepareReplace() override { (*machine_)->PrepareReplace(); }
  Status ReloadAfterReplace() override { return (*machine_)->ReloadAfterReplace(); }
  Result<raft::Index> FlushedIndex() const override { return (*machine_)->FlushedIndex(); }
  std::shared_ptr<const v1::ClusterState> cluster() const override {
    return (*machine_)->cluster();
  }
  Result<kv::RangeResult> Range(const kv::RangeRequest& request) const override {
    return (*machine_)->Range(request);
  }
  uint64_t readable_revision() const override { return (*machine_)->readable_revision(); }
  Result<kv::StateHash> Hash() const override { return (*machine_)->Hash(); }
  uint64_t live_keys() const override { return (*machine_)->live_keys(); }
  uint64_t stored_versions() const override { return (*machine_)->stored_versions(); }

 private:
  kv::TestMachine* const machine_;
  mutable std::function<void()> race_;
};

class ReadKeyTest : public ::testing::Test {
 protected:
  ReadKeyTest() {
    machine_.Do(kv::Put("a", "1"));
    machine_.Do(kv::Put("b", "2"));
  }
  // The answer has to be what the state was at the revision that it tells.
  void ExpectTrue(const ReadKeyResult& read) {
    const auto there = machine_->Get("a", read.revision);
    ASSERT_TRUE(there.has_value());
    EXPECT_EQ(read.item.has_value(), there->has_value()) << "at revision " << read.revision;
  }

  kv::TestMachine machine_;
  RacingState state_{&machine_};
};

TEST_F(ReadKeyTest, NewestAndOlder) {
  EXPECT_EQ(ReadKey(state_, "a", 0)->revision, 3u);
  EXPECT_EQ(ReadKey(state_, "b", 2)->revision, 2u);
  EXPECT_FALSE(ReadKey(state_, "b", 2)->item);
  EXPECT_EQ(ReadKey(state_, "c", 0)->revision, 3u);
  EXPECT_EQ(ReadKey(state_, "a", 9).error().code(), Code::kInvalidArgument);
}

// The fault suite (row point-send_before, seed 101) saw a 404 with a revision at which the key was
// there.
TEST_F(ReadKeyTest, AKeyThatIsDeletedMeanwhileWasThereAtTheRevisionBefore) {
  state_.BeforeGet([&] { machine_.Do(kv::Delete("a")); });
  const Result<ReadKeyResult> read = ReadKey(state_, "a", 0);
  ASSERT_TRUE(read.has_value());
  ExpectTrue(*read);
}

TEST_F(ReadKeyTest, ACompactionInBetweenIsNoAnswer) {
  state_.BeforeGet([&] {
    machine_.Do(kv::Delete("a"));
    machine_.Do(kv::Put("b", "3"));
    machine_.Do(kv::Compact(5));
  });
  const Result<ReadKeyResult> read = ReadKey(state_, "a", 0);
  ASSERT_TRUE(read.has_value()) << read.error().message();
  EXPECT_FALSE(read->item);
  ExpectTrue(*read);
}

}  // namespace
}  // namespace raftkv::server
