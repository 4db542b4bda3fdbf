// RestClient: one HTTP call for each verb of Api.
#include <nlohmann/json.hpp>

#include "operator/kube/rest_client.h"

namespace raftkv::kube {
namespace {

std::string_view ContentType(PatchType type) {
  switch (type) {
    case PatchType::kMerge:
      return "application/merge-patch+json";
    case PatchType::kJson:
      return "application/json-patch+json";
    case PatchType::kStrategic:
      break;
  }
  return "application/strategic-merge-patch+json";
}

std::string_view PropagationName(Propagation propagation) {
  switch (propagation) {
    case Propagation::kBackground:
      return "Background";
    case Propagation::kForeground:
      return "Foreground";
    case Propagation::kOrphan:
      return "Orphan";
    case Propagation::kDefault:
      break;
  }
  return "";
}

std::string ListQuery(const ListOptions& options) {
  std::string query;
  auto add = [&query](std::string_view name, const std::string& value) {
    query += query.empty() ? '?' : '&';
    query.append(name).append("=").append(UrlEncode(value));
  };
  if (!options.label_selector.empty()) add("labelSelector", options.label_selector);
  if (!options.field_selector.empty()) add("fieldSelector", options.field_selector);
  if (options.limit > 0) add("limit", std::to_string(options.limit));
  if (!options.continue_token.empty()) {
    add("continue", options.continue_token);  // stands for the version as well
  } else if (!options.resource_version.empty()) {
    add("resourceVersion", options.resource_version);
  }
  return query;
}

HttpCall WithBody(std::string_view method, std::string target, std::string_view type,
                  const Json& body) {
  return {.method = method,
          .target = std::move(target),
          .headers = {{"Content-Type", std::string(type)}},
          .body = body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

HttpCall Plain(std::string target) {
  return {.method = "GET", .target = std::move(target), .headers = {}, .body = {}};
}

// Lists leave both out of their items.
void NameKind(const Resource& resource, Json& json) {
  json["apiVersion"] = resource.api_version();
  json["kind"] = std::string(resource.kind);
}

}  // namespace

ApiResult<std::string> RestClient::GetRaw(const std::string& path) { return Call(Plain(path)); }

ApiResult<Object> RestClient::Get(const Resource& resource, const Key& key,
                                  const CallLimits& limits) {
  return CallObject(Plain(ResourcePath(resource, key.ns, key.name)), limits);
}

ApiResult<Object> RestClient::GetSubresource(const Resource& resource, const Key& key,
                                             std::string_view subresource) {
  return CallObject(Plain(ResourcePath(resource, key.ns, key.name, subresource)));
}

ApiResult<ObjectList> RestClient::List(const Resource& resource, const ListOptions& options,
                                       std::stop_token stop) {
  auto body = Call(Plain(ResourcePath(resource, options.ns) + ListQuery(options)),
                   {.stop = std::move(stop)});
  if (!body) return std::unexpected(body.error());
  auto parsed = Object::Parse(*body);
  if (!parsed) return Fail(Reason::kMalformed, "a list: " + parsed.error().message());
  body->clear();
  body->shrink_to_fit();
  ObjectList list;
  list.resource_version = parsed->resource_version();
  list.continue_token = parsed->String("/metadata/continue");
  Json& items = parsed->json()["items"];
  if (!items.is_array() && !items.is_null()) {
    return Fail(Reason::kMalformed, "a list without items");
  }
  list.items.reserve(items.size());
  for (Json& item : items) {
    if (!item.is_object() || !item.contains("metadata") || !item["metadata"].is_object()) {
      return Fail(Reason::kMalformed, "a list with an item that is no object");
    }
    NameKind(resource, item);
    list.items.emplace_back(std::move(item));
  }
  return list;
}

ApiResult<Object> RestClient::Create(const Resource& resource, const Object& object,
                                     const CallLimits& limits) {
  std::string target =
      ResourcePath(resource, object.ns()) + "?fieldManager=" + UrlEncode(options_.field_manager);
  return CallObject(WithBody("POST", std::move(target), "application/json", object.json()), limits);
}

ApiResult<Object> RestClient::Update(const Resource& resource, const Object& object,
                                     std::string_view subresource, const CallLimits& limits) {
  if (object.resource_version().empty()) {
    return Fail(Reason::kInvalid, "an update needs the resourceVersion that it is based on");
  }
  std::string target = ResourcePath(resource, object.ns(), object.name(), subresource) +
                       "?fieldManager=" + UrlEncode(options_.field_manager);
  return CallObject(WithBody("PUT", std::move(target), "application/json", object.json()), limits);
}

ApiResult<Object> RestClient::Patch(const Resource& resource, const Key& key, PatchType type,
                                    const Json& patch, const PatchOptions& options) {
  std::string target = ResourcePath(resource, key.ns, key.name, options.subresource) +
                       "?fieldManager=" + UrlEncode(options_.field_manager) +
                       (options.dry_run ? "&dryRun=All" : "");
  return CallObject(WithBody("PATCH", std::move(target), ContentType(type), patch));
}

ApiResult<Object> RestClient::Apply(const Resource& resource, const Object& object,
                                    const ApplyOptions& options) {
  for (std::string_view field :
       {"/metadata/resourceVersion", "/metadata/uid", "/metadata/managedFields"}) {
    if (!object.At(field).is_null()) {
      return Fail(Reason::kInvalid, "an apply must not have " + std::string(field) +
                                        ": apply the wanted object, not one that was read");
    }
  }
  if (object.name().empty()) return Fail(Reason::kInvalid, "an apply needs a name");
  Object body = object;
  NameKind(resource, body.json());
  std::string target = ResourcePath(resource, object.ns(), object.name(), options.subresource) +
                       "?fieldManager=" + UrlEncode(options_.field_manager) +
                       "&force=" + (options.force ? "true" : "false") +
                       (options.dry_run ? "&dryRun=All" : "");
  // JSON is YAML, and the only form that every server takes.
  return CallObject(
      WithBody("PATCH", std::move(target), "application/apply-patch+yaml", body.json()));
}

ApiResult<void> RestClient::Delete(const Resource& resource, const Key& key,
                                   const DeleteOptions& options) {
  if (key.name.empty() || options.uid.empty()) {
    return Fail(Reason::kInvalid, "a delete needs the name and the UID of what it means");
  }
  Json body = {
      {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", {{"uid", options.uid}}}};
  if (!options.resource_version.empty()) {
    body["preconditions"]["resourceVersion"] = options.resource_version;
  }
  if (options.propagation != Propagation::kDefault) {
    body["propagationPolicy"] = std::string(PropagationName(options.propagation));
  }
  if (options.grace_period_s) body["gracePeriodSeconds"] = *options.grace_period_s;
  auto done =
      Call(WithBody("DELETE", ResourcePath(resource, key.ns, key.name), "application/json", body));
  if (!done) return std::unexpected(done.error());
  return {};
}

}  // namespace raftkv::kube
