#include "node/runtime/space_guard.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

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
