// The handshake's rules: what a dialer says of itself, and what the listener makes of it. The
// simulator's network follows the same ones.
//
// Thread-safety: as the handler.
#pragma once

#include <optional>

#include "base/status.h"
#include "node/raft/types.h"
#include "node/transport/transport.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::transport {

// Hello of who has this identity. `target`: whom it believes to be talking to; kNone: anyone.
v1::Hello MakeHello(const LocalIdentity& identity, v1::Hello::Purpose purpose, raft::NodeId target);

// The verdict on who dials us. `receiving_from`: whose snapshot is coming in. Asks the handler
// about members alone.
v1::HelloReply JudgeHello(const LocalIdentity& us, const v1::Hello& hello,
                          std::optional<raft::NodeId> receiving_from, Handler& handler);

// Whether this call may come on a connection of its own, from whom said this hello; else what it is
// to be answered.
Status JudgeStrangerCall(const LocalIdentity& us, const v1::Hello& hello, const v1::PeerCall& call);

}  // namespace raftkv::transport
