// MemoryApi: objects in memory behind Api, with the rules that the code under test relies on
// (names, versions, UIDs, preconditions) and faults. tests/kube checks the same code against a real
// API server.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/kube/api.h"

namespace raftkv::kube {

// Thread-safety: every method from any thread; `before` is called without the lock.
class MemoryApi final : public Api {
 public:
  // Before each call, with "VERB plural/name": an error is returned instead.
  std::function<ApiResult<void>(const std::string&)> before;
  // What an admission webhook makes of what is created, applied or patched.
  std::function<void(Object&)> admit;
  // Who has written an object's fields, and how, is written down in it: an entry for what Create()
  // writes, and one for what Apply() does.
  bool tracks_fields = false;

  std::string_view field_manager() const override { return "raftkv-operator"; }

  ApiResult<Object> Get(const Resource& resource, const Key& key,
                        const CallLimits& limits = {}) override {
    if (auto ok = Before("GET", resource, key.name, limits); !ok)
      return std::unexpected(ok.error());
    std::lock_guard lock(mutex_);
    auto found = objects_.find(Path(resource, key));
    if (found == objects_.end()) return Fail(Reason::kNotFound, "not found");
    return found->second;
  }

  ApiResult<ObjectList> List(const Resource& resource, const ListOptions& options,
                             std::stop_token = {}) override {
    ObjectList list;
    std::lock_guard lock(mutex_);
    for (const auto& [path, object] : objects_) {
      if (object.kind() == resource.kind && IsSelected(object, options.label_selector)) {
        list.items.push_back(object);
      }
    }
    list.resource_version = std::to_string(version_);
    return list;
  }

  ApiResult<void> Watch(const Resource&, const WatchOptions&,
                        const std::function<bool(WatchEvent)>&, std::stop_token) override {
    return Fail(Reason::kServer, "MemoryApi has no watches");
  }

  ApiResult<Object> Create(const Resource& resource, const Object& object,
                           const CallLimits& limits = {}) override {
    if (auto ok = Before("CREATE", resource, object.name(), limits); !ok) {
      return std::unexpected(ok.error());
    }
    std::lock_guard lock(mutex_);
    std::string path = Path(resource, object.key());
    if (objects_.contains(path)) return Fail(Reason::kAlreadyExists, "already exists");
    Object made = object;
    made.Set("/metadata/uid", "uid-" + std::to_string(++uids_));
    if (tracks_fields) Track(made, "Update");
    if (admit) admit(made);
    return Store(path, std::move(made));
  }

  ApiResult<Object> Update(const Resource& resource, const Object& object, std::string_view = {},
                           const CallLimits& limits = {}) override {
    if (auto ok = Before("UPDATE", resource, object.name(), limits); !ok) {
      return std::unexpected(ok.error());
    }
    std::lock_guard lock(mutex_);
    std::string path = Path(resource, object.key());
    auto found = objects_.find(path);
    if (found == objects_.end()) return Fail(Reason::kNotFound, "not found");
    if (found->second.resource_version() != object.resource_version()) {
      return Fail(Reason::kConflict, "the object has been modified");
    }
    return Store(path, object);
  }

  ApiResult<Object> Patch(const Resource& resource, const Key& key, PatchType type,
                          const Json& patch, const PatchOptions& options = {}) override {
    const char* verb = options.dry_run ? "DRYRUN" : "PATCH";
    if (auto ok = Before(verb, resource, key.name); !ok) return std::unexpected(ok.error());
    std::lock_guard lock(mutex_);
    auto found = objects_.find(Path(resource, key));
    if (found == objects_.end()) return Fail(Reason::kNotFound, "not found");
    Object patched = found->second;
    if (type == PatchType::kJson) {
      patched.json() = patched.json().patch(patch);
      if (patched.resource_version() != found->second.resource_version()) {
        return Fail(Reason::kConflict, "the object has been modified");
      }
    } else {
      patched.json().merge_patch(patch);
    }
    if (admit) admit(patched);
    if (options.dry_run) return patched;
    return Store(found->first, std::move(patched));
  }

