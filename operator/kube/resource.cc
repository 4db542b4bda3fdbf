#include "operator/kube/resource.h"

#include <algorithm>
#include <ranges>
#include <set>

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

Result<std::vector<std::string>> ReadNamespaces(const std::vector<std::string>& values) {
  constexpr size_t kLongest = 63;
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const auto is_label = [&](std::string_view name) {
    return !name.empty() && name.size() <= kLongest && is_plain(name.front()) &&
           is_plain(name.back()) &&
           std::ranges::all_of(name, [&](char c) { return is_plain(c) || c == '-'; });
  };
  std::set<std::string> names;
  if (values.size() == 1 && values.front().empty()) return std::vector<std::string>();
  for (const std::string& value : values) {
    if (value.empty()) return Error(Code::kInvalidArgument, "an empty name beside others");
    for (const auto part : std::views::split(value, ',')) {
      const std::string_view name(part.begin(), part.end());
      if (!is_label(name)) {
        return Error(Code::kInvalidArgument, "no name of a namespace: '" + std::string(name) + "'");
      }
      names.emplace(name);
    }
  }
  return std::vector<std::string>(names.begin(), names.end());
}

std::string UrlEncode(std::string_view text) { return PercentEncode(text, ""); }

}  // namespace raftkv::kube
