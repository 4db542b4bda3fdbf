// Metrics under the names that controller-runtime and client-go have, so that existing dashboards
// and alerts work.
//
// Thread-safety: every method from any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "operator/kube/work_queue.h"

namespace prometheus {
class Registry;
}

namespace raftkv::kube {

enum class ReconcileOutcome { kSuccess, kError, kRequeueAfter };

// Of one controller; its queue's observer.
class ControllerMetrics : public WorkQueueObserver {
 public:
  virtual void OnReconcileStart() = 0;
  virtual void OnReconcileEnd(ReconcileOutcome outcome, Duration took) = 0;
  virtual void OnPanic() = 0;
};

class Metrics {
 public:
  // `registry` must outlive this, and this what ForController returns.
  explicit Metrics(prometheus::Registry* registry);
  ~Metrics();

  // `queue_running` is asked at each scrape for workqueue_unfinished_work_seconds; it must stay
  // callable until the result is destroyed.
  std::unique_ptr<ControllerMetrics> ForController(
      const std::string& name, int workers, std::function<std::vector<Duration>()> queue_running);

  // rest_client_requests_total{code,method,host}; status 0: "<error>".
  void CountRequest(std::string_view method, int status, const std::string& host, Duration took);
  // leader_election_master_status{name}
  void SetLeader(const std::string& lease, bool leader);

  // raftkv_operator_events_dropped_total
  void CountDroppedEvent();

  // The text format (0.0.4): everything in the registry, and the process_* set.
  std::string Render() const;

  struct Families;

 private:
  std::unique_ptr<Families> families_;
};

}  // namespace raftkv::kube
