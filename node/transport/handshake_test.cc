#include "node/transport/handshake.h"

#include <gtest/gtest.h>

#include "node/transport/test_util.h"

namespace raftkv::transport {
namespace {

constexpr uint64_t kUs = 2;
constexpr uint64_t kThem = 1;

class HandshakeTest : public ::testing::Test {
 protected:
  static LocalIdentity Identity(uint64_t cluster, uint64_t member) {
    return {.cluster_id = cluster, .member_id = raft::NodeId(member), .name = ""};
  }
  v1::Hello Hello(uint64_t cluster, uint64_t from, uint64_t target,
                  v1::Hello::Purpose purpose = v1::Hello::MESSAGES) {
    return MakeHello(Identity(cluster, from), purpose, raft::NodeId(target));
  }
  v1::HelloReply::Verdict Verdict(const v1::Hello& hello) {
    const v1::HelloReply reply = JudgeHello(us_, hello, receiving_from_, handler_);
    EXPECT_EQ(reply.cluster_id(), us_.cluster_id);
    EXPECT_EQ(reply.member_id(), kUs);
    EXPECT_EQ(reply.message().empty(), reply.verdict() == v1::HelloReply::OK);
    return reply.verdict();
  }

  LocalIdentity us_ = Identity(kCluster, kUs);
  std::optional<raft::NodeId> receiving_from_;
  TestHandler handler_;
};

TEST_F(HandshakeTest, AMemberMaySpeakAndHearsWhoVotes) {
  EXPECT_EQ(Verdict(Hello(kCluster, kThem, kUs)), v1::HelloReply::OK);
  EXPECT_TRUE(JudgeHello(us_, Hello(kCluster, kThem, kUs), {}, handler_).voter());
}

TEST_F(HandshakeTest, StrangersAndTheRemovedAreToldSo) {
  for (const auto verdict : {v1::HelloReply::NOT_A_MEMBER, v1::HelloReply::REMOVED}) {
    handler_.verdicts_to_give[kThem] = verdict;
    EXPECT_EQ(Verdict(Hello(kCluster, kThem, kUs)), verdict);
    EXPECT_EQ(Verdict(Hello(kCluster, kThem, kUs, v1::Hello::SNAPSHOT)), verdict);
  }
}

TEST_F(HandshakeTest, WhoCarriesThisMembersOwnIdIsRefused) {
  EXPECT_EQ(Verdict(Hello(kCluster, kUs, kUs)), v1::HelloReply::NOT_A_MEMBER);
}

TEST_F(HandshakeTest, ABlankNodeSaysSoToWhoeverItIs) {
  us_ = Identity(0, kUs);
  for (const uint64_t target : {kUs, kThem}) {
    EXPECT_EQ(Verdict(Hello(kCluster, kThem, target)), v1::HelloReply::BLANK);
  }
  EXPECT_EQ(Verdict(Hello(0, kThem, kUs)), v1::HelloReply::BLANK);
}

TEST_F(HandshakeTest, AnotherClusterIsRefusedBeforeTheTargetIsLookedAt) {
  EXPECT_EQ(Verdict(Hello(kCluster + 1, kThem, kUs)), v1::HelloReply::WRONG_CLUSTER);
  EXPECT_EQ(Verdict(Hello(kCluster + 1, kThem, kThem)), v1::HelloReply::WRONG_CLUSTER);
  EXPECT_EQ(Verdict(Hello(0, kThem, kUs)), v1::HelloReply::WRONG_CLUSTER);
}

TEST_F(HandshakeTest, WhoSeeksAnotherMemberIsRefused) {
  EXPECT_EQ(Verdict(Hello(kCluster, kThem, 3)), v1::HelloReply::WRONG_TARGET);
  EXPECT_EQ(Verdict(Hello(kCluster, kThem, 0)), v1::HelloReply::WRONG_TARGET);
  EXPECT_EQ(Verdict(Hello(kCluster, kThem, 3, v1::Hello::CALL)), v1::HelloReply::WRONG_TARGET);
}

TEST_F(HandshakeTest, AnyoneMayCall) {
  handler_.verdicts_to_give[kThem] = v1::HelloReply::REMOVED;
  for (const uint64_t cluster : {uint64_t{0}, kCluster, kCluster + 1}) {
    EXPECT_EQ(Verdict(Hello(cluster, kThem, 0, v1::Hello::CALL)), v1::HelloReply::OK);
    EXPECT_EQ(Verdict(Hello(cluster, kUs, kUs, v1::Hello::CALL)), v1::HelloReply::OK);
  }
}

TEST_F(HandshakeTest, OtherVersionsAndPurposesAreRefused) {
  v1::Hello hello = Hello(kCluster, kThem, kUs);
  hello.set_protocol_version(kProtocolVersion + 1);
  EXPECT_EQ(Verdict(hello), v1::HelloReply::WRONG_VERSION);
  hello = Hello(kCluster, kThem, kUs);
  hello.set_purpose(static_cast<v1::Hello::Purpose>(9));
  EXPECT_EQ(Verdict(hello), v1::HelloReply::WRONG_VERSION);
}

TEST_F(HandshakeTest, OneSnapshotComesInAtATime) {
  const v1::Hello hello = Hello(kCluster, kThem, kUs, v1::Hello::SNAPSHOT);
  EXPECT_EQ(Verdict(hello), v1::HelloReply::OK);
  receiving_from_ = raft::NodeId(3);
  EXPECT_EQ(Verdict(hello), v1::HelloReply::BUSY);
  EXPECT_EQ(Verdict(Hello(kCluster, kThem, kUs)), v1::HelloReply::OK);
  receiving_from_ = raft::NodeId(kThem);
  EXPECT_EQ(Verdict(hello), v1::HelloReply::OK) << "its last connection broke unnoticed";
}

TEST_F(HandshakeTest, StrangersHaveThreeCalls) {
  v1::PeerCall join;
  join.mutable_join();
  v1::PeerCall ask;
  ask.mutable_who_are_you();
  v1::PeerCall adopt;
  adopt.mutable_adopt();
  v1::PeerCall forward;
  forward.set_command("x");
  const auto judge = [this](uint64_t cluster, const v1::PeerCall& call) {
    return JudgeStrangerCall(us_, Hello(cluster, kThem, 0, v1::Hello::CALL), call).code();
  };
  for (const v1::PeerCall* call : {&join, &ask, &adopt}) {
    EXPECT_EQ(judge(kCluster, *call), Code::kOk);
    EXPECT_EQ(judge(0, *call), Code::kOk);
    EXPECT_EQ(judge(kCluster + 1, *call),
              call->has_who_are_you() ? Code::kOk : Code::kFailedPrecondition);
  }
  EXPECT_EQ(judge(kCluster, forward), Code::kInvalidArgument);
  us_ = Identity(0, kUs);
  EXPECT_EQ(judge(kCluster + 1, adopt), Code::kOk) << "a blank node belongs to none yet";
}

}  // namespace
}  // namespace raftkv::transport
