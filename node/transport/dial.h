// Dial: look a name up, connect, shake hands. Used for streams, single calls and snapshots.
//
// Thread-safety: io thread only.
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "node/transport/context.h"

namespace raftkv::transport {

struct Dialed {
  v1::HelloReply reply;
  // Set if the verdict is OK: give it a user at once.
  std::shared_ptr<Connection> connection;
};

class Dial final : public Connection::User, public std::enable_shared_from_this<Dial> {
 public:
  // Called exactly once unless cancelled; errors are kUnavailable and say what failed where.
  using Done = std::function<void(Result<Dialed>)>;

  // `attempt` picks the address to begin with, of those that the name has: the others get their
  // turn even if the first swallows the whole dial timeout.
  static std::shared_ptr<Dial> Start(ContextPtr context, const std::string& address,
                                     const v1::Hello& hello, size_t attempt, Done done);
  explicit Dial(ContextPtr context);
  void Cancel();

 private:
  bool OnFrame(std::string_view body) override;
  void OnClosed(const std::string& reason) override;

  void OnResolved(const Result<std::vector<Endpoint>>& endpoints);
  void ConnectNext();
  void OnConnected(const asio::error_code& error);
  void OnTimeout();
  void Finish(Result<Dialed> result);

  const ContextPtr context_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer timer_;
  std::string address_;
  v1::Hello hello_;
  size_t attempt_ = 0;
  Done done_;  // empty once called or cancelled
  std::vector<Endpoint> endpoints_;
  size_t next_ = 0;
  std::string last_error_ = "timed out looking the name up";
  std::shared_ptr<Connection> connection_;
};

}  // namespace raftkv::transport
