// What the routes share: the node, limits of time and size, worker threads, and the way back from
// the node's callbacks to the connection.
//
// Thread-safety: any thread.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "node/runtime/node.h"
#include "node/server/executor.h"
#include "node/server/http.h"
#include "node/server/problem.h"
#include "node/server/routes.h"

namespace raftkv::server {

// What the routes did, for metrics.
struct ServiceCounters {
  std::atomic<uint64_t> ranges{0};  // reads of one key or many
  std::atomic<uint64_t> health_success{0};
  std::atomic<uint64_t> health_failures{0};
};

class Service {
 public:
  Service(runtime::Node* node, Duration request_timeout, size_t max_value_bytes);

  runtime::Node& node() const { return *node_; }
  size_t max_value_bytes() const { return max_value_bytes_; }
  ServiceCounters& counters() const { return counters_; }
  // When a request has to be answered: after the request timeout, or sooner if the client says in
  // Raftkv-Timeout-Ms that it will not wait so long.
  MonotonicTime Deadline(const HttpRequest& request) const;

  // Both continue on the connection's event loop. A write is proposed once and never repeated.
  void Write(const ExchangePtr& exchange, v1::Command command,
             std::function<void(Result<kv::CommandResult>)> done) const;
  // Barrier: before every read of keys.
  void Barrier(const ExchangePtr& exchange, runtime::Consistency consistency,
               std::function<void(Status)> done) const;

  // Runs `work` on a worker thread, where it may block. If too much waits: answers 429.
  void RunBlocking(const ExchangePtr& exchange, std::function<void()> work);
  // The same for what is done already and must not be answered so. False if too much waits.
  [[nodiscard]] bool TryBlocking(std::function<void()> work);
  // The same for what watches the node: on a thread that no client's request keeps busy.
  void RunObserving(const ExchangePtr& exchange, std::function<void()> work);

 private:
  runtime::Node* const node_;
  const Duration request_timeout_;
  const size_t max_value_bytes_;
  mutable ServiceCounters counters_;
  Executor executor_;
  Executor observing_;
};

// Checks Raftkv-Timeout-Ms, the milliseconds for which the client waits; it may be absent.
Status CheckTimeout(const HttpRequest& request);

// Checks the size of a key that a client gave.
Status CheckKey(std::string_view key);

inline void SetRoute(const ExchangePtr& exchange, Route route) {
  exchange->route = static_cast<int>(route);
}

// Answers a client's request with the problem that `error` is.
inline void RespondError(const ExchangePtr& exchange, const Status& error) {
  exchange->Respond(Problem(error, Audience::kClient));
}

}  // namespace raftkv::server
