// A client for tests that says exactly what it is told to, byte for byte.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace raftkv::server {

struct TestResponse {
  int status = 0;                              // 0: the connection ended before an answer
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool closed = false;  // by the server, after this answer ("Connection: close")

  std::string Header(const std::string& name) const;
};

class TestClient {
 public:
  explicit TestClient(uint16_t port);  // 127.0.0.1
  ~TestClient();
  TestClient(TestClient&& other) noexcept;
  TestClient(const TestClient&) = delete;

  void Send(std::string_view bytes);
  void CloseSending();
  // The next answer on this connection; `head`: it is one to a HEAD request.
  TestResponse Receive(bool head = false);
  TestResponse Ask(std::string_view bytes) {
    Send(bytes);
    return Receive();
  }
  // Whatever still comes, up to the end of the connection.
  std::string ReceiveAll();
  bool connected() const { return fd_ >= 0; }

 private:
  bool Fill();

  int fd_;
  std::string in_;
};

// A request with a Host header and, if there is a body or the method wants one, a Content-Length.
// `headers`: complete lines.
std::string Request(std::string_view method, std::string_view target, std::string_view body = {},
                    std::string_view headers = {});
// One request on a connection of its own.
TestResponse Ask(uint16_t port, std::string_view method, std::string_view target,
                 std::string_view body = {}, std::string_view headers = {});

}  // namespace raftkv::server
