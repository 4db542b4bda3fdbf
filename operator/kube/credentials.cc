#include "operator/kube/credentials.h"

#include <fstream>
#include <optional>

#include "base/log.h"
#include "operator/kube/exec_plugin.h"
#include "operator/kube/tls_stream.h"

namespace raftkv::kube {
namespace {

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::string out(Credentials::kMaxFileBytes + 1, '\0');
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  if (in.bad() || static_cast<size_t>(in.gcount()) > Credentials::kMaxFileBytes) {
    return std::nullopt;
  }
  out.resize(static_cast<size_t>(in.gcount()));
  return out;
}

// The content of a file as it was last readable.
class Reread {
 public:
  ApiResult<std::string> Read(const Material& material) {
    if (material.file.empty()) return material.data;
    auto content = ReadFile(material.file);
    if (content && !content->empty()) {
      last_ = std::move(*content);
    } else if (last_.empty()) {
      return Fail(Reason::kCredentials,
                  "cannot read '" + material.file + "', or it is empty or larger than 1 MiB");
    } else {
      log::Warning("credential file cannot be read, its last content stays in use",
                   {{"file", material.file}});
    }
    return last_;
  }

 private:
  std::string last_;
};

std::string Trim(std::string text) {
  text.erase(text.find_last_not_of(" \r\n\t") + 1);
  return text;
}

}  // namespace

struct Credentials::Cached {
  Snapshot snapshot;
  MonotonicTime token_due = MonotonicTime::min();
  MonotonicTime tls_due = MonotonicTime::min();
  Reread token;
  Reread ca;
  Reread certificate;
  Reread key;
  TlsMaterial material;  // of snapshot.tls
  std::optional<ExecCredential> exec;
  MonotonicTime exec_due = MonotonicTime::max();
};

Credentials::Credentials(ClientConfig config, Timing* timing)
    : config_(std::move(config)), timing_(timing), cached_(std::make_unique<Cached>()) {}

Credentials::~Credentials() = default;

ApiResult<Credentials::Snapshot> Credentials::Current() {
  std::lock_guard lock(mutex_);
  MonotonicTime now = timing_->Now();
  for (auto refresh :
       {&Credentials::RefreshExec, &Credentials::RefreshToken, &Credentials::RefreshTls}) {
    if (auto done = (this->*refresh)(now); !done) return std::unexpected(done.error());
  }
  return cached_->snapshot;
}

void Credentials::Refused() {
  std::lock_guard lock(mutex_);
  cached_->token_due = MonotonicTime::min();
  cached_->exec_due = MonotonicTime::min();
}

ApiResult<void> Credentials::RefreshExec(MonotonicTime now) {
  Cached& c = *cached_;
  if (config_.exec.command.empty() || (c.exec && now < c.exec_due)) return {};
  auto credential = RunExecPlugin(config_);
  if (!credential) return Fail(Reason::kCredentials, credential.error().message());
  c.exec_due = MonotonicTime::max();
  if (credential->expires_wall_micros) {
    // The date counts once, here; from then on the monotonic clock, which nobody sets.
    Duration valid =
        std::chrono::microseconds(*credential->expires_wall_micros - timing_->WallMicros());
    c.exec_due = SaturatingAdd(now, std::max(valid - kExecLeeway, Duration::zero()));
  }
  if (!c.exec || c.exec->client_certificate != credential->client_certificate) {
    c.tls_due = MonotonicTime::min();
  }
  c.snapshot.token = credential->token;
  c.exec = std::move(*credential);
  return {};
}

ApiResult<void> Credentials::RefreshToken(MonotonicTime now) {
  Cached& c = *cached_;
  if (config_.token.empty() || now < c.token_due) return {};
  auto token = c.token.Read(config_.token);
  if (!token) return std::unexpected(token.error());
  c.snapshot.token = Trim(std::move(*token));
  // A header with a line break in it would be two.
  if (c.snapshot.token.find_first_of("\r\n") != std::string::npos) {
    return Fail(Reason::kCredentials, "the token has several lines");
  }
  c.token_due = config_.token.file.empty() ? MonotonicTime::max() : now + kTokenLifetime;
  return {};
}

ApiResult<void> Credentials::RefreshTls(MonotonicTime now) {
  Cached& c = *cached_;
  if (!config_.tls || now < c.tls_due) return {};
  TlsMaterial material{.insecure_skip_verify = config_.insecure_skip_verify};
  auto ca = c.ca.Read(config_.ca);
  auto certificate = c.certificate.Read(config_.client_certificate);
  auto key = c.key.Read(config_.client_key);
  for (auto* read : {&ca, &certificate, &key}) {
    if (!*read) return std::unexpected(read->error());
  }
  material.ca_pem = std::move(*ca);
  bool from_exec = c.exec && !c.exec->client_certificate.empty();
  material.certificate_pem = from_exec ? c.exec->client_certificate : std::move(*certificate);
  material.key_pem = from_exec ? c.exec->client_key : std::move(*key);
  c.tls_due = now + kCertificateLifetime;
  if (c.snapshot.tls != nullptr && material == c.material) return {};

  auto context = TlsContext::Make(material);
  if (!context) {
    // Half-written files: certificate and key are replaced one after the other.
    if (c.snapshot.tls == nullptr) return Fail(Reason::kCredentials, context.error().message());
    log::Warning("new certificates are unusable, the last ones stay in use",
                 {{"error", context.error().message()}});
    return {};
  }
  c.snapshot.tls = std::move(*context);
  c.snapshot.generation += 1;
  c.material = std::move(material);
  return {};
}

}  // namespace raftkv::kube
