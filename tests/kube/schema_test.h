// The schema of RaftKV as a real API server has it, and objects to try it with.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "operator/raftkv/resource.h"
#include "tests/kube/cluster.h"
#include "tests/kube/definition.h"

namespace raftkv::kube {

using op::kRaftKvs;

inline const Json& Schema() {
  return Definition().at("/spec/versions/0/schema/openAPIV3Schema"_json_pointer);
}

// Calls `visit(path, schema)` for every schema below `schema`; path as in "spec.pod.env[].name".
inline void Walk(const std::string& path, const Json& schema,
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

}  // namespace raftkv::kube
