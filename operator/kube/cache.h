// Cache: what reflectors have seen of one kind of object, to read without asking the server: one
// reflector of everything, or one of each namespace.
//
// Objects are kept packed, and unpacked for each read: an operator has thousands that it looks at
// once in half a minute. Reads give shared, immutable objects, perhaps a little old: before
// anything destructive the caller reads live (Api::Get) and deletes with preconditions. A
// controller that has just written asks IsBehind() before it plans again, and comes back a little
// later if it is (requeue_after).
//
// Thread-safety: every method from any thread. Handlers run on the reflector's thread, for one
// namespace in order, without a lock of the cache held; they must not block.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "operator/kube/object.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

struct Change {
  enum class Type {
    kAdded,
    kModified,
    kDeleted,
    kResync,  // nothing happened; look again (before and after are the same)
  };
  Type type = Type::kAdded;
  ObjectPtr before;  // null for kAdded
  ObjectPtr after;   // null for kDeleted
  // kDeleted only: the deletion itself was missed, `before` may not be the object's last state.
  bool final_state_unknown = false;

  const Object& object() const { return after ? *after : *before; }
};

class Cache {
 public:
  using Handler = std::function<void(const Change&)>;

  static constexpr size_t kMaxTrackedWrites = 10'000;
  static constexpr size_t kMaxObjects = 50'000;

  // `namespaces`: those that have a reflector each; empty: one reflector fills it all.
  explicit Cache(const Resource& resource, size_t max_objects = kMaxObjects,
                 const std::vector<std::string>& namespaces = {});

  const Resource& resource() const { return resource_; }

  // Null if there is none.
  ObjectPtr Get(const Key& key) const;
  // The number in the resourceVersion of what Get gives; 0 if there is none.
  uint64_t VersionOf(const Key& key) const;
  std::vector<ObjectPtr> List() const;
  std::vector<ObjectPtr> InNamespace(std::string_view ns) const;
  // Whose metadata.ownerReferences name this UID.
  std::vector<ObjectPtr> OwnedBy(std::string_view owner_uid) const;
  std::vector<ObjectPtr> WithLabel(std::string_view name, std::string_view value) const;
  size_t size() const;

  // The first list of each reflector has arrived, and every handler was told of it.
  bool synced() const;
  // The same of what this namespace is in.
  bool synced(std::string_view ns) const;
  // False when `limit` has passed or `stop` was requested first.
  bool AwaitSync(Timing& timing, Duration limit, std::stop_token stop) const;

  // Before the reflector starts.
  void AddHandler(Handler handler) { handlers_.push_back(std::move(handler)); }

  // Tells the cache of a version that this process has written (an answer of Api).
  void Wrote(const Object& object);
  // A version that Wrote() named has not arrived yet.
  bool IsBehind(const Key& key) const;

  // --- for the reflectors; `ns`: the reflector's own ---

  // The whole state at `resource_version`: what is not in it is gone. kResourceExhausted, and
  // nothing changes, when there are more objects than the cache may hold.
  Status Replace(std::vector<Object> objects, std::string_view resource_version,
                 std::string_view ns = "");
  Status Upsert(Object object);
  void Remove(const Object& last_state);
  // All up to this version has been seen (bookmarks).
  void Reached(std::string_view resource_version, std::string_view ns = "");
  // kResync for each object.
  void Resync(std::string_view ns = "");

 private:
  // What one reflector fills: a namespace, or everything (the one part, named "").
  using Parts = std::map<std::string, uint64_t, std::less<>>;
  struct Kept {
    std::string bytes;     // Object::ToCbor
    uint64_t version = 0;  // 0: the resourceVersion is no number
  };
  // By key; they are those of objects_.
  using Keys = std::vector<const Key*>;
  using Index = std::unordered_map<std::string, Keys>;

  static ObjectPtr Unpack(const Kept& kept);
  ObjectPtr PutLocked(const Object& object);
  ObjectPtr TakeLocked(const Key& key);
  static void Enter(Index& index, const std::string& value, const Key& key);
  static void Leave(Index& index, const std::string& value, const Key& key);
  // `key` is the object's in objects_.
  void IndexLocked(const Key& key, const Object& object, bool enter);
  std::vector<ObjectPtr> FindLocked(const Index& index, const std::string& value) const;
  std::string_view PartOf(std::string_view ns) const;
  void ReachedLocked(std::string_view part, std::string_view resource_version);
  void Tell(const std::vector<Change>& changes) const;

  const Resource resource_;
  const size_t max_objects_;
  std::vector<Handler> handlers_;

  mutable std::shared_mutex mutex_;
  std::map<Key, Kept> objects_;
  Index by_namespace_;
  Index by_owner_;
  Index by_label_;  // "name=value"
  // The version up to which each part has been seen.
  Parts reached_;
  std::map<Key, uint64_t> writes_;  // versions we wrote that have not been seen

  mutable std::mutex sync_mutex_;
  mutable std::condition_variable sync_wake_;
  std::set<std::string, std::less<>> unsynced_;  // parts
};

}  // namespace raftkv::kube
