#include "node/storage/codec.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/random.h"

namespace raftkv::storage {
namespace {

using raft::Index;
using raft::NodeId;
using raft::Term;

constexpr NodeId kSender(0xa1a2a3a4a5a6a7a8);
constexpr NodeId kReceiver(7);

raft::Entry Data(uint64_t term, uint64_t index, std::string data) {
  return {Term(term), Index(index), Buffer(std::move(data))};
}

raft::Entry Change(uint64_t term, uint64_t index) {
  auto change = std::make_shared<raft::ConfChange>();
  change->transition = raft::ConfChangeTransition::kJointExplicit;
  change->steps = {{raft::ConfChangeType::kAddLearner, NodeId(~0ull >> 1)},
                   {raft::ConfChangeType::kRemove, NodeId(2)}};
  change->context = Buffer("context");
  return {Term(term), Index(index), std::shared_ptr<const raft::ConfChange>(change)};
}

raft::Snapshot SomeSnapshot() {
  raft::ConfState conf{
      {NodeId(1), NodeId(2)}, {NodeId(3)}, {NodeId(2), NodeId(9)}, {NodeId(9)}, true};
  return {Index(100), Term(3), conf, Buffer("manifest")};
}

// Through bytes, as on a wire.
template <typename Proto>
Proto Wire(const Proto& in) {
  Proto out;
  EXPECT_TRUE(out.ParseFromString(in.SerializeAsString()));
  return out;
}

raft::Message RoundTrip(raft::MessageBody body, NodeId from = kSender) {
  const raft::Message in{from, kReceiver, Term(9), std::move(body)};
  v1::RaftMessage proto;
  ToProto(in, kSender, &proto);
  EXPECT_EQ(proto.from() == 0, from == kSender);
  Result<raft::Message> out = FromProto(Wire(proto), kSender, kReceiver);
  EXPECT_TRUE(out.has_value()) << out.error().ToString();
  EXPECT_EQ(out->from, from);
  EXPECT_EQ(out->to, kReceiver);
  EXPECT_EQ(out->term, Term(9));
  EXPECT_EQ(out->body.index(), in.body.index());
  return std::move(*out);
}

TEST(Codec, EntriesOfEveryKind) {
  for (const raft::Entry& in : {Data(1, 2, std::string("a\0b", 3)), Data(5, 6, ""),
                                Data(7, 8, std::string(100'000, 'x')), Change(3, 4)}) {
    v1::Entry proto;
    ToProto(in, &proto);
    Result<raft::Entry> out = FromProto(Wire(proto));
    ASSERT_TRUE(out.has_value());
    EXPECT_EQ(*out, in);
  }
}

TEST(Codec, EntryPayloadIsTakenNotCopied) {
  v1::Entry proto;
  ToProto(Data(1, 1, std::string(1000, 'x')), &proto);
  const void* before = proto.data().data();
  EXPECT_EQ(FromProto(std::move(proto))->data().data(), before);
}

TEST(Codec, HardStateConfStateSnapshot) {
  const raft::HardState state{Term(4), NodeId(~0ull - 5), Index(17)};
  EXPECT_EQ(FromProto(Wire(ToProto(state))), state);
  const raft::Snapshot snapshot = SomeSnapshot();
  EXPECT_EQ(FromProto(Wire(ToProto(snapshot.conf))), snapshot.conf);
  EXPECT_EQ(FromProto(Wire(ToProto(snapshot))), snapshot);
  EXPECT_EQ(FromProto(Wire(ToProto(raft::Snapshot()))), raft::Snapshot());
}

TEST(Codec, ConfChangeOfEveryTypeAndTransition) {
  for (int transition = 0; transition <= 2; ++transition) {
    for (int type = 0; type <= 3; ++type) {
      raft::ConfChange in;
      in.transition = static_cast<raft::ConfChangeTransition>(transition);
      in.steps = {{static_cast<raft::ConfChangeType>(type), NodeId(5)}};
      in.single = type == 1;
      Result<raft::ConfChange> out = FromProto(Wire(ToProto(in)));
      ASSERT_TRUE(out.has_value());
      EXPECT_EQ(*out, in);
    }
  }
}

TEST(Codec, MessagesWithEntries) {
  const std::vector<raft::Entry> entries = {Data(7, 11, "a"), Change(8, 12), Data(9, 13, "")};
  EXPECT_EQ(RoundTrip(raft::Propose{{Data(0, 0, "proposal")}}).As<raft::Propose>().entries,
            std::vector<raft::Entry>{Data(0, 0, "proposal")});
  const raft::AppendEntries append{{Term(7), Index(10)}, entries, Index(9)};
  const raft::Message out = RoundTrip(append);
  EXPECT_EQ(out.As<raft::AppendEntries>().prev, append.prev);
  EXPECT_EQ(out.As<raft::AppendEntries>().entries, entries);
  EXPECT_EQ(out.As<raft::AppendEntries>().commit, Index(9));
}

TEST(Codec, Responses) {
  const raft::Message out = RoundTrip(raft::AppendResponse{Index(5), true, Index(3), Term(2)});
  EXPECT_EQ(out.As<raft::AppendResponse>().index, Index(5));
  EXPECT_TRUE(out.As<raft::AppendResponse>().rejected);
  EXPECT_EQ(out.As<raft::AppendResponse>().hint_index, Index(3));
  EXPECT_EQ(out.As<raft::AppendResponse>().hint_term, Term(2));
  EXPECT_TRUE(RoundTrip(raft::VoteResponse{true}).As<raft::VoteResponse>().rejected);
  EXPECT_FALSE(RoundTrip(raft::PreVoteResponse{false}).As<raft::PreVoteResponse>().rejected);
}

TEST(Codec, Votes) {
  const raft::EntryId last{Term(3), Index(33)};
  EXPECT_EQ(RoundTrip(raft::RequestVote{last, true}).As<raft::RequestVote>().last, last);
  EXPECT_TRUE(RoundTrip(raft::RequestVote{last, true}).As<raft::RequestVote>().leader_transfer);
  EXPECT_EQ(RoundTrip(raft::RequestPreVote{last}).As<raft::RequestPreVote>().last, last);
}

TEST(Codec, HeartbeatsReadsTransferAndSnapshot) {
  const raft::Message beat = RoundTrip(raft::Heartbeat{Index(4), Buffer("n1")});
  EXPECT_EQ(beat.As<raft::Heartbeat>().commit, Index(4));
  EXPECT_EQ(beat.As<raft::Heartbeat>().read_counter.view(), "n1");
  EXPECT_EQ(RoundTrip(raft::HeartbeatResponse{Buffer("n2")})
                .As<raft::HeartbeatResponse>()
                .read_counter.view(),
            "n2");
  EXPECT_EQ(RoundTrip(raft::ReadIndex{Buffer("ctx")}).As<raft::ReadIndex>().context.view(), "ctx");
  const raft::Message read = RoundTrip(raft::ReadIndexResponse{Index(6), Buffer("ctx")});
  EXPECT_EQ(read.As<raft::ReadIndexResponse>().index, Index(6));
  EXPECT_EQ(read.As<raft::ReadIndexResponse>().context.view(), "ctx");
  RoundTrip(raft::TimeoutNow{});
  RoundTrip(raft::TransferLeader{}, NodeId(3));  // from = the transferee
  EXPECT_EQ(RoundTrip(raft::InstallSnapshot{SomeSnapshot()}).As<raft::InstallSnapshot>().snapshot,
            SomeSnapshot());
}

TEST(CodecDeathTest, LocalMessagesNeverLeave) {
  v1::RaftMessage proto;
  EXPECT_DEATH(ToProto({kSender, kSender, Term(), raft::Campaign{}}, kSender, &proto), "local");
  EXPECT_DEATH(
      ToProto({kSender, raft::kAppendThread, Term(), raft::StorageAppend{}}, kSender, &proto),
      "local");
}

void ExpectCorrupt(v1::RaftMessage proto) {
  Result<raft::Message> out = FromProto(std::move(proto), kSender, kReceiver);
  ASSERT_FALSE(out.has_value());
  EXPECT_EQ(out.error().code(), Code::kCorruption);
}

v1::RaftMessage Append(std::vector<raft::Entry> entries, uint64_t prev_index, uint64_t prev_term,
                       uint64_t term) {
  v1::RaftMessage proto;
  ToProto({kSender, kReceiver, Term(term),
           raft::AppendEntries{{Term(prev_term), Index(prev_index)}, std::move(entries), Index(1)}},
          kSender, &proto);
  return proto;
}

TEST(Codec, RefusesWhatCannotBe) {
  ExpectCorrupt(v1::RaftMessage());
  ExpectCorrupt(Append({Data(2, 12, "gap")}, 10, 2, 5));
  ExpectCorrupt(Append({Data(2, 11, ""), Data(2, 11, "twice")}, 10, 2, 5));
  ExpectCorrupt(Append({Data(1, 11, "term falls")}, 10, 2, 5));
  ExpectCorrupt(Append({Data(6, 11, "from the future")}, 10, 2, 5));
  ExpectCorrupt(Append({Data(2, 0, "wraps")}, ~0ull, 2, 5));

  v1::RaftMessage step = Append({Change(2, 11)}, 10, 2, 5);
  v1::ConfChange* change = step.mutable_append()->mutable_entries(0)->mutable_conf_change();
  change->mutable_steps(0)->set_type(static_cast<v1::ConfChange::Type>(9));
  ExpectCorrupt(step);
  change->mutable_steps(0)->set_type(v1::ConfChange::REMOVE);
  change->set_transition(static_cast<v1::ConfChange::Transition>(9));
  ExpectCorrupt(step);
  change->set_transition(v1::ConfChange::AUTO);
  change->set_single(true);  // with two steps
  ExpectCorrupt(step);
}

// The vectors of RFC 3720, appendix B.4.
TEST(Crc32c, KnownVectors) {
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<char>(i));
  const std::string descending(ascending.rbegin(), ascending.rend());
  for (auto* crc : {&Crc32c, &Crc32cPortable}) {
    EXPECT_EQ(crc("", 0), 0u);
    EXPECT_EQ(crc("123456789", 0), 0xe3069283u);
    EXPECT_EQ(crc(std::string(32, '\0'), 0), 0x8a9136aau);
    EXPECT_EQ(crc(std::string(32, '\xff'), 0), 0x62a8ab43u);
    EXPECT_EQ(crc(ascending, 0), 0x46dd794eu);
    EXPECT_EQ(crc(descending, 0), 0x113fdb5cu);
  }
}

TEST(Crc32c, ContinuesAndAgreesWithThePortableForm) {
  SeededRandom random(1);
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    const size_t cut = random.Uniform(bytes.size() + 1);
    const std::string_view all = bytes;
    EXPECT_EQ(Crc32c(all.substr(cut), Crc32c(all.substr(0, cut))), Crc32cPortable(all));
    bytes.push_back(static_cast<char>(random.Next()));
  }
}

}  // namespace
}  // namespace raftkv::storage
