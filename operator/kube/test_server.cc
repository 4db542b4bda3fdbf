#include "operator/kube/test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "base/check.h"

namespace raftkv::kube {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

template <typename Write>
std::string ToPem(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK(write(bio) == 1);
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

Key ReadKey(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  Key key(PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr), EVP_PKEY_free);
  BIO_free(bio);
  return key;
}

Certificate ReadCertificate(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  Certificate out(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free);
  BIO_free(bio);
  return out;
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself if there is none.
TestIdentity MakeIdentity(const std::string& name, const std::string& alternative_names,
                          const TestIdentity* issuer) {
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Certificate certificate(X509_new(), X509_free);
  Certificate issuer_certificate =
      issuer == nullptr ? Certificate(nullptr, X509_free) : ReadCertificate(issuer->certificate);
  Key issuer_key = issuer == nullptr ? Key(nullptr, EVP_PKEY_free) : ReadKey(issuer->key);
  static std::atomic<long> serial{1};
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 86'400);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* signer = issuer == nullptr ? certificate.get() : issuer_certificate.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  AddExtension(certificate.get(), signer, NID_basic_constraints,
               issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!alternative_names.empty()) {
    AddExtension(certificate.get(), signer, NID_subject_alt_name, alternative_names);
  }
  X509_sign(certificate.get(), issuer == nullptr ? key.get() : issuer_key.get(), EVP_sha256());
  return {
      .certificate = ToPem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); }),
      .key = ToPem([&](BIO* bio) {
        return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
      })};
}

}  // namespace

TestAuthority::TestAuthority() : identity_(MakeIdentity("test authority", "", nullptr)) {}

TestIdentity TestAuthority::Issue(const std::string& common_name, const std::string& dns) const {
  std::string names = "DNS:" + dns;
  if (dns == "localhost") names += ",IP:127.0.0.1";
  return MakeIdentity(common_name, names, &identity_);
}

// --- TestExchange
// ---------------------------------------------------------------------------------

void TestExchange::Send(std::string_view raw) {
  while (!raw.empty() && !cut_) {
    auto size = static_cast<int>(raw.size());
    ssize_t done = ssl_ != nullptr ? SSL_write(ssl_, raw.data(), size)
                                   : send(fd_, raw.data(), raw.size(), MSG_NOSIGNAL);
    if (done <= 0) {
      cut_ = true;
      return;
    }
    raw.remove_prefix(static_cast<size_t>(done));
  }
}

void TestExchange::Respond(int status, std::string_view json, std::string_view more_headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " Text\r\n";
  out += "Content-Type: application/json\r\nContent-Length: " + std::to_string(json.size());
  out.append("\r\n").append(more_headers).append("\r\n").append(json);
  Send(out);
}

void TestExchange::Refuse(int status, std::string_view reason, std::string_view more_headers) {
  std::string status_object =
      R"({"kind":"Status","apiVersion":"v1","status":"Failure","message":"test",)";
  status_object.append(R"("reason":")").append(reason).append(R"(","code":)");
  Respond(status, status_object + std::to_string(status) + "}", more_headers);
}

void TestExchange::BeginStream() {
  Send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
}

void TestExchange::Chunk(std::string_view bytes) {
  char size[32];
  std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  Send(std::string(size).append(bytes).append("\r\n"));
}

void TestExchange::Event(std::string_view type, std::string_view object) {
  std::string line = R"({"type":")";
  Chunk(line.append(type).append(R"(","object":)").append(object).append("}\n"));
}

void TestExchange::End() { Send("0\r\n\r\n"); }

void TestExchange::Cut() {
  cut_ = true;
  shutdown(fd_, SHUT_RDWR);
}

void TestExchange::Hang() {
  char byte;
  while (!*stopping_) {
    pollfd event{fd_, POLLIN, 0};
    if (poll(&event, 1, 10) > 0 && recv(fd_, &byte, 1, MSG_PEEK) <= 0) break;
    // What the client says meanwhile (a TLS goodbye) is left where it is.
    if ((event.revents & POLLIN) != 0) break;
  }
  cut_ = true;
}

