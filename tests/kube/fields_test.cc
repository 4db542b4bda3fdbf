// Every field of a RaftKV's spec that shapes an object, on a real API server and by the operator's
// own acts: to set it changes what is stored, to remove it brings back what was stored before.
// Those that only steer the planner are operator/raftkv/fields_test.cc's.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "operator/raftkv/plan_test.h"
#include "tests/kube/example_specs.h"
#include "tests/kube/objects_on_server.h"

namespace raftkv::op {
namespace {

// Only the planner goes by them.
const std::set<std::string> kPlanned = {"/replicas",
                                        "/storage/size",
                                        "/storage/retention/onDelete",
                                        "/storage/retention/onScaleDown",
                                        "/update/strategy",
                                        "/update/paused",
                                        "/replacement/enabled",
                                        "/replacement/after",
                                        "/disruptionBudget/enabled",
                                        "/paused",
                                        "/progressDeadlineSeconds",
                                        "/bootstrap/mode"};
// What it is when the StatefulSet is made (StorageClassIsThatOfTheClaims).
const std::string kStorageClass = "/storage/className";
// With the one value that they may have they say what is so without them.
const std::set<std::string> kOneValue = {"/pod/env/0/valueFrom/fieldRef/apiVersion",
                                         "/pod/podSecurityContext/runAsNonRoot",
                                         "/pod/containerSecurityContext/runAsNonRoot",
                                         "/pod/containerSecurityContext/allowPrivilegeEscalation"};

// A field as the schema names it: any element is "0", any key of a map "key".
void CollectLeaves(const std::string& pointer, const Json& schema, std::set<std::string>* out) {
  if (schema.contains("properties")) {
    for (const auto& [name, child] : schema["properties"].items()) {
      CollectLeaves(pointer + "/" + name, child, out);
    }
  } else if (schema.contains("items")) {
    CollectLeaves(pointer + "/0", schema["items"], out);
  } else if (schema.contains("additionalProperties")) {
    CollectLeaves(pointer + "/key", schema["additionalProperties"], out);
  } else {
    out->insert(pointer);
  }
}

std::set<std::string> Leaves() {
  std::set<std::string> out;
  CollectLeaves(
      "",
      kube::Definition().at("/spec/versions/0/schema/openAPIV3Schema/properties/spec"_json_pointer),
      &out);
  return out;
}

std::string FieldOf(const std::set<std::string>& leaves, const Json::json_pointer& place) {
  std::string out;
  Json::json_pointer rest = place;
  std::vector<std::string> tokens;
  for (; !rest.empty(); rest = rest.parent_pointer()) tokens.push_back(rest.back());
  for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) {
    const bool number = token->find_first_not_of("0123456789") == std::string::npos;
    out += "/" + (number ? "0" : *token);
  }
  if (leaves.contains(out)) return out;
  return out.substr(0, out.rfind('/')) + "/key";
}

// Without what is at `place`, and without what is empty then.
Json Without(Json spec, Json::json_pointer place) {
  while (!place.empty()) {
    Json& parent = spec[place.parent_pointer()];
    if (parent.is_array()) {
      parent.erase(std::stoul(place.back()));
    } else {
      parent.erase(place.back());
    }
    if (!parent.empty()) break;
    place = place.parent_pointer();
  }
  return spec;
}

class RealFields : public ObjectsOnServer {
 protected:
  using State = std::map<std::string, Json>;  // by kind and name

  // As the API server takes it; false if it does not.
  bool Write(Json spec) {
    auto live = api_->Get(kRaftKvs, {ns_, "db"});
    if (!live) return false;
    spec["replicas"] = 1;
    live->Set("/spec", spec);
    return api_->Update(kRaftKvs, *live).has_value();
  }

  void FillCaches() {
    for (kube::Cache* cache :
         {&clusters_, &sets_, &pods_, &claims_, &services_, &accounts_, &policies_, &budgets_}) {
      auto list = api_->List(cache->resource(), {.ns = ns_});
      ASSERT_TRUE(list) << list.error().ToString();
      std::erase_if(list->items, [&](const Object& object) {
        return cache != &clusters_ && object.Label("app.kubernetes.io/name") != "raftkv";
      });
      ASSERT_TRUE(cache->Replace(std::move(list->items), list->resource_version).ok());
    }
  }

  // As a reconcile does it that finds something to apply; then there is nothing more to apply.
  void Apply() {
    FillCaches();
    const Seen seen = observer_->Look(clusters_.Get({ns_, "db"}), 1);
    EXPECT_TRUE(actor_->Carry(seen, ApplyObjects{}).ok());
    const Status set = actor_->Carry(seen, ApplyStatefulSet{0});
    EXPECT_TRUE(set.ok()) << set.ToString();
    FillCaches();
    const ObjectsView objects = observer_->Look(clusters_.Get({ns_, "db"}), 1).observation.objects;
    EXPECT_TRUE(objects.template_current) << "it would be applied again and again";
    EXPECT_TRUE(objects.others_current) << "they would be applied again and again";
  }

