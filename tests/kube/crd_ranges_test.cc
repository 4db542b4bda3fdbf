// What the schema of RaftKV says without CEL, against a real API server: each type, choice, range,
// length, count and required field, also inside lists and maps. A bound is created, one step beyond
// it is refused.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/kube/example_specs.h"
#include "tests/kube/schema_test.h"

namespace raftkv::kube {
namespace {

using Place = Json::json_pointer;

struct Range {
  int64_t least;
  std::optional<int64_t> most;
};

// What docs/crd.md, the node's settings (node/config/table.cc) and Kubernetes promise: not taken
// from the schema, so that it cannot be wrong without a word. IDs: nobody is root.
const std::map<std::string, Range> kNumbers = {
    {"spec.replicas", {0, 9}},
    {"spec.progressDeadlineSeconds", {10, 86'400}},
    {"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight",
     {1, 100}},
    {"spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight",
     {1, 100}},
    {"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight",
     {1, 100}},
    {"spec.topologySpreadConstraints[].maxSkew", {1, {}}},
    {"spec.topologySpreadConstraints[].minDomains", {1, {}}},
    {"spec.pod.podSecurityContext.runAsUser", {1, {}}},
    {"spec.pod.podSecurityContext.runAsGroup", {1, {}}},
    {"spec.pod.podSecurityContext.fsGroup", {1, {}}},
    {"spec.pod.podSecurityContext.supplementalGroups[]", {1, {}}},
    {"spec.pod.containerSecurityContext.runAsUser", {1, {}}},
    {"spec.pod.containerSecurityContext.runAsGroup", {1, {}}},
    {"spec.config.raft.electionTicks", {3, 1000}},
    {"spec.config.raft.heartbeatTicks", {1, 100}},
    {"spec.config.raft.maxInflightAppends", {1, 65'536}},
    {"spec.config.limits.inflightRequests", {1, 10'000'000}},
    {"spec.config.storage.logKeepEntries", {0, 1'000'000'000}},
    {"spec.config.history.keepRevisions", {0, 1'000'000'000'000}},
    {"spec.config.http.maxConnections", {8, 100'000}},
    {"spec.config.http.maxInFlight", {1, 1'000'000}},
    {"spec.config.http.eventLoops", {0, 16}},
};

// Most characters of a text, and most entries of a list or a map, by the end of the path; where
// several fit, the longest counts. What Kubernetes itself bounds has its bounds: names of objects
// 253, labels' values 63, their keys 317 with a prefix.
using Ends = std::map<std::string, size_t, std::less<>>;
const Ends kLengths = {
    {"spec.image", 512},
    {"spec.version", 128},
    {"spec.storage.size", 32},
    {"spec.storage.className", 253},
    {"spec.replacement.after", 32},
    {"spec.resources.requests{}", 32},
    {"spec.resources.limits{}", 32},
    {"spec.service.annotations{}", 16'384},
    // Selectors of pods, namespaces and nodes.
    {".matchLabels{}", 63},
    {".matchExpressions[].key", 317},
    {".matchExpressions[].values[]", 63},
    {".nodeSelectorTerms[].matchExpressions[].values[]", 253},
    {".preference.matchExpressions[].values[]", 253},
    {".matchFields[].key", 317},
    {".matchFields[].values[]", 253},
    {".topologyKey", 317},
    {".namespaces[]", 253},
    {".matchLabelKeys[]", 253},
    {".mismatchLabelKeys[]", 253},
    {"spec.pod.labels{}", 63},
    {"spec.pod.annotations{}", 16'384},
    {"spec.pod.nodeSelector{}", 63},
    {"spec.pod.tolerations[].key", 317},
    {"spec.pod.tolerations[].value", 63},
    {"spec.pod.priorityClassName", 253},
    {"spec.pod.imagePullSecrets[].name", 253},
    {"spec.pod.serviceAccountName", 253},
    {"spec.pod.env[].name", 256},
    {"spec.pod.env[].value", 32'768},
    {"KeyRef.name", 253},
    {"KeyRef.key", 253},
    {".fieldRef.apiVersion", 32},
    {".fieldRef.fieldPath", 253},
    {".resourceFieldRef.containerName", 63},
    {".resourceFieldRef.resource", 253},
    {".resourceFieldRef.divisor", 32},
    {".localhostProfile", 1024},
    {".seLinuxOptions.level", 253},
    {".capabilities.drop[]", 253},
    // Durations, and numbers of bytes.
    {"spec.config.raft.tick", 32},
    {"spec.config.history.keepAge", 32},
    {"spec.config.http.requestTimeout", 32},
    {"spec.config.http.headTimeout", 32},
    {"spec.config.http.bodyTimeout", 32},
    {"spec.config.http.idleTimeout", 32},
    {"spec.config.http.writeTimeout", 32},
    {"spec.config.raft.maxAppendBytes", 20},
    {"spec.config.raft.maxUncommittedBytes", 20},
    {"spec.config.raft.maxApplyBytes", 20},
    {"spec.config.limits.inflightBytes", 20},
    {"spec.config.limits.minFreeBytes", 20},
    {"spec.config.limits.quotaBytes", 20},
    {"spec.config.limits.snapshotBytesPerSecond", 20},
    {"spec.config.storage.reserveBytes", 20},
    {"spec.config.storage.logKeepBytes", 20},
    {"spec.config.storage.flushAfterBytes", 20},
    {"spec.config.storage.logCacheBytes", 20},
    {"spec.config.storage.stateMemtableBytes", 20},
    {"spec.config.storage.stateCacheBytes", 20},
    {"spec.config.http.maxValueBytes", 20},
    {"spec.config.http.maxBufferedBytes", 20},
};
// Of these, which must not be empty.
const Ends kNotEmpty = {
    {"spec.image", 1},          {"spec.storage.className", 1},
    {"spec.pod.env[].name", 1}, {"spec.pod.imagePullSecrets[].name", 1},
    {".localhostProfile", 1},
};
const Ends kCounts = {
    {"spec.resources.requests", 16},
    {"spec.resources.limits", 16},
    {"spec.service.annotations", 32},
    {"spec.topologySpreadConstraints", 8},
    {".nodeSelectorTerms", 16},
    {".requiredDuringSchedulingIgnoredDuringExecution", 16},
    {".preferredDuringSchedulingIgnoredDuringExecution", 16},
    {".matchLabels", 32},
    {".matchExpressions", 32},
    {".matchExpressions[].values", 32},
    {".matchFields", 32},
    {".matchFields[].values", 32},
    {".namespaces", 32},
    {".matchLabelKeys", 32},
    {".mismatchLabelKeys", 32},
    {"spec.pod.labels", 32},
    {"spec.pod.annotations", 32},
    {"spec.pod.nodeSelector", 32},
    {"spec.pod.tolerations", 64},
    {"spec.pod.env", 64},
    {"spec.pod.imagePullSecrets", 16},
    {".supplementalGroups", 32},
    {".capabilities.drop", 32},
};

// A value that rules in CEL allow only beside others, for instance Gt beside one number.
Json Beside(const std::string& path, const Json& value) {
  if (path.ends_with(".operator") && (value == "Gt" || value == "Lt")) return {{"values", {"7"}}};
  if (path.ends_with("tolerations[].effect")) return {{"operator", "Exists"}};
  if (path.ends_with(".heartbeatTicks") && value != 1) return {{"electionTicks", 1000}};
  return Json::object();
}

// Choices that a rule in CEL takes away where Kubernetes' own type has them.
bool IsTakenAway(const std::string& path, const Json& value) {
  return path.ends_with(".matchFields[].operator") && value != "In" && value != "NotIn";
}

class RaftKvRanges : public RaftKvSchema {
 protected:
  // Tries every schema below `schema` once, each at the place of an example that has it.
  void Try(const Json& example, const Place& place, const std::string& path, const Json& schema,
           const Json* owner) {
    const Json value = example.at(place);
    if (tried_.insert(path).second) {
      example_ = &example;
      TryTypes(place, path, schema);
      TryChoices(place, path, schema, owner);
      TryNumbers(place, path, schema, owner);
      TryLengths(place, path, schema);
      TryCounts(place, path, schema);
      TryRequired(place, path, schema);
    }
    if (value.is_array()) {
      for (size_t i = 0; i < value.size(); ++i) {
        Try(example, place / i, path + "[]", schema.at("items"), nullptr);
      }
    }
    if (!value.is_object()) return;
    for (const auto& [name, field] : value.items()) {
      if (schema.contains("additionalProperties")) {
        Try(example, place / name, path + "{}", schema["additionalProperties"], nullptr);
      } else {
        Try(example, place / name, path + "." + name, schema.at("properties").at(name), &schema);
      }
    }
  }

  std::set<std::string> tried_;

 private:
  ApiResult<Object> CreateWith(const Place& place, const Json& value) {
    Json spec = *example_;
    spec[place] = value;
    return Create("", spec);
  }

  void Refuses(const Place& place, const Json& value, const std::string& why = "") {
    const auto made = CreateWith(place, value);
    ASSERT_FALSE(made) << place.to_string() << " = " << value.dump().substr(0, 200);
    // Some types are refused before the schema is asked.
    const bool refused =
        made.error().reason == Reason::kInvalid || made.error().reason == Reason::kBadRequest;
    EXPECT_TRUE(refused) << place.to_string() << ": " << made.error().ToString();
    EXPECT_NE(made.error().message.find(why), std::string::npos)
        << place.to_string() << ": " << made.error().message.substr(0, 500);
  }

  // As it is, or beside as little as it needs.
  void Accepts(const Place& place, const std::string& path, const Json& value, const Json* owner) {
    const auto made = CreateWith(place, value);
    if (made) return;
    ASSERT_NE(owner, nullptr) << place.to_string() << " = " << value << ": "
                              << made.error().message;
    Json alone = Beside(path, value);
    const Json& before = example_->at(place.parent_pointer());
    for (const Json& name : owner->value("required", Json::array())) {
      if (!alone.contains(name)) alone[std::string(name)] = before.at(std::string(name));
    }
    alone[place.back()] = value;
    const auto again = CreateWith(place.parent_pointer(), alone);
    EXPECT_TRUE(again) << place.to_string() << " = " << alone << ": " << again.error().message;
  }

  void TryTypes(const Place& place, const std::string& path, const Json& schema) {
    ++checks_["type"];
    const bool any_scalar = schema.contains("x-kubernetes-int-or-string");
    const std::string type = any_scalar ? "" : std::string(schema.at("type"));
    const bool text = any_scalar || type == "string";
    if (type != "array") Refuses(place, Json::array());
    if (type != "object") Refuses(place, {{"x", 1}});
    if (!text) Refuses(place, "x");
    if (!any_scalar && type != "integer") Refuses(place, 7);
    if (type == "integer" || any_scalar) Refuses(place, 1.5);
    if (type != "boolean") Refuses(place, true);
    if (path.empty()) ADD_FAILURE();
  }

  void TryChoices(const Place& place, const std::string& path, const Json& schema,
                  const Json* owner) {
    if (!schema.contains("enum")) return;
    ++checks_["enum"];
    Refuses(place, "Nonsense", "Unsupported value");
    for (const Json& value : schema["enum"]) {
      if (IsTakenAway(path, value)) {
        Refuses(place, value);
      } else {
        Accepts(place, path, value, owner);
      }
    }
  }

  void TryNumbers(const Place& place, const std::string& path, const Json& schema,
                  const Json* owner) {
    const auto range = kNumbers.find(path);
    const bool bounded = schema.contains("minimum") || schema.contains("maximum");
    ASSERT_EQ(bounded, range != kNumbers.end()) << path << ": which numbers are promised?";
    if (!bounded) return;
    ++checks_["number"];
    Accepts(place, path, range->second.least, owner);
    Refuses(place, range->second.least - 1, "should be greater than or equal to");
    if (!range->second.most) return;
    Accepts(place, path, *range->second.most, owner);
    Refuses(place, *range->second.most + 1, "should be less than or equal to");
  }

  // The bound of what `path` ends with.
  std::optional<size_t> Promised(const Ends& ends, const std::string& path) {
    const Ends::value_type* longest = nullptr;
    for (const auto& end : ends) {
      if (!path.ends_with(end.first)) continue;
      if (longest == nullptr || end.first.size() > longest->first.size()) longest = &end;
    }
    if (longest == nullptr) return std::nullopt;
    used_.insert(longest);
    return longest->second;
  }

  // Whether a text of this length is right in other respects is a matter of rules in CEL.
  void TryLengths(const Place& place, const std::string& path, const Json& schema) {
    const bool text = (schema.value("type", "") == "string" && !schema.contains("enum")) ||
                      schema.contains("x-kubernetes-int-or-string");
    if (!text) return;
    ++checks_["length"];
    const auto most = Promised(kLengths, path);
    ASSERT_TRUE(most) << path << ": which length is promised?";
    const auto made = CreateWith(place, std::string(*most, '7'));
    EXPECT_TRUE(made || made.error().message.find("Too long") == std::string::npos)
        << path << ": " << made.error().message.substr(0, 500);
    Refuses(place, std::string(*most + 1, '7'), "Too long");
    EXPECT_EQ(schema.contains("minLength"), Promised(kNotEmpty, path).has_value()) << path;
    if (Promised(kNotEmpty, path)) Refuses(place, "");
  }

  void TryCounts(const Place& place, const std::string& path, const Json& schema) {
    const bool list = schema.value("type", "") == "array";
    if (!list && !schema.contains("additionalProperties")) return;
    ++checks_["count"];
    const auto most = Promised(kCounts, path);
    ASSERT_TRUE(most) << path << ": how many are promised?";
    const Json full = list ? ListOf(place, schema, *most) : MapOf(place, *most);
    const auto made = CreateWith(place, full);
    // A rule in CEL takes one name there.
    EXPECT_EQ(made.has_value(), !path.ends_with(".matchFields[].values"))
        << path << ": " << (made ? "" : made.error().message.substr(0, 500));
    Refuses(place, list ? ListOf(place, schema, *most + 1) : MapOf(place, *most + 1), "Too many");
  }

  // Of the example's last element.
  Json ListOf(const Place& place, const Json& schema, size_t size) const {
    Json out = example_->at(place);
    const Json element = out.back();
    while (out.size() < size) {
      out.push_back(element);
      for (const Json& key : schema.value("x-kubernetes-list-map-keys", Json::array())) {
        const std::string field = key;
        if (schema.at("items").at("properties").at(field).contains("enum")) continue;
        Json& name = out.back()[field];
        name = std::string(name) + std::to_string(out.size());
      }
    }
    return out;
  }
  Json MapOf(const Place& place, size_t size) const {
    Json out = example_->at(place);
    const Json value = out.begin().value();
    while (out.size() < size) out["k" + std::to_string(out.size())] = value;
    return out;
  }

  void TryRequired(const Place& place, const std::string& path, const Json& schema) {
    for (const Json& name : schema.value("required", Json::array())) {
      ++checks_["required"];
      Json without = example_->at(place);
      EXPECT_EQ(without.erase(std::string(name)), 1U) << path;
      Refuses(place, without, "Required value");
    }
  }

  const Json* example_ = nullptr;

 protected:
  std::map<std::string, int> checks_;
  std::set<const Ends::value_type*> used_;
};

TEST_F(RaftKvRanges, EachFieldTakesItsBoundsAndRefusesWhatIsBeyond) {
  const Json& spec = Schema().at("/properties/spec"_json_pointer);
  std::vector<Json> examples = op::ExampleSpecs();
  examples.push_back({{"replicas", 3},
                      {"storage",
                       {{"size", "1Gi"},
                        {"className", "fast"},
                        {"retention", {{"onDelete", "Retain"}, {"onScaleDown", "Delete"}}}}},
                      {"update", {{"strategy", "OnDelete"}, {"paused", true}}},
                      {"replacement", {{"enabled", false}, {"after", "10s"}}},
                      {"disruptionBudget", {{"enabled", false}}},
                      {"paused", true},
                      {"progressDeadlineSeconds", 60},
                      {"bootstrap", {{"mode", "New"}}}});
  for (const Json& example : examples) Try(example, Place(), "spec", spec, nullptr);
  Walk("spec", spec, [&](const std::string& path, const Json&) {
    EXPECT_TRUE(tried_.contains(path)) << path << ": no example has it";
  });
  for (const auto& [path, range] : kNumbers) EXPECT_TRUE(tried_.contains(path)) << path;
  for (const Ends* ends : {&kLengths, &kNotEmpty, &kCounts}) {
    for (const auto& end : *ends) EXPECT_TRUE(used_.contains(&end)) << end.first;
  }
  for (const auto& [what, count] : checks_) std::printf("%s: %d\n", what.c_str(), count);
  EXPECT_GT(checks_["type"], 200);
  EXPECT_GT(checks_["required"], 25);
  EXPECT_GT(checks_["length"], 90);
  EXPECT_GT(checks_["count"], 40);
}

}  // namespace
}  // namespace raftkv::kube
