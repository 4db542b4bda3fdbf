#include "tests/kube/example_specs.h"

#include <nlohmann/json.hpp>

namespace raftkv::op {
namespace {

using kube::Json;

Json OneOf(const Json& element) { return Json::array({element}); }

// With two values: one can go.
Json Condition() { return {{"key", "k"}, {"operator", "In"}, {"values", {"v", "w"}}}; }

Json NodeTerm() {
  return {{"matchExpressions", OneOf(Condition())},
          {"matchFields",
           OneOf({{"key", "metadata.name"}, {"operator", "In"}, {"values", OneOf("node-1")}})}};
}

Json Selector() {
  return {{"matchLabels", {{"a", "b"}}}, {"matchExpressions", OneOf(Condition())}};
}

Json PodTerms() {
  const Json term = {{"topologyKey", "kubernetes.io/hostname"},
                     {"labelSelector", Selector()},
                     {"namespaceSelector", Selector()},
                     {"namespaces", {"n", "m"}},
                     {"matchLabelKeys", {"x", "y"}},
                     {"mismatchLabelKeys", {"z", "u"}}};
  return {{"requiredDuringSchedulingIgnoredDuringExecution", OneOf(term)},
          {"preferredDuringSchedulingIgnoredDuringExecution",
           OneOf({{"weight", 7}, {"podAffinityTerm", term}})}};
}

Json ContextOf(const Json& more) {
  Json context = {{"runAsUser", 2001},
                  {"runAsGroup", 2002},
                  {"runAsNonRoot", true},
                  {"seccompProfile", {{"type", "Localhost"}, {"localhostProfile", "p.json"}}},
                  {"appArmorProfile", {{"type", "Localhost"}, {"localhostProfile", "p"}}},
                  {"seLinuxOptions", {{"type", "container_init_t"}, {"level", "s0:c1"}}}};
  context.update(more);
  return context;
}

Json Environment() {
  const auto from = [](const char* name, const char* source, const Json& value) {
    return Json{{"name", name}, {"valueFrom", {{source, value}}}};
  };
  return Json::array(
      {{{"name", "PLAIN"}, {"value", "x"}},
       from("SECRET", "secretKeyRef", {{"name", "s"}, {"key", "k"}, {"optional", true}}),
       from("MAP", "configMapKeyRef", {{"name", "m"}, {"key", "k"}, {"optional", true}}),
       from("FIELD", "fieldRef", {{"fieldPath", "metadata.namespace"}, {"apiVersion", "v1"}}),
       from("LIMIT", "resourceFieldRef",
            {{"resource", "limits.memory"}, {"containerName", "raftkv"}, {"divisor", "1Mi"}})});
}

Json Settings() {
  return {{"raft",
           {{"tick", "50ms"},
            {"electionTicks", 30},
            {"heartbeatTicks", 2},
            {"maxAppendBytes", "512Ki"},
            {"maxInflightAppends", 64},
            {"maxUncommittedBytes", "32Mi"},
            {"maxApplyBytes", 1048576}}},
          {"limits",
           {{"inflightRequests", 100},
            {"inflightBytes", "2Mi"},
            {"minFreeBytes", "16Mi"},
            {"quotaBytes", "1Gi"},
            {"snapshotBytesPerSecond", "10Mi"}}},
          {"storage",
           {{"reserveBytes", 0},
            {"logKeepEntries", 5000},
            {"logKeepBytes", "64Mi"},
            {"flushAfterBytes", "64Ki"},
            {"logCacheBytes", "4Mi"},
            {"stateMemtableBytes", "6Mi"},
            {"stateCacheBytes", "8Mi"}}},
          {"history", {{"keepRevisions", 100}, {"keepAge", "1h"}}},
          {"http",
           {{"maxValueBytes", "64Ki"},
            {"requestTimeout", "3s"},
            {"maxConnections", 50},
            {"maxInFlight", 60},
            {"maxBufferedBytes", "2Mi"},
            {"headTimeout", "4s"},
            {"bodyTimeout", "5s"},
            {"idleTimeout", "6m"},
            {"writeTimeout", "7s"},
            {"eventLoops", 2}}},
          {"log", {{"level", "debug"}, {"format", "text"}}}};
}

}  // namespace

std::vector<kube::Json> ExampleSpecs() {
  const Json node_affinity = {{"requiredDuringSchedulingIgnoredDuringExecution",
                               {{"nodeSelectorTerms", OneOf(NodeTerm())}}},
                              {"preferredDuringSchedulingIgnoredDuringExecution",
                               OneOf({{"weight", 7}, {"preference", NodeTerm()}})}};
  const Json spread = {{"maxSkew", 2},
                       {"topologyKey", "example.com/rack"},
                       {"whenUnsatisfiable", "DoNotSchedule"},
                       {"labelSelector", Selector()},
                       {"minDomains", 2},
                       {"nodeAffinityPolicy", "Ignore"},
                       {"nodeTaintsPolicy", "Honor"},
                       {"matchLabelKeys", {"x", "y"}}};
  const Json tolerations = Json::array({{{"key", "a"},
                                         {"operator", "Equal"},
                                         {"value", "b"},
                                         {"effect", "NoExecute"},
                                         {"tolerationSeconds", 9}},
                                        {{"key", "c"}, {"operator", "Exists"}}});
  return {
      {{"image", "r.example/node:2"}},
      {{"version", "0.2.0"}},
      {{"resources",
        {{"requests", {{"cpu", "0.5"}, {"memory", "64Mi"}}}, {"limits", {{"memory", "1Gi"}}}}}},
      {{"affinity", {{"nodeAffinity", node_affinity}}}},
      {{"affinity", {{"podAffinity", PodTerms()}}}},
      {{"affinity", {{"podAntiAffinity", PodTerms()}}}},
      {{"topologySpreadConstraints", OneOf(spread)}},
      {{"pod",
        {{"labels", {{"team", "a"}}},
         {"annotations", {{"note", "x"}}},
         {"nodeSelector", {{"disk", "ssd"}}},
         {"priorityClassName", "high"},
         {"serviceAccountName", "other"},
         {"imagePullSecrets", Json::array({{{"name", "one"}}, {{"name", "two"}}})},
         {"tolerations", tolerations}}}},
      {{"pod", {{"env", Environment()}}}},
      {{"pod",
        {{"podSecurityContext", ContextOf({{"fsGroup", 2003},
                                           {"fsGroupChangePolicy", "Always"},
                                           {"supplementalGroups", {2004, 2005}}})},
         {"containerSecurityContext",
          ContextOf({{"readOnlyRootFilesystem", false},
                     {"allowPrivilegeEscalation", false},
                     {"capabilities", {{"drop", {"ALL", "NET_RAW"}}}}})}}}},
      {{"config", Settings()}},
      {{"service", {{"type", "NodePort"}, {"annotations", {{"a", "b"}}}}}},
      {{"service", {{"type", "LoadBalancer"}}}},
  };
}

}  // namespace raftkv::op
