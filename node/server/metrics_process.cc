#include <prometheus/metric_family.h>

#include "base/proc.h"
#include "base/version.h"
#include "node/server/metrics.h"

namespace raftkv::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Single(std::string name, std::string help, MetricType type, double value) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  ClientMetric metric;
  metric.gauge.value = metric.counter.value = value;
  family.metric.push_back(std::move(metric));
  return family;
}

MetricFamily BuildInfo() {
  MetricFamily family =
      Single("raftkv_build_info", "1; the version is in the label.", MetricType::Gauge, 1);
  family.metric.front().label = {{"version", std::string(Version())}};
  return family;
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  std::vector<MetricFamily> families = {BuildInfo()};
  auto stats = ReadProcessStats();
  // Without /proc there is nothing to tell; the other metrics are still worth having.
  if (!stats) return families;
  auto add = [&families](const char* name, const char* help, MetricType type, double value) {
    families.push_back(Single(name, help, type, value));
  };
  // The text format has -1 for "no limit" here, as the other client libraries do.
  double max_virtual =
      stats->max_virtual_bytes == UINT64_MAX ? -1 : static_cast<double>(stats->max_virtual_bytes);
  add("process_cpu_seconds_total", "User and system CPU time spent, in seconds.",
      MetricType::Counter, stats->cpu_seconds);
  add("process_open_fds", "Open file descriptors.", MetricType::Gauge,
      static_cast<double>(stats->open_fds));
  add("process_max_fds", "Highest number of open file descriptors.", MetricType::Gauge,
      static_cast<double>(stats->max_fds));
  add("process_virtual_memory_bytes", "Virtual memory size, in bytes.", MetricType::Gauge,
      static_cast<double>(stats->virtual_bytes));
  add("process_virtual_memory_max_bytes",
      "Highest amount of virtual memory, in bytes; -1: no limit.", MetricType::Gauge, max_virtual);
  add("process_resident_memory_bytes", "Resident memory size, in bytes.", MetricType::Gauge,
      static_cast<double>(stats->resident_bytes));
  add("process_start_time_seconds", "Start of the process, in seconds since the epoch.",
      MetricType::Gauge, stats->start_time_seconds);
  add("process_threads", "Threads of the process.", MetricType::Gauge,
      static_cast<double>(stats->threads));
  return families;
}

}  // namespace raftkv::server
