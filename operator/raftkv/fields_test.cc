// Every field of the schema, found in the CRD itself: to set it changes what the operator makes or
// what it plans by, to take it out again is noticed. A field that is added to the schema and read
// by nobody fails here. What the schema refuses is tests/kube/crd_test.cc's business, what happens
// to objects when a field goes is RuntimeApi.FieldsOfACreatedObjectAreTakenBack's.

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "operator/raftkv/objects.h"
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

}  // namespace
}  // namespace raftkv::op
