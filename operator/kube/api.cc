#include "operator/kube/api.h"

#include <nlohmann/json.hpp>

#include "operator/kube/timing.h"

namespace raftkv::kube {
namespace {

constexpr int kConflictTries = 5;
constexpr Duration kConflictDelay = std::chrono::milliseconds(10);

}  // namespace

DeleteOptions DeleteOptions::For(const Object& object, bool exact) {
  DeleteOptions options;
  options.uid = object.uid();
  if (exact) options.resource_version = object.resource_version();
  return options;
}

ApiResult<int64_t> Api::GetScale(const Resource& resource, const Key& key) {
  auto scale = GetSubresource(resource, key, "scale");
  if (!scale) return std::unexpected(scale.error());
  // The field is left out when it is zero.
  return scale->Int("/spec/replicas").value_or(0);
}

ApiResult<void> Api::SetScale(const Resource& resource, const Key& key, int64_t replicas) {
  auto patched = Patch(resource, key, PatchType::kMerge, Json{{"spec", {{"replicas", replicas}}}},
                       {.subresource = "scale"});
  if (!patched) return std::unexpected(patched.error());
  return {};
}

ApiResult<Object> UpdateWithRetry(Api& api, Timing& timing, const Resource& resource,
                                  const Key& key, std::string_view subresource,
                                  const std::function<bool(Object&)>& change) {
  for (int tries = 1;; ++tries) {
    auto object = api.Get(resource, key);
    if (!object) return object;
    if (!change(*object)) return object;
    auto updated = api.Update(resource, *object, subresource);
    if (updated || !updated.error().Is(Reason::kConflict) || tries == kConflictTries) {
      return updated;
    }
    timing.Sleep(kConflictDelay, {});
  }
}

}  // namespace raftkv::kube
