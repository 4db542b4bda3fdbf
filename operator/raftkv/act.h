// Act: carries out one action of a plan.
//
// Before something is taken away the resource, the object and, where members are concerned, the
// nodes are read live; what is deleted is named by its UID. What is done already is no error, so
// that a plan on old caches does no harm.
//
// Thread-safety: Actor from any thread, not twice at once for one resource.
#pragma once

#include <string>

#include "base/status.h"
#include "operator/kube/api.h"
#include "operator/raftkv/action.h"
#include "operator/raftkv/observe.h"

namespace raftkv::op {

class Actor {
 public:
  Actor(kube::Api* api, NodeApi* nodes, Observer* observer, Caches caches, ObjectSettings settings)
      : api_(api),
        nodes_(nodes),
        observer_(observer),
        caches_(caches),
        settings_(std::move(settings)) {}

  // kConflict: what the plan was made on has changed, or a node refuses; look again.
  Status Carry(const Seen& seen, const Action& action);

 private:
  Status Do(const Seen& seen, const Nothing& action);
  Status Do(const Seen& seen, const AddFinalizer& action);
  Status Do(const Seen& seen, const ApplyObjects& action);
  Status Do(const Seen& seen, const ApplyStatefulSet& action);
  Status Do(const Seen& seen, const ScaleStatefulSet& action);
  Status Do(const Seen& seen, const DeleteServiceAccount& action);
  Status Do(const Seen& seen, const ApplyDisruptionBudget& action);
  Status Do(const Seen& seen, const MarkLeader& action);
  Status Do(const Seen& seen, const MarkClaim& action);
  Status Do(const Seen& seen, const Initialize& action);
  Status Do(const Seen& seen, const ChangeMembership& action);
  Status Do(const Seen& seen, const TransferLeadership& action);
  Status Do(const Seen& seen, const DeletePod& action);
  Status Do(const Seen& seen, const DeleteClaim& action);
  Status Do(const Seen& seen, const ResizeClaim& action);
  Status Do(const Seen& seen, const RemoveFinalizer& action);

  // The resource still is what the plan was made for.
  Status CheckUnchanged(const Seen& seen);
  // No member of the configuration has its data in a slot that loses it.
  Status CheckNoMember(const Seen& seen, int first_slot, int last_slot, MemberId member);
  // No pod mounts this claim.
  Status CheckUnused(const Seen& seen, std::string_view claim);
  // Fewer replicas end no member, but for a cluster that sleeps or ends.
  Status CheckMayShrink(const Seen& seen, const kube::Object& set, int replicas);
  Status SetFinalizers(const Seen& seen, const Action& action, bool present);
  Status Apply(const Seen& seen, const Action& action, const DesiredObject& desired);
  // `applied`, when what SurplusOf tells has been taken off.
  kube::ApiResult<kube::Object> WithoutSurplus(const Seen& seen, const DesiredObject& desired,
                                               kube::Object applied);
  // Of what has the resource's own name, if the resource controls it.
  Status DeleteOwn(const Seen& seen, const Action& action, const kube::Resource& resource);
  Status Delete(const Seen& seen, const Action& action, const kube::Resource& resource,
                const kube::Key& key, const kube::DeleteOptions& options);
  Status Patch(const Seen& seen, const Action& action, const kube::Resource& resource,
               const kube::Key& key, const kube::Json& patch);
  // What is stored is found again, and of the size that was asked for: else the planner is told.
  Status CheckAnswer(const Seen& seen, const Action& action, const kube::Object& answer);
  // What a write has failed with; the planner is told of a refusal by the server.
  Status Failed(const Seen& seen, const Action& action, const kube::Resource& resource,
                const kube::Key& key, const kube::ApiError& error);

  kube::Api* const api_;
  NodeApi* const nodes_;
  Observer* const observer_;
  const Caches caches_;
  const ObjectSettings settings_;
};

}  // namespace raftkv::op
