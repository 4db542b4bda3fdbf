#include <algorithm>

#include "base/check.h"
#include "node/kv/commands.h"
#include "node/kv/state_machine.h"
#include "node/kv/test_support.h"
#include "node/storage/codec.h"
#include "node/storage/memory_state.h"
#include "node/transport/frame.h"
#include "node/transport/message_codec.h"
#include "tests/fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

using transport::ByteBuffer;
using transport::FrameError;
using transport::FrameReader;

constexpr size_t kMaxBody = size_t{64} << 10;

// A stream in pieces of any size gives the same frames as in one.
void RunFrames(std::string_view input) {
  if (input.empty()) return;
  const size_t piece = static_cast<unsigned char>(input.front()) + size_t{1};
  input.remove_prefix(1);
  const auto read = [input](size_t most) {
    std::vector<std::string> bodies;
    FrameReader reader(kMaxBody);
    std::string_view left = input;
    FrameError error = FrameError::kNeedMore;
    while (!left.empty() && error == FrameError::kNeedMore) {
      const std::span<char> room = reader.Prepare();
      const size_t size = std::min({room.size(), most, left.size()});
      left.copy(room.data(), size);
      reader.Commit(size);
      left.remove_prefix(size);
      std::string_view body;
      while ((error = reader.Next(&body)) == FrameError::kNone) {
        CHECK(body.size() <= kMaxBody);
        bodies.emplace_back(body);
      }
    }
    return bodies;
  };
  CHECK(read(piece) == read(SIZE_MAX), "frames do not depend on how the bytes arrive");
}

std::vector<std::string> FrameSeeds() {
  ByteBuffer out;
  out.Append(transport::kMagic);
  v1::Hello hello;
  hello.set_member_id(7);
  transport::AppendFrame(hello, out);
  v1::PeerFrame ping;
  ping.set_ping(1);
  transport::AppendFrame(ping, out);
  return {"\x03" + std::string(out.view()), std::string("\x10") + std::string(transport::kMagic)};
}

// What is taken from a peer can be sent on, and says the same there.
void RunMessages(std::string_view input) {
  transport::FrameParser parser;
  v1::PeerFrame* frame = parser.Parse(input);
  if (frame == nullptr) return;
  std::vector<raft::Message> messages;
  if (!transport::TakeMessages(frame, raft::NodeId(1), raft::NodeId(2), &messages).ok()) return;
  for (const raft::Message& message : messages) {
    ByteBuffer out;
    transport::AppendMessage(message, raft::NodeId(1), out);
    transport::FrameParser again;
    v1::PeerFrame* copy = again.Parse(out.view());
    CHECK(copy != nullptr, "what we write can be parsed");
    std::vector<raft::Message> copies;
    CHECK(transport::TakeMessages(copy, raft::NodeId(1), raft::NodeId(2), &copies).ok());
    CHECK(copies.size() == 1);
    ByteBuffer once_more;
    transport::AppendMessage(copies[0], raft::NodeId(1), once_more);
    CHECK(once_more.view() == out.view(), "the same message");
  }
}

std::vector<std::string> MessageSeeds() {
  std::vector<std::string> seeds;
  raft::Message append;
  append.from = raft::NodeId(1);
  append.to = raft::NodeId(2);
  append.term = raft::Term(3);
  raft::AppendEntries body;
  body.prev = {raft::Term(2), raft::Index(4)};
  body.commit = raft::Index(4);
  body.entries.push_back({raft::Term(3), raft::Index(5), Buffer::Copy("command")});
  append.body = body;
  raft::Message vote = append;
  vote.body = raft::RequestVote{};
  for (const raft::Message& message : {append, vote}) {
    ByteBuffer out;
    transport::AppendMessage(message, raft::NodeId(1), out);
    seeds.emplace_back(out.view());
  }
  v1::PeerFrame call;
  call.add_calls()->mutable_adopt()->set_cluster_id(5);
  seeds.push_back(call.SerializeAsString());
  return seeds;
}

// Every command that a member lets into the log can be applied by all, and they agree.
void RunCommands(std::string_view input) {
  std::vector<raft::Entry> entries;
  uint64_t index = 1;
  for (const std::string_view part : Split(input)) {
    if (!kv::CheckReadable(part).ok()) continue;
    entries.push_back({raft::Term(1), raft::Index(++index), Buffer::Copy(part)});
  }
  if (entries.empty()) return;
  std::vector<kv::StateHash> hashes;
  for (const bool one_by_one : {false, true}) {
    storage::MemoryState store;
    Result<std::unique_ptr<kv::StateMachine>> machine = kv::StateMachine::Open(&store);
    CHECK(machine.has_value());
    CHECK((*machine)->InitializeCluster(kv::InitialState({1, 2, 3})).ok());
    if (one_by_one) {
      for (const raft::Entry& entry : entries) {
        CHECK((*machine)->Apply(std::vector{entry}).has_value(), "a readable command is applied");
      }
    } else {
      CHECK((*machine)->Apply(entries).has_value(), "readable commands are applied");
    }
    const Result<kv::StateHash> hash = (*machine)->Hash();
    CHECK(hash.has_value());
    hashes.push_back(*hash);
  }
  CHECK(hashes[0] == hashes[1], "slices make no difference");
}

std::vector<std::string> CommandSeeds() {
  const std::string put = kv::Put("key", "value").SerializeAsString();
  const std::string remove = kv::Delete("key").SerializeAsString();
  v1::Command txn;
  *txn.mutable_txn()->add_success()->mutable_put() = kv::Put("a", "b").put();
  return {put,
          Join({put, remove, put}),
          Join({put, kv::Compact(2).SerializeAsString()}),
          kv::DeleteRange("a", "z").SerializeAsString(),
          txn.SerializeAsString(),
          kv::InviteMember("n4", "host:1").SerializeAsString()};
}

}  // namespace

std::vector<Target> WireTargets() {
  return {{"peer_frames", RunFrames, FrameSeeds},
          {"peer_messages", RunMessages, MessageSeeds},
          {"commands", RunCommands, CommandSeeds}};
}

}  // namespace raftkv::fuzz
