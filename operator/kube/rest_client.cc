#include "operator/kube/rest_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/version.h"
#include "operator/kube/metrics.h"
#include "operator/kube/tls_stream.h"
#include "operator/kube/watch_decoder.h"

namespace raftkv::kube {
namespace {

constexpr std::string_view kJson = "application/json";

std::string HostHeader(const ClientConfig& config) {
  bool v6 = config.host.find(':') != std::string::npos;
  return (v6 ? "[" + config.host + "]" : config.host) + ":" + std::to_string(config.port);
}

// Seconds; a date is not worth parsing, since nothing in Kubernetes sends one.
Duration RetryAfter(const HttpHead& head) {
  std::string_view text = head.Header("retry-after");
  auto seconds = ParseResourceVersion(text);
  return std::chrono::seconds(seconds ? std::min<uint64_t>(*seconds, 86'400) : 0);
}

bool IsWrite(std::string_view method) { return method != "GET"; }

// kDeadline means a stream that went silent; one that never began is another trouble.
ApiError NotBegun(ApiError error) {
  if (error.Is(Reason::kDeadline)) error.reason = Reason::kConnection;
  return error;
}

// At the first request of either, the whole operation ends.
class EitherStop {
 public:
  EitherStop(std::stop_token a, std::stop_token b)
      : on_a_(std::move(a), [this] { source_.request_stop(); }),
        on_b_(std::move(b), [this] { source_.request_stop(); }) {}
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::stop_callback<std::function<void()>> on_a_;
  std::stop_callback<std::function<void()>> on_b_;
};

}  // namespace

RestClient::RestClient(ClientConfig config, RestOptions options, Timing* timing, Metrics* metrics,
                       const WriteFence* fence)
    : credentials_(std::move(config), timing),
      options_([&] {
        if (options.user_agent.empty()) {
          options.user_agent = options.field_manager + "/" + std::string(Version());
        }
        return std::move(options);
      }()),
      timing_(timing),
      metrics_(metrics),
      fence_(fence),
      host_header_(HostHeader(credentials_.config())),
      bucket_(options_.calls_per_second, options_.call_burst) {}

RestClient::~RestClient() { Stop(); }

// --- Connections
// ----------------------------------------------------------------------------------

ApiResult<RestClient::Opened> RestClient::Open(const Credentials::Snapshot& credentials,
                                               const Wait& wait, bool may_reuse) {
  Opened out{.connection = nullptr, .generation = credentials.generation, .reused = false};
  std::vector<Idle> dropped;  // closed without the lock
  {
    std::lock_guard lock(mutex_);
    MonotonicTime now = timing_->Now();
    while (may_reuse && out.connection == nullptr && !idle_.empty()) {
      Idle idle = std::move(idle_.back());
      idle_.pop_back();
      bool good = idle.generation == credentials.generation && idle.connection->reusable() &&
                  now - idle.since < options_.idle_timeout;
      if (good) {
        out.connection = std::move(idle.connection);
        out.reused = true;
      } else {
        dropped.push_back(std::move(idle));
      }
    }
  }
  if (out.connection != nullptr) return out;
  const ClientConfig& where = credentials_.config();
  auto stream = TlsStream::Connect(where.host, where.port,
                                   where.server_name.empty() ? where.host : where.server_name,
                                   credentials.tls, wait.AtMost(options_.connect_timeout));
  if (!stream) return std::unexpected(stream.error());
  out.connection = std::make_unique<HttpConnection>(std::move(*stream), options_.http);
  return out;
}

void RestClient::Keep(Opened opened) {
  if (!opened.connection->reusable()) return;
  std::lock_guard lock(mutex_);
  if (idle_.size() < options_.max_idle_connections) {
    idle_.push_back({std::move(opened.connection), opened.generation, timing_->Now()});
  }
}

// --- Calls
// ----------------------------------------------------------------------------------------

ApiResult<Credentials::Snapshot> RestClient::CurrentCredentials(const Wait& wait) {
  EitherStop stop(wait.stop, end_plugins_.get_token());
  Wait until = wait;
  until.stop = stop.token();
  return credentials_.Current(until);
}

HttpCall RestClient::Prepare(const HttpCall& call, const Credentials::Snapshot& credentials) const {
  HttpCall out = call;
  out.target = credentials_.config().path_prefix + out.target;
  out.headers.emplace_back("Host", host_header_);
  out.headers.emplace_back("User-Agent", options_.user_agent);
  out.headers.emplace_back("Accept", std::string(kJson));
  if (!credentials.token.empty()) {
    out.headers.emplace_back("Authorization", "Bearer " + credentials.token);
  }
  return out;
}

bool RestClient::AwaitTurn(std::stop_token stop) {
  Duration delay;
  {
    std::lock_guard lock(mutex_);
    delay = bucket_.Reserve(timing_->Now());
  }
  return delay == Duration::zero() || timing_->Sleep(delay, std::move(stop));
}

void RestClient::Count(std::string_view method, int status, Duration took) {
  if (metrics_ != nullptr) metrics_->CountRequest(method, status, host_header_, took);
}

ApiResult<std::string> RestClient::CallOnce(const HttpCall& call,
                                            const Credentials::Snapshot& credentials,
                                            const Wait& all, bool may_reuse, Attempt* attempt) {
  Wait wait = all.AtMost(options_.call_timeout);
  auto opened = Open(credentials, wait, may_reuse);
  if (!opened) return std::unexpected(opened.error());
  attempt->reused = opened->reused;
  // After all that may take long, so that a lease which is lost meanwhile is noticed.
  if (fence_ != nullptr && IsWrite(call.method) && !fence_->MayWrite()) {
    return Fail(Reason::kFenced, "this process no longer holds its lease and must not write");
  }
  auto head = opened->connection->Send(Prepare(call, credentials), wait);
  if (!head) return std::unexpected(head.error());
  attempt->http_status = head->status;
  auto body = opened->connection->ReadAll(wait);
  if (!body) return body;
  Keep(std::move(*opened));
  if (head->status >= 200 && head->status < 300) return body;
  ApiError error = ErrorFromAnswer(head->status, *body, RetryAfter(*head));
  error.may_have_happened = IsWrite(call.method) && error.LeavesOutcomeOpen();
  return std::unexpected(std::move(error));
}

ApiResult<std::string> RestClient::Call(HttpCall call, const CallLimits& limits) {
  EitherStop stop(stop_.get_token(), limits.stop);
  const Wait all = Wait::For(limits.timeout, stop.token());
  bool credentials_renewed = false;
  bool may_reuse = true;
  for (int repeats = 0;;) {
    if (!AwaitTurn(stop.token())) return Fail(Reason::kStopped, "stopped");
    auto credentials = CurrentCredentials(all);
    if (!credentials) return std::unexpected(credentials.error());
    MonotonicTime start = timing_->Now();
    Attempt attempt;
    auto body = CallOnce(call, *credentials, all, may_reuse, &attempt);
    // A refusal by the fence was no request.
    if (body || !body.error().Is(Reason::kFenced)) {
      Count(call.method, attempt.http_status, timing_->Now() - start);
    }
    if (body) return body;
    const ApiError& error = body.error();
    if (error.Is(Reason::kUnauthorized) && !credentials_renewed) {
      credentials_renewed = true;
      credentials_.Refused(*credentials);
      continue;
    }
    // The server closed a kept connection while the call was on its way.
    if (error.Is(Reason::kConnection) && attempt.reused && !IsWrite(call.method)) {
      may_reuse = false;
      continue;
    }
    // A version that the server has not seen yet: whoever asked for it has better things to do.
    bool asked_back = error.retry_after > Duration::zero() && !error.Is(Reason::kVersionTooLarge) &&
                      error.retry_after <= options_.max_retry_after &&
                      error.retry_after < all.Left() &&
                      (error.http_status == 429 || error.http_status >= 500);
    if (!asked_back || repeats++ >= options_.max_retries) return body;
    if (!timing_->Sleep(error.retry_after, stop.token())) return Fail(Reason::kStopped, "stopped");
  }
}

ApiResult<Object> RestClient::CallObject(HttpCall call, const CallLimits& limits) {
  bool write = IsWrite(call.method);
  auto body = Call(std::move(call), limits);
  if (!body) return std::unexpected(body.error());
  auto object = Object::Parse(*body);
  if (object) return std::move(*object);
  ApiError error{.reason = Reason::kMalformed,
                 .message = "the server's answer is no object: " + object.error().message(),
                 .may_have_happened = write};
  return std::unexpected(std::move(error));
}

// --- Watch
// ----------------------------------------------------------------------------------------

ApiResult<void> RestClient::ReadEvents(HttpConnection& connection, const Wait& wait,
                                       const std::function<bool(WatchEvent)>& on_event) {
  WatchDecoder decoder(options_.max_event_bytes);
  const bool checks = credentials_.has_certificate_files();
  Wait check = wait;
  while (!wait.stop.stop_requested()) {
    if (checks && check.IsOver()) credentials_.RenewCertificates();
    if (checks && (check.IsOver() || check.deadline == wait.deadline)) {
      check = wait.AtMost(options_.certificate_check);
    }
    auto piece = connection.ReadSome(check);
    if (!piece && piece.error().Is(Reason::kDeadline) && !wait.IsOver()) continue;
    if (!piece) return std::unexpected(piece.error());
    if (piece->empty()) return decoder.End();
    bool stopped = false;
    if (auto fed = decoder.Feed(*piece, on_event, &stopped); !fed || stopped) return fed;
  }
  return Fail(Reason::kStopped, "stopped");
}

ApiResult<void> RestClient::WatchOnce(const HttpCall& call,
                                      const Credentials::Snapshot& credentials, Duration timeout,
                                      const std::function<bool(WatchEvent)>& on_event,
                                      std::stop_token stop, bool* begun) {
  MonotonicTime start = timing_->Now();
  Wait head_wait = Wait::For(options_.call_timeout, stop);
  auto opened = Open(credentials, head_wait, false);
  if (!opened) {
    Count("GET", 0, timing_->Now() - start);
    return std::unexpected(NotBegun(opened.error()));
  }
  auto head = opened->connection->Send(Prepare(call, credentials), head_wait);
  Count("GET", head ? head->status : 0, timing_->Now() - start);
  if (!head) return std::unexpected(NotBegun(head.error()));
  if (head->status != 200) {
    auto body = opened->connection->ReadAll(head_wait);
    return std::unexpected(ErrorFromAnswer(head->status, body.value_or(""), RetryAfter(*head)));
  }
  *begun = true;
  return ReadEvents(*opened->connection, Wait::For(timeout + options_.watch_leeway, stop),
                    on_event);
}

ApiResult<void> RestClient::Watch(const Resource& resource, const WatchOptions& options,
                                  const std::function<bool(WatchEvent)>& on_event,
                                  std::stop_token caller_stop) {
  EitherStop asked(stop_.get_token(), std::move(caller_stop));
  auto seconds = std::chrono::ceil<std::chrono::seconds>(options.timeout).count();
  HttpCall call{.method = "GET",
                .target = ResourcePath(resource, options.ns) +
                          "?watch=true&timeoutSeconds=" + std::to_string(seconds) +
                          "&resourceVersion=" + UrlEncode(options.resource_version),
                .headers = {},
                .body = {}};
  if (options.bookmarks) call.target += "&allowWatchBookmarks=true";
  if (!options.label_selector.empty()) {
    call.target += "&labelSelector=" + UrlEncode(options.label_selector);
  }
  if (!options.field_selector.empty()) {
    call.target += "&fieldSelector=" + UrlEncode(options.field_selector);
  }
  bool begun = false;
  for (bool again = false;; again = true) {
    if (!AwaitTurn(asked.token())) return Fail(Reason::kStopped, "stopped");
    auto credentials = CurrentCredentials({.stop = asked.token()});
    if (!credentials) return std::unexpected(credentials.error());
    EitherStop stop(asked.token(), credentials->retired);
    auto ended = WatchOnce(call, *credentials, options.timeout, on_event, stop.token(), &begun);
    if (ended) return ended;
    // Under other certificates from now on.
    if (ended.error().Is(Reason::kStopped) && !asked.token().stop_requested()) return {};
    if (!ended.error().Is(Reason::kUnauthorized)) return ended;
    credentials_.Refused(*credentials);
    // In the middle of the stream: the credential had a time to live. Only the caller knows from
    // where to go on.
    if (begun) return {};
    if (again) return ended;
  }
}

}  // namespace raftkv::kube
