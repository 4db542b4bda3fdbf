// Each rule that the schema of RaftKV has in CEL, against a real API server: it takes what is right
// and refuses what is wrong with a message that says what to do.
#include <nlohmann/json.hpp>
#include <set>

#include "tests/kube/schema_test.h"

namespace raftkv::kube {
namespace {

struct Rule {
  const char* pointer;  // below spec
  const char* accepted;
  const char* refused;
  const char* message;  // a part of the refusal
};

// Every rule that is written in CEL, in the order of the file.
const Rule kRules[] = {
    {"/image", R"("r.example/raftkv-node:0.1.0")", R"("not an image")",
     "must be an image reference"},
    {"/version", R"("0.1.0")", R"("0.1.0/x")", "must be an image tag"},
    {"", R"({"image": "a:1"})", R"({"image": "a:1", "version": "1"})", "set image or version"},
    {"/storage/size", R"("1Gi")", R"("large")", "must be a size such as"},
    {"/storage/size", R"("20Gi")", R"("+20Gi")", "must be a size such as"},
    {"/storage/size", R"("1023Pi")", R"("1Ei")", "below 1Ei"},
    {"/storage/size", R"("300Mi")", R"("200Mi")", "larger than config.limits.minFreeBytes"},
    {"", R"({"storage": {"size": "64Mi"}, "config": {"limits": {"minFreeBytes": "16Mi"}}})",
     R"({"storage": {"size": "16Mi"}, "config": {"limits": {"minFreeBytes": 16777216}}})",
     "larger than config.limits.minFreeBytes"},
    {"/storage/className", R"("fast")", R"("Fast One")", "must be the name of a StorageClass"},
    {"/resources/requests/cpu", "\"500m\"", "\"half\"", "every amount must be a quantity"},
    {"/resources/limits/memory", "\"1Gi\"", "\"1 GB\"", "every amount must be a quantity"},
    {"/resources", R"({"requests": {"cpu": 1}, "limits": {"cpu": "1000m", "memory": "1Gi"}})",
     R"({"requests": {"cpu": "1001m"}, "limits": {"cpu": 1}})", "lower requests or raise limits"},
    {"/pod/labels", R"({"example.com/team": "store", "x": ""})", R"({"-x": "a"})",
     "every key must be a label name"},
    {"/pod/labels", R"({"team": "store"})", R"({"raftkv.dev/cluster": "b"})",
     "belong to the operator"},
    {"/pod/labels", R"({"team": "store"})", R"({"app.kubernetes.io/name": "b"})",
     "belong to the operator"},
    {"/pod/labels", R"({"team": "a.b"})", R"({"team": "a b"})", "a label's value has"},
    {"/pod/annotations", R"({"example.com/x": "any text"})", R"({"a b": "x"})",
     "every key must be an annotation name"},
    {"/pod/annotations", R"({"x": "y"})", R"({"raftkv.dev/x": "y"})", "belong to the operator"},
    {"/pod/nodeSelector", R"({"disk": "ssd"})", R"({"disk?": "ssd"})",
     "every key must be a label name"},
    {"/pod/env", R"([{"name": "TZ", "value": "UTC"}])",
     R"([{"name": "RAFTKV_LOG_LEVEL", "value": "debug"}])", "use spec.config instead"},
    {"/pod/env", R"([{"name": "POD", "value": "a"}])", R"([{"name": "POD_NAME", "value": "a"}])",
     "choose another name"},
    {"/pod/podSecurityContext/seLinuxOptions", R"({"type": "container_t", "level": "s0:c1"})",
     R"({"type": "spc_t"})", "container_t"},
    {"/pod/containerSecurityContext/seLinuxOptions", R"({"type": "container_kvm_t"})",
     R"({"type": "spc_t"})", "container_t"},
    {"/pod/env", R"([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])",
     R"([{"name": "A", "valueFrom": {}}])", "exactly one of"},
    {"/pod/env", R"([{"name": "A", "value": "b"}])",
     R"([{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])",
     "not both"},
    {"/pod/priorityClassName", R"("high")", R"("High")", "must be the name of a PriorityClass"},
    {"/pod/serviceAccountName", R"("db")", R"("a/b")", "must be the name of a ServiceAccount"},
    {"/pod/podSecurityContext/runAsNonRoot", "true", "false", "members never run as root"},
    {"/pod/containerSecurityContext/runAsNonRoot", "true", "false", "members never run as root"},
    {"/pod/containerSecurityContext/allowPrivilegeEscalation", "false", "true",
     "members never gain privileges"},
    {"/pod/containerSecurityContext/capabilities/drop", R"(["ALL"])", R"(["NET_RAW"])",
     "capabilities.drop must contain ALL"},
    {"/pod/containerSecurityContext/capabilities", R"({"drop": ["ALL"]})", "{}",
     "capabilities.drop must contain ALL"},
    {"/pod/annotations", R"({"apparmor": "unconfined"})",
     R"({"container.apparmor.security.beta.kubernetes.io/raftkv": "unconfined"})",
     "set by podSecurityContext.appArmorProfile"},
    {"/pod/podSecurityContext/seccompProfile",
     R"({"type": "Localhost", "localhostProfile": "p.json"})", R"({"type": "Localhost"})",
     "seccompProfile: type Localhost needs localhostProfile"},
    {"/pod/podSecurityContext/appArmorProfile", R"({"type": "RuntimeDefault"})",
     R"({"type": "RuntimeDefault", "localhostProfile": "p"})",
     "appArmorProfile: type Localhost needs localhostProfile"},
    {"/pod/containerSecurityContext/seccompProfile", R"({"type": "RuntimeDefault"})",
     R"({"type": "RuntimeDefault", "localhostProfile": "p.json"})",
     "seccompProfile: type Localhost needs localhostProfile"},
    {"/pod/containerSecurityContext/appArmorProfile",
     R"({"type": "Localhost", "localhostProfile": "p"})", R"({"type": "Localhost"})",
     "appArmorProfile: type Localhost needs localhostProfile"},
    {"/config/raft/tick", R"("50ms")", R"("50")", "must be a duration from 1ms to 10s"},
    {"/config/raft/tick", R"("10s")", R"("11s")", "must be a duration from 1ms to 10s"},
    {"/config/raft", R"({"heartbeatTicks": 2, "electionTicks": 6})", R"({"heartbeatTicks": 4})",
     "at most a third of electionTicks"},
    {"/config/raft", R"({"maxUncommittedBytes": "1Mi"})",
     R"({"maxAppendBytes": "2Mi", "maxUncommittedBytes": 1048576})",
     "must not be larger than maxUncommittedBytes"},
    {"/config/raft/maxAppendBytes", "\"32Mi\"", "\"33Mi\"", "bytes from 1Ki to 32Mi"},
    {"/config/raft/maxUncommittedBytes", "1073741824", "1000", "bytes from 1Mi to 16Gi"},
    {"/config/raft/maxApplyBytes", "\"1Ki\"", "\"1023\"", "bytes from 1Ki to 256Mi"},
    {"/config/limits/inflightBytes", "\"1Gi\"", "\"1GB\"", "bytes from 1Mi to 16Gi"},
    {"/config/limits/minFreeBytes", "0", "\"2Ti\"", "bytes from 0 to 1Ti"},
    {"/config/limits/quotaBytes", "\"2Gi\"", "-1", "bytes from 0 to 1024Ti"},
    {"/config/limits/snapshotBytesPerSecond", "\"10Mi\"", "\"fast\"", "bytes from 0 to 1Ti"},
    {"/config/storage/reserveBytes", "0", "\"1.5Gi\"", "bytes from 0 to 1Ti"},
    {"/config/storage/logKeepBytes", "\"64Mi\"", "\"2Ti\"", "bytes from 0 to 1Ti"},
    {"/config/storage/flushAfterBytes", "\"64Ki\"", "\"63Ki\"", "bytes from 64Ki to 16Gi"},
    {"/config/storage/logCacheBytes", "\"4Mi\"", "\"17Gi\"", "bytes from 64Ki to 16Gi"},
    {"/config/storage/stateMemtableBytes", "\"6Mi\"", "\"5Gi\"", "bytes from 1Mi to 4Gi"},
    {"/config/storage/stateCacheBytes", "\"64Gi\"", "0", "bytes from 64Ki to 64Gi"},
    {"/config/history/keepAge", R"("0")", R"("forever")", "must be a duration from 0 to 87600h"},
    {"/config/http/maxValueBytes", "\"16Mi\"", "\"17Mi\"", "bytes from 1Ki to 16Mi"},
    {"/config/http/requestTimeout", R"("500ms")", R"("11m")", "duration from 10ms to 10m"},
    {"/config/http/maxBufferedBytes", "\"1Mi\"", "1", "bytes from 1Mi to 16Gi"},
    {"/config/http/headTimeout", R"("1m30s")", R"("1ms")", "duration from 10ms to 1h"},
    {"/config/http/bodyTimeout", R"("1h")", R"("2h")", "duration from 10ms to 1h"},
    {"/config/http/idleTimeout", R"("24h")", R"("1d")", "duration from 10ms to 24h"},
    {"/config/http/writeTimeout", R"("30s")", R"("-1s")", "duration from 10ms to 1h"},
    {"/replacement/after", R"("1m30s")", R"("5")", "must be a duration from 10s to 168h"},
    {"/replacement/after", R"("10s")", R"("9s")", "must be a duration from 10s to 168h"},
    {"/pod/tolerations",
     R"([{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9}])",
     R"([{"key": "a", "operator": "Exists", "tolerationSeconds": 9}])",
     "tolerationSeconds goes only with effect NoExecute"},
    {"/pod/tolerations", R"([{"operator": "Exists"}])", R"([{"effect": "NoSchedule"}])",
     "without a key the operator must be Exists"},
    {"/pod/tolerations", R"([{"key": "a", "value": "b"}])",
     R"([{"key": "a", "operator": "Exists", "value": "b"}])", "leave value out"},
    {"/pod/tolerations", R"([{"key": "example.com/a"}])", R"([{"key": "a b"}])",
     "key must be a label name"},
    {"/pod/tolerations", R"([{"key": "a", "value": ""}])", R"([{"key": "a", "value": "b c"}])",
     "value must be a label's value"},
    {"/topologySpreadConstraints",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}])",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}])",
     "minDomains goes only with whenUnsatisfiable DoNotSchedule"},
    {"/topologySpreadConstraints",
     R"([{"maxSkew": 1, "topologyKey": "example.com/rack", "whenUnsatisfiable": "DoNotSchedule"}])",
     R"([{"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "DoNotSchedule"}])",
     "must be a label name"},
    {"/topologySpreadConstraints",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["raftkv.dev/cluster"]}])",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["app.kubernetes.io/instance"]}])",
     "without a labelSelector app.kubernetes.io/name and app.kubernetes.io/instance are selected "
     "by already"},
    {"/topologySpreadConstraints",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["app.kubernetes.io/name"], "labelSelector": {}}])",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["app.kubernetes.io/name"]}])",
     "without a labelSelector app.kubernetes.io/name and app.kubernetes.io/instance are selected "
     "by already"},
    {"/topologySpreadConstraints",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}])",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}])",
     "In and NotIn need values"},
    {"/topologySpreadConstraints",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}])",
     R"([{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}}])",
     "every value must be a label's value"},
    {"/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["7"]}]}]})",
     R"({"nodeSelectorTerms": []})", "name at least one term"},
    {"/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]})",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]})",
     "In and NotIn need values, Gt"},
    {"/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Lt", "values": ["-7"]}]}]})",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Lt", "values": ["many"]}]}]})",
     "Gt and Lt one whole number"},
    {"/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "example.com/a", "operator": "Exists"}]}]})",
     R"({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a b", "operator": "Exists"}]}]})",
     "must be a label name"},
    {"/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     R"({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]})",
     R"({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["n"]}]}]})",
     "a condition on fields is metadata.name"},
    {"/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution",
     R"([{"weight": 100, "preference": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}}])",
     R"([{"weight": 100, "preference": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]}}])",
     "Exists and DoesNotExist none"},
    {"/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution",
     R"([{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}])",
     R"([{"weight": 1, "preference": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}])",
     "must be a label name"},
    {"/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution",
     R"([{"weight": 1, "preference": {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}}])",
     R"([{"weight": 1, "preference": {"matchFields": [{"key": "metadata.name", "operator": "Exists"}]}}])",
     "a condition on fields is metadata.name"},
    {"/affinity",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname"}]}})",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}})",
     "must be a label name"},
    {"/affinity",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}}]}})",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}}]}})",
     "In and NotIn need values"},
    {"/affinity",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": [""]}]}}]}})",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}}]}})",
     "every value must be a label's value"},
    {"/affinity",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "labelSelector": {}, "matchLabelKeys": ["b"]}]}})",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "matchLabelKeys": ["b"]}]}})",
     "matchLabelKeys goes only with a labelSelector"},
    {"/affinity",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "labelSelector": {}, "mismatchLabelKeys": ["b"]}]}})",
     R"({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "mismatchLabelKeys": ["b"]}]}})",
     "mismatchLabelKeys goes only with a labelSelector"},
    {"/service/annotations", R"({"example.com/internal": "true"})", R"({"raftkv.dev/a": "b"})",
     "belong to the operator"},
    {"/service/annotations", R"({"a": "b"})", R"({"a/b/c": "b"})",
     "every key must be an annotation name"},
};

