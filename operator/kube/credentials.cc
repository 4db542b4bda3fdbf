#include "operator/kube/credentials.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <utility>

#include "base/log.h"
#include "operator/kube/exec_plugin.h"
#include "operator/kube/http_connection.h"
#include "operator/kube/tls_stream.h"

namespace raftkv::kube {
namespace {

// What a plugin's date may be in the future: nobody waits for more.
constexpr int64_t kMaxValidMicros = std::chrono::microseconds(std::chrono::years(100)).count();

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
  std::stop_source generation;
  std::optional<ExecCredential> exec;
  MonotonicTime exec_due = MonotonicTime::max();
};

struct Credentials::Run {
  bool ended = false;
  // By its own caller's wait, which is not the others'.
  bool cut_short = false;
  std::optional<ApiError> failure;
};

Credentials::Credentials(ClientConfig config, Timing* timing)
    : config_(std::move(config)), timing_(timing), cached_(std::make_unique<Cached>()) {}

Credentials::~Credentials() = default;

ApiResult<Credentials::Snapshot> Credentials::Current(const Wait& wait) {
  std::unique_lock lock(mutex_);
  if (auto done = RefreshExec(lock, wait); !done) return std::unexpected(done.error());
  MonotonicTime now = timing_->Now();
  if (auto done = RefreshToken(now); !done) return std::unexpected(done.error());
  if (auto done = RefreshTls(now); !done) return std::unexpected(done.error());
  return cached_->snapshot;
}

void Credentials::Refused(const Snapshot& refused) {
  std::lock_guard lock(mutex_);
  Cached& c = *cached_;
  // Several calls were refused at once, and one of them has seen to it.
  if (refused.issue != c.snapshot.issue) return;
  c.token_due = MonotonicTime::min();
  c.tls_due = MonotonicTime::min();
  c.exec_due = MonotonicTime::min();
}

bool Credentials::has_certificate_files() const {
  return config_.tls && !(config_.ca.file.empty() && config_.client_certificate.file.empty() &&
                          config_.client_key.file.empty());
}

void Credentials::RenewCertificates() {
  std::lock_guard lock(mutex_);
  if (auto done = RefreshTls(timing_->Now()); !done) {
    log::Warning("certificates cannot be read again", {{"error", done.error().ToString()}});
  }
}

ApiResult<void> Credentials::RefreshExec(std::unique_lock<std::mutex>& lock, const Wait& wait) {
  while (!config_.exec.command.empty() && (!cached_->exec || timing_->Now() >= cached_->exec_due)) {
    if (std::shared_ptr<Run> run = run_) {
      bool ended =
          run_ended_.wait_until(lock, wait.stop, wait.deadline, [&] { return run->ended; });
      if (!ended && wait.stop.stop_requested()) return Fail(Reason::kStopped, "stopped");
      if (!ended) return Fail(Reason::kDeadline, "an exec plugin had not ended in time");
      if (run->cut_short) continue;
      if (run->failure) return std::unexpected(*run->failure);
      return {};
    }
    if (wait.stop.stop_requested()) return Fail(Reason::kStopped, "stopped");
    auto run = run_ = std::make_shared<Run>();
    lock.unlock();
    auto credential = RunExecPlugin(config_, wait);
    lock.lock();
    run_.reset();
    run->ended = true;
    if (credential) {
      UseExec(std::move(*credential));
    } else {
      run->failure = credential.error();
      run->cut_short = run->failure->Is(Reason::kStopped) || run->failure->Is(Reason::kDeadline);
    }
    run_ended_.notify_all();
    if (run->failure) return std::unexpected(*run->failure);
    return {};
  }
  return {};
}

void Credentials::UseExec(ExecCredential credential) {
  Cached& c = *cached_;
  c.exec_due = MonotonicTime::max();
  if (credential.expires_wall_micros) {
    // The date counts once, here; from then on the monotonic clock, which nobody sets.
    Duration valid = std::chrono::microseconds(std::clamp<int64_t>(
        *credential.expires_wall_micros - timing_->WallMicros(), 0, kMaxValidMicros));
    c.exec_due = SaturatingAdd(timing_->Now(), std::max(valid - kExecLeeway, Duration::zero()));
  }
  if (!c.exec || c.exec->client_certificate != credential.client_certificate ||
      c.exec->client_key != credential.client_key) {
    c.tls_due = MonotonicTime::min();
  }
  c.snapshot.token = credential.token;
  c.snapshot.issue += 1;
  c.exec = std::move(credential);
}

ApiResult<void> Credentials::RefreshToken(MonotonicTime now) {
  Cached& c = *cached_;
  if (config_.token.empty() || now < c.token_due) return {};
  auto token = c.token.Read(config_.token);
  if (!token) return std::unexpected(token.error());
  c.snapshot.token = Trim(std::move(*token));
  c.snapshot.issue += 1;
  if (!IsHeaderText(c.snapshot.token)) {
    return Fail(Reason::kCredentials,
                "the token has several lines, or another control character in it");
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
  std::stop_source former = std::exchange(c.generation, std::stop_source());
  c.snapshot.retired = c.generation.get_token();
  former.request_stop();
  c.material = std::move(material);
  return {};
}

}  // namespace raftkv::kube
