// The RaftKV resource against a real API server: each rule of its schema takes what is right and
// refuses what is wrong with a message that says what to do; every field is described; what is left
// out has its default; kubectl's scale works.
#include <nlohmann/json.hpp>
#include <set>

#include "tests/kube/cluster.h"
#include "tests/kube/definition.h"

namespace raftkv::kube {
namespace {

constexpr Resource kRaftKvs{"raftkv.dev", "v1alpha1", "raftkvs", "RaftKV"};

const Json& Schema() {
  return Definition().at("/spec/versions/0/schema/openAPIV3Schema"_json_pointer);
}

// Calls `visit(path, schema)` for every schema below `schema`; path as in "spec.pod.env[].name".
void Walk(const std::string& path, const Json& schema,
          const std::function<void(const std::string&, const Json&)>& visit) {
  visit(path, schema);
  if (auto properties = schema.find("properties"); properties != schema.end()) {
    for (const auto& [name, child] : properties->items()) {
      Walk(path.empty() ? name : path + "." + name, child, visit);
    }
  }
  if (schema.contains("items")) Walk(path + "[]", schema["items"], visit);
  if (schema.contains("additionalProperties")) {
    Walk(path + "{}", schema["additionalProperties"], visit);
  }
}

class RaftKvSchema : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    auto applied = api_->Apply(resources::kCustomResourceDefinitions, Object(Definition()));
    ASSERT_TRUE(applied) << applied.error().ToString();
    ASSERT_TRUE(Soon([&] { return api_->List(kRaftKvs, {.ns = ns_}).has_value(); }));
  }

  Object WithSpec(const std::string& pointer, const Json& value) {
    Object object(kRaftKvs, {ns_, "db-" + std::to_string(++number_)});
    object.Set("/spec", Json::object());
    // Elements of lists are not made by Set.
    Json wrapped = value;
    std::string path = pointer;
    for (size_t at; (at = path.rfind("/0")) != std::string::npos;) {
      if (at + 2 < path.size()) {
        Json inner = Json::object();
        inner[Json::json_pointer(path.substr(at + 2))] = wrapped;
        wrapped = inner;
      }
      wrapped = Json::array({wrapped});
      path.resize(at);
    }
    object.Set("/spec" + path, wrapped);
    return object;
  }
  ApiResult<Object> Create(const std::string& pointer, const Json& value) {
    return api_->Create(kRaftKvs, WithSpec(pointer, value));
  }

 private:
  int number_ = 0;
};

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

// Every switch, number, choice and text under spec that is not inside a list or map.
TEST_F(RaftKvSchema, EveryFieldRefusesAnotherTypeAndValuesOutsideItsRange) {
  int fields = 0;
  const auto refuses = [&](const std::string& pointer, const Json& value) {
    auto made = Create(pointer, value);
    EXPECT_FALSE(made) << pointer << " = " << value;
    if (!made) {
      EXPECT_EQ(made.error().reason, Reason::kInvalid) << pointer;
    }
  };
  Walk("", Schema(), [&](const std::string& path, const Json& schema) {
    if (!path.starts_with("spec.") || path.find_first_of("[{") != std::string::npos) return;
    std::string pointer = path.substr(4);
    std::ranges::replace(pointer, '.', '/');
    ++fields;
    const bool any_scalar = schema.contains("x-kubernetes-int-or-string");
    if (any_scalar || schema.at("type") != "array") refuses(pointer, Json::array());
    if (any_scalar || schema.at("type") != "object") refuses(pointer, {{"x", 1}});
    if (schema.contains("enum")) {
      refuses(pointer, "Nonsense");
      for (const Json& value : schema["enum"]) EXPECT_TRUE(Create(pointer, value)) << path;
    }
    if (schema.contains("minimum")) refuses(pointer, schema["minimum"].get<int64_t>() - 1);
    if (schema.contains("maximum")) {
      refuses(pointer, schema["maximum"].get<int64_t>() + 1);
    }
  });
  EXPECT_GT(fields, 100);
}

TEST_F(RaftKvSchema, UnknownFieldsAreNotStored) {
  auto made = Create(
      "", {{"config", {{"raft", {{"electionTick", 10}}}, {"extra", {{"a", 1}}}}}, {"size", 3}});
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(made->At("/spec/config"), Json({{"raft", Json::object()}}));
  EXPECT_TRUE(made->At("/spec/size").is_null());
}

