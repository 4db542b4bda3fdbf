// What a RaftKV resource asks for (raftkv.dev/v1alpha1), as far as the planner needs it. The JSON
// paths are named at each field; what only shapes Kubernetes objects (affinity, labels, service
// type, ...) stays in the object and reaches the planner as a hash of the pod template.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace raftkv::op {

enum class Retention { kDelete, kRetain };
enum class UpdateStrategy { kRollingUpdate, kOnDelete };

struct ClusterSpec {
  // spec.bootstrap.mode is Restore: people make the first cluster, of a snapshot.
  bool restore = false;
  int replicas = 3;                                          // spec.replicas: 1..9, 0 hibernates
  uint64_t storage_bytes = 0;                                // spec.storage.size
  Retention on_delete = Retention::kRetain;                  // spec.storage.retention.onDelete
  Retention on_scale_down = Retention::kDelete;              // spec.storage.retention.onScaleDown
  UpdateStrategy strategy = UpdateStrategy::kRollingUpdate;  // spec.update.strategy
  bool update_paused = false;                                // spec.update.paused
  bool replacement_enabled = true;                           // spec.replacement.enabled
  Duration replacement_after = std::chrono::minutes(5);      // spec.replacement.after
  bool disruption_budget = true;                             // spec.disruptionBudget.enabled
  bool paused = false;                                       // spec.paused
  Duration progress_deadline = std::chrono::minutes(10);     // spec.progressDeadlineSeconds
  friend bool operator==(const ClusterSpec&, const ClusterSpec&) = default;
};

}  // namespace raftkv::op
