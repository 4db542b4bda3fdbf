// What a member answers to a call of another node that it refuses.
#pragma once

#include "base/status.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::runtime {

inline v1::PeerReply Refusal(const Status& status) {
  v1::PeerReply reply;
  reply.set_code(static_cast<uint32_t>(status.code()));
  reply.set_message(status.message());
  return reply;
}

}  // namespace raftkv::runtime