TEST_F(RaftKvSchema, WhatIsLeftOutHasItsDefault) {
  auto made = api_->Create(kRaftKvs, Object(kRaftKvs, {ns_, "bare"}));
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(made->At("/spec"),
            Json({{"replicas", 3},
                  {"storage",
                   {{"size", "10Gi"},
                    {"retention", {{"onDelete", "Retain"}, {"onScaleDown", "Delete"}}}}},
                  {"update", {{"strategy", "RollingUpdate"}, {"paused", false}}},
                  {"replacement", {{"enabled", true}, {"after", "5m"}}},
                  {"disruptionBudget", {{"enabled", true}}},
                  {"service", {{"type", "ClusterIP"}}},
                  {"bootstrap", {{"mode", "New"}}},
                  {"paused", false},
                  {"progressDeadlineSeconds", 600}}));
}

TEST_F(RaftKvSchema, StorageGrowsAndNeverShrinks) {
  auto made = Create("/storage/size", "1Gi");
  ASSERT_TRUE(made) << made.error().ToString();
  const auto resize = [&](const char* size) {
    return api_->Patch(kRaftKvs, made->key(), PatchType::kMerge,
                       {{"spec", {{"storage", {{"size", size}}}}}});
  };
  EXPECT_TRUE(resize("1024Mi")) << "the same amount, written otherwise";
  EXPECT_TRUE(resize("2Gi"));
  auto refused = resize("1Gi");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("a volume cannot shrink: keep the size or raise it"),
            std::string::npos)
      << refused.error().message;
}

TEST_F(RaftKvSchema, StorageClassStaysWhatItWas) {
  auto with = Create("/storage/className", "fast");
  auto without = Create("/storage/size", "1Gi");
  ASSERT_TRUE(with && without);
  const auto change = [&](const Object& object, const Json& name) {
    return api_->Patch(kRaftKvs, object.key(), PatchType::kMerge,
                       {{"spec", {{"storage", {{"className", name}}}}}});
  };
  EXPECT_TRUE(change(*with, "fast"));
  for (const auto& refused :
       {change(*with, "slow"), change(*with, nullptr), change(*without, "fast")}) {
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("className cannot be changed: make a new RaftKV"),
              std::string::npos)
        << refused.error().message;
  }
}

TEST_F(RaftKvSchema, RestoreIsAskedForWhenARaftKvIsMadeAndStaysUntilThereIsACluster) {
  auto fresh = Create("/replicas", 3);
  auto restored = Create("/bootstrap/mode", "Restore");
  ASSERT_TRUE(fresh && restored);
  const auto change = [&](const Object& object, const Json& bootstrap) {
    return api_->Patch(kRaftKvs, object.key(), PatchType::kMerge,
                       {{"spec", {{"bootstrap", bootstrap}}}});
  };
  const auto refuses = [](const ApiResult<Object>& answer, const std::string& advice) {
    ASSERT_FALSE(answer);
    EXPECT_NE(answer.error().message.find(advice), std::string::npos) << answer.error().message;
  };
  refuses(change(*fresh, {{"mode", "Restore"}}), "make another one with it");
  EXPECT_TRUE(change(*fresh, {{"mode", "New"}}));
  refuses(change(*restored, {{"mode", "New"}}), "stays until there is a cluster");
  refuses(change(*restored, nullptr), "stays until there is a cluster");
  EXPECT_TRUE(api_->SetScale(kRaftKvs, restored->key(), 1));

  auto live = api_->Get(kRaftKvs, restored->key());
  ASSERT_TRUE(live);
  live->Set("/status", {{"clusterID", "00000000000000c1"}, {"conditions", Json::array()}});
  ASSERT_TRUE(api_->Update(kRaftKvs, *live, "status"));
  EXPECT_TRUE(change(*restored, nullptr)) << "a manifest without it can be applied afterwards";
  refuses(change(*restored, {{"mode", "Restore"}}), "make another one with it");
}

