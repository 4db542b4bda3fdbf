#include "operator/kube/ownership.h"

#include <algorithm>
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

bool IsOurs(const Json& entry, std::string_view manager, const char* operation) {
  Object fields(entry);
  return fields.String("/manager") == manager && fields.String("/operation") == operation &&
         fields.String("/subresource").empty();
}

// What Create() wrote belongs to our manager's "Update" entry; an apply takes only those fields
// back that its "Apply" entry had. Makes the one the other, as kubectl does when it changes from
// client-side to server-side apply. Does nothing if there is no such entry.
ApiResult<void> ClaimCreatedFields(Api& api, const Resource& resource, const Object& live) {
  Json entries = live.At("/metadata/managedFields");
  if (!entries.is_array()) return {};
  std::string_view manager = api.field_manager();
  auto find = [&](const char* operation) {
    return std::ranges::find_if(
        entries, [&](const Json& entry) { return IsOurs(entry, manager, operation); });
  };
  auto created = find("Update");
  if (created == entries.end()) return {};
  if (auto applied = find("Apply"); applied != entries.end()) {
    (*applied)["fieldsV1"].merge_patch((*created)["fieldsV1"]);
    entries.erase(created);
  } else {
    (*created)["operation"] = "Apply";
  }
  // With the version as a precondition: entries that came since must not be lost.
  Json patch = Json::array(
      {{{"op", "replace"}, {"path", "/metadata/managedFields"}, {"value", std::move(entries)}},
       {{"op", "replace"},
        {"path", "/metadata/resourceVersion"},
        {"value", std::string(live.resource_version())}}});
  auto patched = api.Patch(resource, live.key(), PatchType::kJson, patch);
  if (!patched) return std::unexpected(patched.error());
  return {};
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
    existing = api.Create(resource, desired);
  }
  if (!existing) return existing;
  if (auto allowed = CheckMayManage(*existing, owner); !allowed) {
    return std::unexpected(allowed.error());
  }
  // Not only after a Create of this call: the process may have died in between.
  if (auto claimed = ClaimCreatedFields(api, resource, *existing); !claimed) {
    return std::unexpected(claimed.error());
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
  if (!deleted && deleted.error().SaysGone()) return {};
  return deleted;
}

}  // namespace raftkv::kube
