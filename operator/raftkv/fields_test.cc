// Every field of the schema, found in the CRD itself: to set it changes what the operator makes or
// what it plans by, to take it out again is noticed and undone. A field that is added to the schema
// and read by nobody fails here. What the schema refuses is tests/kube/crd_*_test.cc's business,
// what happens to the objects on a server tests/kube/fields_test.cc's.

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "operator/raftkv/objects.h"
#include "operator/raftkv/plan_test.h"
#include "operator/raftkv/resource.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Object;

// Pod, objects around it, or the planner.
enum class Place { kPod, kObjects, kPlan };

// Where a change of a field has to be seen; the longest beginning of its path counts.
const std::map<std::string, Place> kPlaces = {
    {"affinity", Place::kPod},     {"bootstrap", Place::kPlan},
    {"config", Place::kPod},       {"disruptionBudget", Place::kPlan},
    {"image", Place::kPod},        {"paused", Place::kPlan},
    {"pod", Place::kPod},          {"progressDeadlineSeconds", Place::kPlan},
    {"replacement", Place::kPlan}, {"replicas", Place::kPlan},
    {"resources", Place::kPod},    {"service", Place::kObjects},
    {"storage", Place::kPlan},     {"topologySpreadConstraints", Place::kPod},
    {"update", Place::kPlan},      {"version", Place::kPod},
};
// Cannot change: the schema refuses it (RaftKvSchema.StorageClassStaysWhatItWas).
const std::set<std::string> kImmutable = {"/storage/className"};

// What a value is made of; in turn, until one makes a difference.
std::vector<Json> Samples(const std::string& pointer, const YAML::Node& schema) {
  if (pointer == "/storage/size") return {"77Gi"};
  if (pointer == "/replacement/after") return {"77s"};
  const YAML::Node known = schema["enum"];
  if (known) {
    std::vector<Json> out;
    for (const YAML::Node& value : known) out.push_back(value.Scalar());
    return out;
  }
  const std::string type = schema["type"] ? schema["type"].Scalar() : "";
  if (type == "boolean") return {true, false};
  if (type == "integer" || type == "number") return {7, 8};
  return {"sample"};
}

struct Leaf {
  std::string pointer;  // below spec; "/0" for the elements of lists
  std::vector<Json> samples;
};

void Collect(const std::string& pointer, const YAML::Node& schema, std::vector<Leaf>* out) {
  if (const YAML::Node properties = schema["properties"]) {
    for (const auto& entry : properties) {
      Collect(pointer + "/" + entry.first.Scalar(), entry.second, out);
    }
  } else if (const YAML::Node items = schema["items"]) {
    Collect(pointer + "/0", items, out);
  } else if (const YAML::Node values = schema["additionalProperties"]; values && values.IsMap()) {
    Collect(pointer + "/key", values, out);
  } else {
    out->push_back({pointer, Samples(pointer, schema)});
  }
}

std::vector<Leaf> Leaves() {
  const YAML::Node definition = YAML::LoadFile(RAFTKV_CRD);
  std::vector<Leaf> out;
  Collect("", definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
          &out);
  return out;
}

Object Resource(const std::string& pointer, const Json& value) {
  Object out(kRaftKvs, {"ns", "store"});
  out.Set("/metadata/uid", "u1");
  // A list's first element is made by its number, which needs the list.
  Json spec = Json::object();
  for (size_t at = pointer.find("/0"); at != std::string::npos; at = pointer.find("/0", at + 2)) {
    if (at + 2 != pointer.size() && pointer[at + 2] != '/') continue;
    spec[Json::json_pointer(pointer.substr(0, at))] = Json::array({Json()});
  }
  if (!pointer.empty()) spec[Json::json_pointer(pointer)] = value;
  out.Set("/spec", std::move(spec));
  return out;
}

