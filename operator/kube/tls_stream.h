// A TCP connection, with TLS or without, whose every wait has a deadline and can be interrupted.
//
// The socket is non-blocking and each wait is a poll() on it and on the reader's interrupt: that is
// what a watch needs, which waits for minutes and must end at once, and what cpp-httplib's client
// does not offer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "operator/kube/byte_stream.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace raftkv::kube {

struct TlsMaterial {
  std::string ca_pem;  // empty: the system's authorities
  std::string certificate_pem;
  std::string key_pem;
  bool insecure_skip_verify = false;
  bool operator==(const TlsMaterial&) const = default;
};

// Immutable after Make; shared by connections. TLS 1.2 or newer.
class TlsContext {
 public:
  static Result<std::shared_ptr<TlsContext>> Make(const TlsMaterial& material);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  SSL_CTX* get() const { return context_; }
  bool verify() const { return verify_; }

 private:
  explicit TlsContext(SSL_CTX* context, bool verify) : context_(context), verify_(verify) {}
  SSL_CTX* context_;
  bool verify_;
};

// Thread-safety: none; one request at a time. Stop tokens may be triggered from any thread.
class TlsStream final : public ByteStream {
 public:
  // Resolves (the one wait that follows resolv.conf's time-outs and not `wait`), connects
  // (addresses in turn), shakes hands and checks the certificate for `server_name`. `tls` null:
  // plain TCP.
  static ApiResult<std::unique_ptr<TlsStream>> Connect(const std::string& host, uint16_t port,
                                                       const std::string& server_name,
                                                       std::shared_ptr<TlsContext> tls,
                                                       const Wait& wait);
  ~TlsStream() override;
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  ApiResult<void> Write(std::string_view bytes, const Wait& wait) override;
  // A connection that ends without TLS's close_notify ends the same way as with it: HTTP's own
  // framing tells whether something is missing.
  ApiResult<size_t> Read(char* buffer, size_t size, const Wait& wait) override;
  bool IsStale() const override;

 private:
  TlsStream(int fd, int interrupt) : fd_(fd), interrupt_(interrupt) {}
  ApiResult<void> Handshake(const std::string& server_name, const Wait& wait);
  // Waits for `events` (POLLIN, POLLOUT) on the socket.
  ApiResult<void> Await(short events, const Wait& wait);
  // kConnection with what OpenSSL says.
  std::unexpected<ApiError> TlsFailure(const char* what);

  int fd_;
  int interrupt_;  // eventfd
  SSL* ssl_ = nullptr;
  std::shared_ptr<TlsContext> tls_;
};

}  // namespace raftkv::kube
