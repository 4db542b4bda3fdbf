#include "tests/simulation/sim_log.h"

#include <gtest/gtest.h>

namespace raftkv::sim {
namespace {

class Silent final : public LogObserver {
 public:
  void OnLogged(const SimLog&, raft::NodeId, const raft::Entry&, raft::EntryId) override {}
};

class SimLogTest : public testing::Test {
 protected:
  storage::LogWrite Entries(uint64_t first, std::vector<uint64_t> terms) {
    storage::LogWrite write;
    for (const uint64_t term : terms) {
      write.entries.push_back({raft::Term(term), raft::Index(first++), Buffer()});
    }
    return write;
  }
  void Write(const storage::LogWrite& write) {
    ASSERT_TRUE(log_.Append(std::span(&write, 1)).ok());
  }

  Coverage coverage_;
  Silent silent_;
  SimLog log_{&coverage_, &silent_};
};

TEST_F(SimLogTest, CrashKeepsSomePrefixOfWhatIsInFlight) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SeededRandom random(seed);
    SimLog log(&coverage_, &silent_);
    const storage::LogWrite first = Entries(1, {1});
    ASSERT_TRUE(log.Append(std::span(&first, 1)).ok());
    log.SetDeferred(true);
    const storage::LogWrite more[] = {Entries(2, {1}), Entries(3, {1})};
    ASSERT_TRUE(log.Append(more).ok());
    const storage::LogWrite last = Entries(4, {1});
    ASSERT_TRUE(log.Append(std::span(&last, 1)).ok());
    EXPECT_EQ(log.durable_last_index(), raft::Index(1));
    log.Crash(random);
    seen.insert(log.last_index().value);
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{1, 2, 3, 4}));
  EXPECT_GT(coverage_.count(Path::crash_tore_write), 0u);
}

TEST_F(SimLogTest, CrashBringsBackACutSuffix) {
  Write(Entries(1, {1, 1, 1}));
  log_.SetDeferred(true);
  Write(Entries(2, {2}));
  EXPECT_EQ(log_.last_index(), raft::Index(2));
  EXPECT_EQ(log_.durable_last_index(), raft::Index(1));
  std::set<uint64_t> seen;
  SeededRandom random(1);
  SimLog copy = log_;
  for (int i = 0; i < 50; ++i) {
    SimLog again = copy;
    again.Crash(random);
    seen.insert(again.last_index().value);
    EXPECT_EQ(again.term(raft::Index(2))->value, again.last_index().value == 3 ? 1u : 2u);
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{2, 3}));
}

TEST_F(SimLogTest, SyncedWritesStay) {
  log_.SetDeferred(true);
  Write(Entries(1, {1, 1}));
  log_.Synced();
  SeededRandom random(1);
  log_.Crash(random);
  EXPECT_EQ(log_.last_index(), raft::Index(2));
}

TEST_F(SimLogTest, AnUnsyncedCommitIndexMayBeLost) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    SimLog log(&coverage_, &silent_);
    storage::LogWrite write = Entries(1, {1});
    write.hard_state = raft::HardState{raft::Term(1), raft::NodeId(1), raft::Index(0)};
    ASSERT_TRUE(log.Append(std::span(&write, 1)).ok());
    storage::LogWrite commit;
    commit.hard_state = raft::HardState{raft::Term(1), raft::NodeId(1), raft::Index(1)};
    commit.sync = false;
    ASSERT_TRUE(log.Append(std::span(&commit, 1)).ok());
    log.Crash(random);
    seen.insert(log.hard_state().commit.value);
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{0, 1}));
}

TEST_F(SimLogTest, CrashUndoesAReset) {
  Write(Entries(1, {1, 1}));
  log_.SetDeferred(true);
  ASSERT_TRUE(log_.Reset({raft::Term(3), raft::Index(9)}, {}).ok());
  std::set<uint64_t> seen;
  SeededRandom random(1);
  for (int i = 0; i < 50; ++i) {
    SimLog again = log_;
    again.Crash(random);
    seen.insert(again.last_index().value);
  }
  EXPECT_EQ(seen, (std::set<uint64_t>{2, 9}));
}

// What is copied is what a crash could not take away; it goes into another log as it is.
TEST_F(SimLogTest, ACopyHoldsWhatIsDurable) {
  Write(Entries(1, {1, 1, 1}));
  ASSERT_TRUE(log_.TruncatePrefix(raft::Index(1)).ok());
  log_.SetDeferred(true);
  Write(Entries(3, {2, 2}));
  const SimLog::Image image = log_.Copy();
  EXPECT_EQ(log_.last_index(), raft::Index(4)) << "nothing is taken back in the log itself";
  EXPECT_EQ(image.last_index(), raft::Index(3));
  EXPECT_EQ(image.entries.back().term, raft::Term(1));
  SimLog other(&coverage_, &silent_);
  other.Load(image);
  EXPECT_EQ(other.first_index(), raft::Index(2));
  EXPECT_EQ(other.durable_last_index(), raft::Index(3));
}

// Nothing of what the disk has no room for is there; what was dropped is room again when the log
// flushes.
TEST_F(SimLogTest, AFullDiskRefuses) {
  SimSpace space([this] { return log_.stored_bytes(); });
  log_.SetSpace(&space);
  const auto large = [](uint64_t index) {
    storage::LogWrite write;
    write.entries.push_back({raft::Term(1), raft::Index(index), Buffer(std::string(400, 'v'))});
    return write;
  };
  Write(large(1));
  space.Leave(600 * SimSpace::kScale);
  Write(large(2));
  const storage::LogWrite third = large(3);
  EXPECT_EQ(log_.Append(std::span(&third, 1)).code(), Code::kOutOfSpace);
  EXPECT_EQ(log_.last_index(), raft::Index(2));
  EXPECT_EQ(log_.GiveBackSpace().code(), Code::kOutOfSpace) << "that needs some itself";

  space.Leave(500 * SimSpace::kScale);
  EXPECT_EQ(log_.TruncatePrefix(raft::Index(1)).code(), Code::kOutOfSpace) << "a flush has failed";
  ASSERT_TRUE(log_.Resume().ok());
  ASSERT_TRUE(log_.TruncatePrefix(raft::Index(1)).ok());
  const uint64_t before = space.free();
  ASSERT_TRUE(log_.GiveBackSpace().ok());
  EXPECT_GE(space.free(), before + 400 * SimSpace::kScale);
  space.Leave(0);
  EXPECT_EQ(log_.TruncatePrefix(raft::Index(2)).code(), Code::kOutOfSpace);
  space.Clear();
  Write(third);
  EXPECT_EQ(log_.last_index(), raft::Index(3));
}

}  // namespace
}  // namespace raftkv::sim