  // What is stored, but for what changes with every write.
  State Stored() {
    State out;
    for (const kube::Cache* cache : {&sets_, &services_, &accounts_, &policies_, &budgets_}) {
      for (const kube::ObjectPtr& object : cache->List()) {
        Json json = object->json();
        json.erase("status");
        for (const char* field : {"managedFields", "resourceVersion", "generation"}) {
          json["metadata"].erase(field);
        }
        json["metadata"]["annotations"].erase(std::string(kAppliedAnnotation));
        out[std::string(object->kind()) + " " + std::string(object->name())] = std::move(json);
      }
    }
    return out;
  }

  State After(const Json& spec) {
    EXPECT_TRUE(Write(spec)) << spec;
    Apply();
    return Stored();
  }

  // Without the field, or without as much around it as has to go with it.
  std::optional<State> AfterRemovalOf(Json::json_pointer place, const Json& spec) {
    for (; !place.empty(); place = place.parent_pointer()) {
      if (!Write(Without(spec, place))) continue;
      Apply();
      return Stored();
    }
    return std::nullopt;
  }
};

TEST_F(RealFields, EachIsAppliedWhenSetAndTakenBackWhenRemoved) {
  const std::set<std::string> leaves = Leaves();
  std::set<std::string> tested;
  const State bare = After(Json::object());
  EXPECT_EQ(bare.size(), 8U);
  for (const Json& spec : ExampleSpecs()) {
    const Json flat = spec.flatten();
    for (const auto& [text, value] : flat.items()) {
      SCOPED_TRACE("spec" + text);
      const Json::json_pointer place(text);
      const std::string field = FieldOf(leaves, place);
      const std::optional<State> before = AfterRemovalOf(place, spec);
      ASSERT_TRUE(before);
      const State with = After(spec);
      if (with != *before) tested.insert(field);
      EXPECT_EQ(with == *before, kOneValue.contains(field)) << value;
      EXPECT_EQ(AfterRemovalOf(place, spec), before);
    }
    EXPECT_EQ(After(Json::object()), bare) << spec;
  }
  for (const std::string& leaf : leaves) {
    const bool elsewhere =
        kPlanned.contains(leaf) || kOneValue.contains(leaf) || leaf == kStorageClass;
    EXPECT_NE(tested.contains(leaf), elsewhere) << "spec" << leaf << ": on which objects is it?";
  }
  for (const std::set<std::string>* named : {&kPlanned, &kOneValue}) {
    for (const std::string& leaf : *named) EXPECT_TRUE(leaves.contains(leaf)) << leaf;
  }
}

TEST_F(RealFields, StorageClassIsThatOfTheClaims) {
  const auto class_of = [&](const char* name, const Json& storage) {
    Object resource(kRaftKvs, {ns_, name});
    resource.Set("/spec", {{"storage", storage}});
    EXPECT_TRUE(api_->Create(kRaftKvs, resource));
    auto seen = observer_->LookLive({ns_, name}, 1);
    EXPECT_TRUE(seen && actor_->Carry(*seen, ApplyStatefulSet{0}).ok());
    return std::string(api_->Get(resources::kStatefulSets, {ns_, name})
                           ->String("/spec/volumeClaimTemplates/0/spec/storageClassName"));
  };
  EXPECT_EQ(class_of("with", {{"className", "fast"}}), "fast");
  EXPECT_EQ(class_of("without", {{"size", "1Gi"}}), "");
}

TEST_F(RealFields, TheDisruptionBudgetGoesAndComesBack) {
  Given given = Given::Cluster(3);
  const auto carry = [&](const Json& spec) {
    EXPECT_TRUE(Write(spec));
    FillCaches();
    const Seen seen = observer_->Look(clusters_.Get({ns_, "db"}), 1);
    given.spec = seen.observation.spec;
    given.spec.replicas = 3;
    given.objects.min_available = seen.observation.objects.min_available;
    const Action action = MakePlan(given).action;
    EXPECT_TRUE(std::holds_alternative<ApplyDisruptionBudget>(action)) << ToString(action);
    EXPECT_TRUE(actor_->Carry(seen, action).ok());
    auto budget = api_->Get(resources::kDisruptionBudgets, {ns_, "db"});
    return budget ? budget->Int("/spec/minAvailable").value_or(0) : -1;
  };
  EXPECT_EQ(carry(Json::object()), 2);
  EXPECT_EQ(carry({{"disruptionBudget", {{"enabled", false}}}}), -1);
  EXPECT_EQ(carry(Json::object()), 2);
}

}  // namespace
}  // namespace raftkv::op
