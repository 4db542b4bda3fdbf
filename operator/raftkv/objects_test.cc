#include "operator/raftkv/objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/raftkv/resource.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Object;
using ::testing::UnorderedElementsAre;

const ObjectSettings kSettings{.default_image = "reg:5000/raftkv-node:0.1.0",
                               .operator_namespace = "raftkv-system"};

Object Resource(Json spec) {
  Object out(kRaftKvs, {"ns", "store"});
  out.Set("/metadata/uid", "u1");
  out.Set("/spec", std::move(spec));
  return out;
}

Object Set(Json spec, int replicas = 3) {
  return DesiredStatefulSet(Resource(std::move(spec)), kSettings, replicas, nullptr).object;
}

std::string EnvOf(const Object& set, std::string_view name) {
  for (const Json& entry : set.At("/spec/template/spec/containers/0/env")) {
    if (entry["name"] == name) return entry.value("value", "(from)");
  }
  return "(none)";
}

TEST(Names, OfSlots) {
  EXPECT_EQ(PodName("store", 2), "store-2");
  EXPECT_EQ(ClaimName("store", 2), "data-store-2");
  EXPECT_EQ(SlotOfPod("store", "store-2"), 2);
  EXPECT_EQ(SlotOfPod("store", "store-02"), -1);
  EXPECT_EQ(SlotOfPod("store", "store-2-0"), -1);
  EXPECT_EQ(SlotOfPod("store", "store--1"), -1);
  EXPECT_EQ(SlotOfClaim("store", "data-store-0"), 0);
  EXPECT_EQ(SlotOfClaim("store", "store-0"), -1);
}

TEST(Image, OfSpecVersionOrDefault) {
  const std::string& image = kSettings.default_image;
  EXPECT_EQ(ImageOf(Resource(Json::object()), image), image);
  EXPECT_EQ(ImageOf(Resource({{"version", "9"}}), image), "reg:5000/raftkv-node:9");
  EXPECT_EQ(ImageOf(Resource({{"version", "9"}}), "reg:5000/node"), "reg:5000/node:9");
  EXPECT_EQ(ImageOf(Resource({{"version", "9"}}), "node@sha256:ab"), "node:9");
  EXPECT_EQ(ImageOf(Resource({{"image", "a/b:c"}}), image), "a/b:c");
}

// Of a constraint without a selector Kubernetes counts no pods: they were spread by chance.
TEST(StatefulSet, SpreadsItsOwnPodsUnlessToldWhich) {
  const Json zones = {{"maxSkew", 1},
                      {"topologyKey", "topology.kubernetes.io/zone"},
                      {"whenUnsatisfiable", "DoNotSchedule"}};
  Json all = zones;
  all["labelSelector"] = Json::object();
  const Object set = Set({{"topologySpreadConstraints", Json::array({zones, all})}});
  const Json& spread = set.At("/spec/template/spec/topologySpreadConstraints");
  EXPECT_EQ(spread[0]["labelSelector"], set.At("/spec/selector"));
  EXPECT_EQ(spread[0]["whenUnsatisfiable"], "DoNotSchedule");
  EXPECT_EQ(spread[1], all);
}

TEST(StatefulSet, MeetsTheRestrictedStandard) {
  Object set = Set(Json::object());
  EXPECT_EQ(set.String("/spec/podManagementPolicy"), "Parallel");
  EXPECT_EQ(set.String("/spec/updateStrategy/type"), "OnDelete");
  EXPECT_EQ(set.String("/spec/persistentVolumeClaimRetentionPolicy/whenScaled"), "Retain");
  Object pod(set.At("/spec/template/spec"));
  EXPECT_TRUE(pod.Bool("/securityContext/runAsNonRoot"));
  EXPECT_EQ(pod.String("/securityContext/seccompProfile/type"), "RuntimeDefault");
  EXPECT_EQ(pod.At("/automountServiceAccountToken"), false);
  EXPECT_TRUE(pod.Bool("/containers/0/securityContext/readOnlyRootFilesystem"));
  EXPECT_EQ(pod.At("/containers/0/securityContext/capabilities/drop"), Json::array({"ALL"}));
}

// As process 1 it did not hear of a SIGTERM before it had asked for it, and took the whole grace
// period.
TEST(StatefulSet, TheNodeIsNotTheFirstProcessOfItsNamespace) {
  const Object set = Set(Json::object());
  EXPECT_EQ(set.At("/spec/template/spec/shareProcessNamespace"), true);
}

