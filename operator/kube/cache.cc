#include "operator/kube/cache.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace raftkv::kube {
namespace {

std::string LabelEntry(std::string_view name, std::string_view value) {
  std::string out(name);
  return out.append("=").append(value);
}

Change Added(ObjectPtr object) {
  return {.type = Change::Type::kAdded, .after = std::move(object)};
}

Change Deleted(ObjectPtr object, bool final_state_unknown) {
  return {.type = Change::Type::kDeleted,
          .before = std::move(object),
          .final_state_unknown = final_state_unknown};
}

// A state from before the one that is known (a watch that began at an older version, a server that
// lags): to take it over would be to travel back in time.
bool IsOlder(const Object& arrived, uint64_t known_version) {
  auto version = ParseResourceVersion(arrived.resource_version());
  return version && known_version != 0 && *version < known_version;
}

bool IsBefore(const Key* a, const Key* b) { return *a < *b; }

// What an object's arrival under a key means for those who knew `before` there.
void AppendChanges(ObjectPtr before, ObjectPtr after, std::vector<Change>* out) {
  if (before == nullptr) return out->push_back(Added(std::move(after)));
  if (before->uid() != after->uid()) {
    // The deletion in between was missed.
    out->push_back(Deleted(std::move(before), true));
    return out->push_back(Added(std::move(after)));
  }
  if (before->resource_version() == after->resource_version()) return;
  out->push_back(
      {.type = Change::Type::kModified, .before = std::move(before), .after = std::move(after)});
}

}  // namespace

Cache::Cache(const Resource& resource, size_t max_objects,
             const std::vector<std::string>& namespaces)
    : resource_(resource), max_objects_(max_objects) {
  for (const std::string& ns : namespaces) reached_[ns] = 0;
  if (reached_.empty()) reached_[""] = 0;
  for (const auto& [part, reached] : reached_) unsynced_.insert(part);
}

std::string_view Cache::PartOf(std::string_view ns) const {
  return reached_.contains("") ? std::string_view() : ns;
}

// --- Reading
// --------------------------------------------------------------------------------------

ObjectPtr Cache::Unpack(const Kept& kept) {
  return std::make_shared<const Object>(Object::FromCbor(kept.bytes));
}

ObjectPtr Cache::Get(const Key& key) const {
  std::shared_lock lock(mutex_);
  auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : Unpack(found->second);
}

uint64_t Cache::VersionOf(const Key& key) const {
  std::shared_lock lock(mutex_);
  auto found = objects_.find(key);
  return found == objects_.end() ? 0 : found->second.version;
}

std::vector<ObjectPtr> Cache::List() const {
  std::shared_lock lock(mutex_);
  std::vector<ObjectPtr> out;
  out.reserve(objects_.size());
  for (const auto& [key, kept] : objects_) out.push_back(Unpack(kept));
  return out;
}

std::vector<ObjectPtr> Cache::FindLocked(const Index& index, const std::string& value) const {
  std::vector<ObjectPtr> out;
  auto keys = index.find(value);
  if (keys == index.end()) return out;
  for (const Key* key : keys->second) out.push_back(Unpack(objects_.at(*key)));
  return out;
}

std::vector<ObjectPtr> Cache::InNamespace(std::string_view ns) const {
  std::shared_lock lock(mutex_);
  return FindLocked(by_namespace_, std::string(ns));
}

std::vector<ObjectPtr> Cache::OwnedBy(std::string_view owner_uid) const {
  std::shared_lock lock(mutex_);
  return FindLocked(by_owner_, std::string(owner_uid));
}

std::vector<ObjectPtr> Cache::WithLabel(std::string_view name, std::string_view value) const {
  std::shared_lock lock(mutex_);
  return FindLocked(by_label_, LabelEntry(name, value));
}

size_t Cache::size() const {
  std::shared_lock lock(mutex_);
  return objects_.size();
}

bool Cache::synced() const {
  std::lock_guard lock(sync_mutex_);
  return unsynced_.empty();
}

bool Cache::synced(std::string_view ns) const {
  std::lock_guard lock(sync_mutex_);
  return !unsynced_.contains(PartOf(ns));
}

bool Cache::AwaitSync(Timing& timing, Duration limit, std::stop_token stop) const {
  std::stop_callback on_stop(stop, [this] {
    std::lock_guard lock(sync_mutex_);
    sync_wake_.notify_all();
  });
  MonotonicTime deadline = SaturatingAdd(timing.Now(), limit);
  std::unique_lock lock(sync_mutex_);
  while (!unsynced_.empty() && !stop.stop_requested() && timing.Now() < deadline) {
    timing.WaitUntil(lock, sync_wake_, deadline);
  }
  bool synced = unsynced_.empty();
  lock.unlock();
  return synced;
}

// --- Own writes
// -----------------------------------------------------------------------------------

void Cache::Wrote(const Object& object) {
  auto version = ParseResourceVersion(object.resource_version());
  if (!version) return;
  std::unique_lock lock(mutex_);
  Key key = object.key();
  auto part = reached_.find(PartOf(key.ns));
  if (part == reached_.end() || *version <= part->second) return;
  auto found = objects_.find(key);
  if (found != objects_.end() && found->second.version >= *version) return;
  if (writes_.size() >= kMaxTrackedWrites) writes_.erase(writes_.begin());
  uint64_t& waits_for = writes_[std::move(key)];
  waits_for = std::max(waits_for, *version);
}

bool Cache::IsBehind(const Key& key) const {
  std::shared_lock lock(mutex_);
  return writes_.contains(key);
}

