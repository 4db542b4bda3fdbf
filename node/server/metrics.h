// Metrics of the HTTP side: requests by route and code, latencies, connections; the process; and
// the text of /metrics.
//
// Thread-safety: any thread.
#pragma once

#include <prometheus/collectable.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "node/server/http.h"
#include "node/server/routes.h"
#include "node/server/service.h"

namespace prometheus {
class Registry;
}

namespace raftkv::server {

// Counts the answers of one listener. Each event loop has counters of its own, so that requests
// neither lock nor share cache lines; they are added up when somebody asks.
class HttpMetrics final : public HttpObserver, public prometheus::Collectable {
 public:
  // `listener`: "client", "admin" or "metrics", a label of every series.
  explicit HttpMetrics(std::string listener);

  void OnStart(int loop) override;
  void OnResponse(int loop, int route, int status, Duration latency, bool started) override;
  std::vector<prometheus::MetricFamily> Collect() const override;

  // For connection counts; must outlive the metrics.
  void SetServer(const HttpServer* server) { server_.store(server); }

  // Upper bounds of the latency buckets: 50 us and doubling, 18 of them (up to 6.5 s).
  static constexpr size_t kBuckets = 18;
  static constexpr int64_t kFirstBoundNs = 50'000;
  static constexpr std::array<int, 24> kStatuses = {200, 201, 204, 304, 400, 404, 405, 408,
                                                    409, 410, 411, 412, 413, 414, 415, 417,
                                                    429, 431, 500, 501, 503, 504, 505, 507};

 private:
  struct alignas(64) Shard {
    std::array<std::array<std::atomic<uint64_t>, kStatuses.size()>, kRouteCount> requests{};
    // One more than bounds: what is slower than all of them.
    std::array<std::array<std::atomic<uint64_t>, kBuckets + 1>, kRouteCount> latency{};
    std::array<std::atomic<uint64_t>, kRouteCount> latency_sum_ns{};
    std::atomic<int64_t> in_flight{0};
  };

  prometheus::MetricFamily Requests() const;
  prometheus::MetricFamily Latencies() const;
  prometheus::MetricFamily InFlight() const;
  void AppendConnections(std::vector<prometheus::MetricFamily>* out) const;

  const std::string listener_;
  std::atomic<const HttpServer*> server_{nullptr};
  std::array<std::unique_ptr<Shard>, HttpServer::kMaxLoops> shards_;
};

// What the routes count: reads of keys, health checks.
class ServiceMetrics final : public prometheus::Collectable {
 public:
  explicit ServiceMetrics(const Service* service) : service_(service) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Service* const service_;
};

// The standard process_ metrics, and raftkv_build_info.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

// GET /metrics: everything that the sources collect, in Prometheus' text format.
void HandleMetrics(Service* service, const std::vector<const prometheus::Collectable*>& sources,
                   const ExchangePtr& exchange);

}  // namespace raftkv::server
