// A scripted API server for tests: real TLS (or plain) sockets on loopback, one handler that
// answers requests as badly as the test wants.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "operator/kube/client_config.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace raftkv::kube {

// A key pair with its certificate, and the authority that signed it.
struct TestIdentity {
  std::string certificate;  // PEM
  std::string key;          // PEM
};
class TestAuthority {
 public:
  TestAuthority();
  const std::string& pem() const { return identity_.certificate; }
  // For "localhost" and 127.0.0.1, unless `dns` is something else.
  TestIdentity Issue(const std::string& common_name, const std::string& dns = "localhost") const;

 private:
  TestIdentity identity_;
};

// One request on one connection, on the connection's thread.
class TestExchange {
 public:
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string client_name;  // of the client's certificate; empty: none
  int connection = 0;       // the how manieth, from 0

  bool Targets(std::string_view part) const { return target.find(part) != std::string::npos; }
  void Send(std::string_view raw);
  void Respond(int status, std::string_view json, std::string_view more_headers = {});
  // A Status object.
  void Refuse(int status, std::string_view reason, std::string_view more_headers = {});
  // A watch: chunked, one event a line. End() finishes it in good order.
  void BeginStream();
  void Chunk(std::string_view bytes);
  void Event(std::string_view type, std::string_view object);
  void End();
  // Ends the connection without TLS's or HTTP's goodbyes.
  void Cut();
  // Says nothing until the client or the server ends the connection.
  void Hang();
  bool cut() const { return cut_; }

 private:
  friend class TestServer;
  int fd_ = -1;
  SSL* ssl_ = nullptr;
  const std::atomic<bool>* stopping_ = nullptr;
  bool cut_ = false;
};

// Thread-safety: requests() and the setters from any thread.
class TestServer {
 public:
  using Handler = std::function<void(TestExchange&)>;

  explicit TestServer(Handler handler, bool tls = true);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  // With the authority, without client credentials.
  ClientConfig config() const;
  const TestAuthority& authority() const { return authority_; }
  uint16_t port() const { return port_; }
  // For new connections.
  void UseIdentity(const TestIdentity& identity);
  // New connections need a client certificate of the authority.
  void DemandClientCertificates();

  // "METHOD target" of all so far.
  std::vector<std::string> requests() const;
  int connections() const { return connections_; }

 private:
  void Accept();
  void Serve(int fd, int number);
  bool ReadRequest(TestExchange& exchange);

  const Handler handler_;
  const bool tls_;
  TestAuthority authority_;
  SSL_CTX* context_ = nullptr;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace raftkv::kube
