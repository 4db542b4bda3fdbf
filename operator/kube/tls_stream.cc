#include "operator/kube/tls_stream.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>

#include "base/check.h"

namespace raftkv::kube {
namespace {

// A peer that is gone without a word is noticed within 45 s.
constexpr int kKeepAliveIdleS = 30;
constexpr int kKeepAliveIntervalS = 5;
constexpr int kKeepAliveProbes = 3;
constexpr int kUserTimeoutMs = 30'000;

std::string OpenSslError() {
  std::string out;
  while (unsigned long code = ERR_get_error()) {
    char text[256];
    ERR_error_string_n(code, text, sizeof(text));
    if (!out.empty()) out += "; ";
    out += text;
  }
  return out.empty() ? "no reason given" : out;
}

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
Bio OpenPem(const std::string& pem) {
  return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free};
}

bool AddAuthorities(SSL_CTX* context, const std::string& pem) {
  Bio bio = OpenPem(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    count += X509_STORE_add_cert(store, certificate);
    X509_free(certificate);
  }
  // The end of the file is an error to OpenSSL.
  ERR_clear_error();
  return count > 0;
}

// The certificate, and after it those between it and its authority.
bool UseCertificates(SSL_CTX* context, const std::string& pem) {
  Bio bio = OpenPem(pem);
  X509* leaf = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr);
  if (leaf == nullptr) return false;
  bool ok = SSL_CTX_use_certificate(context, leaf) == 1;
  X509_free(leaf);
  while (X509* more = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    // Takes ownership if it succeeds.
    if (SSL_CTX_add0_chain_cert(context, more) != 1) X509_free(more);
  }
  ERR_clear_error();
  return ok;
}

bool UseKey(SSL_CTX* context, const std::string& pem) {
  Bio bio = OpenPem(pem);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr);
  if (key == nullptr) return false;
  bool ok = SSL_CTX_use_PrivateKey(context, key) == 1 && SSL_CTX_check_private_key(context) == 1;
  EVP_PKEY_free(key);
  return ok;
}

Status Configure(SSL_CTX* context, const TlsMaterial& material) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // A buffer may move between two calls of SSL_write; idle connections give theirs back.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, material.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                     nullptr);
  if (material.ca_pem.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (!AddAuthorities(context, material.ca_pem)) {
    return {Code::kInvalidArgument, "the API server's CA bundle holds no PEM certificate"};
  }
  if (material.certificate_pem.empty()) return Status::Ok();
  if (!UseCertificates(context, material.certificate_pem)) {
    return {Code::kInvalidArgument, "the client certificate is unusable: " + OpenSslError()};
  }
  if (!UseKey(context, material.key_pem)) {
    return {Code::kInvalidArgument,
            "the client key is unusable, or not the certificate's: " + OpenSslError()};
  }
  return Status::Ok();
}

int MillisecondsUntil(MonotonicTime deadline) {
  if (deadline == MonotonicTime::max()) return -1;
  auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
}

void SetSocketOptions(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleS, sizeof(int));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveIntervalS, sizeof(int));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepAliveProbes, sizeof(int));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof(int));
}

int SocketError(int fd) {
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;
ApiResult<Addresses> Resolve(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed == EAI_NONAME || failed == EAI_ADDRFAMILY || failed == EAI_NODATA) {
    // AI_ADDRCONFIG ignores loopback: a machine without any other interface.
    hints.ai_flags = AI_NUMERICSERV;
    failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  }
  if (failed != 0) {
    return Fail(Reason::kConnection, "cannot resolve '" + host + "': " + gai_strerror(failed));
  }
  return Addresses(found, freeaddrinfo);
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::Make(const TlsMaterial& material) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  CHECK(context != nullptr, "out of memory");
  std::shared_ptr<TlsContext> out(new TlsContext(context, !material.insecure_skip_verify));
  RETURN_UNEXPECTED_IF_ERROR(Configure(context, material));
  return out;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

ApiResult<std::unique_ptr<TlsStream>> TlsStream::Connect(const std::string& host, uint16_t port,
                                                         const std::string& server_name,
                                                         std::shared_ptr<TlsContext> tls,
                                                         const Wait& wait) {
  auto addresses = Resolve(host, port);
  if (!addresses) return std::unexpected(addresses.error());
  ApiError last{.reason = Reason::kConnection, .message = "'" + host + "' has no address"};
  for (addrinfo* info = addresses->get(); info != nullptr; info = info->ai_next) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int interrupt = fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0 || interrupt < 0) {
      if (fd >= 0) close(fd);
      last.message = std::string("no socket: ") + std::strerror(errno);
      continue;
    }
    std::unique_ptr<TlsStream> stream(new TlsStream(fd, interrupt));
    SetSocketOptions(fd);
    int error = connect(fd, info->ai_addr, info->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      if (auto ready = stream->Await(POLLOUT, wait); !ready) return std::unexpected(ready.error());
      error = SocketError(fd);
    }
    if (error != 0) {
      last.message =
          "cannot connect to " + host + ":" + std::to_string(port) + ": " + std::strerror(error);
      continue;
    }
    if (tls == nullptr) return stream;
    stream->tls_ = std::move(tls);
    if (auto shaken = stream->Handshake(server_name, wait); !shaken) {
      return std::unexpected(shaken.error());
    }
    return stream;
  }
  return std::unexpected(last);
}

