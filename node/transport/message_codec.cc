#include "node/transport/message_codec.h"

#include <utility>

#include "node/storage/codec.h"

namespace raftkv::transport {
namespace {

constexpr size_t kArenaBytes = 64 << 10;

google::protobuf::ArenaOptions OptionsFor(std::vector<char>& block) {
  google::protobuf::ArenaOptions options;
  options.initial_block = block.data();
  options.initial_block_size = block.size();
  return options;
}

}  // namespace

void AppendMessage(const raft::Message& message, raft::NodeId sender, ByteBuffer& out) {
  v1::RaftMessage proto;
  storage::ToProto(message, sender, &proto);
  AppendField(v1::PeerFrame::kMessagesFieldNumber, proto, out);
}

FrameParser::FrameParser() : block_(kArenaBytes), arena_(OptionsFor(block_)) {}

v1::PeerFrame* FrameParser::Parse(std::string_view body) {
  arena_.Reset();
  auto* frame = google::protobuf::Arena::CreateMessage<v1::PeerFrame>(&arena_);
  return frame->ParseFromArray(body.data(), static_cast<int>(body.size())) ? frame : nullptr;
}

Status TakeMessages(v1::PeerFrame* frame, raft::NodeId from, raft::NodeId to,
                    std::vector<raft::Message>* out) {
  for (v1::RaftMessage& proto : *frame->mutable_messages()) {
    if (proto.has_install_snapshot()) {
      return Status(Code::kCorruption, "a snapshot belongs on a stream of its own");
    }
    Result<raft::Message> message = storage::FromProto(std::move(proto), from, to);
    if (!message) return message.error();
    out->push_back(*std::move(message));
  }
  return Status::Ok();
}

}  // namespace raftkv::transport
