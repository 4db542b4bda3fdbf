// Api: the calls that controllers make. RestClient makes them to a server; a simulator may take
// its place.
//
// Thread-safety: every method from any thread; calls block.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "operator/kube/api_error.h"
#include "operator/kube/object.h"
#include "operator/kube/resource.h"

namespace raftkv::kube {

// How long a call may go on, whatever it does: repeat itself, connect, wait for credentials. Beyond
// it: kDeadline, kStopped.
struct CallLimits {
  Duration timeout = Duration::max();
  std::stop_token stop;
};

struct ListOptions {
  std::string ns;  // empty: every namespace
  std::string label_selector;
  std::string field_selector;
  // "": the newest state, from a quorum; "0": what the server has at hand; else at least this.
  std::string resource_version;
  int64_t limit = 0;  // objects a page; 0: all
  std::string continue_token;
};

struct ObjectList {
  std::vector<Object> items;  // apiVersion and kind are filled in
  std::string resource_version;
  std::string continue_token;  // empty: this was the last page
};

struct WatchOptions {
  std::string ns;
  std::string label_selector;
  std::string field_selector;
  std::string resource_version;
  Duration timeout = std::chrono::minutes(5);  // after which the server ends the stream
  bool bookmarks = true;
};

enum class EventType { kAdded, kModified, kDeleted, kBookmark };

struct WatchEvent {
  EventType type = EventType::kAdded;
  Object object;
};

enum class Propagation { kDefault, kBackground, kForeground, kOrphan };

struct DeleteOptions {
  // Preconditions; both are kConflict when they do not hold. A delete names the object that was
  // decided on, never just a name: somebody may have made another one under it.
  std::string uid;               // required
  std::string resource_version;  // empty: any
  Propagation propagation = Propagation::kBackground;
  std::optional<int64_t> grace_period_s;

  // The preconditions from an object that was read; with `exact`, of that very version.
  static DeleteOptions For(const Object& object, bool exact = true);
};

enum class PatchType { kMerge, kJson, kStrategic };

struct ApplyOptions {
  // Take fields over from other managers. Only for fields that are this operator's by contract.
  bool force = true;
  std::string subresource;  // "status", or empty
  bool dry_run = false;     // the answer is what would be stored, and nothing is
};

struct PatchOptions {
  std::string subresource;  // "status", "scale", or empty
  bool dry_run = false;     // the answer is what would be stored, and nothing is
};

class Api {
 public:
  virtual ~Api() = default;

  // The field manager of all writes.
  virtual std::string_view field_manager() const = 0;

  virtual ApiResult<Object> Get(const Resource& resource, const Key& key,
                                const CallLimits& limits = {}) = 0;
  virtual ApiResult<ObjectList> List(const Resource& resource, const ListOptions& options,
                                     std::stop_token stop = {}) = 0;
  // Calls `on_event` in the order of the stream, on this thread; false ends the watch. Returns
  // without error when the server ends the stream in good order, or when it has to be begun again
  // under another credential: the caller watches again from the last version that it was told.
  // kStopped after `stop`, kExpired or kVersionTooLarge when the caller must list again, kDeadline
  // when the stream went silent.
  virtual ApiResult<void> Watch(const Resource& resource, const WatchOptions& options,
                                const std::function<bool(WatchEvent)>& on_event,
                                std::stop_token stop) = 0;

  // kAlreadyExists when the name is taken.
  virtual ApiResult<Object> Create(const Resource& resource, const Object& object,
                                   const CallLimits& limits = {}) = 0;
  // Replaces the object; kConflict unless its resourceVersion is the newest. An object without a
  // resourceVersion is refused (kInvalid): built-in kinds would be overwritten unconditionally.
  virtual ApiResult<Object> Update(const Resource& resource, const Object& object,
                                   std::string_view subresource = {},
                                   const CallLimits& limits = {}) = 0;
  // `patch` as its type wants it: an object, or an array of operations.
  virtual ApiResult<Object> Patch(const Resource& resource, const Key& key, PatchType type,
                                  const Json& patch, const PatchOptions& options = {}) = 0;
  // Server-side apply under the client's field manager. Sets apiVersion and kind; refuses
  // (kInvalid) objects with resourceVersion, uid or managedFields: those are not ours to apply.
  virtual ApiResult<Object> Apply(const Resource& resource, const Object& object,
                                  const ApplyOptions& options = {}) = 0;
  // Without an error when the object is gone or on its way (finalizers, grace period); kNotFound
  // when there was none.
  virtual ApiResult<void> Delete(const Resource& resource, const Key& key,
                                 const DeleteOptions& options) = 0;

  // The scale subresource: spec.replicas and status.replicas of anything that has one.
  ApiResult<int64_t> GetScale(const Resource& resource, const Key& key);
  ApiResult<void> SetScale(const Resource& resource, const Key& key, int64_t replicas);

 protected:
  virtual ApiResult<Object> GetSubresource(const Resource& resource, const Key& key,
                                           std::string_view subresource) = 0;
};

// Reads the object, lets `change` edit it and updates it; again after kConflict, at most 5 times,
// 10 ms apart (client-go's RetryOnConflict). `change` returns false to leave the object alone.
class Timing;
ApiResult<Object> UpdateWithRetry(Api& api, Timing& timing, const Resource& resource,
                                  const Key& key, std::string_view subresource,
                                  const std::function<bool(Object&)>& change);

}  // namespace raftkv::kube