// An entry beside it took it away, in resources that are older than the rule against that.
TEST(StatefulSet, DropsAllCapabilitiesWhateverElseIsSetOfThem) {
  const auto dropped = [](const Json& capabilities) {
    const Object set =
        Set({{"pod", {{"containerSecurityContext", {{"capabilities", capabilities}}}}}});
    return set.At("/spec/template/spec/containers/0/securityContext/capabilities/drop");
  };
  const Json all = Json::array({"ALL"});
  for (const Json& capabilities : {Json::object(), Json(), Json{{"drop", nullptr}},
                                   Json{{"drop", Json::array()}}, Json{{"drop", {"ALL"}}}}) {
    EXPECT_EQ(dropped(capabilities), all) << capabilities;
  }
  EXPECT_EQ(dropped({{"drop", {"NET_RAW"}}}), Json::array({"NET_RAW", "ALL"}));
}

// A process that has lost its quorum is not restarted, and gets no clients.
TEST(StatefulSet, LivenessIsOfTheProcessAndReadinessOfTheStore) {
  const Object set = Set(Json::object());
  const Object container(set.At("/spec/template/spec/containers/0"));
  EXPECT_EQ(container.String("/startupProbe/httpGet/path"), "/livez");
  EXPECT_EQ(container.String("/livenessProbe/httpGet/path"), "/livez");
  EXPECT_EQ(container.String("/readinessProbe/httpGet/path"), "/readyz");
}

TEST(StatefulSet, SettingsBecomeVariables) {
  Object set = Set({{"config",
                     {{"raft", {{"electionTicks", 20}, {"tick", "50ms"}}},
                      {"limits", {{"quotaBytes", "2Gi"}}},
                      {"log", {{"level", "debug"}}}}},
                    {"pod", {{"env", Json::array({{{"name", "TZ"}, {"value", "UTC"}}})}}}});
  EXPECT_EQ(EnvOf(set, "RAFTKV_RAFT_ELECTION_TICKS"), "20");
  EXPECT_EQ(EnvOf(set, "RAFTKV_RAFT_TICK"), "50ms");
  EXPECT_EQ(EnvOf(set, "RAFTKV_LIMITS_QUOTA_BYTES"), "2Gi");
  EXPECT_EQ(EnvOf(set, "RAFTKV_LOG_LEVEL"), "debug");
  EXPECT_EQ(EnvOf(set, "RAFTKV_LOG_FORMAT"), "json");
  EXPECT_EQ(EnvOf(set, "TZ"), "UTC");
  EXPECT_EQ(EnvOf(set, "POD_NAME"), "(from)");
  EXPECT_EQ(EnvOf(set, "RAFTKV_PEER_ADVERTISE"), "$(POD_NAME).store-peers.ns.svc:7071");
}

TEST(StatefulSet, OverridesOfThePod) {
  Object set = Set({{"pod",
                     {{"labels", {{"team", "x"}, {"app.kubernetes.io/instance", "stolen"}}},
                      {"annotations", {{"a", "b"}}},
                      {"nodeSelector", {{"disk", "ssd"}}},
                      {"serviceAccountName", "mine"},
                      {"containerSecurityContext", {{"readOnlyRootFilesystem", false}}}}},
                    {"affinity", {{"nodeAffinity", Json::object()}}}});
  Object pod(set.At("/spec/template"));
  EXPECT_EQ(pod.Label("team"), "x");
  EXPECT_EQ(pod.Label("app.kubernetes.io/instance"), "store");
  EXPECT_EQ(pod.Annotation("a"), "b");
  EXPECT_EQ(pod.String("/spec/nodeSelector/disk"), "ssd");
  EXPECT_EQ(pod.String("/spec/serviceAccountName"), "mine");
  EXPECT_FALSE(pod.Bool("/spec/containers/0/securityContext/readOnlyRootFilesystem"));
  EXPECT_TRUE(pod.At("/spec/affinity/podAntiAffinity").is_null());
}

TEST(StatefulSet, KeepsTheClaimTemplateThatCannotBeChanged) {
  Object existing = Set({{"storage", {{"size", "1Gi"}}}});
  existing.Set("/spec/volumeClaimTemplates/0/status", {{"phase", "Pending"}});
  Object grown = Resource({{"storage", {{"size", "2Gi"}}}});
  Object set = DesiredStatefulSet(grown, kSettings, 3, &existing).object;
  EXPECT_EQ(set.String("/spec/volumeClaimTemplates/0/spec/resources/requests/storage"), "1Gi");
  EXPECT_TRUE(set.At("/spec/volumeClaimTemplates/0/status").is_null());
  EXPECT_TRUE(IsCurrent(existing, set)) << "a size alone is no reason to write";
}

