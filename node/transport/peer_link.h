// PeerLink: our stream to one peer. Dials, redials, sends messages and calls, and tells the handler
// of ups, downs and refusals. Every change of its state is logged once.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "node/transport/call_table.h"
#include "node/transport/context.h"
#include "node/transport/dial.h"
#include "node/transport/message_codec.h"

namespace raftkv::transport {

class PeerLink final : public Connection::User, public std::enable_shared_from_this<PeerLink> {
 public:
  PeerLink(ContextPtr context, raft::NodeId id, std::string address);

  const std::string& address() const { return address_; }
  // Dials for the first time; later calls do nothing.
  void Begin();
  // Dials now, unless a connection is there or being made.
  void Poke();
  // At once; waiting calls get their answers, the handler hears nothing.
  void Close();
  // As Close, but lets what is queued leave first.
  void CloseWhenSent();

  // Queues; Flush sends what was queued. Drops and counts what has no room or no connection.
  void Send(const raft::Message& message);
  void Flush();
  void Call(v1::PeerCall call, std::variant<CallDone, Refused> waiter);

  PeerStats stats() const;

 private:
  bool OnFrame(std::string_view body) override;
  void OnTick() override;
  void OnClosed(const std::string& reason) override;

  void StartDial();
  void OnDialed(Result<Dialed> result);
  void OnVerdict(const v1::HelloReply& reply);
  void OnUp(std::shared_ptr<Connection> connection);
  void Down(Duration wait);
  Duration NextWait();
  void LeaveConnection();
  void ArmCallTimer();
  void FlushSoon();
  void OnPong(uint64_t value);
  // One line for each state: "connected", "unreachable", or a verdict.
  void LogState(const std::string& state, const std::string& reason);

  const ContextPtr context_;
  const raft::NodeId id_;
  const std::string address_;
  asio::steady_timer redial_timer_;
  asio::steady_timer call_timer_;
  bool call_timer_armed_ = false;
  bool flush_posted_ = false;
  bool closed_ = false;
  std::shared_ptr<Dial> dial_;
  std::shared_ptr<Connection> connection_;  // set while up
  FrameParser parser_;
  CallTable calls_;
  Duration wait_ = Duration::zero();
  size_t attempts_ = 0;
  MonotonicTime up_since_{};
  std::string state_;
  PeerStats past_;  // of connections that are gone, and of the link
};

}  // namespace raftkv::transport
