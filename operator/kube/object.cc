#include "operator/kube/object.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace raftkv::kube {
namespace {

constexpr int kMaxDepth = 200;

const Json kNull;

// "~1" is '/', "~0" is '~' (RFC 6901).
std::string Unescape(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    bool escape = token[i] == '~' && i + 1 < token.size();
    if (escape && token[i + 1] == '1') {
      out += '/';
    } else if (escape && token[i + 1] == '0') {
      out += '~';
    } else {
      out += token[i];
      continue;
    }
    ++i;
  }
  return out;
}

// Takes the first token off a pointer that starts with '/'.
std::string TakeToken(std::string_view& pointer) {
  CHECK(!pointer.empty() && pointer[0] == '/', "a JSON pointer starts with '/'");
  pointer.remove_prefix(1);
  size_t end = std::min(pointer.find('/'), pointer.size());
  std::string token = Unescape(pointer.substr(0, end));
  pointer.remove_prefix(end);
  return token;
}

const Json* Child(const Json& parent, const std::string& token) {
  if (parent.is_object()) {
    auto found = parent.find(token);
    return found == parent.end() ? nullptr : &*found;
  }
  size_t index = 0;
  auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), index);
  bool is_index = error == std::errc() && end == token.data() + token.size();
  if (!parent.is_array() || !is_index || index >= parent.size()) return nullptr;
  return &parent[index];
}

const Json* Find(const Json& root, std::string_view pointer) {
  const Json* at = &root;
  while (at != nullptr && !pointer.empty()) at = Child(*at, TakeToken(pointer));
  return at;
}

std::optional<std::string_view> Entry(const Json& map, std::string_view name) {
  if (!map.is_object()) return std::nullopt;
  auto found = map.find(std::string(name));
  if (found == map.end() || !found->is_string()) return std::nullopt;
  return std::string_view(found->get_ref<const std::string&>());
}

// Copying and printing a tree recurse; the parser does not mind.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string) {
      if (c == '\\') ++i;
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (depth > kMaxDepth) return true;
  }
  return false;
}

std::string Text(const Json& object, const char* name) {
  return std::string(Entry(object, name).value_or(""));
}

}  // namespace

Object::Object() : json_(std::make_unique<Json>(Json::object())) {}
Object::Object(Json json) : json_(std::make_unique<Json>(std::move(json))) {}
Object::Object(const Resource& resource, const Key& key) : Object() {
  Json& out = *json_;
  out["apiVersion"] = resource.api_version();
  out["kind"] = std::string(resource.kind);
  out["metadata"]["name"] = key.name;
  if (!key.ns.empty()) out["metadata"]["namespace"] = key.ns;
}
Object::Object(const Object& other) : json_(std::make_unique<Json>(*other.json_)) {}
Object::Object(Object&& other) noexcept = default;
Object& Object::operator=(const Object& other) {
  if (this != &other) json_ = std::make_unique<Json>(*other.json_);
  return *this;
}
Object& Object::operator=(Object&& other) noexcept = default;
Object::~Object() = default;

Result<Object> Object::Parse(std::string_view text) {
  if (TooDeep(text)) return Error(Code::kInvalidArgument, "a JSON document is nested too deeply");
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return Error(Code::kInvalidArgument, "not a JSON object");
  const Json* metadata = Child(json, "metadata");
  if (metadata != nullptr && !metadata->is_object() && !metadata->is_null()) {
    return Error(Code::kInvalidArgument, "metadata is not a JSON object");
  }
  return Object(std::move(json));
}

std::string Object::Dump() const {
  return json_->dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Object::ToCbor() const {
  std::string bytes;
  Json::to_cbor(*json_, bytes);
  bytes.shrink_to_fit();
  return bytes;
}

Object Object::FromCbor(const std::string& bytes) { return Object(Json::from_cbor(bytes)); }

const Json& Object::At(std::string_view pointer) const {
  const Json* found = Find(*json_, pointer);
  return found == nullptr ? kNull : *found;
}

std::string_view Object::String(std::string_view pointer) const {
  const Json& value = At(pointer);
  return value.is_string() ? std::string_view(value.get_ref<const std::string&>()) : "";
}

std::optional<int64_t> Object::Int(std::string_view pointer) const {
  const Json& value = At(pointer);
  if (!value.is_number_integer()) return std::nullopt;
  return value.get<int64_t>();
}

bool Object::Bool(std::string_view pointer) const {
  const Json& value = At(pointer);
  return value.is_boolean() && value.get<bool>();
}

void Object::Set(std::string_view pointer, Json value) {
  Json* at = json_.get();
  while (!pointer.empty()) {
    std::string token = TakeToken(pointer);
    if (const Json* child = at->is_array() ? Child(*at, token) : nullptr) {
      at = const_cast<Json*>(child);
      continue;
    }
    if (!at->is_object()) *at = Json::object();
    at = &(*at)[token];
  }
  *at = std::move(value);
}

void Object::Erase(std::string_view pointer) {
  size_t last = pointer.rfind('/');
  CHECK(last != std::string_view::npos, "a JSON pointer starts with '/'");
  auto* parent = const_cast<Json*>(Find(*json_, pointer.substr(0, last)));
  if (parent == nullptr || !parent->is_object()) return;
  parent->erase(Unescape(pointer.substr(last + 1)));
}

std::optional<std::string_view> Object::Label(std::string_view name) const {
  return Entry(At("/metadata/labels"), name);
}

std::optional<std::string_view> Object::Annotation(std::string_view name) const {
  return Entry(At("/metadata/annotations"), name);
}

bool Object::HasFinalizer(std::string_view name) const {
  const Json& finalizers = At("/metadata/finalizers");
  if (!finalizers.is_array()) return false;
  for (const Json& finalizer : finalizers) {
    if (finalizer.is_string() && finalizer.get_ref<const std::string&>() == name) return true;
  }
  return false;
}

std::vector<OwnerReference> Object::Owners() const {
  std::vector<OwnerReference> out;
  const Json& owners = At("/metadata/ownerReferences");
  if (!owners.is_array()) return out;
  for (const Json& owner : owners) {
    const Json* controller = Child(owner, "controller");
    out.push_back({.api_version = Text(owner, "apiVersion"),
                   .kind = Text(owner, "kind"),
                   .name = Text(owner, "name"),
                   .uid = Text(owner, "uid"),
                   .controller = controller != nullptr && *controller == true});
  }
  return out;
}

std::optional<OwnerReference> Object::Controller() const {
  for (OwnerReference& owner : Owners()) {
    if (owner.controller) return std::move(owner);
  }
  return std::nullopt;
}

bool operator==(const Object& a, const Object& b) { return *a.json_ == *b.json_; }

std::optional<uint64_t> ParseResourceVersion(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace raftkv::kube