TEST(Current, ReplicasDoNotCountButTheTemplateDoes) {
  Object three = Set(Json::object(), 3);
  EXPECT_TRUE(IsCurrent(three, Set(Json::object(), 5)));
  EXPECT_FALSE(IsCurrent(three, Set({{"image", "other"}}, 3)));
}

TEST(Current, DefaultsOfTheServerAreNoChangeButEditsAre) {
  Object live = Set({{"resources", {{"requests", {{"cpu", "1000m"}}}}}});
  Object desired = live;
  live.Set("/spec/template/spec/dnsPolicy", "ClusterFirst");
  live.Set("/spec/template/spec/containers/0/resources/requests/cpu", "1");
  EXPECT_TRUE(IsCurrent(live, desired));
  live.Set("/spec/template/spec/containers/0/image", "edited");
  EXPECT_FALSE(IsCurrent(live, desired));
}

// They were left out: `kubectl set resources` was never taken back, and rolled all members.
TEST(Current, QuantitiesCountByTheirValue) {
  Object live = Set({{"resources",
                      {{"requests", {{"cpu", "0.5"}, {"memory", "1.5Gi"}}},
                       {"limits", {{"cpu", 2}, {"example.com/device", "1"}}}}}});
  const Object desired = live;
  const std::string resources = "/spec/template/spec/containers/0/resources";
  // As a server writes them.
  live.Set(resources, {{"requests", {{"cpu", "500m"}, {"memory", "1536Mi"}}},
                       {"limits", {{"cpu", "2"}, {"example.com/device", "1"}}}});
  EXPECT_TRUE(IsCurrent(live, desired));
  EXPECT_TRUE(SurplusOf(live, desired).empty());
  for (const auto& [path, value] : std::initializer_list<std::pair<const char*, Json>>{
           {"/requests/cpu", "501m"},
           {"/requests/memory", "1537Mi"},
           {"/limits/cpu", "3"},
           {"/limits/memory", "1Gi"},
           {"/limits/cpu", nullptr},
           {"/claims", Json::array({{{"name", "gpu"}}})},
           {"/requests/cpu", "much"}}) {
    Object edited = live;
    edited.Set(resources + path, value);
    EXPECT_FALSE(IsCurrent(edited, desired)) << path << " " << value;
  }
}

TEST(Current, ResourcesThatTheSpecDoesNotAskForAreSurplus) {
  Object live = Set(Json::object());
  const Object desired = live;
  const std::string resources = "/spec/template/spec/containers/0/resources";
  live.Set(resources, Json::object());
  EXPECT_TRUE(IsCurrent(live, desired));
  live.Set("/metadata/uid", "u2");
  live.Set(resources, {{"limits", {{"example.com/device", "1"}}}});
  EXPECT_FALSE(IsCurrent(live, desired));
  Json patched = live.json().patch(SurplusOf(live, desired));
  EXPECT_EQ(Object(patched).At(resources), Json::object());

  const Object asks = Set({{"resources", {{"requests", {{"cpu", "1"}}}}}});
  live.Set(resources,
           {{"requests", {{"cpu", "1"}, {"example.com/device", "1"}}}, {"limits", {{"cpu", "1"}}}});
  patched = live.json().patch(SurplusOf(live, asks));
  EXPECT_EQ(Object(patched).At(resources), asks.At(resources));
}

// The Service led to fewer pods, or to none.
TEST(Current, WhatOthersAddToASelectorOrToWhoIsLetInIsNoticed) {
  for (const DesiredObject& desired : DesiredObjects(Resource(Json::object()), kSettings)) {
    for (const char* path : {"/spec/selector", "/spec/podSelector/matchLabels",
                             "/spec/ingress/0/from/0/podSelector/matchLabels"}) {
      Object live = desired.object;
      if (!live.At(path).is_object()) continue;
      EXPECT_TRUE(IsCurrent(live, desired.object));
      const std::string before = FieldsHash(live, desired.object);
      live.Set(path + std::string("/extra"), "x");
      EXPECT_FALSE(IsCurrent(live, desired.object)) << live.name() << " " << path;
      EXPECT_NE(FieldsHash(live, desired.object), before) << "nor is it as it was applied";
    }
  }
  const Object budget = DesiredDisruptionBudget(Resource(Json::object()), 2).object;
  Object live = budget;
  live.Set("/spec/selector/matchLabels/extra", "x");
  EXPECT_FALSE(IsCurrent(live, budget));
}

