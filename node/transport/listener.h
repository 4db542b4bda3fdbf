// Listener: the inbound half. Accepts connections, shakes hands, and keeps what comes of them: the
// streams of members, calls of strangers, the snapshot being received. Bounds their number.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "node/transport/context.h"

namespace raftkv::transport {

class Handshake;
class MemberStream;
class SnapshotReceiver;
class StrangerCall;

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // `on_member`: a member has opened its stream to us, so it can be dialed as well.
  Listener(ContextPtr context, std::function<void(raft::NodeId)> on_member);

  Status Start();
  uint16_t port() const { return port_; }
  void Stop();

  // Asks Handler::Admit again for every stream; closes those no longer admitted.
  void Readmit();
  // Adds what came in from the member: bytes, snapshots.
  void AddTo(raft::NodeId member, PeerStats* stats) const;
  size_t connections() const;

  // --- Called by the sessions.
  // ----------------------------------------------------------------------
  void OnHello(const std::shared_ptr<Handshake>& handshake, const v1::Hello& hello);
  void Remove(const Handshake* handshake);
  void Remove(const StrangerCall* call);
  void Remove(const MemberStream* stream);
  void Remove(const SnapshotReceiver* receiver);

 private:
  Status Open(const Endpoint& endpoint, bool any);
  void Accept();
  void OnAccepted(const asio::error_code& error, asio::ip::tcp::socket socket);
  void LogRefusal(const v1::Hello& hello, const v1::HelloReply& reply, const std::string& remote);
  void Welcome(const v1::Hello& hello, std::shared_ptr<Connection> connection);
  void CountSnapshot(const SnapshotReceiver& receiver);

  const ContextPtr context_;
  const std::function<void(raft::NodeId)> on_member_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer accept_timer_;
  uint16_t port_ = 0;
  bool accept_failing_ = false;
  std::list<std::shared_ptr<Handshake>> handshakes_;  // oldest first
  std::list<std::shared_ptr<StrangerCall>> calls_;    // oldest first
  std::map<raft::NodeId, std::shared_ptr<MemberStream>> members_;
  std::shared_ptr<SnapshotReceiver> receiver_;
  std::map<raft::NodeId, PeerStats> snapshots_;  // what came in that has ended, and nothing else
};

}  // namespace raftkv::transport
