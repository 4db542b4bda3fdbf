#include "tests/bench/report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace raftkv::bench {
namespace {

constexpr double kPercents[] = {50, 90, 99, 99.9};
constexpr const char* kPercentNames[] = {"p50", "p90", "p99", "p99_9"};

double Micros(uint64_t ns) { return static_cast<double>(ns) / 1e3; }

const char* Name(Workload workload) {
  switch (workload) {
    case Workload::kPut:
      return "put";
    case Workload::kGet:
      return "get";
    case Workload::kMixed:
      return "mixed";
    case Workload::kFill:
      return "fill";
  }
  return "?";
}

nlohmann::ordered_json Latencies(const Histogram& h) {
  nlohmann::ordered_json out;
  out["count"] = h.count();
  out["mean"] = h.Mean() / 1e3;
  out["min"] = Micros(h.min());
  for (int i = 0; i < 4; ++i) out[kPercentNames[i]] = Micros(h.Percentile(kPercents[i]));
  out["max"] = Micros(h.max());
  return out;
}

double PerSecond(const LoadResult& result) {
  return result.seconds > 0 ? static_cast<double>(result.succeeded()) / result.seconds : 0;
}

double CpuPer10k(const LoadResult& result) {
  return result.succeeded() > 0 ? result.cpu_seconds * 1e4 / static_cast<double>(result.succeeded())
                                : 0;
}

template <typename... Args>
void Append(std::string* out, const char* format, Args... args) {
  char line[256];
  int n = std::snprintf(line, sizeof line, format, args...);
  out->append(line, static_cast<size_t>(std::min(n, 255)));
}

void AppendRow(std::string* out, const char* name, const Histogram& h) {
  if (h.count() == 0) return;
  Append(out, "%-6s %10llu", name, static_cast<unsigned long long>(h.count()));
  Append(out, " %10.1f", h.Mean() / 1e3);
  for (double percent : kPercents) Append(out, " %10.1f", Micros(h.Percentile(percent)));
  Append(out, " %10.1f\n", Micros(h.max()));
}

}  // namespace

std::string JsonReport(const LoadOptions& options, const LoadResult& result) {
  nlohmann::ordered_json out;
  out["workload"] = Name(options.workload);
  out["clients"] = options.clients;
  out["key_bytes"] = options.key_bytes;
  out["value_bytes"] = options.value_bytes;
  out["keys"] = options.keys;
  out["rate"] = options.rate;
  out["seconds"] = result.seconds;
  out["succeeded"] = result.succeeded();
  out["per_second"] = PerSecond(result);
  out["failed"] = result.failed();
  nlohmann::ordered_json statuses = nlohmann::ordered_json::object();
  for (auto [status, count] : result.by_status) statuses[std::to_string(status)] = count;
  out["by_status"] = statuses;
  out["connect_errors"] = result.connect_errors;
  out["broken_connections"] = result.broken;
  out["timeouts"] = result.timeouts;
  out["unsent"] = result.unsent;
  out["client_cpu_seconds"] = result.cpu_seconds;
  Histogram all = result.reads;
  all.Merge(result.writes);
  out["latency_us"] = Latencies(all);
  if (result.reads.count() > 0 && result.writes.count() > 0) {
    out["read_latency_us"] = Latencies(result.reads);
    out["write_latency_us"] = Latencies(result.writes);
  }
  return out.dump(2) + "\n";
}

std::string TextReport(const LoadOptions& options, const LoadResult& result) {
  std::string out;
  Append(&out, "%s, %d clients, %d B keys, %zu B values: ", Name(options.workload), options.clients,
         options.key_bytes, options.value_bytes);
  Append(&out, "%.0f requests/s, %llu ok, %llu failed in %.2f s\n", PerSecond(result),
         static_cast<unsigned long long>(result.succeeded()),
         static_cast<unsigned long long>(result.failed()), result.seconds);
  Append(&out, "client CPU: %.2f s (%.3f s for 10,000 requests)\n", result.cpu_seconds,
         CpuPer10k(result));
  for (auto [status, count] : result.by_status)
    Append(&out, "status %d: %llu\n", status, static_cast<unsigned long long>(count));
  auto line = [&](const char* what, uint64_t count) {
    if (count > 0) Append(&out, "%s: %llu\n", what, static_cast<unsigned long long>(count));
  };
  line("could not connect", result.connect_errors);
  line("connections lost", result.broken);
  line("timeouts", result.timeouts);
  line("due but not sent", result.unsent);
  Append(&out, "%-6s %10s %10s %10s %10s %10s %10s %10s  (us)\n", "", "count", "mean", "p50", "p90",
         "p99", "p99.9", "max");
  AppendRow(&out, "read", result.reads);
  AppendRow(&out, "write", result.writes);
  return out;
}

}  // namespace raftkv::bench