// --- TestServer
// -----------------------------------------------------------------------------------

TestServer::TestServer(Handler handler, bool tls) : handler_(std::move(handler)), tls_(tls) {
  signal(SIGPIPE, SIG_IGN);  // as the operator's own process: a peer that is gone is an error
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(listen(listener_, 64) == 0);
  CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  if (tls_) UseIdentity(authority_.Issue("server"));
  acceptor_ = std::thread([this] { Accept(); });
}

TestServer::~TestServer() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    std::lock_guard lock(mutex_);
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
  SSL_CTX_free(context_);
}

ClientConfig TestServer::config() const {
  ClientConfig config;
  config.host = "127.0.0.1";
  config.port = port_;
  config.tls = tls_;
  config.ca.data = authority_.pem();
  return config;
}

void TestServer::UseIdentity(const TestIdentity& identity) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  Certificate certificate = ReadCertificate(identity.certificate);
  Key key = ReadKey(identity.key);
  CHECK(SSL_CTX_use_certificate(context, certificate.get()) == 1);
  CHECK(SSL_CTX_use_PrivateKey(context, key.get()) == 1);
  Certificate authority = ReadCertificate(authority_.pem());
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);  // a client may have none
  std::lock_guard lock(mutex_);
  SSL_CTX_free(context_);
  context_ = context;
}

void TestServer::DemandClientCertificates() {
  std::lock_guard lock(mutex_);
  SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

std::vector<std::string> TestServer::requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

void TestServer::Accept() {
  while (!stopping_) {
    int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    std::lock_guard lock(mutex_);
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number = connections_++] { Serve(fd, number); });
  }
}

void TestServer::Serve(int fd, int number) {
  SSL* ssl = nullptr;
  if (tls_) {
    std::lock_guard lock(mutex_);
    ssl = SSL_new(context_);
    SSL_set_fd(ssl, fd);
  }
  bool good = ssl == nullptr || SSL_accept(ssl) == 1;
  while (good && !stopping_) {
    TestExchange exchange;
    exchange.fd_ = fd;
    exchange.ssl_ = ssl;
    exchange.stopping_ = &stopping_;
    exchange.connection = number;
    if (X509* peer = ssl == nullptr ? nullptr : SSL_get1_peer_certificate(ssl)) {
      char name[100];
      X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, name, sizeof(name));
      exchange.client_name = name;
      X509_free(peer);
    }
    if (!ReadRequest(exchange)) break;
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(exchange.method + " " + exchange.target);
    }
    handler_(exchange);
    good = !exchange.cut();
  }
  ERR_clear_error();
  SSL_free(ssl);
  std::lock_guard lock(mutex_);
  std::erase(open_, fd);
  close(fd);
}

bool TestServer::ReadRequest(TestExchange& exchange) {
  std::string in;
  auto fill = [&] {
    char buffer[4096];
    ssize_t got = exchange.ssl_ != nullptr ? SSL_read(exchange.ssl_, buffer, sizeof(buffer))
                                           : recv(exchange.fd_, buffer, sizeof(buffer), 0);
    if (got > 0) in.append(buffer, static_cast<size_t>(got));
    return got > 0;
  };
  size_t end = 0;
  while ((end = in.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return false;
  }
  size_t line = in.find("\r\n");
  std::string first = in.substr(0, line);
  size_t space = first.find(' ');
  exchange.method = first.substr(0, space);
  exchange.target = first.substr(space + 1, first.rfind(' ') - space - 1);
  while (line < end) {
    size_t next = in.find("\r\n", line + 2);
    std::string header = in.substr(line + 2, next - line - 2);
    std::string name = header.substr(0, header.find(':'));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    exchange.headers[name] = header.substr(header.find(':') + 2);
    line = next;
  }
  size_t length = exchange.headers.contains("content-length")
                      ? std::stoul(exchange.headers["content-length"])
                      : 0;
  while (in.size() < end + 4 + length) {
    if (!fill()) return false;
  }
  exchange.body = in.substr(end + 4, length);
  return true;
}

}  // namespace raftkv::kube
