// The listening socket of an HTTP server.
#pragma once

#include <string>

#include "base/status.h"

namespace raftkv::server {

struct ListenAddress {
  std::string host;  // empty: every interface
  uint16_t port = 0;
};

// "host:port", "[::1]:port", ":port".
Result<ListenAddress> ParseListenAddress(const std::string& address);

// A bound, listening, non-blocking socket; the caller closes it. SO_REUSEADDR but not SO_REUSEPORT:
// a second process on the same port is an error (kUnavailable) and not a coin toss per connection.
Result<int> Listen(const std::string& address, int backlog);

// Of a bound socket.
uint16_t BoundPort(int fd);

}  // namespace raftkv::server
