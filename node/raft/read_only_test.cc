#include "node/raft/read_only.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace raftkv::raft {
namespace {

JointConfig Voters(std::set<NodeId> incoming, std::set<NodeId> outgoing = {}) {
  return {MajorityConfig(std::move(incoming)), MajorityConfig(std::move(outgoing))};
}

const NodeId kA{1};
const NodeId kB{2};
const NodeId kC{3};

std::vector<std::string> Names(const std::vector<ReadOnly::Confirmed>& reads) {
  std::vector<std::string> out;
  for (const auto& read : reads) out.emplace_back(read.request.context.view());
  return out;
}

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ReadOnly, NumbersReadsFromOne) {
  ReadOnly reads;
  EXPECT_EQ(reads.Pending(), 0u);
  reads.Add(Index(1), {kNone, Buffer("a")});
  EXPECT_EQ(reads.Pending(), 1u);
  reads.Add(Index(2), {kNone, Buffer("b")});
  EXPECT_EQ(reads.Pending(), 2u);
  reads.Ack(kA, 2);
  reads.Ack(kB, 2);
  EXPECT_THAT(Names(reads.TakeConfirmed(Voters({kA, kB, kC}))), ElementsAre("a", "b"));
  EXPECT_EQ(reads.Pending(), 0u) << "nothing waits";
  EXPECT_EQ(reads.Issued(), 2u);
  reads.Add(Index(3), {kNone, Buffer("c")});
  EXPECT_EQ(reads.Pending(), 3u) << "numbers are never reused";
}

TEST(ReadOnly, QuorumConfirmsEverythingUpToItsNumber) {
  ReadOnly reads;
  for (const char* name : {"a", "b", "c"}) reads.Add(Index(7), {kNone, Buffer(name)});
  reads.Ack(kA, 3);
  EXPECT_THAT(reads.TakeConfirmed(Voters({kA, kB, kC})), IsEmpty());
  reads.Ack(kB, 2);
  const auto confirmed = reads.TakeConfirmed(Voters({kA, kB, kC}));
  EXPECT_THAT(Names(confirmed), ElementsAre("a", "b"));
  EXPECT_EQ(confirmed[0].index, Index(7));
  EXPECT_EQ(reads.waiting(), 1u);
}

TEST(ReadOnly, OlderAcksChangeNothing) {
  ReadOnly reads;
  reads.Add(Index(1), {kNone, Buffer("a")});
  reads.Add(Index(1), {kNone, Buffer("b")});
  reads.Ack(kA, 2);
  reads.Ack(kB, 2);
  reads.Ack(kB, 1);  // late
  EXPECT_THAT(Names(reads.TakeConfirmed(Voters({kA, kB, kC}))), ElementsAre("a", "b"));
}

// An acknowledgement for a read that was never issued, from a mangled message or another leader,
// must not confirm future reads.
TEST(ReadOnly, AcksBeyondTheLastReadAreIgnored) {
  ReadOnly reads;
  reads.Add(Index(1), {kNone, Buffer("a")});
  reads.Ack(kA, 1);
  reads.Ack(kB, 5);
  EXPECT_THAT(reads.TakeConfirmed(Voters({kA, kB, kC})), IsEmpty());
  reads.Ack(kB, 1);
  EXPECT_THAT(Names(reads.TakeConfirmed(Voters({kA, kB, kC}))), ElementsAre("a"));
}

TEST(ReadOnly, BothHalvesOfAJointConfigurationConfirm) {
  ReadOnly reads;
  reads.Add(Index(1), {kNone, Buffer("a")});
  const JointConfig joint = Voters({kA, kB}, {kA, kC});
  reads.Ack(kA, 1);
  reads.Ack(kB, 1);
  EXPECT_THAT(reads.TakeConfirmed(joint), IsEmpty());
  reads.Ack(kC, 1);
  EXPECT_THAT(Names(reads.TakeConfirmed(joint)), ElementsAre("a"));
}

TEST(ReadOnly, CounterOnTheWire) {
  EXPECT_TRUE(EncodeReadCounter(0).empty());
  EXPECT_EQ(EncodeReadCounter(0x0102).view(), std::string_view("\x02\x01\0\0\0\0\0\0", 8));
  for (uint64_t counter : {uint64_t{1}, uint64_t{300}, ~uint64_t{0}}) {
    EXPECT_EQ(DecodeReadCounter(EncodeReadCounter(counter).view()), counter);
  }
  EXPECT_EQ(DecodeReadCounter(""), 0u);
  EXPECT_EQ(DecodeReadCounter("short"), 0u);
  EXPECT_EQ(DecodeReadCounter("far too long"), 0u);
}

}  // namespace
}  // namespace raftkv::raft