  ApiResult<Object> Apply(const Resource& resource, const Object& object,
                          const ApplyOptions& options = {}) override {
    const char* verb = options.dry_run ? "DRYRUN" : "APPLY";
    if (auto ok = Before(verb, resource, object.name()); !ok) {
      return std::unexpected(ok.error());
    }
    std::lock_guard lock(mutex_);
    std::string path = Path(resource, object.key());
    auto found = objects_.find(path);
    Object applied = found == objects_.end() ? object : found->second;
    const Json resources = applied.At(kResources);
    applied.json().merge_patch(object.json());
    // Which others may have set, too: an apply leaves those.
    if (resources.is_object() && applied.At(kResources).is_object()) {
      Json both = resources;
      both.merge_patch(applied.At(kResources));
      applied.Set(kResources, std::move(both));
    }
    if (tracks_fields) Track(applied, "Apply");
    if (admit) admit(applied);
    if (options.dry_run || (found != objects_.end() && applied == found->second)) return applied;
    if (applied.uid().empty()) applied.Set("/metadata/uid", "uid-" + std::to_string(++uids_));
    return Store(path, std::move(applied));
  }

  ApiResult<void> Delete(const Resource& resource, const Key& key,
                         const DeleteOptions& options) override {
    if (auto ok = Before("DELETE", resource, key.name); !ok) return ok;
    std::lock_guard lock(mutex_);
    auto found = objects_.find(Path(resource, key));
    if (found == objects_.end()) return Fail(Reason::kNotFound, "not found");
    bool holds = found->second.uid() == options.uid &&
                 (options.resource_version.empty() ||
                  found->second.resource_version() == options.resource_version);
    if (!holds) return Fail(Reason::kConflict, "the precondition does not hold");
    objects_.erase(found);
    return {};
  }

  // As if somebody had written it without a change.
  void Touch(const Resource& resource, const Key& key) {
    std::lock_guard lock(mutex_);
    std::string path = Path(resource, key);
    Store(path, objects_.at(path));
  }

  // How long the last call might have gone on.
  Duration last_timeout() const {
    std::lock_guard lock(mutex_);
    return last_timeout_;
  }
  // All calls so far, as `before` sees them.
  std::vector<std::string> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  size_t CountCalls(const std::string& call) const {
    std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count(calls_.begin(), calls_.end(), call));
  }
  std::vector<Object> All(const Resource& resource) { return List(resource, {})->items; }

 protected:
  ApiResult<Object> GetSubresource(const Resource& resource, const Key& key,
                                   std::string_view) override {
    return Get(resource, key);
  }

 private:
  static constexpr const char* kResources = "/spec/template/spec/containers/0/resources";

  // "name=value,name=value"; empty: everything is.
  static bool IsSelected(const Object& object, std::string_view selector) {
    while (!selector.empty()) {
      const size_t end = std::min(selector.find(','), selector.size());
      const std::string_view one = selector.substr(0, end);
      const size_t equals = one.find('=');
      if (object.Label(one.substr(0, equals)) != one.substr(equals + 1)) return false;
      selector.remove_prefix(std::min(end + 1, selector.size()));
    }
    return true;
  }

  static std::string Path(const Resource& resource, const Key& key) {
    return ResourcePath(resource, key.ns, key.name);
  }

  void Track(Object& object, const char* operation) const {
    const Json entry = {{"manager", std::string(field_manager())},
                        {"operation", operation},
                        {"fieldsV1", Json::object()}};
    Json entries = object.At("/metadata/managedFields");
    if (!entries.is_array()) entries = Json::array();
    if (std::ranges::find(entries, entry) == entries.end()) entries.push_back(entry);
    object.Set("/metadata/managedFields", std::move(entries));
  }

  ApiResult<void> Before(const char* verb, const Resource& resource, std::string_view name,
                         const CallLimits& limits = {}) {
    std::string call(verb);
    call.append(" ").append(resource.plural).append("/").append(name);
    {
      std::lock_guard lock(mutex_);
      calls_.push_back(call);
      last_timeout_ = limits.timeout;
    }
    if (before) return before(call);
    return {};
  }

  Object Store(const std::string& path, Object object) {
    object.Set("/metadata/resourceVersion", std::to_string(++version_));
    objects_[path] = object;
    return object;
  }

  mutable std::mutex mutex_;
  std::map<std::string, Object> objects_;
  std::vector<std::string> calls_;
  Duration last_timeout_{};
  uint64_t version_ = 100;
  int uids_ = 0;
};

}  // namespace raftkv::kube
