// What nobody should send to a peer port, by category, each with the answer that is right
// (proto/raftkv/v1/peer.proto, docs/design/transport.md).
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "raftkv/v1/peer.pb.h"

namespace raftkv::faults {

struct MalformedDial {
  std::string category;
  std::string bytes;     // all that the dialer says
  bool hang_up = true;   // and it says that these are all
  bool greeted = false;  // the hello is answered, with this:
  v1::HelloReply::Verdict verdict = v1::HelloReply::OK;
  enum class Then {
    kNothing,       // and is closed
    kRefusedCall,   // a reply that says why not
    kAnsweredCall,  // what is right in spite of what comes with it
    kRefusedOffer,  // of a snapshot
  } then = Then::kNothing;
  bool http = false;       // speaks HTTP, and is told that this port does not
  bool may_close = false;  // instead: of what comes behind it, or because there is no leader to ask
};

// The node that is dialed, and another member of its cluster, whose stream some of these claim to
// be.
struct DialedNode {
  uint64_t cluster_id = 0;
  uint64_t member_id = 0;
  uint64_t other_member = 0;
};

// At least a thousand. None of them changes anything, beyond that the other member's stream, which
// is replaced by one that breaks, has to be dialed again.
std::vector<MalformedDial> MalformedDials(const DialedNode& node, std::mt19937_64& random);

// The hello of somebody whom nobody knows, who wants to call.
std::string CallersHello(std::mt19937_64& random);

// What is wrong with what came back; empty: nothing.
std::string MisjudgedDial(const MalformedDial& dial, const std::string& answer);

}  // namespace raftkv::faults
