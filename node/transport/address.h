// Looking up the names in addresses without blocking.
#pragma once

#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_port.h"
#include "base/status.h"

namespace raftkv::transport {

using Endpoint = asio::ip::tcp::endpoint;

// Looks a name up; blocks (seconds, if the name servers are silent).
Result<std::vector<Endpoint>> ResolveBlocking(const HostPort& address);

// Looks names up anew each time, each on a thread of its own: a name server that does not answer
// holds up neither the io thread nor other names, nor Stop(). Numeric addresses need no thread.
//
// Thread-safety: Resolve and Stop on the io thread.
class Resolver : public std::enable_shared_from_this<Resolver> {
 public:
  using Done = std::function<void(Result<std::vector<Endpoint>>)>;

  explicit Resolver(asio::io_context& io) : io_(&io) {}

  // Calls `done` on the io thread, later, unless stopped before. kUnavailable if the name has no
  // address, or if too many lookups are under way. `done` may be destroyed on any thread at any
  // time: it must not own anything that belongs to the io thread.
  void Resolve(const std::string& address, Done done);
  void Stop();

 private:
  bool Lookup(const HostPort& address, const Done& done);

  std::mutex mutex_;
  asio::io_context* io_;  // null once stopped
  int running_ = 0;
};

}  // namespace raftkv::transport
