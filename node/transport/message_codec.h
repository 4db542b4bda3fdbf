// Raft messages to and from the bytes of a PeerFrame.
//
// Thread-safety: none.
#pragma once

#include <google/protobuf/arena.h>

#include <string_view>
#include <vector>

#include "base/status.h"
#include "node/raft/message.h"
#include "node/transport/frame.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::transport {

// Appends `message` as PeerFrame.messages. `sender`: who the other side knows us to be.
void AppendMessage(const raft::Message& message, raft::NodeId sender, ByteBuffer& out);

// A parsed PeerFrame whose memory is reused from frame to frame.
class FrameParser {
 public:
  FrameParser();
  // Null if the bytes are no PeerFrame. Valid until the next call.
  v1::PeerFrame* Parse(std::string_view body);

 private:
  std::vector<char> block_;  // the arena's first; most frames need no other
  google::protobuf::Arena arena_;
};

// Takes the messages out of `frame`, as coming `from` a member and meant for `to`.
Status TakeMessages(v1::PeerFrame* frame, raft::NodeId from, raft::NodeId to,
                    std::vector<raft::Message>* out);

}  // namespace raftkv::transport
