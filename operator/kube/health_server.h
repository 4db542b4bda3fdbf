// /healthz, /livez, /readyz and /metrics for the kubelet and Prometheus.
//
// A few threads, a bounded number of connections: when all are taken, further ones wait in the
// kernel's backlog.
//
// Thread-safety: Add before Start; the rest from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace raftkv::kube {

struct HealthCheck {
  std::string name;
  // Ok, or why not. Must not block.
  std::function<Status()> check;
};

struct HealthServerOptions {
  std::string address = ":8081";  // port 0: a free one
  int threads = 4;
  int max_waiting = 16;  // accepted connections beyond the threads
  std::vector<HealthCheck> live;
  std::vector<HealthCheck> ready;
  std::function<std::string()> metrics;  // unset: no /metrics
};

class HealthServer {
 public:
  // kUnavailable names the address that is taken.
  static Result<std::unique_ptr<HealthServer>> Start(HealthServerOptions options);
  virtual ~HealthServer() = default;  // stops
  virtual uint16_t port() const = 0;
};

}  // namespace raftkv::kube
