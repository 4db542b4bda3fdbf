#include "node/runtime/apply_notices.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace raftkv::runtime {
namespace {

constexpr uint64_t kMaxApplyBytes = 4000;

ApplyDone Entries(uint64_t bytes) {
  ApplyDone done;
  done.applied_bytes = bytes;
  return done;
}

ApplyDone Change(uint64_t bytes) {
  ApplyDone done = Entries(bytes);
  done.memberships.emplace_back();
  return done;
}

class ApplyNoticesTest : public testing::Test {
 protected:
  ApplyNotices notices_{kMaxApplyBytes};
};

TEST_F(ApplyNoticesTest, EntriesThatNobodyWaitsForWakeNobody) {
  EXPECT_FALSE(notices_.Add(Entries(10), false));
  EXPECT_FALSE(notices_.Add(Entries(20), false));
  const std::vector<ApplyDone> taken = notices_.Take();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].applied_bytes, 10u);
  EXPECT_EQ(taken[1].applied_bytes, 20u);
  EXPECT_TRUE(notices_.Take().empty());
}

TEST_F(ApplyNoticesTest, AReadThatWaitsIsServedAtOnce) {
  EXPECT_FALSE(notices_.Add(Entries(10), false));
  EXPECT_TRUE(notices_.Add(Entries(20), true));
  EXPECT_EQ(notices_.Take().size(), 2u);
}

TEST_F(ApplyNoticesTest, AChangeOfTheMembershipIsTakenOverAtOnce) {
  EXPECT_TRUE(notices_.Add(Change(10), false));
}

TEST_F(ApplyNoticesTest, AJobWithoutEntriesIsTakenOverAtOnce) {
  ApplyDone flushed;
  flushed.flushed = raft::Index(1);
  EXPECT_TRUE(notices_.Add(std::move(flushed), false));
}

TEST_F(ApplyNoticesTest, OneWakeIsForAllThatIsTakenThen) {
  EXPECT_TRUE(notices_.Add(Change(10), false));
  EXPECT_FALSE(notices_.Add(Change(10), true));
  EXPECT_EQ(notices_.Take().size(), 2u);
  EXPECT_TRUE(notices_.Add(Change(10), false));
}

// A replica that is never told gets no more entries from its core.
TEST_F(ApplyNoticesTest, FewBytesStayUntold) {
  EXPECT_FALSE(notices_.Add(Entries(kMaxApplyBytes / 4 - 1), false));
  EXPECT_TRUE(notices_.Add(Entries(1), false));
  (void)notices_.Take();
  EXPECT_FALSE(notices_.Add(Entries(1), false)) << "what was taken counts no more";
}

TEST_F(ApplyNoticesTest, FewJobsStayUntold) {
  for (size_t i = 1; i < ApplyNotices::kMostJobs; ++i) {
    EXPECT_FALSE(notices_.Add(Entries(1), false));
  }
  EXPECT_TRUE(notices_.Add(Entries(1), false));
  EXPECT_EQ(notices_.Take().size(), ApplyNotices::kMostJobs);
}

}  // namespace
}  // namespace raftkv::runtime
