#include "operator/kube/resource.h"

#include "base/encoding.h"

namespace raftkv::kube {

std::string Resource::api_version() const {
  std::string out(group);
  if (!out.empty()) out += '/';
  return out.append(version);
}

std::string Resource::name() const {
  std::string out(group.empty() ? "core" : group);
  return out.append("/").append(kind);
}

std::string Key::ToString() const { return ns.empty() ? name : ns + "/" + name; }

std::string ResourcePath(const Resource& resource, std::string_view ns, std::string_view name,
                         std::string_view subresource) {
  std::string path = resource.group.empty() ? "/api/" : "/apis/";
  path += resource.api_version();
  if (resource.namespaced && !ns.empty()) path += "/namespaces/" + UrlEncode(ns);
  path.append("/").append(resource.plural);
  if (!name.empty()) path += "/" + UrlEncode(name);
  if (!subresource.empty()) path.append("/").append(subresource);
  return path;
}

std::string UrlEncode(std::string_view text) { return PercentEncode(text, ""); }

}  // namespace raftkv::kube
