// OneShotCall: one call to whoever listens at an address, on a connection of its own.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "node/transport/call_table.h"
#include "node/transport/context.h"
#include "node/transport/dial.h"

namespace raftkv::transport {

class OneShotCall final : public Connection::User,
                          public std::enable_shared_from_this<OneShotCall> {
 public:
  // `done` is called once unless closed before. kUnavailable: the call did not leave;
  // kUnknownOutcome: it did, and no reply came.
  OneShotCall(ContextPtr context, v1::PeerCall call, CallDone done);
  void Start(const std::string& address);
  void Close();

 private:
  bool OnFrame(std::string_view body) override;
  void OnClosed(const std::string& reason) override;
  void OnDialed(const Result<Dialed>& result);
  void Finish(Result<v1::PeerReply> result);

  const ContextPtr context_;
  v1::PeerCall call_;
  CallDone done_;  // empty once called or closed
  asio::steady_timer timer_;
  std::shared_ptr<Dial> dial_;
  std::shared_ptr<Connection> connection_;
};

}  // namespace raftkv::transport
