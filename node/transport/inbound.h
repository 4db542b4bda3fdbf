// What becomes of inbound connections, other than snapshots.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <vector>

#include "node/transport/listener.h"
#include "node/transport/message_codec.h"

namespace raftkv::transport {

// A connection whose Hello has not come yet.
class Handshake final : public Connection::User, public std::enable_shared_from_this<Handshake> {
 public:
  Handshake(ContextPtr context, std::weak_ptr<Listener> listener, asio::ip::tcp::socket socket);
  void Start();
  void Close();
  // Hands the connection on.
  std::shared_ptr<Connection> Take();
  const std::string& remote() const { return connection_->remote(); }

 private:
  bool OnFrame(std::string_view body) override;
  bool OnForeign(std::string_view bytes) override;
  void OnClosed(const std::string& reason) override;

  const ContextPtr context_;
  const std::weak_ptr<Listener> listener_;
  std::shared_ptr<Connection> connection_;
  asio::steady_timer timer_;
};

// The stream of a member: its messages and calls.
class MemberStream final : public Connection::User,
                           public std::enable_shared_from_this<MemberStream> {
 public:
  MemberStream(ContextPtr context, std::weak_ptr<Listener> listener, raft::NodeId from,
               std::shared_ptr<Connection> connection);
  void Start();
  void Close();
  raft::NodeId from() const { return from_; }
  uint64_t received_bytes() const { return connection_->received_bytes(); }

 private:
  bool OnFrame(std::string_view body) override;
  void OnReadEnd() override;
  void OnClosed(const std::string& reason) override;

  const ContextPtr context_;
  const std::weak_ptr<Listener> listener_;
  const raft::NodeId from_;
  const std::shared_ptr<Connection> connection_;
  FrameParser parser_;
  // Of the read being handed over.
  std::vector<raft::Message> messages_;
  std::vector<v1::PeerCall> calls_;
  uint64_t last_call_ = 0;  // the highest id; it and those before were handed over
};

// One call of anybody.
class StrangerCall final : public Connection::User,
                           public std::enable_shared_from_this<StrangerCall> {
 public:
  StrangerCall(ContextPtr context, std::weak_ptr<Listener> listener, v1::Hello hello,
               std::shared_ptr<Connection> connection);
  void Start();
  void Close();

 private:
  bool OnFrame(std::string_view body) override;
  void OnClosed(const std::string& reason) override;
  void Reply(v1::PeerReply reply);

  const ContextPtr context_;
  const std::weak_ptr<Listener> listener_;
  const v1::Hello hello_;
  const std::shared_ptr<Connection> connection_;
  asio::steady_timer timer_;
  bool called_ = false;
  uint64_t call_id_ = 0;
};

}  // namespace raftkv::transport
