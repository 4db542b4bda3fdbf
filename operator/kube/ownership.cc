#include "operator/kube/ownership.h"

#include <nlohmann/json.hpp>

#include "base/check.h"

namespace raftkv::kube {
namespace {

std::string Describe(const Object& object) {
  return std::string(object.kind()) + " " + object.key().ToString();
}

std::unexpected<ApiError> Refuse(const Object& existing, const Object& owner, std::string why) {
  return Fail(Reason::kConflict, Describe(existing) + " is not managed for " + Describe(owner) +
                                     ": " + std::move(why));
}

}  // namespace

Json ControllerReference(const Object& owner) {
  CHECK(!owner.uid().empty(), "an owner must have been read from the server");
  return {{"apiVersion", std::string(owner.api_version())},
          {"kind", std::string(owner.kind())},
          {"name", std::string(owner.name())},
          {"uid", std::string(owner.uid())},
          {"controller", true},
          {"blockOwnerDeletion", true}};
}

void SetController(Object& object, const Object& owner) {
  CHECK(owner.ns().empty() || owner.ns() == object.ns(),
        "an owner and what it owns are in one namespace");
  object.Set("/metadata/ownerReferences", Json::array({ControllerReference(owner)}));
}

bool IsControlledBy(const Object& object, const Object& owner) {
  auto controller = object.Controller();
  return controller && !owner.uid().empty() && controller->uid == owner.uid();
}

ApiResult<void> CheckMayManage(const Object& existing, const Object& owner) {
  auto controller = existing.Controller();
  if (!controller) {
    return Refuse(existing, owner,
                  "it has no controller, somebody else made it; delete or rename it");
  }
  if (controller->uid != owner.uid()) {
    bool former = controller->kind == owner.kind() && controller->name == owner.name();
    return Refuse(existing, owner,
                  former ? "it belongs to a former object of the same name (UID " +
                               controller->uid + ") and has not been garbage-collected yet"
                         : "it belongs to " + controller->kind + " " + controller->name);
  }
  if (existing.deleting()) return Refuse(existing, owner, "it is being deleted");
  return {};
}

ApiResult<Object> ApplyOwned(Api& api, const Resource& resource, Object desired,
                             const Object& owner) {
  SetController(desired, owner);
  auto existing = api.Get(resource, desired.key());
  if (!existing && existing.error().Is(Reason::kNotFound)) {
    // Not an apply, which would take over what somebody else makes in this moment.
    auto created = api.Create(resource, desired);
    if (!created) return created;
    // The apply claims the fields for the manager under which later applies run.
    return api.Apply(resource, desired);
  }
  if (!existing) return existing;
  if (auto allowed = CheckMayManage(*existing, owner); !allowed) {
    return std::unexpected(allowed.error());
  }
  return api.Apply(resource, desired);
}

ApiResult<void> DeleteOwned(Api& api, const Resource& resource, const Object& seen,
                            const Object& owner, Propagation propagation) {
  auto live = api.Get(resource, seen.key());
  if (!live && live.error().Is(Reason::kNotFound)) return {};
  if (!live) return std::unexpected(live.error());
  if (live->uid() != seen.uid()) return {};  // another object: ours is gone
  if (!IsControlledBy(*live, owner)) {
    return Refuse(*live, owner, "it is not deleted, another controls it");
  }
  if (live->deleting()) return {};
  DeleteOptions options = DeleteOptions::For(*live);
  options.propagation = propagation;
  auto deleted = api.Delete(resource, seen.key(), options);
  if (!deleted && deleted.error().Is(Reason::kNotFound)) return {};
  return deleted;
}

}  // namespace raftkv::kube
