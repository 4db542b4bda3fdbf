#include "node/server/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace raftkv::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::string_view kRouteNames[kRouteCount] = {"none",
                                                       "kv_get",
                                                       "kv_put",
                                                       "kv_delete",
                                                       "kv_range",
                                                       "txn",
                                                       "cluster",
                                                       "member_add",
                                                       "member_remove",
                                                       "admin_status",
                                                       "admin_raft",
                                                       "admin_initialize",
                                                       "admin_join",
                                                       "admin_membership",
                                                       "admin_transfer",
                                                       "admin_snapshot",
                                                       "admin_snapshot_file",
                                                       "admin_restore",
                                                       "admin_compact",
                                                       "livez",
                                                       "readyz",
                                                       "metrics"};

size_t StatusIndex(int status) {
  auto found = std::ranges::lower_bound(HttpMetrics::kStatuses, status);
  CHECK(found != HttpMetrics::kStatuses.end() && *found == status, "add the status to kStatuses");
  return static_cast<size_t>(found - HttpMetrics::kStatuses.begin());
}

// Bucket i holds latencies up to kFirstBoundNs << i.
size_t BucketIndex(Duration latency) {
  uint64_t nanoseconds = static_cast<uint64_t>(std::max<int64_t>(latency.count(), 1));
  uint64_t steps = (nanoseconds - 1) / HttpMetrics::kFirstBoundNs;
  return std::min<size_t>(static_cast<size_t>(std::bit_width(steps)), HttpMetrics::kBuckets);
}

double BoundSeconds(size_t bucket) {
  return static_cast<double>(HttpMetrics::kFirstBoundNs << bucket) / 1e9;
}

MetricFamily Family(std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

ClientMetric Labeled(std::vector<ClientMetric::Label> labels) {
  ClientMetric metric;
  metric.label = std::move(labels);
  return metric;
}

}  // namespace

std::string_view RouteName(Route route) { return kRouteNames[static_cast<int>(route)]; }

HttpMetrics::HttpMetrics(std::string listener) : listener_(std::move(listener)) {
  for (auto& shard : shards_) shard = std::make_unique<Shard>();
}

void HttpMetrics::OnStart(int loop) {
  shards_[static_cast<size_t>(loop)]->in_flight.fetch_add(1, std::memory_order_relaxed);
}

void HttpMetrics::OnResponse(int loop, int route, int status, Duration latency, bool started) {
  Shard& shard = *shards_[static_cast<size_t>(loop)];
  auto r = static_cast<size_t>(route);
  shard.requests[r][StatusIndex(status)].fetch_add(1, std::memory_order_relaxed);
  if (!started) return;
  shard.in_flight.fetch_sub(1, std::memory_order_relaxed);
  shard.latency[r][BucketIndex(latency)].fetch_add(1, std::memory_order_relaxed);
  shard.latency_sum_ns[r].fetch_add(static_cast<uint64_t>(latency.count()),
                                    std::memory_order_relaxed);
}

MetricFamily HttpMetrics::Requests() const {
  MetricFamily family =
      Family("raftkv_http_requests_total", "HTTP requests answered, by route and status code.",
             MetricType::Counter);
  for (size_t route = 0; route < kRouteCount; ++route) {
    for (size_t status = 0; status < kStatuses.size(); ++status) {
      uint64_t sum = 0;
      for (const auto& shard : shards_) {
        sum += shard->requests[route][status].load(std::memory_order_relaxed);
      }
      if (sum == 0) continue;
      ClientMetric metric = Labeled({{"listener", listener_},
                                     {"route", std::string(kRouteNames[route])},
                                     {"code", std::to_string(kStatuses[status])}});
      metric.counter.value = static_cast<double>(sum);
      family.metric.push_back(std::move(metric));
    }
  }
  return family;
}

