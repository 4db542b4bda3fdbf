#include "tests/simulation/memberships.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/kv/test_support.h"
#include "node/storage/codec.h"

namespace raftkv::sim {
namespace {

using ::testing::HasSubstr;

class MembershipsTest : public ::testing::Test {
 protected:
  // The entry at `index` is carried out, or refused.
  std::string Decide(uint64_t index, bool made, uint64_t config_index, uint64_t expected = 0,
                     uint64_t epoch = 0) {
    v1::MembershipChange change;
    change.set_expected_config_index(expected);
    change.set_epoch(epoch);
    kv::MembershipResult result;
    if (!made) result.status = Status(Code::kConflict, "refused");
    result.config_index = config_index;
    result.conf.voters = {raft::NodeId(index)};
    return memberships_.OnDecided(kv::ChangeEntry(index, {}, change), result);
  }
  std::string Answer(uint64_t index, uint64_t told_before, uint64_t expected = 0,
                     bool by_itself = false) {
    v1::ChangeMembershipRequest request;
    request.set_expected_config_index(expected);
    v1::ChangeMembershipResponse response;
    response.set_config_index(index);
    raft::ConfState conf;
    conf.voters = {raft::NodeId(index)};
    *response.mutable_conf() = storage::ToProto(conf);
    return memberships_.OnAnswer(request, told_before, by_itself, response);
  }

  Memberships memberships_;
};

TEST_F(MembershipsTest, ChangesInTheirOrderAreWell) {
  EXPECT_EQ(Decide(4, true, 4, 1, 2), "");
  EXPECT_EQ(Decide(5, false, 4, 1), "");     // of a stale index
  EXPECT_EQ(Decide(6, false, 4, 4, 1), "");  // of an old epoch
  EXPECT_EQ(Answer(4, 0, 1), "");
  EXPECT_EQ(memberships_.told(), 4u);
  EXPECT_EQ(Decide(7, true, 7, 4, 2), "");
  EXPECT_EQ(Decide(8, true, 8), "");  // the departure from a joint configuration
  EXPECT_EQ(Answer(8, 4, 4), "");
  EXPECT_EQ(memberships_.OnRead(4, 8), "");
  EXPECT_EQ(memberships_.OnRead(8, 8), "");
}

TEST_F(MembershipsTest, AChangeOnAnotherConfigurationIsSeen) {
  EXPECT_EQ(Decide(4, true, 4, 1), "");
  EXPECT_THAT(Decide(5, true, 5, 1), HasSubstr("decided on configuration 1 is made on 4"));
}

TEST_F(MembershipsTest, AChangeOfAnOldEpochIsSeen) {
  EXPECT_EQ(Decide(4, true, 4, 0, 3), "");
  EXPECT_EQ(Decide(5, true, 5), "");  // names none, and leaves it
  EXPECT_THAT(Decide(6, true, 6, 0, 2), HasSubstr("of epoch 2 is made after one of epoch 3"));
}

TEST_F(MembershipsTest, AnIndexThatIsNotTheChangesIsSeen) {
  EXPECT_THAT(Decide(4, true, 3), HasSubstr("the last change is at 4"));
  EXPECT_THAT(Decide(4, false, 4), HasSubstr("the last change is at 1"));
}

TEST_F(MembershipsTest, ARestoredClusterBeginsWhereItsSnapshotEnds) {
  memberships_.BeginAt(70);
  EXPECT_EQ(Decide(71, true, 71, 70), "");
}

TEST_F(MembershipsTest, AnswersThatDoNotFitAreSeen) {
  EXPECT_EQ(Decide(4, true, 4, 1), "");
  EXPECT_EQ(Decide(6, true, 6, 4), "");
  EXPECT_THAT(Answer(5, 0), HasSubstr("which nobody has made"));
  EXPECT_THAT(Answer(4, 6), HasSubstr("but 6 was known before it was asked for"));
  EXPECT_THAT(Answer(6, 4, 1), HasSubstr("though it was decided on 1, and 4 was known before"));
  EXPECT_THAT(Answer(6, 0, 5), HasSubstr("but none on 5 was made"));
  // Who goes may not know what came after.
  EXPECT_EQ(Answer(4, 6, 0, /*by_itself=*/true), "");
  v1::ChangeMembershipResponse response;
  response.set_config_index(6);
  EXPECT_THAT(memberships_.OnAnswer({}, 0, false, response), HasSubstr("has other members"));
}

TEST_F(MembershipsTest, AReadThatDoesNotKnowWhatWasAnsweredIsSeen) {
  EXPECT_THAT(memberships_.OnRead(8, 7), HasSubstr("knows configuration 7 alone, but 8 was known"));
}

}  // namespace
}  // namespace raftkv::sim