TEST_F(RaftKvSchema, NamesLeaveRoomForWhatIsMadeOfThem) {
  for (const std::string& name : {std::string("a"), std::string("db-1"), std::string(45, 'a')}) {
    auto made = api_->Create(kRaftKvs, Object(kRaftKvs, {ns_, name}));
    EXPECT_TRUE(made) << made.error().ToString();
  }
  for (const std::string& name : {std::string("1db"), std::string("a.b"), std::string(46, 'a')}) {
    auto refused = api_->Create(kRaftKvs, Object(kRaftKvs, {ns_, name}));
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find("at most 45 lower-case letters"), std::string::npos)
        << refused.error().message;
  }
}

TEST_F(RaftKvSchema, ScaleSubresourceReadsAndWritesTheSize) {
  auto made = Create("/replicas", 3);
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(api_->GetScale(kRaftKvs, made->key()), 3);
  auto scaled = api_->SetScale(kRaftKvs, made->key(), 5);
  EXPECT_TRUE(scaled) << scaled.error().ToString();
  EXPECT_EQ(api_->Get(kRaftKvs, made->key())->Int("/spec/replicas"), 5);
  auto refused = api_->SetScale(kRaftKvs, made->key(), 10);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("less than or equal to 9"), std::string::npos)
      << refused.error().message;
}

TEST_F(RaftKvSchema, StatusTakesAllThatTheOperatorReports) {
  auto made = Create("/replicas", 3);
  ASSERT_TRUE(made) << made.error().ToString();
  const Json status = {{"observedGeneration", 1},
                       {"clusterID", "00000000000000c1"},
                       {"configIndex", 5},
                       {"joint", true},
                       {"leader", "db-0"},
                       {"voters", 3},
                       {"learners", 1},
                       {"ready", 3},
                       {"version", "0.1.0"},
                       {"phase", "Scaling"},
                       {"selector", "raftkv.dev/cluster=db"},
                       {"members",
                        {{{"slot", 0},
                          {"memberID", "00000000000000a1"},
                          {"role", "leader"},
                          {"lag", 0},
                          {"version", "0.1.0"},
                          {"healthy", true},
                          {"pod", "db-0"},
                          {"claimUID", "u"}}}},
                       {"operation",
                        {{"type", "Scale"},
                         {"step", "AddLearners"},
                         {"since", "2026-01-01T00:00:00Z"},
                         {"stepSince", "2026-01-01T00:00:01Z"},
                         {"target", 5},
                         {"clusterID", "00000000000000c1"},
                         {"seed", "00000000000000a1"},
                         {"slot", 3},
                         {"oldMember", "00000000000000a1"},
                         {"newMember", "00000000000000a2"}}},
                       {"conditions",
                        {{{"type", "Available"},
                          {"status", "True"},
                          {"observedGeneration", 1},
                          {"lastTransitionTime", "2026-01-01T00:00:00Z"},
                          {"reason", "QuorumHealthy"},
                          {"message", "3 of 3"}}}}};
  auto patched =
      api_->Patch(kRaftKvs, made->key(), PatchType::kMerge, {{"status", status}}, "status");
  ASSERT_TRUE(patched) << patched.error().ToString();
  EXPECT_EQ(patched->At("/status"), status);
  EXPECT_EQ(patched->generation(), made->generation()) << "status is not spec";
}

TEST_F(RaftKvSchema, EveryFieldIsDescribed) {
  int fields = 0;
  Walk("", Schema(), [&](const std::string& path, const Json& schema) {
    // Elements are described with their list; metadata is Kubernetes' own.
    if (path.ends_with("[]") || path.ends_with("{}") || path == "metadata") return;
    ++fields;
    const std::string text = schema.value("description", "");
    EXPECT_FALSE(text.empty()) << path;
    if (!text.empty()) {
      EXPECT_EQ(text.back(), '.') << path << ": " << text;
    }
  });
  EXPECT_GT(fields, 200);
  // What the server publishes, which is what kubectl explain shows, is the same schema.
  auto stored = api_->Get(resources::kCustomResourceDefinitions, {"", "raftkvs.raftkv.dev"});
  ASSERT_TRUE(stored) << stored.error().ToString();
  EXPECT_EQ(stored->At("/spec/versions/0/schema/openAPIV3Schema/properties/spec/description"),
            Schema().at("properties").at("spec").at("description"));
}

}  // namespace
}  // namespace raftkv::kube