// Another part may be far behind: its writes have not been seen.
void Cache::ReachedLocked(std::string_view part, std::string_view resource_version) {
  auto found = reached_.find(part);
  if (found == reached_.end()) return;  // of a namespace that nobody asked for
  uint64_t& reached = found->second;
  reached = std::max(reached, ParseResourceVersion(resource_version).value_or(0));
  std::erase_if(writes_, [&](const auto& write) {
    return PartOf(write.first.ns) == part && write.second <= reached;
  });
}

// --- Writing
// --------------------------------------------------------------------------------------

void Cache::Enter(Index& index, const std::string& value, const Key& key) {
  Keys& keys = index[value];
  auto at = std::ranges::lower_bound(keys, &key, IsBefore);
  if (at == keys.end() || *at != &key) keys.insert(at, &key);
}

void Cache::Leave(Index& index, const std::string& value, const Key& key) {
  auto keys = index.find(value);
  if (keys == index.end()) return;
  auto at = std::ranges::lower_bound(keys->second, &key, IsBefore);
  if (at != keys->second.end() && *at == &key) keys->second.erase(at);
  if (keys->second.empty()) index.erase(keys);
}

void Cache::IndexLocked(const Key& key, const Object& object, bool enter) {
  auto change = enter ? &Cache::Enter : &Cache::Leave;
  change(by_namespace_, key.ns, key);
  for (const OwnerReference& owner : object.Owners()) change(by_owner_, owner.uid, key);
  const Json& labels = object.At("/metadata/labels");
  if (!labels.is_object()) return;
  for (const auto& [name, value] : labels.items()) {
    if (!value.is_string()) continue;
    change(by_label_, LabelEntry(name, value.get_ref<const std::string&>()), key);
  }
}

ObjectPtr Cache::TakeLocked(const Key& key) {
  auto found = objects_.find(key);
  if (found == objects_.end()) return nullptr;
  ObjectPtr object = Unpack(found->second);
  IndexLocked(found->first, *object, false);
  objects_.erase(found);
  return object;
}

ObjectPtr Cache::PutLocked(const Object& object) {
  Key key = object.key();
  ObjectPtr before = TakeLocked(key);
  Kept kept{.bytes = object.ToCbor(),
            .version = ParseResourceVersion(object.resource_version()).value_or(0)};
  auto entry = objects_.emplace(std::move(key), std::move(kept)).first;
  IndexLocked(entry->first, object, true);
  return before;
}

Status Cache::Replace(std::vector<Object> objects, std::string_view resource_version,
                      std::string_view ns) {
  const std::string_view part = PartOf(ns);
  std::vector<Change> changes;
  {
    std::unique_lock lock(mutex_);
    std::set<Key> gone;
    for (const auto& [key, object] : objects_) {
      if (PartOf(key.ns) == part) gone.insert(key);
    }
    size_t size = objects_.size() - gone.size() + objects.size();
    if (size > max_objects_) {
      return {Code::kResourceExhausted, "there are " + std::to_string(size) + " " +
                                            resource_.name() + " objects, more than the cache's " +
                                            std::to_string(max_objects_) + "; use a selector"};
    }
    for (Object& object : objects) {
      auto after = std::make_shared<const Object>(std::move(object));
      gone.erase(after->key());
      AppendChanges(PutLocked(*after), after, &changes);
    }
    for (const Key& key : gone) changes.push_back(Deleted(TakeLocked(key), true));
    // A list at an older version than we know (from a server that lags) must not wake sleepers.
    ReachedLocked(part, resource_version);
  }
  Tell(changes);
  {
    std::lock_guard lock(sync_mutex_);
    if (auto waiting = unsynced_.find(part); waiting != unsynced_.end()) unsynced_.erase(waiting);
  }
  sync_wake_.notify_all();
  return Status::Ok();
}

Status Cache::Upsert(Object object) {
  std::vector<Change> changes;
  {
    std::unique_lock lock(mutex_);
    auto after = std::make_shared<const Object>(std::move(object));
    if (objects_.size() >= max_objects_ && !objects_.contains(after->key())) {
      return {Code::kResourceExhausted, "there are more " + resource_.name() +
                                            " objects than the cache's " +
                                            std::to_string(max_objects_) + "; use a selector"};
    }
    auto known = objects_.find(after->key());
    if (known != objects_.end() && IsOlder(*after, known->second.version)) return Status::Ok();
    AppendChanges(PutLocked(*after), after, &changes);
    ReachedLocked(PartOf(after->ns()), after->resource_version());
  }
  Tell(changes);
  return Status::Ok();
}

void Cache::Remove(const Object& last_state) {
  std::vector<Change> changes;
  {
    std::unique_lock lock(mutex_);
    auto now = objects_.find(last_state.key());
    if (now != objects_.end() && IsOlder(last_state, now->second.version)) return;
    ObjectPtr known = TakeLocked(last_state.key());
    ReachedLocked(PartOf(last_state.ns()), last_state.resource_version());
    if (known == nullptr) return;
    bool same = known->uid() == last_state.uid();
    changes.push_back(
        Deleted(same ? std::make_shared<const Object>(last_state) : std::move(known), !same));
  }
  Tell(changes);
}

void Cache::Reached(std::string_view resource_version, std::string_view ns) {
  std::unique_lock lock(mutex_);
  ReachedLocked(PartOf(ns), resource_version);
}

void Cache::Resync(std::string_view ns) {
  std::vector<Change> changes;
  for (const ObjectPtr& object : PartOf(ns).empty() ? List() : InNamespace(ns)) {
    changes.push_back({.type = Change::Type::kResync, .before = object, .after = object});
  }
  Tell(changes);
}

void Cache::Tell(const std::vector<Change>& changes) const {
  for (const Change& change : changes) {
    for (const Handler& handler : handlers_) handler(change);
  }
}

}  // namespace raftkv::kube