TEST(Objects, AreTheseAndNoMore) {
  std::vector<std::string> names;
  for (const DesiredObject& desired : DesiredObjects(Resource(Json::object()), kSettings)) {
    names.push_back(std::string(desired.resource.kind) + "/" + std::string(desired.object.name()));
    EXPECT_EQ(desired.object.Label("app.kubernetes.io/name"), "raftkv");
    EXPECT_TRUE(desired.object.Annotation(kAppliedAnnotation));
    EXPECT_TRUE(IsCurrent(desired.object, desired.object));
  }
  EXPECT_THAT(names,
              UnorderedElementsAre("Service/store", "Service/store-peers", "Service/store-leader",
                                   "Service/store-read", "ServiceAccount/store",
                                   "NetworkPolicy/store-clients", "NetworkPolicy/store-members"));
  Object own = Resource({{"pod", {{"serviceAccountName", "mine"}}}});
  EXPECT_EQ(DesiredObjects(own, kSettings).size(), 6U);
}

// Who could reach the admin port could change the membership: Prometheus was let in for the
// metrics.
TEST(Objects, HaveTheNamesThatAreTold) {
  const Object resource = Resource({{"replicas", 3}});
  std::vector<DesiredObject> objects = DesiredObjects(resource, kSettings);
  objects.push_back(DesiredDisruptionBudget(resource, 2));
  objects.push_back(DesiredStatefulSet(resource, kSettings, 3, nullptr));
  std::vector<std::string> wanted;
  std::vector<std::string> told;
  for (const DesiredObject& object : objects) {
    wanted.push_back(object.resource.name() + " " + object.object.key().ToString());
  }
  for (const ObjectName& object : NamesOfObjects(resource.key())) {
    told.push_back(object.resource.name() + " " + object.key.ToString());
  }
  EXPECT_THAT(told, ::testing::UnorderedElementsAreArray(wanted));
}

TEST(Objects, TheAdminPortIsForTheOperatorAlone) {
  int doors = 0;
  for (const DesiredObject& desired : DesiredObjects(Resource(Json::object()), kSettings)) {
    if (desired.resource.kind != "NetworkPolicy") continue;
    for (const Json& rule : desired.object.At("/spec/ingress")) {
      for (const Json& port : rule["ports"]) {
        if (port["port"] != kAdminPort) continue;
        ++doors;
        ASSERT_EQ(rule["from"].size(), 1U) << rule;
        const Json& who = rule["from"][0];
        EXPECT_EQ(who["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "raftkv-operator");
        EXPECT_EQ(who["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
                  "raftkv-system");
      }
    }
  }
  EXPECT_EQ(doors, 1);
  const Object set = Set(Json::object());
  for (const char* probe : {"startupProbe", "livenessProbe", "readinessProbe"}) {
    EXPECT_EQ(
        set.String("/spec/template/spec/containers/0/" + std::string(probe) + "/httpGet/port"),
        "metrics")
        << probe;
  }
}

TEST(Objects, TheClientServiceIsAsTheSpecSays) {
  Object resource =
      Resource({{"service", {{"type", "NodePort"}, {"annotations", {{"lb", "internal"}}}}}});
  for (const DesiredObject& desired : DesiredObjects(resource, kSettings)) {
    if (desired.object.name() != "store" || desired.resource.kind != "Service") continue;
    EXPECT_EQ(desired.object.String("/spec/type"), "NodePort");
    EXPECT_EQ(desired.object.Annotation("lb"), "internal");
    return;
  }
  FAIL() << "no client Service";
}

TEST(Budget, IsCurrentWithItsOwnNumberOnly) {
  Object resource = Resource(Json::object());
  Object two = DesiredDisruptionBudget(resource, 2).object;
  EXPECT_TRUE(IsCurrent(two, DesiredDisruptionBudget(resource, 2).object));
  EXPECT_FALSE(IsCurrent(two, DesiredDisruptionBudget(resource, 1).object));
}

}  // namespace
}  // namespace raftkv::op
