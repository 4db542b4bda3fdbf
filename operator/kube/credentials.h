// Credentials: the current token, client certificate and authorities of a ClientConfig.
//
// Everything is looked at when it is needed, not by a timer: a token file again 50 s after it was
// read (client-go's minute with 10 s of leeway), certificate files again after 5 minutes, an exec
// plugin when its credential ends within 10 s or was refused (401).
//
// Thread-safety: every method from any thread. A plugin runs on the caller's thread while others
// that need it wait.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "operator/kube/api_error.h"
#include "operator/kube/client_config.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

class TlsContext;

class Credentials {
 public:
  static constexpr Duration kTokenLifetime = std::chrono::seconds(50);
  static constexpr Duration kCertificateLifetime = std::chrono::minutes(5);
  static constexpr Duration kExecLeeway = std::chrono::seconds(10);
  static constexpr size_t kMaxFileBytes = 1 << 20;

  Credentials(ClientConfig config, Timing* timing);
  ~Credentials();

  struct Snapshot {
    std::string token;                // for "Authorization: Bearer"; empty: none
    std::shared_ptr<TlsContext> tls;  // null: plain HTTP
    // Changes with the certificates: a connection made under another generation is not used again.
    uint64_t generation = 0;
  };
  // kCredentials says which file or plugin failed. A file that cannot be read now although it could
  // before keeps its last content until it can.
  ApiResult<Snapshot> Current();
  // The server answered 401: read token files and run plugins again at the next call.
  void Refused();

  const ClientConfig& config() const { return config_; }

 private:
  struct Cached;

  ApiResult<void> RefreshExec(MonotonicTime now);
  ApiResult<void> RefreshToken(MonotonicTime now);
  ApiResult<void> RefreshTls(MonotonicTime now);

  const ClientConfig config_;
  Timing* const timing_;
  std::mutex mutex_;
  std::unique_ptr<Cached> cached_;
};

}  // namespace raftkv::kube
