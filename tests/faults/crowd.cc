#include "tests/faults/crowd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

namespace raftkv::faults {
namespace {

bool Connect(int fd, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// Until each is connected or refused.
void AwaitConnected(const std::vector<int>& fds, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (const int fd : fds) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
    if (left.count() <= 0 || poll(&writable, 1, static_cast<int>(left.count())) == 0) return;
  }
}

}  // namespace

Crowd::Crowd(int port, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) break;
    (void)Connect(fd, port);
    fds_.push_back(fd);
  }
  AwaitConnected(fds_, std::chrono::seconds(5));
  answers_.resize(fds_.size());
  closed_.resize(fds_.size());
}

Crowd::~Crowd() {
  for (const int fd : fds_) close(fd);
}

void Crowd::Say(const std::string& bytes) {
  for (const int fd : fds_) (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void Crowd::Listen() {
  for (size_t i = 0; i < fds_.size(); ++i) {
    std::array<char, 4096> buffer;
    ssize_t n = 0;
    while (!closed_[i] && (n = recv(fds_[i], buffer.data(), buffer.size(), 0)) != 0) {
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (n < 0) n = 0;
      if (n == 0) break;
      answers_[i].append(buffer.data(), static_cast<size_t>(n));
    }
    if (n == 0) closed_[i] = true;
  }
}

size_t Crowd::open() const { return static_cast<size_t>(std::ranges::count(closed_, false)); }

size_t Crowd::answered(int status) const {
  const std::string begin = "HTTP/1.1 " + std::to_string(status);
  return static_cast<size_t>(std::ranges::count_if(answers_, [&](const std::string& answer) {
    const size_t last = answer.rfind("HTTP/1.1 ");
    return last != std::string::npos && answer.compare(last, begin.size(), begin) == 0;
  }));
}

std::string Exchange(int port, const std::string& bytes, bool hang_up) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  std::string answer;
  if (Connect(fd, port)) {
    (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (hang_up) shutdown(fd, SHUT_WR);
    std::array<char, 4096> buffer;
    ssize_t n = 0;
    while ((n = recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
      answer.append(buffer.data(), static_cast<size_t>(n));
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) answer = "(left open)";
  } else {
    answer = "(no connection)";
  }
  close(fd);
  return answer;
}

bool Knock(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // Nothing of it stays behind in the kernel, however many there are.
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  const bool connected = Connect(fd, port);
  close(fd);
  return connected;
}

}  // namespace raftkv::faults
