#include "node/server/test_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "node/server/text.h"

namespace raftkv::server {

std::string TestResponse::Header(const std::string& name) const {
  auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

TestClient::TestClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // A server that never answers fails the test instead of hanging it.
  timeval patience{.tv_sec = 30, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    close(std::exchange(fd_, -1));
  }
}

TestClient::~TestClient() {
  if (fd_ >= 0) close(fd_);
}

TestClient::TestClient(TestClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}

void TestClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void TestClient::CloseSending() { shutdown(fd_, SHUT_WR); }

bool TestClient::Fill() {
  char buffer[16 << 10];
  ssize_t count = recv(fd_, buffer, sizeof(buffer), 0);
  if (count <= 0) return false;
  in_.append(buffer, static_cast<size_t>(count));
  return true;
}

TestResponse TestClient::Receive(bool head) {
  TestResponse response;
  size_t end = 0;
  while ((end = in_.find("\r\n\r\n")) == in_.npos) {
    if (!Fill()) return response;
  }
  std::string_view lines = std::string_view(in_).substr(0, end + 2);
  int status = std::atoi(in_.c_str() + 9);
  lines.remove_prefix(lines.find("\r\n") + 2);
  while (!lines.empty()) {
    std::string_view line = lines.substr(0, lines.find("\r\n"));
    lines.remove_prefix(line.size() + 2);
    size_t colon = line.find(": ");
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), ToLower);
    response.headers[name] = line.substr(colon + 2);
  }
  in_.erase(0, end + 4);
  response.closed = response.Header("connection") == "close";
  size_t length = head ? 0 : std::strtoul(response.Header("content-length").c_str(), nullptr, 10);
  while (in_.size() < length) {
    if (!Fill()) return response;
  }
  response.body = in_.substr(0, length);
  in_.erase(0, length);
  response.status = status;
  return response;
}

std::string TestClient::ReceiveAll() {
  while (Fill()) {
  }
  return std::exchange(in_, "");
}

std::string Request(std::string_view method, std::string_view target, std::string_view body,
                    std::string_view headers) {
  std::string text;
  text.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: test\r\n");
  if (!body.empty() || method == "PUT" || method == "POST" || method == "PATCH") {
    text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  }
  return text.append(headers).append("\r\n").append(body);
}

TestResponse Ask(uint16_t port, std::string_view method, std::string_view target,
                 std::string_view body, std::string_view headers) {
  TestClient client(port);
  client.Send(Request(method, target, body, headers));
  return client.Receive(method == "HEAD");
}

}  // namespace raftkv::server