TEST_F(RaftKvSchema, EachRuleAcceptsWhatIsRightAndRefusesWhatIsWrongWithAdvice) {
  for (const Rule& rule : kRules) {
    auto accepted = Create(rule.pointer, Json::parse(rule.accepted));
    EXPECT_TRUE(accepted) << rule.pointer << " " << rule.accepted << ": "
                          << accepted.error().message;
    auto refused = Create(rule.pointer, Json::parse(rule.refused));
    ASSERT_FALSE(refused) << rule.pointer << " " << rule.refused;
    EXPECT_EQ(refused.error().reason, Reason::kInvalid);
    EXPECT_NE(refused.error().message.find(rule.message), std::string::npos)
        << rule.pointer << " " << rule.refused << ": " << refused.error().message;
  }
}

// The same type is written out in several places.
TEST_F(RaftKvSchema, EachTermOfAnAffinityBetweenPodsRefusesWhatAPodWould) {
  const Json key_is_wrong = {{"key", "a b"}, {"operator", "Exists"}};
  const Json values_missing = {{"key", "a"}, {"operator", "In"}};
  const Json value_is_wrong = {{"key", "a"}, {"operator", "In"}, {"values", {"b c"}}};
  const auto selector = [](const char* field, const Json& condition) {
    return Json{{"topologyKey", "a"}, {field, {{"matchExpressions", Json::array({condition})}}}};
  };
  std::vector<Json> wrong = {{{"topologyKey", "a b"}},
                             {{"topologyKey", "a"}, {"matchLabelKeys", {"b"}}},
                             {{"topologyKey", "a"}, {"mismatchLabelKeys", {"b"}}}};
  for (const char* field : {"labelSelector", "namespaceSelector"}) {
    for (const Json& condition : {key_is_wrong, values_missing, value_is_wrong}) {
      wrong.push_back(selector(field, condition));
    }
  }
  const auto create = [&](const char* kind, bool required, const Json& term) {
    const Json weighted = {{"weight", 1}, {"podAffinityTerm", term}};
    const std::string field =
        std::string(required ? "required" : "preferred") + "DuringSchedulingIgnoredDuringExecution";
    return Create("/affinity", {{kind, {{field, Json::array({required ? term : weighted})}}}});
  };
  for (const char* kind : {"podAffinity", "podAntiAffinity"}) {
    for (const bool required : {true, false}) {
      EXPECT_TRUE(create(kind, required, {{"topologyKey", "a"}})) << kind;
      for (const Json& term : wrong) {
        const auto made = create(kind, required, term);
        ASSERT_FALSE(made) << kind << " " << term;
        EXPECT_EQ(made.error().reason, Reason::kInvalid) << kind << " " << term;
      }
    }
  }
}

TEST_F(RaftKvSchema, NoRuleWithoutATest) {
  // Rules on changes and names have tests of their own, below.
  const std::set<std::string> elsewhere = {"a volume cannot shrink", "className cannot be changed",
                                           "the name becomes part of", "bootstrap.mode Restore"};
  Walk("", Schema(), [&](const std::string& path, const Json& schema) {
    for (const Json& rule : schema.value("x-kubernetes-validations", Json::array())) {
      const std::string message = rule.at("message");
      bool tested = std::ranges::any_of(
          elsewhere, [&](const std::string& part) { return message.starts_with(part); });
      for (const Rule& row : kRules) {
        std::string at = "spec" + std::string(row.pointer);
        std::ranges::replace(at, '/', '.');
        tested |= message.find(row.message) != std::string::npos &&
                  (path.starts_with(at) || at.starts_with(path));
      }
      EXPECT_TRUE(tested) << path << ": " << message;
    }
  });
}

}  // namespace
}  // namespace raftkv::kube
