// Reconciler: observe, plan, act for one RaftKV resource at a time (docs/design/operator.md).
//
// Thread-safety: Reconcile from several threads at once, never for the same key (the controller
// sees to that).
#pragma once

#include <functional>
#include <stop_token>

#include "operator/kube/controller.h"
#include "operator/kube/events.h"
#include "operator/raftkv/act.h"
#include "operator/raftkv/cluster_metrics.h"
#include "operator/raftkv/observe.h"
#include "operator/raftkv/plan.h"

namespace raftkv::op {

struct ReconcilerParts {
  kube::Api* api = nullptr;
  NodeApi* nodes = nullptr;
  kube::EventRecorder* events = nullptr;
  ClusterMetrics* metrics = nullptr;
  kube::Timing* timing = nullptr;
  Caches caches;
  ObjectSettings settings;
  std::function<uint64_t()> epoch;  // of this operator's term of office
  // A cluster has a higher one stored, from an operator with another Lease: it must be exceeded, or
  // every change of the membership is refused.
  std::function<void(uint64_t)> raise_epoch;
  // Who leads a cluster, by IP, as of this look; empty: nobody, or the resource is gone.
  std::function<void(const kube::Key&, const std::string&)> watch_leader;
};

class Reconciler {
 public:
  explicit Reconciler(ReconcilerParts parts);

  kube::ApiResult<kube::ReconcileResult> Reconcile(const kube::Key& key, std::stop_token stop);

 private:
  // Something that this process wrote has not come back to the caches yet.
  bool IsBehind(const kube::Object& resource) const;
  // kConflict: the resource has changed; plan again.
  kube::ApiResult<void> WriteStatus(const Seen& seen, const PlannedStatus& status);
  // Before something is taken away: the same plan must come out of a live look, which is returned.
  using Planner = Plan (*)(const Observation&);
  Result<Seen> Confirm(const Seen& seen, const Plan& plan, Planner planner);
  // The cluster's ID is written once and for ever: a live look must find the same.
  Status ConfirmCluster(const Seen& seen, const Plan& plan);
  kube::ApiResult<kube::ReconcileResult> Carry(const Seen& seen, const Plan& plan, Planner planner);
  // The same where the API server refuses the plan's status: what is safe without it.
  kube::ApiResult<kube::ReconcileResult> CarryUnsaid(const Seen& seen, const Plan& plan,
                                                     const kube::ApiError& error);
  void Record(const kube::Object& resource, const Plan& plan, bool step);
  void RecordUnconfirmed(const kube::Object& resource, const std::string& action);
  void RecordFailure(const kube::Object& resource, const std::string& action, const Status& done);
  void WatchLeader(const Seen& seen);

  const ReconcilerParts parts_;
  Observer observer_;
  Actor actor_;
};

}  // namespace raftkv::op
