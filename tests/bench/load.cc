#include "tests/bench/load.h"

#include <netdb.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "tests/bench/worker.h"

namespace raftkv::bench {
namespace {

Result<sockaddr_in> Resolve(const Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = getaddrinfo(endpoint.host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return Error(Code::kInvalidArgument,
                 "no IPv4 address for " + endpoint.host + ": " + gai_strerror(error));
  }
  sockaddr_in address = *reinterpret_cast<sockaddr_in*>(found->ai_addr);
  freeaddrinfo(found);
  address.sin_port = htons(endpoint.port);
  return address;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Status Invalid(std::string message) { return Status(Code::kInvalidArgument, std::move(message)); }

}  // namespace

Result<Endpoint> ParseEndpoint(const std::string& text) {
  std::string_view rest = text;
  if (rest.starts_with("http://")) rest.remove_prefix(7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  ASSIGN_OR_RETURN(Endpoint endpoint, ParseHostPort(rest));
  if (endpoint.host.empty() || endpoint.port == 0)
    return Error(Code::kInvalidArgument, "an endpoint needs a host and a port");
  return endpoint;
}

Status Validate(const LoadOptions& o) {
  if (o.endpoints.empty()) return Invalid("no endpoints");
  if (o.clients < 1 || o.clients > 20'000) return Invalid("clients must be 1 to 20,000");
  if (o.threads < 1 || o.threads > o.clients) return Invalid("threads must be 1 to clients");
  if (o.keys < 1) return Invalid("keys must be at least 1");
  if (o.key_bytes < 1 || o.key_bytes > 4096) return Invalid("key size must be 1 to 4096 bytes");
  if (o.key_bytes < 19 && static_cast<double>(o.keys) > std::pow(10, o.key_bytes))
    return Invalid("so many keys do not fit into " + std::to_string(o.key_bytes) + " digits");
  if (o.value_bytes > (16u << 20)) return Invalid("value size must be at most 16 MiB");
  if (o.read_ratio < 0 || o.read_ratio > 1) return Invalid("read ratio must be 0 to 1");
  if (o.rate < 0) return Invalid("rate must not be negative");
  if (o.timeout <= Duration::zero()) return Invalid("timeout must be positive");
  if (o.workload != Workload::kFill && o.requests == 0 && o.duration <= Duration::zero())
    return Invalid("give a number of requests or a duration");
  return Status::Ok();
}

uint64_t LoadResult::failed() const {
  uint64_t n = connect_errors + broken + timeouts;
  for (auto [status, count] : by_status)
    if (status < 200 || status > 299) n += count;
  return n;
}

void LoadResult::Merge(const LoadResult& other) {
  reads.Merge(other.reads);
  writes.Merge(other.writes);
  for (auto [status, count] : other.by_status) by_status[status] += count;
  connect_errors += other.connect_errors;
  broken += other.broken;
  timeouts += other.timeouts;
  unsent += other.unsent;
  seconds = std::max(seconds, other.seconds);
  cpu_seconds += other.cpu_seconds;
}

Result<LoadResult> RunLoad(const LoadOptions& options) {
  RETURN_UNEXPECTED_IF_ERROR(Validate(options));
  std::vector<sockaddr_in> addresses;
  for (const Endpoint& endpoint : options.endpoints) {
    ASSIGN_OR_RETURN(sockaddr_in address, Resolve(endpoint));
    addresses.push_back(address);
  }
  double cpu_before = CpuSeconds();
  std::vector<Result<LoadResult>> results(static_cast<size_t>(options.threads));
  auto run = [&](int index) {
    auto worker = std::make_unique<Worker>(options, addresses, index);
    results[static_cast<size_t>(index)] = worker->Run();
  };
  std::vector<std::jthread> threads;
  for (int i = 1; i < options.threads; ++i) threads.emplace_back(run, i);
  run(0);
  threads.clear();
  LoadResult total;
  for (auto& result : results) {
    if (!result) return Error(result.error());
    total.Merge(*result);
  }
  total.cpu_seconds = CpuSeconds() - cpu_before;
  return total;
}

}  // namespace raftkv::bench
