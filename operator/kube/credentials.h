// Credentials: the current token, client certificate and authorities of a ClientConfig.
//
// Everything is looked at when it is needed, not by a timer: a token file again 50 s after it was
// read (client-go's minute with 10 s of leeway), certificate files again after 5 minutes, an exec
// plugin when its credential ends within 10 s or was refused (401), which has the files read again
// too.
//
// Thread-safety: every method from any thread. A plugin runs on the thread of one caller; others
// that need its credential wait for it, as long as they may, and share what comes of it, also its
// failure.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "operator/kube/api_error.h"
#include "operator/kube/byte_stream.h"
#include "operator/kube/client_config.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

struct ExecCredential;
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
    // Requested when they have changed: watches end and begin again under the new ones.
    std::stop_token retired;
    uint64_t issue = 0;  // grows whenever a token is read or a plugin run
  };
  // kCredentials says which file or plugin failed. A file that cannot be read now although it could
  // before keeps its last content until it can. `wait` bounds the run of a plugin (kStopped,
  // kDeadline).
  ApiResult<Snapshot> Current(const Wait& wait = {});
  // The server answered `refused` with 401: read files and run plugins again at the next call,
  // unless that has been done since.
  void Refused(const Snapshot& refused);
  // Reads the files of certificates again if it is time to. Does not run plugins.
  void RenewCertificates();
  // Whether RenewCertificates() has anything to do.
  bool has_certificate_files() const;

  const ClientConfig& config() const { return config_; }

 private:
  struct Cached;

  struct Run;

  ApiResult<void> RefreshExec(std::unique_lock<std::mutex>& lock, const Wait& wait);
  void UseExec(ExecCredential credential);
  ApiResult<void> RefreshToken(MonotonicTime now);
  ApiResult<void> RefreshTls(MonotonicTime now);

  const ClientConfig config_;
  Timing* const timing_;
  std::mutex mutex_;
  std::condition_variable_any run_ended_;
  std::shared_ptr<Run> run_;  // of a plugin, under way
  std::unique_ptr<Cached> cached_;
};

}  // namespace raftkv::kube
