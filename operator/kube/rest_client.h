// RestClient: Api over HTTPS.
//
// Connections are kept and shared by calls; each watch has one of its own. A call has a deadline;
// answers 429 and 5xx that name a Retry-After are repeated, at most 10 times, as the server asks.
// After a 401 a call is made once more, and a watch begun again, with credentials that were read
// anew. When certificates change, watches are begun again under the new ones at once, other calls
// with the next connection.
//
// Thread-safety: every method from any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "operator/kube/api.h"
#include "operator/kube/backoff.h"
#include "operator/kube/credentials.h"
#include "operator/kube/http_connection.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

class Metrics;

// Whether this process may still write (election.h has the one that knows).
class WriteFence {
 public:
  virtual ~WriteFence() = default;
  virtual bool MayWrite() const = 0;
};

struct RestOptions {
  std::string field_manager = "raftkv-operator";
  std::string user_agent;  // empty: "raftkv-operator/VERSION"

  Duration connect_timeout = std::chrono::seconds(10);
  Duration call_timeout = std::chrono::seconds(32);     // one attempt, with its connection
  int max_retries = 10;                                 // after answers with Retry-After
  Duration max_retry_after = std::chrono::seconds(60);  // a longer one is the caller's to wait
  // Over WatchOptions::timeout, for a server that has forgotten its end of a stream.
  Duration watch_leeway = std::chrono::seconds(5);
  // How often a running watch looks whether files of certificates are to be read again.
  Duration certificate_check = std::chrono::minutes(1);
  size_t max_event_bytes = 8 << 20;
  HttpLimits http;

  // Calls a second, over all of the client; 0: no limit, the server's priority and fairness decide
  // (as controller-runtime; client-go's own default is 5 with bursts of 10).
  double calls_per_second = 0;
  double call_burst = 10;

  size_t max_idle_connections = 4;
  Duration idle_timeout = std::chrono::seconds(90);
};

class RestClient final : public Api {
 public:
  // `metrics` and `fence` may be null and must outlive the client.
  RestClient(ClientConfig config, RestOptions options, Timing* timing, Metrics* metrics = nullptr,
             const WriteFence* fence = nullptr);
  ~RestClient() override;

  std::string_view field_manager() const override { return options_.field_manager; }

  ApiResult<Object> Get(const Resource& resource, const Key& key,
                        const CallLimits& limits = {}) override;
  ApiResult<ObjectList> List(const Resource& resource, const ListOptions& options,
                             std::stop_token stop = {}) override;
  ApiResult<void> Watch(const Resource& resource, const WatchOptions& options,
                        const std::function<bool(WatchEvent)>& on_event,
                        std::stop_token stop) override;
  ApiResult<Object> Create(const Resource& resource, const Object& object,
                           const CallLimits& limits = {}) override;
  ApiResult<Object> Update(const Resource& resource, const Object& object,
                           std::string_view subresource = {},
                           const CallLimits& limits = {}) override;
  ApiResult<Object> Patch(const Resource& resource, const Key& key, PatchType type,
                          const Json& patch, const PatchOptions& options = {}) override;
  ApiResult<Object> Apply(const Resource& resource, const Object& object,
                          const ApplyOptions& options = {}) override;
  ApiResult<void> Delete(const Resource& resource, const Key& key,
                         const DeleteOptions& options) override;

  // Any GET, for what is no resource ("/version", "/readyz").
  ApiResult<std::string> GetRaw(const std::string& path);

  // Ends every wait of this client now and for ever: calls return kStopped.
  void Stop() { stop_.request_stop(); }
  // Ends the run of an exec plugin now, and allows no other: who needs a credential of it gets
  // kStopped. Calls that have theirs go on.
  void EndPlugins() { end_plugins_.request_stop(); }

  const ClientConfig& config() const { return credentials_.config(); }

 protected:
  ApiResult<Object> GetSubresource(const Resource& resource, const Key& key,
                                   std::string_view subresource) override;

 private:
  struct Idle {
    std::unique_ptr<HttpConnection> connection;
    uint64_t generation;
    MonotonicTime since;
  };
  struct Opened {
    std::unique_ptr<HttpConnection> connection;
    uint64_t generation = 0;
    bool reused = false;
  };
  struct Attempt {
    bool reused = false;  // the connection had served other calls
    int http_status = 0;  // 0: no answer
  };

  // Sends with all the repeating; the answer's body.
  ApiResult<std::string> Call(HttpCall call, const CallLimits& limits = {});
  ApiResult<std::string> CallOnce(const HttpCall& call, const Credentials::Snapshot& credentials,
                                  const Wait& all, bool may_reuse, Attempt* attempt);
  ApiResult<Object> CallObject(HttpCall call, const CallLimits& limits = {});
  ApiResult<Opened> Open(const Credentials::Snapshot& credentials, const Wait& wait,
                         bool may_reuse);
  void Keep(Opened opened);
  // As long as `wait` says, or until EndPlugins().
  ApiResult<Credentials::Snapshot> CurrentCredentials(const Wait& wait);
  HttpCall Prepare(const HttpCall& call, const Credentials::Snapshot& credentials) const;
  // Waits for the rate limit.
  bool AwaitTurn(std::stop_token stop);
  void Count(std::string_view method, int status, Duration took);
  // *begun: the server answered with a stream.
  ApiResult<void> WatchOnce(const HttpCall& call, const Credentials::Snapshot& credentials,
                            Duration timeout, const std::function<bool(WatchEvent)>& on_event,
                            std::stop_token stop, bool* begun);
  ApiResult<void> ReadEvents(HttpConnection& connection, const Wait& wait,
                             const std::function<bool(WatchEvent)>& on_event);

  Credentials credentials_;
  const RestOptions options_;
  Timing* const timing_;
  Metrics* const metrics_;
  const WriteFence* const fence_;
  const std::string host_header_;
  std::stop_source stop_;
  std::stop_source end_plugins_;

  std::mutex mutex_;
  std::vector<Idle> idle_;
  TokenBucket bucket_;
};

}  // namespace raftkv::kube
