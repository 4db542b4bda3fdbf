#include "operator/kube/api.h"

#include <nlohmann/json.hpp>

#include "operator/kube/timing.h"

namespace raftkv::kube {
namespace {

constexpr int kConflictTries = 5;
constexpr Duration kConflictDelay = std::chrono::milliseconds(10);

// The connection may have broken for any reason; what is waited for in vain is held up by something
// in the server, mostly a webhook.
ApiError OfThatCallAlone(ApiError error) {
  const bool waited = error.Is(Reason::kDeadline) || error.Is(Reason::kTimeout);
  if (!waited || error.ConcernsThisCallAlone()) return error;
  error.others_are_answered = true;
  error.message += " (the API server answers other calls: an admission webhook may be slow)";
  return error;
}

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

ApiResult<Object> SettleWrite(Api& api, const Resource& resource, const Key& key,
                              ApiResult<Object> answer,
                              const std::function<bool(const Object&)>& is_written) {
  if (answer || !answer.error().may_have_happened) return answer;
  auto live = api.Get(resource, key);
  if (live && is_written(*live)) return live;
  if (!live && !live.error().SaysGone()) return answer;
  return std::unexpected(OfThatCallAlone(std::move(answer.error())));
}

ApiResult<void> SettleDelete(Api& api, const Resource& resource, const Key& key,
                             std::string_view uid, ApiResult<void> answer) {
  if (answer || !answer.error().may_have_happened) return answer;
  auto live = api.Get(resource, key);
  if (!live && !live.error().SaysGone()) return answer;
  if (!live || live->uid() != uid || live->deleting()) return {};
  return std::unexpected(OfThatCallAlone(std::move(answer.error())));
}

}  // namespace raftkv::kube