// All that is made of a resource, so that a change is seen as IsCurrent sees it.
struct Made {
  explicit Made(const Object& resource) {
    const ObjectSettings settings{.default_image = "node:1", .operator_namespace = "system"};
    pod = DesiredStatefulSet(resource, settings, 3, nullptr).object;
    for (DesiredObject& desired : DesiredObjects(resource, settings)) {
      objects[std::string(desired.resource.kind) + "/" + std::string(desired.object.name())] =
          std::move(desired.object);
    }
    if (auto read = ReadSpec(resource)) spec = *read;
  }

  bool Differs(const Made& from, Place place) const {
    switch (place) {
      case Place::kPod:
        return !IsCurrent(from.pod, pod) &&
               from.pod.At("/spec/template") != pod.At("/spec/template");
      case Place::kObjects:
        if (objects.size() != from.objects.size()) return true;
        return std::ranges::any_of(objects, [&](const auto& entry) {
          return !IsCurrent(from.objects.at(entry.first), entry.second);
        });
      case Place::kPlan:
        return !(spec == from.spec);
    }
    return false;
  }

  Object pod;
  std::map<std::string, Object> objects;
  ClusterSpec spec;
};

Place PlaceOf(const std::string& pointer) {
  const std::string first = pointer.substr(1, pointer.find('/', 1) - 1);
  const auto found = kPlaces.find(first);
  EXPECT_NE(found, kPlaces.end()) << "a new field: say where a change of spec." << first
                                  << " is seen";
  return found == kPlaces.end() ? Place::kPod : found->second;
}

TEST(Fields, EachMakesADifferenceWhenSetAndWhenTakenOutAgain) {
  const Made without(Resource("", {}));
  const std::vector<Leaf> leaves = Leaves();
  ASSERT_GT(leaves.size(), 100U) << RAFTKV_CRD;
  for (const Leaf& leaf : leaves) {
    const bool immutable = kImmutable.contains(leaf.pointer);
    const Place place = PlaceOf(leaf.pointer);
    bool set = false;
    bool taken_out = false;
    for (const Json& sample : leaf.samples) {
      const Made with(Resource(leaf.pointer, sample));
      set = set || with.Differs(without, place);
      taken_out = taken_out || without.Differs(with, place);
    }
    EXPECT_EQ(set, !immutable) << "spec" << leaf.pointer;
    EXPECT_EQ(taken_out, !immutable) << "spec" << leaf.pointer;
  }
}

// What the planner does about a field, where that matters.
struct PlannerCase {
  std::string pointer;
  Json value;
  std::function<void(Given&)> scene;  // laid over three members at rest
  std::string without;                // as `seen` tells
  std::string with;
  std::function<std::string(const Plan&)> seen = [](const Plan& plan) {
    return ToString(plan.action);
  };
  // What the plan with the field has done, and what the one without it makes of that; empty: the
  // same as if it had never been set.
  std::function<void(Given&)> done = [](Given&) {};
  std::string taken_back;
};

void NewTemplateRevision(Given& given) { given.objects.update_revision = "rev-2"; }

void LostAndOutOfPatience(Given& given) { given.NodeLost(1, 100); }

