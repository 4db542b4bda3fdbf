#include "operator/raftkv/objects.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/hex_id.h"
#include "operator/raftkv/member_names.h"
#include "operator/raftkv/quantity.h"
#include "operator/raftkv/resource.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Key;
using kube::Object;

constexpr int64_t kUser = 10001;  // of the image
// The node hands over and flushes for at most stop.grace (10 s).
constexpr int kTerminationGraceSeconds = 30;
// A long log may have to be replayed before the node answers.
constexpr int kStartupSeconds = 1800;
constexpr std::string_view kResources = "resources";
constexpr std::array kConfigSections = {"raft", "limits", "storage", "history", "http", "log"};

Json PodLabels(std::string_view name) {
  return {{"app.kubernetes.io/name", "raftkv"}, {"app.kubernetes.io/instance", std::string(name)}};
}

Json ObjectLabels(std::string_view name) {
  Json labels = PodLabels(name);
  labels["app.kubernetes.io/managed-by"] = "raftkv-operator";
  labels[std::string(kClusterLabel)] = std::string(name);
  return labels;
}

// FNV-1a: any change is seen; nobody gains by making two specs collide.
std::string Hash(const Json& json) {
  uint64_t hash = 14695981039346656037ULL;
  for (unsigned char c : json.dump()) {
    hash ^= c;
    hash *= 1099511628211ULL;
  }
  return HexId(hash);
}

// Fields that are not applied after the first time, or by another path.
Json Hashed(Json json) {
  json["metadata"]["annotations"].erase(std::string(kAppliedAnnotation));
  if (json["kind"] == "StatefulSet") {
    json["spec"].erase("replicas");
    json["spec"].erase("volumeClaimTemplates");
  }
  return json;
}

void Seal(Object& object) {
  Json annotations = object.At("/metadata/annotations");
  if (!annotations.is_object()) annotations = Json::object();
  annotations[std::string(kAppliedAnnotation)] = Hash(Hashed(object.json()));
  object.Set("/metadata/annotations", std::move(annotations));
}

DesiredObject Make(const kube::Resource& resource, const Object& owner, const std::string& name) {
  Object object(resource, Key{std::string(owner.ns()), name});
  object.Set("/metadata/labels", ObjectLabels(owner.name()));
  object.Set("/metadata/annotations", Json::object());
  return {resource, std::move(object)};
}

// Entries of `more` win.
void Merge(Json& into, const Json& more) {
  if (!more.is_object()) return;
  for (const auto& [name, value] : more.items()) into[name] = value;
}

Json ArrayOr(const Json& value, Json otherwise) {
  if (value.is_array() && !value.empty()) return value;
  return otherwise;
}

