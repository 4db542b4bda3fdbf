#include "tests/simulation/sim_files.h"

#include <gtest/gtest.h>

#include <set>

#include "node/runtime/rebuild.h"
#include "node/runtime/recovery.h"

namespace raftkv::sim {
namespace {

struct Crashed {};

class SimFilesTest : public testing::Test {
 protected:
  SimFilesTest() { EXPECT_TRUE(files_.MakeDirs("/n").ok()); }

  // Whether `work` came to its end, with a crash before the `step`th change.
  bool CrashesBefore(int step, const std::function<void()>& work) {
    files_.SetBeforeChange([&step] {
      if (step-- == 0) throw Crashed();
    });
    bool ended = true;
    try {
      work();
    } catch (const Crashed&) {
      ended = false;
    }
    files_.SetBeforeChange({});
    files_.Crash(random_);
    return ended;
  }
  std::string Read(const std::string& path) { return files_.ReadFile(path).value_or("(missing)"); }

  Coverage coverage_;
  SeededRandom random_{1};
  SimFiles files_{&coverage_};
};

TEST_F(SimFilesTest, NamesAreLostOrKeptUntilTheDirectoryIsSynced) {
  std::set<std::string> seen;
  for (int i = 0; i < 40; ++i) {
    files_.Put("/n/a", "old");
    ASSERT_TRUE(files_.WriteFile("/n/b", "new").ok());
    ASSERT_TRUE(files_.SyncDir("/n").ok());
    ASSERT_TRUE(files_.Rename("/n/b", "/n/a").ok());
    EXPECT_EQ(Read("/n/a"), "new");
    EXPECT_FALSE(files_.Exists("/n/b"));
    files_.Crash(random_);
    seen.insert(Read("/n/a") + (files_.Exists("/n/b") ? " b" : ""));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"old b", "new"}));
  ASSERT_TRUE(files_.WriteFile("/n/b", "newer").ok());
  ASSERT_TRUE(files_.Rename("/n/b", "/n/a").ok());
  ASSERT_TRUE(files_.SyncDir("/n").ok());
  files_.Crash(random_);
  EXPECT_EQ(Read("/n/a"), "newer");
}

TEST_F(SimFilesTest, WhatIsBelowALostNameIsLost) {
  std::set<std::string> seen;
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(files_.MakeDirs("/n/d").ok());
    files_.Put("/n/d/x", "1");
    ASSERT_TRUE(files_.Rename("/n/d", "/n/e").ok());
    ASSERT_TRUE(files_.WriteFile("/n/e/y", "2").ok());
    files_.Crash(random_);
    seen.insert(Read("/n/d/x") + Read("/n/e/x") + Read("/n/e/y"));
    ASSERT_TRUE(files_.RemoveTree("/n/d").ok());
    ASSERT_TRUE(files_.RemoveTree("/n/e").ok());
    ASSERT_TRUE(files_.SyncDir("/n").ok());
  }
  EXPECT_EQ(seen,
            (std::set<std::string>{"1(missing)(missing)", "(missing)1(missing)", "(missing)12"}));
}

TEST_F(SimFilesTest, BytesThatWereNotSyncedMayBeTornAtSectors) {
  std::set<std::string> seen;
  for (int i = 0; i < 60; ++i) {
    files_.Put("/n/a", std::string(600, 'o'));
    // Before the sync, which is the second change.
    EXPECT_FALSE(CrashesBefore(1, [&] { (void)files_.WriteFile("/n/a", std::string(1000, 'n')); }));
    const std::string left = Read("/n/a");
    ASSERT_EQ(left.size(), 1000u);
    seen.insert({left[0], left[511], left[512], left[999]});
  }
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_TRUE(seen.contains(std::string("nno\0", 4)));
}

// The real data directory on it: whatever a crash comes between, the identity is the old or the
// new.
TEST_F(SimFilesTest, ACrashLeavesTheOldOrTheNewIdentity) {
  std::set<uint64_t> left;
  for (int step = 0, ended = 0; ended < 2; ++step) {
    files_.Put("/n/identity", "");
    files_.Erase("/n/identity");
    uint64_t next = 1;
    auto dir = storage::DataDir::Open("/n", "n", files_, [&next] { return next++; });
    ASSERT_TRUE(dir.has_value()) << dir.error().ToString();
    const bool done = CrashesBefore(step % 8, [&] {
      v1::Identity identity = (*dir)->identity();
      identity.set_cluster_id(7);
      EXPECT_TRUE((*dir)->SetIdentity(identity).ok());
    });
    const Result<v1::Identity> found = storage::ReadIdentity("/n", files_);
    ASSERT_TRUE(found.has_value()) << found.error().ToString();
    EXPECT_EQ(found->member_id(), 1u);
    EXPECT_TRUE(!done || found->cluster_id() == 7) << "it is durable";
    ended += done ? 1 : 0;
    left.insert(found->cluster_id());
  }
  EXPECT_EQ(left, (std::set<uint64_t>{0, 7}));
}

// Likewise: it is the old member with all of its files, or DIR/rebuild says that it is given up.
TEST_F(SimFilesTest, ACrashLeavesTheDamagedMemberOrAPlaceToTake) {
  runtime::Options options;
  options.data_dir = "/n";
  v1::MemberNote note;
  note.set_member_id(1);
  note.set_cluster_id(7);
  std::set<bool> left;
  for (int round = 0; round < 400; ++round) {
    for (const char* name : {"identity", "log", "state", "rebuild", "damaged-0000000000000001"}) {
      ASSERT_TRUE(files_.RemoveTree(std::string("/n/") + name).ok());
    }
    ASSERT_TRUE(files_.SyncDir("/n").ok());
    ASSERT_TRUE(storage::DataDir::Open("/n", "n", files_, [] { return 1; }).has_value());
    for (const char* name : {"/n/log", "/n/state"}) {
      ASSERT_TRUE(files_.MakeDirs(name).ok());
      files_.Put(std::string(name) + "/CURRENT", "");
    }
    const bool ended = CrashesBefore(
        round % 20, [&] { EXPECT_TRUE(runtime::SetAside(options, note, files_).ok()); });
    // The next start may be cut short, too.
    (void)CrashesBefore(round / 20, [&] { (void)runtime::FinishSetAside("/n", files_); });
    const auto given_up = runtime::FinishSetAside("/n", files_);
    ASSERT_TRUE(given_up.has_value()) << given_up.error().ToString();
    left.insert(given_up->has_value());
    EXPECT_TRUE(given_up->has_value() || !ended);
    const auto dir = storage::DataDir::Open("/n", "n", files_, [] { return 2; });
    ASSERT_TRUE(dir.has_value()) << dir.error().ToString();
    EXPECT_EQ((*dir)->identity().member_id(), *given_up ? 2u : 1u) << "round " << round;
    EXPECT_EQ(files_.Exists("/n/log/CURRENT"), !*given_up);
    EXPECT_EQ(files_.Exists("/n/state/CURRENT"), !*given_up);
  }
  EXPECT_EQ(left, (std::set<bool>{false, true}));
}

}  // namespace
}  // namespace raftkv::sim
