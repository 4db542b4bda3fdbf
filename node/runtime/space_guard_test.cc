#include "node/runtime/space_guard.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "base/log.h"

namespace raftkv::runtime {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class TestClock final : public Clock {
 public:
  MonotonicTime Now() const override { return now; }
  MonotonicTime now{std::chrono::hours(1)};
};

class SpaceGuardTest : public testing::Test {
 protected:
  SpaceGuardTest() {
    std::string name = "/tmp/raftkv-space-XXXXXX";
    dir_ = mkdtemp(name.data());
  }
  ~SpaceGuardTest() override { std::filesystem::remove_all(dir_); }

  // A disk of which `free_` bytes are free without the reserve.
  std::unique_ptr<SpaceGuard> Make(SpaceGuard::Limits limits) {
    return std::make_unique<SpaceGuard>(dir_, limits, &clock_, [this, limits] {
      const bool held = std::filesystem::exists(dir_ + "/reserve");
      return std::optional(free_ - (held ? limits.reserve_bytes : 0));
    });
  }
  void Look(SpaceGuard& guard, SpaceGuard::StateSize state = {}) {
    clock_.now += std::chrono::seconds(1);
    guard.Look(state);
  }
  bool HasReserve() const { return std::filesystem::exists(dir_ + "/reserve"); }

