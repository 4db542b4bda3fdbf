// Object: any Kubernetes object, as JSON with typed access to what every object has.
//
// Objects out of a cache are shared and immutable (ObjectPtr); copy one to change it.
//
// Thread-safety: values; a const Object may be read from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "operator/kube/json.h"
#include "operator/kube/resource.h"

namespace raftkv::kube {

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  std::string uid;
  bool controller = false;
};

class Object {
 public:
  Object();  // {}
  explicit Object(Json json);
  // apiVersion, kind and the name are set.
  Object(const Resource& resource, const Key& key);
  Object(const Object& other);
  Object(Object&& other) noexcept;
  Object& operator=(const Object& other);
  Object& operator=(Object&& other) noexcept;
  ~Object();

  // kInvalidArgument unless `text` is a JSON object that has string metadata and stays below a
  // nesting depth that no real object has.
  static Result<Object> Parse(std::string_view text);
  std::string Dump() const;
  // The same as CBOR (RFC 8949): what a cache keeps, a fifth of what the JSON values take.
  std::string ToCbor() const;
  // Of what ToCbor gave.
  static Object FromCbor(const std::string& bytes);

  const Json& json() const { return *json_; }
  Json& json() { return *json_; }

  // What the path leads to ("/spec/replicas", RFC 6901); null JSON if it leads nowhere.
  const Json& At(std::string_view pointer) const;
  // Empty, nullopt or false where the path leads nowhere or to another type: objects are written
  // by others, and a reader must not fall over their mistakes.
  std::string_view String(std::string_view pointer) const;
  std::optional<int64_t> Int(std::string_view pointer) const;
  bool Bool(std::string_view pointer) const;
  // Creates what is missing on the way.
  void Set(std::string_view pointer, Json value);
  void Erase(std::string_view pointer);

  std::string_view api_version() const { return String("/apiVersion"); }
  std::string_view kind() const { return String("/kind"); }
  std::string_view ns() const { return String("/metadata/namespace"); }
  std::string_view name() const { return String("/metadata/name"); }
  std::string_view uid() const { return String("/metadata/uid"); }
  std::string_view resource_version() const { return String("/metadata/resourceVersion"); }
  int64_t generation() const { return Int("/metadata/generation").value_or(0); }
  // It has been deleted and waits for its finalizers or its grace period.
  bool deleting() const { return !String("/metadata/deletionTimestamp").empty(); }
  Key key() const { return {std::string(ns()), std::string(name())}; }

  std::optional<std::string_view> Label(std::string_view name) const;
  std::optional<std::string_view> Annotation(std::string_view name) const;
  bool HasFinalizer(std::string_view name) const;
  std::vector<OwnerReference> Owners() const;
  // The owner that has `controller: true`.
  std::optional<OwnerReference> Controller() const;

  friend bool operator==(const Object& a, const Object& b);

 private:
  std::unique_ptr<Json> json_;  // never null, but in a moved-from object
};

using ObjectPtr = std::shared_ptr<const Object>;

// The number in a resourceVersion. API servers promise since 1.35 that they compare as numbers;
// nullopt where one is none.
std::optional<uint64_t> ParseResourceVersion(std::string_view text);

}  // namespace raftkv::kube
