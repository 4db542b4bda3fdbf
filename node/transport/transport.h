// Transport: streams between members. Raft messages, calls and replies travel in frames over one
// long-lived TCP connection in each direction (each member dials every other and sends on the
// connection it dialed); snapshots have connections of their own.
//
// Delivery: in order on one connection, at most once, lossy: what does not fit the bounded queue of
// a peer, or is on the way when a connection breaks, is gone (Raft and callers with deadlines
// cope).
//
// Threads: everything runs on the io_context given by the owner; it must be run by exactly one
// thread, and every method must be called on that thread. Handler methods are called there too.
// Snapshot files are read and written on a thread of the transport's own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "node/raft/message.h"
#include "node/raft/types.h"
#include "raftkv/v1/peer.pb.h"

namespace asio {
class io_context;
}

namespace raftkv::transport {

inline constexpr uint32_t kProtocolVersion = 1;

// Who we are, as the handshake tells it. Updated when a blank node joins a cluster.
struct LocalIdentity {
  uint64_t cluster_id = 0;  // 0: blank
  raft::NodeId member_id;
  std::string name;
};

// Answers a call; may be called later, at most once, on the io thread.
using ReplyFn = std::function<void(v1::PeerReply)>;

class Handler {
 public:
  virtual ~Handler() = default;

  // A whole frame's worth of messages from a member; step them, then handle one Ready.
  virtual void OnMessages(std::vector<raft::Message> messages) = 0;
  // A call from a member over its stream.
  virtual void OnCall(raft::NodeId from, v1::PeerCall call, ReplyFn reply) = 0;
  // A call on a connection of its own, from anyone (join, who_are_you, adopt).
  virtual void OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, ReplyFn reply) = 0;
  // Whether `id` may talk to us: kOk, or NOT_A_MEMBER / REMOVED.
  virtual v1::HelloReply::Verdict Admit(raft::NodeId id) = 0;
  // Fills in `voter` and `voters`.
  virtual void TellVoters(v1::HelloReply* reply) const = 0;

  // The stream to a peer came up, or went down (also after each failed attempt to dial).
  virtual void OnPeerUp(raft::NodeId peer) = 0;
  virtual void OnPeerDown(raft::NodeId peer) = 0;
  // The peer answered the handshake with another verdict than OK. BLANK means: adopt it (if the
  // answer's member_id is the peer's). REMOVED means: our cluster removed us.
  virtual void OnPeerVerdict(raft::NodeId peer, const v1::HelloReply& reply) = 0;

  // A snapshot has arrived whole and verified in `dir`; `message` is the InstallSnapshot to step.
  virtual void OnSnapshotReceived(raft::Message message, std::string dir) = 0;
  // The snapshot sent by SendSnapshot was taken over by the peer, or not.
  virtual void OnSnapshotSent(raft::NodeId to, bool ok) = 0;
};

struct Options {
  std::string listen_address;  // host:port; port 0 picks a free one
  // Bounds of what waits for one peer; beyond it new messages are dropped and counted.
  size_t max_queued_bytes_per_peer = 64 << 20;
  size_t max_frame_bytes = 64 << 20;
  Duration dial_timeout = std::chrono::seconds(2);
  // Redial waits between these, doubling, with jitter.
  Duration redial_min = std::chrono::milliseconds(50);
  Duration redial_max = std::chrono::seconds(1);
  Duration call_timeout = std::chrono::seconds(5);
  // Streams are pinged at this interval; one on which nothing moves for silence_limit is dead.
  Duration ping_interval = std::chrono::seconds(1);
  Duration silence_limit = std::chrono::seconds(5);
  // Bounds of inbound connections: of all, of those in the handshake (the oldest gives way), and of
  // those on which strangers call (likewise).
  size_t max_connections = 1024;
  size_t max_handshakes = 64;
  size_t max_stranger_calls = 64;
  // A snapshot transfer that does not move for this long is given up.
  Duration snapshot_idle_limit = std::chrono::seconds(60);
  // 0: unlimited.
  uint64_t snapshot_bytes_per_second = 0;
  uint64_t max_snapshot_bytes = uint64_t{1} << 40;
  std::string snapshots_dir;  // where received snapshots are put together
};

struct PeerStats {
  bool connected = false;
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
  uint64_t sent_messages = 0;
  uint64_t dropped_messages = 0;
  uint64_t queued_bytes = 0;
  uint64_t connection_failures = 0;
  Duration round_trip = Duration::zero();  // smoothed, of transport-level pings
  uint64_t dropped_heartbeats = 0;         // of dropped_messages
  // Snapshots from this peer.
  bool receiving_snapshot = false;
  uint64_t snapshots_received = 0;
  uint64_t snapshots_receive_failed = 0;
  Duration snapshot_receive_time = Duration::zero();  // of all that have ended
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Binds and listens. kFailedPrecondition names the address if it is taken.
  virtual Status Start() = 0;
  // The port really bound.
  virtual uint16_t port() const = 0;
  // Closes everything; no handler call follows.
  virtual void Stop() = 0;

  virtual void SetIdentity(const LocalIdentity& identity) = 0;
  // The peers to keep streams to (without ourselves): id -> host:port. Streams to ids that are gone
  // are closed once their queue is sent; changed addresses are dialed anew.
  virtual void SetPeers(const std::map<raft::NodeId, std::string>& peers) = 0;
  // Dial this peer now, whatever its redial wait (it may have come back).
  virtual void Poke(raft::NodeId peer) = 0;

  // Queues messages; each goes to message.to. Unknown targets are dropped and counted.
  virtual void Send(std::vector<raft::Message> messages) = 0;
  // Calls a member over its stream. `done` gets kUnavailable if the call surely did not leave,
  // kUnknownOutcome if the connection broke or the time ran out before the reply.
  virtual void Call(raft::NodeId to, v1::PeerCall call,
                    std::function<void(Result<v1::PeerReply>)> done) = 0;
  // As Call, but expects a reply only in case of refusal: used for forwarded commands, whose
  // success the caller learns from its own log. `refused` is called at most once.
  virtual void Forward(raft::NodeId to, v1::PeerCall call,
                       std::function<void(v1::PeerReply)> refused) = 0;
  // Calls whoever listens at `address`, on a connection of its own.
  virtual void CallAddress(const std::string& address, v1::PeerCall call,
                           std::function<void(Result<v1::PeerReply>)> done) = 0;
  // Streams the checkpoint in `dir`, whose SnapshotManifest the message carries, to message.to. One
  // at a time for each peer: a newer one takes the place of an older (no OnSnapshotSent for that).
  virtual void SendSnapshot(raft::Message message, std::string dir) = 0;

  // Messages to ids that are no peers count as dropped ones of raft::kNone.
  virtual std::map<raft::NodeId, PeerStats> stats() const = 0;
};

std::unique_ptr<Transport> MakeTransport(asio::io_context& io, const Options& options,
                                         Handler* handler);

}  // namespace raftkv::transport
