// The listening socket of an HTTP server.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace raftkv::server {

// A bound, listening, non-blocking socket for "host:port"; the caller closes it. SO_REUSEADDR but
// not SO_REUSEPORT: a second process on the same port is an error (kUnavailable) and not a coin
// toss per connection.
Result<int> Listen(const std::string& address, int backlog);

// Of a bound socket.
uint16_t BoundPort(int fd);

}  // namespace raftkv::server