// "electionTicks" -> "ELECTION_TICKS".
std::string UpperSnake(std::string_view camel) {
  std::string out;
  for (char c : camel) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0) out += '_';
    out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string AsText(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Json Env(const std::string& name, const std::string& value) {
  return {{"name", name}, {"value", value}};
}

Json Environment(const Object& resource) {
  std::string ns(resource.ns());
  std::string peers = std::string(resource.name()) + "-peers";
  std::string host = "$(POD_NAME)." + peers + "." + ns + ".svc";
  Json env = Json::array();
  env.push_back(
      {{"name", "POD_NAME"},
       {"valueFrom", {{"fieldRef", {{"apiVersion", "v1"}, {"fieldPath", "metadata.name"}}}}}});
  env.push_back(Env("RAFTKV_NAME", "$(POD_NAME)"));
  // Not the volume itself: its root may hold a lost+found.
  env.push_back(Env("RAFTKV_DATA_DIR", "/data/raftkv"));
  env.push_back(Env("RAFTKV_CLIENT_LISTEN", "0.0.0.0:" + std::to_string(kClientPort)));
  env.push_back(Env("RAFTKV_CLIENT_ADVERTISE", host + ":" + std::to_string(kClientPort)));
  env.push_back(Env("RAFTKV_PEER_LISTEN", "0.0.0.0:" + std::to_string(kPeerPort)));
  env.push_back(Env("RAFTKV_PEER_ADVERTISE", host + ":" + std::to_string(kPeerPort)));
  env.push_back(Env("RAFTKV_ADMIN_LISTEN", "0.0.0.0:" + std::to_string(kAdminPort)));
  env.push_back(Env("RAFTKV_METRICS_LISTEN", "0.0.0.0:" + std::to_string(kMetricsPort)));
  env.push_back(Env("RAFTKV_START_MODE", "wait"));
  if (resource.At("/spec/config/log/format").is_null()) {
    env.push_back(Env("RAFTKV_LOG_FORMAT", "json"));
  }
  for (const char* section : kConfigSections) {
    const Json& settings = resource.At(std::string("/spec/config/") + section);
    if (!settings.is_object()) continue;
    for (const auto& [key, value] : settings.items()) {
      if (value.is_null() || value.is_structured()) continue;
      env.push_back(Env("RAFTKV_" + UpperSnake(section) + "_" + UpperSnake(key), AsText(value)));
    }
  }
  const Json& more = resource.At("/spec/pod/env");
  if (more.is_array()) env.insert(env.end(), more.begin(), more.end());
  return env;
}

Json Probe(const char* path, int period, int timeout, int failures) {
  return {{"httpGet", {{"path", path}, {"port", "metrics"}, {"scheme", "HTTP"}}},
          {"periodSeconds", period},
          {"timeoutSeconds", timeout},
          {"failureThreshold", failures}};
}

// What else is set of them leaves none. The schema asks for that, too, but not of a resource that
// is older than its rule.
void DropAll(Json& capabilities) {
  if (!capabilities.is_object()) capabilities = Json::object();
  Json& drop = capabilities["drop"];
  if (!drop.is_array()) drop = Json::array();
  if (std::ranges::find(drop, Json("ALL")) == drop.end()) drop.push_back("ALL");
}

Json Container(const Object& resource, const ObjectSettings& settings) {
  Json security = {{"runAsNonRoot", true},
                   {"runAsUser", kUser},
                   {"runAsGroup", kUser},
                   {"allowPrivilegeEscalation", false},
                   {"readOnlyRootFilesystem", true},
                   {"capabilities", {{"drop", Json::array({"ALL"})}}}};
  Merge(security, resource.At("/spec/pod/containerSecurityContext"));
  DropAll(security["capabilities"]);
  auto port = [](const char* name, int number) {
    return Json{{"name", name}, {"containerPort", number}, {"protocol", "TCP"}};
  };
  Json container = {
      {"name", std::string(kContainer)},
      {"image", ImageOf(resource, settings.default_image)},
      {"imagePullPolicy", "IfNotPresent"},
      {"env", Environment(resource)},
      {"ports", Json::array({port("client", kClientPort), port("peer", kPeerPort),
                             port("admin", kAdminPort), port("metrics", kMetricsPort)})},
      {"volumeMounts", Json::array({{{"name", "data"}, {"mountPath", "/data"}}})},
      {"securityContext", std::move(security)},
      {"startupProbe", Probe("/livez", 1, 5, kStartupSeconds)},
      // Of the process alone: a lost quorum is no reason to restart it.
      {"livenessProbe", Probe("/livez", 10, 5, 6)},
      {"readinessProbe", Probe("/readyz", 1, 3, 3)},
      {"terminationMessagePolicy", "FallbackToLogsOnError"}};
  const Json& resources = resource.At("/spec/resources");
  container[std::string(kResources)] = resources.is_object() ? resources : Json::object();
  return container;
}

Json DefaultAffinity(std::string_view name) {
  Json term = {{"topologyKey", "kubernetes.io/hostname"},
               {"labelSelector", {{"matchLabels", PodLabels(name)}}}};
  return {{"podAntiAffinity",
           {{"preferredDuringSchedulingIgnoredDuringExecution",
             Json::array({{{"weight", 100}, {"podAffinityTerm", std::move(term)}}})}}}};
}

Json DefaultSpread(std::string_view name) {
  return Json::array({{{"maxSkew", 1},
                       {"topologyKey", "topology.kubernetes.io/zone"},
                       {"whenUnsatisfiable", "ScheduleAnyway"},
                       {"labelSelector", {{"matchLabels", PodLabels(name)}}}}});
}

// Without a selector Kubernetes counts no pods at all, which nobody means.
Json SpreadOf(const Object& resource) {
  Json spread =
      ArrayOr(resource.At("/spec/topologySpreadConstraints"), DefaultSpread(resource.name()));
  for (Json& constraint : spread) {
    if (!constraint.is_object() || constraint.contains("labelSelector")) continue;
    constraint["labelSelector"] = {{"matchLabels", PodLabels(resource.name())}};
  }
  return spread;
}

Json PodTemplate(const Object& resource, const ObjectSettings& settings) {
  std::string_view name = resource.name();
  Json labels = Json::object();
  Merge(labels, resource.At("/spec/pod/labels"));
  Merge(labels, ObjectLabels(name));  // ours win: selectors depend on them
  Json metadata = {{"labels", std::move(labels)}};
  if (const Json& more = resource.At("/spec/pod/annotations"); more.is_object()) {
    metadata["annotations"] = more;
  }

  Json security = {{"runAsNonRoot", true},
                   {"runAsUser", kUser},
                   {"runAsGroup", kUser},
                   {"fsGroup", kUser},
                   {"fsGroupChangePolicy", "OnRootMismatch"},
                   {"seccompProfile", {{"type", "RuntimeDefault"}}}};
  Merge(security, resource.At("/spec/pod/podSecurityContext"));

  std::string account(resource.String("/spec/pod/serviceAccountName"));
  const Json& affinity = resource.At("/spec/affinity");
  Json spec = {
      {"serviceAccountName", account.empty() ? std::string(name) : account},
      {"automountServiceAccountToken", false},
      {"enableServiceLinks", false},
      // The kernel drops a signal that the first process of a namespace does not handle yet: a pod
      // that is stopped as it starts would run on until it is killed. Here the sandbox is the
      // first.
      {"shareProcessNamespace", true},
      {"terminationGracePeriodSeconds", kTerminationGraceSeconds},
      {"securityContext", std::move(security)},
      {"affinity", affinity.is_object() && !affinity.empty() ? affinity : DefaultAffinity(name)},
      {"topologySpreadConstraints", SpreadOf(resource)},
      {"containers", Json::array({Container(resource, settings)})}};
  for (const char* field :
       {"nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets"}) {
    const Json& value = resource.At(std::string("/spec/pod/") + field);
    if (!value.is_null() && !value.empty()) spec[field] = value;
  }
  return {{"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
}

Json ClaimTemplate(const Object& resource) {
  std::string size(resource.String("/spec/storage/size"));
  if (size.empty()) size = kDefaultStorage;
  Json spec = {{"accessModes", Json::array({"ReadWriteOnce"})},
               {"resources", {{"requests", {{"storage", size}}}}}};
  std::string class_name(resource.String("/spec/storage/className"));
  if (!class_name.empty()) spec["storageClassName"] = class_name;
  return {{"metadata", {{"name", "data"}, {"labels", ObjectLabels(resource.name())}}},
          {"spec", std::move(spec)}};
}

Json ServicePort(const char* name, int port) {
  return {{"name", name}, {"port", port}, {"targetPort", name}, {"protocol", "TCP"}};
}

DesiredObject MakeService(const Object& resource, std::string_view suffix, Json spec) {
  DesiredObject out = Make(kube::resources::kServices, resource,
                           std::string(resource.name()) + std::string(suffix));
  if (!spec.contains("selector")) spec["selector"] = PodLabels(resource.name());
  if (!spec.contains("type")) spec["type"] = "ClusterIP";
  out.object.Set("/spec", std::move(spec));
  return out;
}

std::vector<DesiredObject> Services(const Object& resource) {
  std::vector<DesiredObject> out;
  Json client = Json::array({ServicePort("client", kClientPort)});
  // Members must find each other before any of them can be ready.
  out.push_back(MakeService(
      resource, "-peers",
      {{"clusterIP", "None"},
       {"publishNotReadyAddresses", true},
       {"ports", Json::array({ServicePort("client", kClientPort), ServicePort("peer", kPeerPort),
                              ServicePort("admin", kAdminPort)})}}));

  std::string type(resource.String("/spec/service/type"));
  DesiredObject clients =
      MakeService(resource, "", {{"type", type.empty() ? "ClusterIP" : type}, {"ports", client}});
  if (const Json& more = resource.At("/spec/service/annotations"); more.is_object()) {
    clients.object.Set("/metadata/annotations", more);
  }
  out.push_back(std::move(clients));

  Json leader = PodLabels(resource.name());
  leader[std::string(kRoleLabel)] = "leader";
  out.push_back(
      MakeService(resource, "-leader", {{"selector", std::move(leader)}, {"ports", client}}));
  out.push_back(
      MakeService(resource, "-read", {{"publishNotReadyAddresses", true}, {"ports", client}}));
  return out;
}

DesiredObject MakePolicy(const Object& resource, std::string_view suffix, Json ingress) {
  DesiredObject out = Make(kube::resources::kNetworkPolicies, resource,
                           std::string(resource.name()) + std::string(suffix));
  out.object.Set("/spec", {{"podSelector", {{"matchLabels", PodLabels(resource.name())}}},
                           {"policyTypes", Json::array({"Ingress"})},
                           {"ingress", std::move(ingress)}});
  return out;
}

std::vector<DesiredObject> Policies(const Object& resource, const ObjectSettings& settings) {
  auto port = [](int number) { return Json::array({{{"port", number}, {"protocol", "TCP"}}}); };
  Json members = {{"podSelector", {{"matchLabels", PodLabels(resource.name())}}}};
  Json the_operator = {
      {"namespaceSelector",
       {{"matchLabels", {{"kubernetes.io/metadata.name", settings.operator_namespace}}}}},
      {"podSelector", {{"matchLabels", {{"app.kubernetes.io/name", "raftkv-operator"}}}}}};
  std::vector<DesiredObject> out;
  out.push_back(
      MakePolicy(resource, "-clients",
                 Json::array({{{"ports", port(kClientPort)}}, {{"ports", port(kMetricsPort)}}})));
  out.push_back(MakePolicy(
      resource, "-members",
      Json::array({{{"ports", port(kPeerPort)}, {"from", Json::array({members})}},
                   {{"ports", port(kAdminPort)}, {"from", Json::array({the_operator})}}})));
  return out;
}

int Slot(std::string_view text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return -1;
  text.remove_prefix(prefix.size());
  int slot = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slot);
  bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && slot >= 0 && std::to_string(slot) == text ? slot : -1;
}

// Fields that are what we want as a whole: an entry more in a selector is other pods, one in a
// policy other peers, one in resources another pod. The server adds nothing to them.
bool IsWhole(std::string_view name) {
  return name == kResources || name == "selector" || name == "podSelector" || name == "ingress";
}

bool SameValue(const Json& a, const Json& b, bool quantities) {
  return a == b || (quantities && SameQuantity(AsText(a), AsText(b)));
}

// Every field of `part` is in `whole` with the same value; `whole` may have more (defaults).
// Quantities count by their value: the server writes "1000m" as "1".
bool Contains(const Json& whole, const Json& part, bool quantities = false) {
  if (part.is_object()) {
    // The server drops empty maps and nulls.
    if (whole.is_null()) return part.empty();
    if (!whole.is_object()) return false;
    for (const auto& [name, value] : part.items()) {
      if (value.is_null()) continue;
      const auto found = whole.find(name);
      const bool inner = quantities || name == kResources;
      if (found == whole.end() ? !value.empty() : !Contains(*found, value, inner)) return false;
      if (found != whole.end() && IsWhole(name) && !Contains(value, *found, inner)) return false;
    }
    return true;
  }
  if (part.is_array()) {
    if (!whole.is_array() || whole.size() != part.size()) return false;
    for (size_t i = 0; i < part.size(); ++i) {
      if (!Contains(whole[i], part[i], quantities)) return false;
    }
    return true;
  }
  return SameValue(whole, part, quantities);
}

// What `whole` has where `part` has something; arrays, and what counts as a whole, as they are.
Json FieldsOf(const Json& whole, const Json& part) {
  if (!part.is_object() || !whole.is_object()) return whole;
  Json out = Json::object();
  for (const auto& [name, value] : part.items()) {
    const auto found = whole.find(name);
    if (found != whole.end()) out[name] = IsWhole(name) ? *found : FieldsOf(*found, value);
  }
  return out;
}

std::string Escaped(std::string_view key) {
  std::string out;
  for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

}  // namespace

std::string PodName(std::string_view name, int slot) {
  return std::string(name) + "-" + std::to_string(slot);
}

std::string ClaimName(std::string_view name, int slot) { return "data-" + PodName(name, slot); }

int SlotOfPod(std::string_view name, std::string_view pod) {
  return Slot(pod, std::string(name) + "-");
}

int SlotOfClaim(std::string_view name, std::string_view claim) {
  return Slot(claim, "data-" + std::string(name) + "-");
}

std::string ImageOf(const Object& resource, const std::string& default_image) {
  std::string image(resource.String("/spec/image"));
  if (!image.empty()) return image;
  std::string version(resource.String("/spec/version"));
  if (version.empty()) return default_image;
  std::string repository = default_image.substr(0, default_image.find('@'));
  size_t colon = repository.rfind(':');
  // A colon before the last slash belongs to the registry's port.
  if (colon != std::string::npos && repository.find('/', colon) == std::string::npos) {
    repository.resize(colon);
  }
  return repository + ":" + version;
}

DesiredObject DesiredStatefulSet(const Object& resource, const ObjectSettings& settings,
                                 int replicas, const Object* existing) {
  std::string name(resource.name());
  DesiredObject out = Make(kube::resources::kStatefulSets, resource, name);
  Json claims = Json::array({ClaimTemplate(resource)});
  if (existing != nullptr && existing->At("/spec/volumeClaimTemplates").is_array()) {
    claims = existing->At("/spec/volumeClaimTemplates");
    for (Json& claim : claims) claim.erase("status");
  }
  out.object.Set("/spec", {{"replicas", replicas},
                           {"serviceName", name + "-peers"},
                           {"podManagementPolicy", "Parallel"},
                           {"updateStrategy", {{"type", "OnDelete"}}},
                           {"revisionHistoryLimit", 3},
                           {"persistentVolumeClaimRetentionPolicy",
                            {{"whenDeleted", "Retain"}, {"whenScaled", "Retain"}}},
                           {"selector", {{"matchLabels", PodLabels(name)}}},
                           {"template", PodTemplate(resource, settings)},
                           {"volumeClaimTemplates", std::move(claims)}});
  Seal(out.object);
  return out;
}

DesiredObject DesiredDisruptionBudget(const Object& resource, int min_available) {
  DesiredObject out =
      Make(kube::resources::kDisruptionBudgets, resource, std::string(resource.name()));
  out.object.Set("/spec", {{"minAvailable", min_available},
                           {"selector", {{"matchLabels", PodLabels(resource.name())}}},
                           {"unhealthyPodEvictionPolicy", "IfHealthyBudget"}});
  Seal(out.object);
  return out;
}

std::vector<DesiredObject> DesiredObjects(const Object& resource, const ObjectSettings& settings) {
  std::vector<DesiredObject> out = Services(resource);
  if (resource.String("/spec/pod/serviceAccountName").empty()) {
    DesiredObject account =
        Make(kube::resources::kServiceAccounts, resource, std::string(resource.name()));
    account.object.Set("/automountServiceAccountToken", false);
    out.push_back(std::move(account));
  }
  for (DesiredObject& policy : Policies(resource, settings)) out.push_back(std::move(policy));
  for (DesiredObject& object : out) Seal(object.object);
  return out;
}

std::vector<ObjectName> NamesOfObjects(const Key& resource) {
  std::vector<ObjectName> out;
  auto add = [&](const kube::Resource& kind, std::string_view suffix) {
    out.push_back({kind, {resource.ns, resource.name + std::string(suffix)}});
  };
  for (const char* suffix : {"-peers", "", "-leader", "-read"}) {
    add(kube::resources::kServices, suffix);
  }
  for (const char* suffix : {"-clients", "-members"}) {
    add(kube::resources::kNetworkPolicies, suffix);
  }
  add(kube::resources::kServiceAccounts, "");
  add(kube::resources::kDisruptionBudgets, "");
  add(kube::resources::kStatefulSets, "");
  return out;
}

Json SurplusOf(const Object& existing, const Object& desired) {
  Json patch = Json::array();
  const std::string containers = "/spec/template/spec/containers/";
  for (int i = 0; desired.At(containers + std::to_string(i)).is_object(); ++i) {
    const std::string container = containers + std::to_string(i);
    const Json& name = desired.At(container + "/name");
    const Json& wanted = desired.At(container + "/resources");
    const Json& resources = existing.At(container + "/resources");
    if (existing.At(container + "/name") != name || !resources.is_object()) continue;
    Json removals = Json::array();
    for (const auto& [kind, entries] : resources.items()) {
      const std::string path = container + "/resources/" + kind;
      const Json ours = wanted.is_object() ? wanted.value(kind, Json()) : Json();
      if (ours.is_null() || ours.empty()) {
        removals.push_back({{"op", "remove"}, {"path", path}});
        continue;
      }
      if (!entries.is_object()) continue;
      for (const auto& [key, value] : entries.items()) {
        if (ours.contains(key)) continue;
        removals.push_back({{"op", "remove"}, {"path", path + "/" + Escaped(key)}});
      }
    }
    if (removals.empty()) continue;
    patch.push_back({{"op", "test"}, {"path", container + "/name"}, {"value", name}});
    patch.insert(patch.end(), removals.begin(), removals.end());
  }
  if (patch.empty()) return patch;
  Json uid = {{"op", "test"}, {"path", "/metadata/uid"}, {"value", std::string(existing.uid())}};
  patch.insert(patch.begin(), std::move(uid));
  return patch;
}

std::string FieldsHash(const Object& existing, const Object& desired) {
  const Json wanted = Hashed(desired.json());
  return Hash(Json::array({wanted, FieldsOf(Hashed(existing.json()), wanted)}));
}

bool IsCurrent(const Object& existing, const Object& desired) {
  return existing.Annotation(kAppliedAnnotation) == desired.Annotation(kAppliedAnnotation) &&
         Contains(Hashed(existing.json()), Hashed(desired.json()));
}

}  // namespace raftkv::op