std::vector<PlannerCase> PlannerCases() {
  const std::string roll = "DeletePod slot=2 uid=pod-uid-2";
  const std::string nothing = "Nothing";
  return {
      {.pointer = "/replicas",
       .value = 5,
       .scene = [](Given&) {},
       .without = nothing,
       .with = "ApplyDisruptionBudget minAvailable=3",  // the first step
       .done = [](Given& given) { given.objects.min_available = 3; },
       .taken_back = "ApplyDisruptionBudget minAvailable=2"},
      {.pointer = "/storage/size",
       .value = "20Gi",
       .scene = [](Given&) {},
       .without = nothing,
       .with = "ResizeClaim slot=0 bytes=21474836480"},
      {.pointer = "/storage/retention/onDelete",
       .value = "Delete",
       .scene = [](Given& given) { given.deleting = true; },
       .without = "RemoveFinalizer",
       .with = "ApplyStatefulSet replicas=0"},
      {.pointer = "/storage/retention/onScaleDown",
       .value = "Retain",
       .scene =
           [](Given& given) {
             given.Claim(3, Id(3));
             given.Remove(Id(3));
           },
       .without = "DeleteClaim slot=3 uid=claim-uid-3 member=00000000000000a3",
       .with = nothing},
      {.pointer = "/update/strategy",
       .value = "OnDelete",
       .scene = NewTemplateRevision,
       .without = roll,
       .with = nothing},
      {.pointer = "/update/paused",
       .value = true,
       .scene = NewTemplateRevision,
       .without = roll,
       .with = nothing},
      {.pointer = "/replacement/enabled",
       .value = false,
       .scene = [](Given& given) { given.Blanked(1, 0xB1); },
       .without = "MarkClaim slot=1 member=00000000000000b1",
       .with = nothing},
      {.pointer = "/replacement/after",
       .value = "90s",
       .scene = LostAndOutOfPatience,
       .without = nothing,
       .with = "ChangeMembership add= promote= remove=00000000000000a1"},
      {.pointer = "/disruptionBudget/enabled",
       .value = false,
       .scene = [](Given&) {},
       .without = nothing,
       .with = "ApplyDisruptionBudget minAvailable=none",
       .done = [](Given& given) { given.objects.min_available = -1; },
       .taken_back = "ApplyDisruptionBudget minAvailable=2"},
      {.pointer = "/paused",
       .value = true,
       .scene = NewTemplateRevision,
       .without = roll,
       .with = nothing},
      {.pointer = "/progressDeadlineSeconds",
       .value = 60,
       .scene =
           [](Given& given) {
             given.operation = {.type = Operation::Type::kRoll,
                                .step = "WaitForMember",
                                .since_s = kNow - 100,
                                .step_since_s = kNow - 100,
                                .slot = 1};
             given.objects.update_revision = "rev-2";
             given.Pod(1).revision = "rev-2";
             given.Silent(1, 90);
           },
       .without = "+Roll",
       .with = "-DeadlineExceeded",
       .seen = [](const Plan& plan) { return ReasonOf(plan, "Progressing"); }},
      {.pointer = "/bootstrap/mode",
       .value = "Restore",
       .scene = [](Given& given) { given = Given::BlankNodes(3); },
       .without = "Initialize",
       .with = "WaitForSnapshot",
       .seen = [](const Plan& plan) { return plan.status.operation.step; }},
  };
}

TEST(Fields, EachThatThePlannerGoesByChangesThePlanAndIsTakenBack) {
  std::set<std::string> tested;
  for (const PlannerCase& field : PlannerCases()) {
    SCOPED_TRACE("spec" + field.pointer);
    tested.insert(field.pointer);
    const ClusterSpec without = *ReadSpec(Resource("", {}));
    const ClusterSpec with = *ReadSpec(Resource(field.pointer, field.value));
    Given given = Given::Cluster(3);
    field.scene(given);
    given.spec = without;
    EXPECT_EQ(field.seen(MakePlan(given)), field.without);
    given.spec = with;
    ++given.generation;
    const Plan plan = MakePlan(given);
    EXPECT_EQ(field.seen(plan), field.with);
    given.Wrote(plan);
    field.done(given);
    given.spec = without;
    ++given.generation;
    EXPECT_EQ(field.seen(MakePlan(given)),
              field.taken_back.empty() ? field.without : field.taken_back);
  }
  for (const Leaf& leaf : Leaves()) {
    const bool wanted = PlaceOf(leaf.pointer) == Place::kPlan && !kImmutable.contains(leaf.pointer);
    EXPECT_EQ(tested.contains(leaf.pointer), wanted)
        << "spec" << leaf.pointer << ": what does the planner do about it?";
  }
}

}  // namespace
}  // namespace raftkv::op
