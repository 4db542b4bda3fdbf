#include "node/server/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/host_port.h"

namespace raftkv::server {
namespace {

// -1 and errno on failure.
int BindAndListen(const addrinfo& info, int backlog) {
  int fd = socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int on = 1;
  int off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (info.ai_family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (bind(fd, info.ai_addr, info.ai_addrlen) == 0 && listen(fd, backlog) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

Result<int> Listen(const std::string& address, int backlog) {
  ASSIGN_OR_RETURN(HostPort where, ParseHostPort(address));
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int failed = getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(),
                           std::to_string(where.port).c_str(), &hints, &found);
  if (failed != 0) {
    return Error(Code::kInvalidArgument,
                 "cannot listen on '" + address + "': " + gai_strerror(failed));
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  // For every interface the IPv6 socket comes first, because it takes IPv4 as well; a name such as
  // localhost means its IPv4 address to most people.
  int first = where.host.empty() ? AF_INET6 : AF_INET;
  int error = EAFNOSUPPORT;
  for (int family : {first, AF_INET + AF_INET6 - first}) {
    for (addrinfo* info = found; info != nullptr && error != EADDRINUSE; info = info->ai_next) {
      if (info->ai_family != family) continue;
      int fd = BindAndListen(*info, backlog);
      if (fd >= 0) return fd;
      error = errno;
    }
  }
  std::string message = "cannot listen on '" + address + "': " + std::strerror(error);
  if (error == EADDRINUSE) message += "; another process has it, stop it or choose another port";
  return Error(Code::kUnavailable, message);
}

uint16_t BoundPort(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace raftkv::server
