// Kinds of objects: how Kubernetes names them in paths and in objects.
//
// Thread-safety: values.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace raftkv::kube {

// No discovery: an operator knows at build time what it works with.
struct Resource {
  std::string_view group;  // empty: the core group
  std::string_view version;
  std::string_view plural;  // as in paths
  std::string_view kind;
  bool namespaced = true;

  std::string api_version() const;  // "apps/v1", "v1"
  // "apps/StatefulSet": for logs, metrics and thread names.
  std::string name() const;
  friend bool operator==(const Resource&, const Resource&) = default;
};

namespace resources {
inline constexpr Resource kPods{"", "v1", "pods", "Pod"};
inline constexpr Resource kServices{"", "v1", "services", "Service"};
inline constexpr Resource kServiceAccounts{"", "v1", "serviceaccounts", "ServiceAccount"};
inline constexpr Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap"};
inline constexpr Resource kSecrets{"", "v1", "secrets", "Secret"};
inline constexpr Resource kClaims{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"};
inline constexpr Resource kVolumes{"", "v1", "persistentvolumes", "PersistentVolume", false};
inline constexpr Resource kNodes{"", "v1", "nodes", "Node", false};
inline constexpr Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
inline constexpr Resource kStatefulSets{"apps", "v1", "statefulsets", "StatefulSet"};
inline constexpr Resource kDisruptionBudgets{"policy", "v1", "poddisruptionbudgets",
                                             "PodDisruptionBudget"};
inline constexpr Resource kNetworkPolicies{"networking.k8s.io", "v1", "networkpolicies",
                                           "NetworkPolicy"};
inline constexpr Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices",
                                          "EndpointSlice"};
inline constexpr Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease"};
inline constexpr Resource kEvents{"events.k8s.io", "v1", "events", "Event"};
inline constexpr Resource kCustomResourceDefinitions{
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
}  // namespace resources

// Which object of a kind. Cluster-wide objects have no namespace.
struct Key {
  std::string ns;
  std::string name;

  // "namespace/name", or "name".
  std::string ToString() const;
  friend auto operator<=>(const Key&, const Key&) = default;
};

// "/api/v1/namespaces/NS/pods/NAME/status". An empty ns means every namespace, an empty name the
// collection, an empty subresource the object itself.
std::string ResourcePath(const Resource& resource, std::string_view ns, std::string_view name = {},
                         std::string_view subresource = {});

// The namespaces that are meant by values each of which is one or, with commas, several: sorted,
// each once. None, or an empty value alone: all, which is an empty list.
Result<std::vector<std::string>> ReadNamespaces(const std::vector<std::string>& values);

// Percent-encodes all but unreserved characters.
std::string UrlEncode(std::string_view text);

}  // namespace raftkv::kube