MetricFamily HttpMetrics::Latencies() const {
  MetricFamily family =
      Family("raftkv_http_request_duration_seconds",
             "From the last byte of a request to its answer, by route.", MetricType::Histogram);
  for (size_t route = 0; route < kRouteCount; ++route) {
    ClientMetric metric =
        Labeled({{"listener", listener_}, {"route", std::string(kRouteNames[route])}});
    uint64_t count = 0;
    uint64_t sum_ns = 0;
    for (size_t bucket = 0; bucket <= kBuckets; ++bucket) {
      for (const auto& shard : shards_) {
        count += shard->latency[route][bucket].load(std::memory_order_relaxed);
      }
      double bound = bucket < kBuckets ? BoundSeconds(bucket) : INFINITY;
      metric.histogram.bucket.push_back({count, bound});
    }
    for (const auto& shard : shards_) {
      sum_ns += shard->latency_sum_ns[route].load(std::memory_order_relaxed);
    }
    if (count == 0) continue;
    metric.histogram.sample_count = count;
    metric.histogram.sample_sum = static_cast<double>(sum_ns) / 1e9;
    family.metric.push_back(std::move(metric));
  }
  return family;
}

MetricFamily HttpMetrics::InFlight() const {
  MetricFamily family = Family("raftkv_http_requests_in_flight",
                               "HTTP requests that are being worked on.", MetricType::Gauge);
  int64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->in_flight.load(std::memory_order_relaxed);
  ClientMetric metric = Labeled({{"listener", listener_}});
  metric.gauge.value = static_cast<double>(sum);
  family.metric.push_back(std::move(metric));
  return family;
}

void HttpMetrics::AppendConnections(std::vector<MetricFamily>* out) const {
  const HttpServer* server = server_.load();
  if (!server) return;
  HttpStats stats = server->stats();
  auto add = [&](std::string name, std::string help, MetricType type, uint64_t value) {
    MetricFamily family = Family(std::move(name), std::move(help), type);
    ClientMetric metric = Labeled({{"listener", listener_}});
    metric.gauge.value = metric.counter.value = static_cast<double>(value);
    family.metric.push_back(std::move(metric));
    out->push_back(std::move(family));
  };
  add("raftkv_http_connections", "Open HTTP connections.", MetricType::Gauge, stats.connections);
  add("raftkv_http_connections_accepted_total", "HTTP connections accepted.", MetricType::Counter,
      stats.accepted);
  add("raftkv_http_connections_refused_total",
      "HTTP connections refused because too many were open.", MetricType::Counter, stats.refused);
}

std::vector<MetricFamily> HttpMetrics::Collect() const {
  std::vector<MetricFamily> families = {Requests(), Latencies(), InFlight()};
  AppendConnections(&families);
  return families;
}

std::vector<MetricFamily> ServiceMetrics::Collect() const {
  const ServiceCounters& counters = service_->counters();
  std::vector<MetricFamily> families;
  auto add = [&](std::string name, std::string help, const std::atomic<uint64_t>& value) {
    MetricFamily family = Family(std::move(name), std::move(help), MetricType::Counter);
    family.metric.push_back(ClientMetric());
    family.metric.back().counter.value = static_cast<double>(value.load(std::memory_order_relaxed));
    families.push_back(std::move(family));
  };
  add("raftkv_mvcc_range_total", "Reads of one key or of a range that this member was asked for.",
      counters.ranges);
  add("raftkv_server_health_success_total", "Health checks (/livez, /readyz) that passed.",
      counters.health_success);
  add("raftkv_server_health_failures_total", "Health checks (/livez, /readyz) that failed.",
      counters.health_failures);
  return families;
}

namespace {

// One family for each name: the text format wants them together, but both listeners and the
// registry may have some of the same name.
std::vector<MetricFamily> Merge(const std::vector<const prometheus::Collectable*>& sources) {
  std::vector<MetricFamily> merged;
  for (const prometheus::Collectable* source : sources) {
    for (MetricFamily& family : source->Collect()) {
      auto same = std::ranges::find(merged, family.name, &MetricFamily::name);
      if (same == merged.end()) {
        merged.push_back(std::move(family));
      } else {
        std::ranges::move(family.metric, std::back_inserter(same->metric));
      }
    }
  }
  return merged;
}

}  // namespace

void HandleMetrics(Service* service, const std::vector<const prometheus::Collectable*>& sources,
                   const ExchangePtr& exchange) {
  SetRoute(exchange, Route::kMetrics);
  const HttpRequest& request = exchange->request();
  if (request.method != "GET" && request.method != "HEAD") {
    return exchange->Respond(MethodNotAllowed("GET, HEAD"));
  }
  service->RunObserving(exchange, [exchange, sources] {
    HttpResponse response;
    response.Add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    response.body = prometheus::TextSerializer().Serialize(Merge(sources));
    exchange->Respond(std::move(response));
  });
}

}  // namespace raftkv::server
