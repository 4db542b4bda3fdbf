// What only the operator knows of each RaftKV, as metrics (docs/metrics.md).
//
// Thread-safety: every method from any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "operator/kube/resource.h"
#include "operator/raftkv/observation.h"
#include "operator/raftkv/plan.h"

namespace prometheus {
class Registry;
}

namespace raftkv::op {

class ClusterMetrics {
 public:
  // `registry` must outlive this.
  explicit ClusterMetrics(prometheus::Registry* registry);
  ~ClusterMetrics();

  // The gauges of one resource, from what was seen and what was planned.
  void Set(const Observation& seen, const PlannedStatus& status);
  // The resource is gone: so are its series.
  void Remove(const kube::Key& key);

  void CountAction(const kube::Key& key, std::string_view action);
  void CountReplacement(const kube::Key& key);
  void CountRefusal(const kube::Key& key, std::string_view reason);

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace raftkv::op
