// Whose an object is: owner references by UID, and the refusal to take over what is another's.
//
// Thread-safety: functions without shared state.
#pragma once

#include "operator/kube/api.h"

namespace raftkv::kube {

// A reference to `owner` as controller, with blockOwnerDeletion. `owner` must have a UID.
Json ControllerReference(const Object& owner);
// Adds it to `object`, which is of the same namespace (or cluster-wide owner).
void SetController(Object& object, const Object& owner);

// The object has a controller reference with this very UID.
bool IsControlledBy(const Object& object, const Object& owner);

// Ok if `existing` may be changed for `owner`. kConflict, with a sentence for an event, if it has
// no controller, another one, or one of the same name with another UID (a former incarnation whose
// things garbage collection has not taken yet), or is being deleted.
ApiResult<void> CheckMayManage(const Object& existing, const Object& owner);

// Applies `desired` for `owner`: reads live, creates or applies with the owner reference set;
// refuses as CheckMayManage does.
ApiResult<Object> ApplyOwned(Api& api, const Resource& resource, Object desired,
                             const Object& owner);

// Deletes if it is still the object that `seen` was (UID, and version if `exact`) and `owner`
// controls it: reads live first. kNotFound counts as done.
ApiResult<void> DeleteOwned(Api& api, const Resource& resource, const Object& seen,
                            const Object& owner,
                            Propagation propagation = Propagation::kBackground);

}  // namespace raftkv::kube
