// Stand-ins for nodes in tests: real sockets on loopback, answers made up by the test.
#pragma once

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ctl/http.h"

namespace raftkv::client {

// Answers each request as the test says, and remembers it.
class FakeNode {
 public:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;

  explicit FakeNode(Handler handler) {
    server_.set_tcp_nodelay(true);
    auto serve = [this, handler](const httplib::Request& request, httplib::Response& response) {
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      handler(request, response);
    };
    server_.Get(".*", serve);
    server_.Put(".*", serve);
    server_.Post(".*", serve);
    server_.Delete(".*", serve);
    port_ = static_cast<uint16_t>(server_.bind_to_any_port("127.0.0.1"));
    thread_ = std::jthread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeNode() { server_.stop(); }

  Endpoint endpoint() const { return {"127.0.0.1", port_}; }
  std::string address() const { return endpoint().ToString(); }
  std::vector<httplib::Request> requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  httplib::Server server_;
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::vector<httplib::Request> requests_;
  std::jthread thread_;
};

inline void Refuse(httplib::Response& response, int status, const std::string& code,
                   const std::string& detail) {
  response.status = status;
  response.set_content("{\"status\":" + std::to_string(status) + ",\"code\":\"" + code +
                           "\",\"detail\":\"" + detail + "\"}",
                       "application/problem+json");
}

// Takes connections and reads what comes, but never answers: closes each connection as soon as
// something was read, or (kHang) keeps it.
class MuteNode {
 public:
  enum class Manner { kClose, kHang };

  explicit MuteNode(Manner manner) : manner_(manner) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    listen(listener_, 16);
    socklen_t length = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] { Serve(); });
  }
  ~MuteNode() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (int fd : kept_) close(fd);
    close(listener_);
  }

  Endpoint endpoint() const { return {"127.0.0.1", port_}; }
  int connections() const { return connections_; }

 private:
  void Serve() {
    while (true) {
      int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      ++connections_;
      if (manner_ == Manner::kHang) {
        kept_.push_back(fd);
        continue;
      }
      char buffer[4096];
      [[maybe_unused]] ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      close(fd);
    }
  }

  const Manner manner_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::vector<int> kept_;
  std::jthread thread_;
};

// Nobody listens there (any more).
inline Endpoint DeadEndpoint() {
  MuteNode node(MuteNode::Manner::kClose);
  return node.endpoint();
}

}  // namespace raftkv::client
