#include "operator/kube/resource.h"

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

std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool plain = letter || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

}  // namespace raftkv::kube
