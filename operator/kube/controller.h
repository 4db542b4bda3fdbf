// Controller: reconciles keys with N workers, fed by the changes of caches.
//
//   Controller controller({.name = "raftkv", .workers = 2}, reconcile, &timing, &metrics);
//   controller.Watch(&clusters);                       // the key of the object itself
//   controller.Watch(&pods, ToController(kRaftKv));    // the key of its owner
//   controller.Start();                                // once the caches are synced
//   ...
//   controller.Stop(std::chrono::seconds(30));
//
// Level-triggered: reconcile is told which object, never what happened to it.
//
// Thread-safety: Watch before Start; the rest from any thread. `reconcile` runs on the workers,
// never twice at once for one key.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "operator/kube/api_error.h"
#include "operator/kube/cache.h"
#include "operator/kube/work_queue.h"

namespace raftkv::kube {

class Metrics;
class ControllerMetrics;

struct ReconcileResult {
  // Again after this time although nothing changed; not a failure. Zero: only after a change.
  Duration requeue_after = Duration::zero();
};

// An error makes the key come again with its backoff; log and count are done here. Exceptions are
// bugs: they are caught, counted as panics and treated like errors. `stop` asks to come to an end.
using Reconcile = std::function<ApiResult<ReconcileResult>(const Key&, std::stop_token stop)>;

// The keys that a change concerns.
using MapToKeys = std::function<std::vector<Key>(const Object&)>;
// The key of the object itself.
MapToKeys ToSelf();
// The key of the owner with `controller: true`, if it is of this kind.
MapToKeys ToController(const Resource& owner);
// The key in a label of the object, in its own namespace.
MapToKeys ToLabel(std::string label);

// Whether a change is worth a reconcile.
using Filter = std::function<bool(const Change&)>;
// Drops updates that changed the status alone: no new generation, labels, annotations, finalizers
// or deletion. Resyncs pass.
Filter OnlySpecChanges();

struct ControllerOptions {
  std::string name;
  int workers = 1;
  WorkQueueOptions queue;
};

class Controller {
 public:
  Controller(ControllerOptions options, Reconcile reconcile, Timing* timing,
             Metrics* metrics = nullptr);
  ~Controller();  // as Stop(30 s)
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  void Watch(Cache* cache, MapToKeys map = ToSelf(), Filter filter = nullptr);
  void Start();
  // Hands no more keys out and asks what runs to stop; false if it has not within `limit`, and then
  // the workers still run.
  bool Stop(Duration limit);

  const std::string& name() const { return options_.name; }
  WorkQueue& queue() { return queue_; }

 private:
  void Work(std::stop_token stop);
  void ReconcileOne(const Key& key, std::stop_token stop);
  ApiResult<ReconcileResult> CallReconcile(const Key& key, std::stop_token stop);

  const ControllerOptions options_;
  const Reconcile reconcile_;
  Timing* const timing_;
  std::unique_ptr<ControllerMetrics> metrics_;
  WorkQueue queue_;
  std::vector<std::jthread> workers_;
};

}  // namespace raftkv::kube
