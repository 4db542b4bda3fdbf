// What a member answers to a call of another node that it refuses.
#pragma once

#include "base/status.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::runtime {

// That a node serves nobody is its clients' business: to a peer, whose own clients may be served by
// the next leader, it is as any refusal before anything happened.
inline v1::PeerReply Refusal(const Status& status) {
  const Code code = status.code() == Code::kNotServing ? Code::kUnavailable : status.code();
  v1::PeerReply reply;
  reply.set_code(static_cast<uint32_t>(code));
  reply.set_message(status.message());
  return reply;
}

}  // namespace raftkv::runtime