  std::string dir_;
  TestClock clock_;
  uint64_t free_ = 0;
};

TEST_F(SpaceGuardTest, RefusesBelowMinFreeAndAcceptsAgain) {
  auto guard = Make({.min_free_bytes = 16 * kMiB});
  free_ = 32 * kMiB;
  Look(*guard);
  EXPECT_TRUE(guard->Admit(1000));
  free_ = 15 * kMiB;
  Look(*guard);
  EXPECT_TRUE(guard->full());
  EXPECT_FALSE(guard->Admit(1));
  free_ = 16 * kMiB;  // within the margin
  Look(*guard);
  EXPECT_TRUE(guard->full());
  free_ = 18 * kMiB;
  Look(*guard);
  EXPECT_TRUE(guard->Admit(1000));
}

// A node whose disk had room for small values alone refused all others with 507 and said nowhere
// that it did.
TEST_F(SpaceGuardTest, WhatIsRefusedForItsSizeIsSaidForAWhile) {
  auto guard = Make({.min_free_bytes = 16 * kMiB});
  free_ = 17 * kMiB;
  Look(*guard);
  EXPECT_FALSE(guard->refuses());
  clock_.now += SpaceGuard::kBetweenLooks;
  EXPECT_FALSE(guard->Admit(kMiB));
  EXPECT_FALSE(guard->full());
  EXPECT_TRUE(guard->refuses());
  EXPECT_TRUE(guard->Admit(1000));
  EXPECT_TRUE(guard->refuses());
  clock_.now += SpaceGuard::kRefusalCounts;
  EXPECT_FALSE(guard->refuses());
}

// One look a second let a fast writer go straight from the limit to a full disk.
TEST_F(SpaceGuardTest, WhatIsAdmittedBetweenTwoLooksIsCharged) {
  auto guard = Make({.min_free_bytes = 16 * kMiB});
  free_ = 32 * kMiB;
  Look(*guard);
  uint64_t admitted = 0;
  while (guard->Admit(64 << 10)) admitted += 64 << 10;
  EXPECT_LE(admitted * SpaceGuard::kCostPerByte, 16 * kMiB);
  EXPECT_GT(admitted * SpaceGuard::kCostPerByte, 15 * kMiB);
  EXPECT_FALSE(guard->full());
  // The refused writer looks itself, when the last look is not too new; what was charged before may
  // still be under way and stays charged for one look.
  clock_.now += SpaceGuard::kBetweenLooks;
  free_ = 64 * kMiB;
  EXPECT_TRUE(guard->Admit(64 << 10));
  EXPECT_FALSE(guard->Admit(12 * kMiB));
  clock_.now += SpaceGuard::kBetweenLooks;
  EXPECT_TRUE(guard->Admit(12 * kMiB));
}

TEST_F(SpaceGuardTest, QuotaCountsWhatIsNotFlushed) {
  auto guard = Make({.quota_bytes = 10 * kMiB});
  free_ = 1000 * kMiB;
  Look(*guard, {.disk_bytes = 8 * kMiB, .unflushed_bytes = 1 * kMiB});
  EXPECT_FALSE(guard->full());
  Look(*guard, {.disk_bytes = 8 * kMiB, .unflushed_bytes = 3 * kMiB});
  EXPECT_TRUE(guard->full());
}

// A small disk with a small limit ran full while the state was compacted.
TEST_F(SpaceGuardTest, ThereIsRoomForACompaction) {
  auto guard = Make({.min_free_bytes = 8 * kMiB});
  free_ = 30 * kMiB;
  Look(*guard, {.disk_bytes = 20 * kMiB});
  EXPECT_FALSE(guard->full());
  Look(*guard, {.disk_bytes = 25 * kMiB, .unflushed_bytes = 3 * kMiB});
  EXPECT_TRUE(guard->full());
  free_ = 1000 * kMiB;
  Look(*guard, {.disk_bytes = 20'000 * kMiB});
  EXPECT_FALSE(guard->full());
}

// The share of the volume that is free says nothing of what a node still takes: on one of 400 MiB
// with the usual limits writes were refused when almost two thirds were free.
TEST_F(SpaceGuardTest, LittleIsLeftBeforeAnythingIsRefused) {
  for (const uint64_t volume : {64, 100, 400, 700, 1024, 4096}) {
    for (const uint64_t min_free : {1, 8, 32, 256}) {
      if (volume <= min_free + 32) continue;
      const SpaceGuard::Limits limits{.min_free_bytes = min_free * kMiB,
                                      .reserve_bytes = std::min<uint64_t>(min_free, 32) * kMiB};
      std::filesystem::remove(dir_ + "/reserve");
      auto guard = Make(limits);
      SpaceGuard::StateSize state;
      uint64_t used = 0;
      bool warned = false;
      uint64_t warned_at = 0;
      // Six MiB in memory are flushed at once; at times all of it, or 96 MiB, is compacted.
      for (uint64_t i = 1;; ++i) {
        state.unflushed_bytes += 64 << 10;
        if (state.unflushed_bytes == 6 * kMiB) {
          state.disk_bytes += std::exchange(state.unflushed_bytes, 0);
        }
        used = state.disk_bytes;
        const bool compacts = i % 256 == 0;
        const uint64_t dip = compacts ? std::min(state.disk_bytes, 96 * kMiB) : 0;
        free_ = volume * kMiB - std::min(volume * kMiB, used + dip);
        Look(*guard, state);
        if (!guard->Admit(1000)) break;
        if (compacts) continue;
        const uint64_t left = guard->left_bytes();
        const bool warns = static_cast<double>(left) < 0.15 * static_cast<double>(left + used);
        ASSERT_TRUE(warns || !warned)
            << "it comes and goes: " << volume << " MiB, " << min_free << " to stay free, " << used;
        if (warns && !std::exchange(warned, true)) warned_at = used;
      }
      EXPECT_TRUE(warned) << volume << " MiB, refused with " << used;
      EXPECT_LT(warned_at, used) << volume << " MiB";
      EXPECT_EQ(guard->left_bytes(), 0u) << volume << " MiB";
    }
  }
}

TEST_F(SpaceGuardTest, WhatIsLeftOfTheQuotaCounts) {
  auto guard = Make({.quota_bytes = 10 * kMiB});
  free_ = 1000 * kMiB;
  Look(*guard, {.disk_bytes = 6 * kMiB, .unflushed_bytes = 1 * kMiB});
  EXPECT_EQ(guard->left_bytes(), 3 * kMiB);
  Look(*guard, {.disk_bytes = 8 * kMiB, .unflushed_bytes = 3 * kMiB});
  EXPECT_EQ(guard->left_bytes(), 0u);
}

// A node that has just started reported nothing free, until its first look.
TEST_F(SpaceGuardTest, WhatIsLeftIsKnownFromTheStartOn) {
  auto guard = Make({.min_free_bytes = 16 * kMiB, .reserve_bytes = 4 * kMiB});
  free_ = 64 * kMiB;
  guard->MakeRoom();
  EXPECT_EQ(guard->free_bytes(), 64 * kMiB);
  EXPECT_EQ(guard->left_bytes(), 44 * kMiB);
  Look(*guard);
  EXPECT_EQ(guard->left_bytes(), 44 * kMiB);
}

TEST_F(SpaceGuardTest, TheReserveComesAndGoes) {
  auto guard = Make({.min_free_bytes = 16 * kMiB, .reserve_bytes = 4 * kMiB});
  free_ = 64 * kMiB;
  Look(*guard);
  ASSERT_TRUE(HasReserve());
  EXPECT_EQ(std::filesystem::file_size(guard->reserve_path()), 4 * kMiB);
  Look(*guard);
  EXPECT_EQ(guard->free_bytes(), 60 * kMiB);
  free_ = 14 * kMiB;
  Look(*guard);
  EXPECT_TRUE(guard->full());
  EXPECT_TRUE(HasReserve());  // there is still some space without it
  free_ = 11 * kMiB;
  Look(*guard);
  EXPECT_FALSE(HasReserve());
  free_ = 19 * kMiB;  // of which 4 are the reserve's
  Look(*guard);
  EXPECT_TRUE(guard->full());
  free_ = 30 * kMiB;
  Look(*guard);
  EXPECT_FALSE(guard->full());
  EXPECT_TRUE(HasReserve());
}

// The raft thread and the event loops call Admit: a file was made and removed on them.
TEST_F(SpaceGuardTest, WhoAsksToBeAdmittedLeavesTheReserveToOthers) {
  auto guard = Make({.min_free_bytes = 16 * kMiB, .reserve_bytes = 8 * kMiB});
  free_ = 40 * kMiB;
  Look(*guard);
  ASSERT_TRUE(HasReserve());
  free_ = 8 * kMiB;
  clock_.now += std::chrono::seconds(1);
  // More than the budget: it asks what is free.
  EXPECT_FALSE(guard->Admit(20 * kMiB));
  EXPECT_TRUE(guard->full());
  EXPECT_TRUE(HasReserve());
  // That was just now; the reserve goes nevertheless.
  guard->Look({});
  EXPECT_FALSE(HasReserve());
}

// The simulator's: a node whose clock went back by seconds refused writes for as long, although
// there was space.
TEST_F(SpaceGuardTest, AClockThatWentBackPutsOffNoLook) {
  auto guard = Make({.min_free_bytes = 16 * kMiB});
  free_ = kMiB;
  Look(*guard);
  ASSERT_TRUE(guard->full());
  free_ = 100 * kMiB;
  clock_.now -= std::chrono::seconds(5);
  guard->Look({});
  EXPECT_FALSE(guard->full());
}

TEST_F(SpaceGuardTest, ANodeThatStartsOnAFullDiskTakesTheReserve) {
  free_ = 64 * kMiB;
  Look(*Make({.min_free_bytes = 16 * kMiB, .reserve_bytes = 4 * kMiB}));
  ASSERT_TRUE(HasReserve());
  free_ = 5 * kMiB;
  Make({.min_free_bytes = 16 * kMiB, .reserve_bytes = 4 * kMiB})->MakeRoom();
  EXPECT_FALSE(HasReserve());
}

TEST(Grows, OnlyWhatStoresSomething) {
  v1::Command command;
  command.mutable_delete_()->set_key("k");
  EXPECT_FALSE(Grows(command));
  command.mutable_txn()->add_success()->mutable_delete_()->set_key("k");
  EXPECT_FALSE(Grows(command));
  command.mutable_txn()->add_failure()->mutable_put()->set_key("k");
  EXPECT_TRUE(GrowsSerialized(command.SerializeAsString()));
  command.mutable_put()->set_key("k");
  EXPECT_TRUE(Grows(command));
  EXPECT_FALSE(GrowsSerialized("\xff\xff"));
}

}  // namespace
}  // namespace raftkv::runtime
