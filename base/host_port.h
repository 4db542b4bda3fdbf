// "host:port" as people write it: "10.0.0.1:7071", "node-0.raftkv:7071", "[::1]:7071", ":7071".
//
// Thread-safety: values, functions without shared state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace raftkv {

struct HostPort {
  std::string host;  // without the brackets of an IPv6 address; empty: every interface
  uint16_t port = 0;

  std::string ToString() const;
  bool IsWildcard() const;  // every interface: empty, 0.0.0.0 or ::
};

// kInvalidArgument says what is expected instead.
Result<HostPort> ParseHostPort(std::string_view text);

}  // namespace raftkv
