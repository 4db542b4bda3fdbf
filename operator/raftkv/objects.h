// The Kubernetes objects that a RaftKV resource asks for, as desired state for server-side apply.
//
//   NAME-peers    headless Service: a DNS name for every pod, ready or not
//   NAME          Service for clients: the pods that serve
//   NAME-leader   Service: the pod with the label raftkv.dev/role=leader
//   NAME-read     Service: every pod, for reads with consistency=stale while there is no quorum
//   NAME          StatefulSet, ServiceAccount, PodDisruptionBudget
//   NAME-clients, NAME-members   NetworkPolicies: clients, health and metrics from anywhere; peers
//                 from members alone; admin from the operator alone
//
// Each carries a hash of what was applied (annotation raftkv.dev/applied), so that a reconcile can
// tell from the cache alone that nothing has to be written.
//
// Thread-safety: functions without shared state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "operator/kube/object.h"

namespace raftkv::op {

inline constexpr std::string_view kAppliedAnnotation = "raftkv.dev/applied";
inline constexpr std::string_view kMemberAnnotation = "raftkv.dev/member-id";
inline constexpr std::string_view kRoleLabel = "raftkv.dev/role";
inline constexpr std::string_view kClusterLabel = "raftkv.dev/cluster";
inline constexpr std::string_view kContainer = "raftkv";
inline constexpr int kClientPort = 7070;
inline constexpr int kAdminPort = 7072;
inline constexpr int kMetricsPort = 7073;  // with health

struct ObjectSettings {
  std::string default_image;       // for resources that name none
  std::string operator_namespace;  // whose pods may reach the admin port
};

struct DesiredObject {
  kube::Resource resource;
  kube::Object object;  // without owner: ApplyOwned adds it
};

// "NAME-SLOT"; "data-NAME-SLOT".
std::string PodName(std::string_view name, int slot);
std::string ClaimName(std::string_view name, int slot);
// The slot in a pod's or a claim's name; -1 if it is none of this resource.
int SlotOfPod(std::string_view name, std::string_view pod);
int SlotOfClaim(std::string_view name, std::string_view claim);

// spec.image; else the default image with spec.version as its tag; else the default image.
std::string ImageOf(const kube::Object& resource, const std::string& default_image);

// The claim template comes from `existing` if there is one, because it cannot be changed.
DesiredObject DesiredStatefulSet(const kube::Object& resource, const ObjectSettings& settings,
                                 int replicas, const kube::Object* existing);
DesiredObject DesiredDisruptionBudget(const kube::Object& resource, int min_available);
// Services, ServiceAccount, NetworkPolicies. The ServiceAccount is left out if the spec names
// another one.
std::vector<DesiredObject> DesiredObjects(const kube::Object& resource,
                                          const ObjectSettings& settings);

struct ObjectName {
  kube::Resource resource;
  kube::Key key;
};
// Of all these, and of a ServiceAccount that is not wanted any more.
std::vector<ObjectName> NamesOfObjects(const kube::Key& resource);

// What was applied last is `desired`, and nobody has changed those fields since.
bool IsCurrent(const kube::Object& existing, const kube::Object& desired);
// What others have added to the resources of a container, where an apply takes off only what it has
// set itself: a JSON patch that takes it off, empty if there is nothing.
kube::Json SurplusOf(const kube::Object& existing, const kube::Object& desired);
// Of `desired`, and of what `existing` has in its fields: the same as long as nobody changes
// either.
std::string FieldsHash(const kube::Object& existing, const kube::Object& desired);

}  // namespace raftkv::op
