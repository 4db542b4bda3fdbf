#include "node/transport/address.h"

#include <netdb.h>
#include <netinet/in.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

namespace raftkv::transport {
namespace {

constexpr int kMaxLookups = 32;

Endpoint ToEndpoint(const sockaddr* address) {
  Endpoint endpoint;
  const size_t size = address->sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  std::memcpy(endpoint.data(), address, size);
  return endpoint;
}

}  // namespace

Result<std::vector<Endpoint>> ResolveBlocking(const HostPort& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const int error = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return Error(Code::kUnavailable,
                 "cannot resolve '" + address.host + "': " + ::gai_strerror(error));
  }
  std::vector<Endpoint> endpoints;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    if (info->ai_family == AF_INET || info->ai_family == AF_INET6) {
      endpoints.push_back(ToEndpoint(info->ai_addr));
    }
  }
  ::freeaddrinfo(found);
  if (endpoints.empty()) {
    return Error(Code::kUnavailable, "'" + address.host + "' has no address");
  }
  return endpoints;
}

void Resolver::Resolve(const std::string& address, Done done) {
  const Result<HostPort> parsed = ParseHostPort(address);
  std::lock_guard lock(mutex_);
  if (io_ == nullptr) return;
  const auto answer = [&](Result<std::vector<Endpoint>> result) {
    asio::post(*io_, [done = std::move(done), result = std::move(result)] { done(result); });
  };
  if (!parsed) return answer(Error(parsed.error()));
  asio::error_code error;
  const auto numeric = asio::ip::make_address(parsed->host, error);
  if (!error) return answer(std::vector<Endpoint>{Endpoint(numeric, parsed->port)});
  if (parsed->host.empty()) {
    return answer(Error(Code::kInvalidArgument, "address '" + address + "' names no host"));
  }
  if (running_ >= kMaxLookups) {
    return answer(Error(Code::kUnavailable, "too many name lookups wait for an answer"));
  }
  if (!Lookup(*parsed, done)) {
    return answer(Error(Code::kUnavailable, "cannot start a thread for a name lookup"));
  }
  ++running_;
}

bool Resolver::Lookup(const HostPort& address, const Done& done) {
  const auto lookup = [self = shared_from_this(), address, done] {
    Result<std::vector<Endpoint>> result = ResolveBlocking(address);
    std::lock_guard lock(self->mutex_);
    --self->running_;
    if (self->io_ == nullptr) return;
    asio::post(*self->io_, [done, result = std::move(result)] { done(result); });
  };
  try {
    std::thread(lookup).detach();
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void Resolver::Stop() {
  std::lock_guard lock(mutex_);
  io_ = nullptr;
}

}  // namespace raftkv::transport