TlsStream::~TlsStream() {
  if (ssl_ != nullptr) {
    // Says goodbye if there is room for it; does not wait for the answer.
    if (SSL_is_init_finished(ssl_) == 1) SSL_shutdown(ssl_);
    ERR_clear_error();
    SSL_free(ssl_);
  }
  close(fd_);
  close(interrupt_);
}

ApiResult<void> TlsStream::Handshake(const std::string& server_name, const Wait& wait) {
  ssl_ = SSL_new(tls_->get());
  CHECK(ssl_ != nullptr, "out of memory");
  SSL_set_fd(ssl_, fd_);
  in6_addr address{};
  bool numeric = inet_pton(AF_INET, server_name.c_str(), &address) == 1 ||
                 inet_pton(AF_INET6, server_name.c_str(), &address) == 1;
  X509_VERIFY_PARAM* expected = SSL_get0_param(ssl_);
  if (numeric) {
    X509_VERIFY_PARAM_set1_ip_asc(expected, server_name.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl_, server_name.c_str());
    SSL_set1_host(ssl_, server_name.c_str());
  }
  while (true) {
    ERR_clear_error();
    int done = SSL_connect(ssl_);
    if (done == 1) return {};
    int why = SSL_get_error(ssl_, done);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      long verdict = SSL_get_verify_result(ssl_);
      if (tls_->verify() && verdict != X509_V_OK) {
        return Fail(Reason::kConnection,
                    "the server's certificate for '" + server_name +
                        "' is not accepted: " + X509_verify_cert_error_string(verdict));
      }
      return TlsFailure("TLS handshake");
    }
    auto ready = Await(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, wait);
    if (!ready) return ready;
  }
}

ApiResult<void> TlsStream::Write(std::string_view bytes, const Wait& wait) {
  while (!bytes.empty()) {
    ERR_clear_error();
    size_t written = 0;
    short events = POLLOUT;
    if (ssl_ == nullptr) {
      ssize_t done = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (done < 0 && errno != EAGAIN && errno != EINTR) {
        return Fail(Reason::kConnection, std::string("send: ") + std::strerror(errno));
      }
      written = done < 0 ? 0 : static_cast<size_t>(done);
    } else if (int done = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &written); done != 1) {
      int why = SSL_get_error(ssl_, done);
      if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return TlsFailure("send");
      if (why == SSL_ERROR_WANT_READ) events = POLLIN;
      written = 0;
    }
    bytes.remove_prefix(written);
    if (written > 0) continue;
    if (auto ready = Await(events, wait); !ready) return ready;
  }
  return {};
}

ApiResult<size_t> TlsStream::Read(char* buffer, size_t size, const Wait& wait) {
  while (true) {
    ERR_clear_error();
    short events = POLLIN;
    if (ssl_ == nullptr) {
      ssize_t got = recv(fd_, buffer, size, 0);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EAGAIN && errno != EINTR) {
        return Fail(Reason::kConnection, std::string("receive: ") + std::strerror(errno));
      }
    } else {
      size_t got = 0;
      int done = SSL_read_ex(ssl_, buffer, size, &got);
      if (done == 1) return got;
      int why = SSL_get_error(ssl_, done);
      if (why == SSL_ERROR_ZERO_RETURN) return 0;
      if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return TlsFailure("receive");
      if (why == SSL_ERROR_WANT_WRITE) events = POLLOUT;
    }
    if (auto ready = Await(events, wait); !ready) return std::unexpected(ready.error());
  }
}

bool TlsStream::IsStale() const {
  // Session tickets may wait in the socket: only what OpenSSL makes of it counts.
  if (ssl_ != nullptr) {
    ERR_clear_error();
    char byte;
    size_t got = 0;
    int done = SSL_peek_ex(ssl_, &byte, 1, &got);
    bool quiet = done != 1 && SSL_get_error(ssl_, done) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return !quiet;
  }
  pollfd event{fd_, POLLIN, 0};
  return poll(&event, 1, 0) != 0;
}

ApiResult<void> TlsStream::Await(short events, const Wait& wait) {
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  if (wait.stop.stop_possible()) {
    on_stop.emplace(wait.stop, [this] { eventfd_write(interrupt_, 1); });
  }
  while (true) {
    if (wait.stop.stop_requested()) return Fail(Reason::kStopped, "stopped");
    int timeout = MillisecondsUntil(wait.deadline);
    pollfd waits[2] = {{fd_, events, 0}, {interrupt_, POLLIN, 0}};
    int ready = poll(waits, 2, timeout);
    if (ready < 0 && errno != EINTR) {
      return Fail(Reason::kConnection, std::string("poll: ") + std::strerror(errno));
    }
    if (ready > 0 && waits[0].revents != 0) return {};
    if (ready == 0 && std::chrono::steady_clock::now() >= wait.deadline) {
      return Fail(Reason::kDeadline, "no answer in time");
    }
  }
}

std::unexpected<ApiError> TlsStream::TlsFailure(const char* what) {
  int error = errno;
  std::string why = ERR_peek_error() != 0 ? OpenSslError()
                    : error != 0          ? std::strerror(error)
                                          : "the connection was closed";
  return Fail(Reason::kConnection, std::string(what) + ": " + why);
}

}  // namespace raftkv::kube
