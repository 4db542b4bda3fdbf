// The Pod Security Standard "restricted", enforced by a real API server: whatever the schema takes
// as security settings becomes a pod that such a namespace takes.
#include <nlohmann/json.hpp>
#include <vector>

#include "operator/raftkv/objects.h"
#include "tests/kube/schema_test.h"

namespace raftkv::kube {
namespace {

constexpr const char* kPodContext = "/pod/podSecurityContext";
constexpr const char* kContainerContext = "/pod/containerSecurityContext";

// What may be written at a field, right or wrong.
std::vector<Json> Tries(const Json& schema) {
  std::vector<Json> out = {nullptr};
  const std::string type = schema.at("type");
  if (type == "boolean") out.insert(out.end(), {true, false});
  if (type == "integer") out.insert(out.end(), {-1, 0, 1, 10001});
  if (type == "string") out.insert(out.end(), {"", "Unconfined", "spc_t", "s0:c1"});
  for (const Json& value : schema.value("enum", Json::array())) out.push_back(value);
  if (type == "array") {
    out.insert(out.end(), {Json::array(), Json::array({"ALL"}), Json::array({"NET_RAW"}),
                           Json::array({"NET_RAW", "ALL"}), Json::array({"all"}), Json::array({0}),
                           Json::array({10001})});
  }
  if (type == "object") {
    out.push_back(Json::object());
    for (const auto& [name, field] : schema.at("properties").items()) {
      for (const Json& value : Tries(field)) out.push_back({{name, value}});
    }
  }
  return out;
}

class RestrictedPods : public RaftKvSchema {
 protected:
  void SetUp() override {
    RaftKvSchema::SetUp();
    ASSERT_TRUE(api_->Patch(
        resources::kNamespaces, {"", ns_}, PatchType::kMerge,
        {{"metadata", {{"labels", {{"pod-security.kubernetes.io/enforce", "restricted"}}}}}}));
    ASSERT_TRUE(
        Soon([&] { return api_->Get(resources::kServiceAccounts, {ns_, "default"}).has_value(); }));
  }

  // The pod that the StatefulSet's controller would make of what is stored.
  ApiResult<Object> CreatePodOf(const Object& resource) {
    const op::ObjectSettings settings{.default_image = "node:1", .operator_namespace = "system"};
    const Object set = op::DesiredStatefulSet(resource, settings, 1, nullptr).object;
    Object pod(resources::kPods, {ns_, std::string(resource.name()) + "-0"});
    pod.Set("/metadata/labels", set.At("/spec/template/metadata/labels"));
    if (const Json& notes = set.At("/spec/template/metadata/annotations"); notes.is_object()) {
      pod.Set("/metadata/annotations", notes);
    }
    pod.Set("/spec", set.At("/spec/template/spec"));
    pod.Set("/spec/serviceAccountName", "default");
    pod.Set("/spec/volumes",
            Json::array({{{"name", "data"}, {"persistentVolumeClaim", {{"claimName", "data"}}}}}));
    return api_->Create(resources::kPods, pod);
  }
};

TEST_F(RestrictedPods, TakeWhateverTheSchemaTakesAsSecuritySettings) {
  const Json& pod = Schema().at("/properties/spec/properties/pod/properties"_json_pointer);
  int taken = 0;
  int refused = 0;
  for (const char* context : {kPodContext, kContainerContext}) {
    const Json& schema = pod.at(std::string(context).substr(5));
    std::vector<Json> tries = Tries(schema);
    // Kubernetes' own fields that this schema does not have.
    tries.insert(tries.end(), {{{"privileged", true}},
                               {{"procMount", "Unmasked"}},
                               {{"capabilities", {{"drop", {"ALL"}}, {"add", {"SYS_ADMIN"}}}}},
                               {{"sysctls", {{{"name", "kernel.msgmax"}, {"value", "1"}}}}},
                               {{"windowsOptions", {{"hostProcess", true}}}},
                               {{"seLinuxOptions", {{"user", "root"}, {"role", "sysadm_r"}}}}});
    for (const char* profile : {"seccompProfile", "appArmorProfile"}) {
      tries.push_back({{profile, {{"type", "Localhost"}, {"localhostProfile", "p"}}}});
      tries.push_back({{profile, {{"type", "Localhost"}, {"localhostProfile", ""}}}});
      tries.push_back({{profile, {{"type", "RuntimeDefault"}, {"localhostProfile", "p"}}}});
    }
    for (const Json& value : tries) {
      auto made = Create(context, value);
      if (!made) {
        EXPECT_EQ(made.error().reason, Reason::kInvalid) << context << " " << value;
        ++refused;
        continue;
      }
      ++taken;
      auto created = CreatePodOf(*made);
      EXPECT_TRUE(created) << context << " " << value << ": " << created.error().message;
    }
  }
  EXPECT_GT(taken, 40);
  EXPECT_GT(refused, 40);
}

// The other way round, by the standard's own list: what the pod would be refused for is refused
// before it.
TEST_F(RestrictedPods, WhatTheyWouldRefuseIsRefusedByTheSchemaAlready) {
  const std::vector<Json> wrong = {{{"runAsNonRoot", false}},
                                   {{"runAsUser", 0}},
                                   {{"seccompProfile", {{"type", "Unconfined"}}}},
                                   {{"appArmorProfile", {{"type", "Unconfined"}}}},
                                   {{"seLinuxOptions", {{"type", "spc_t"}}}}};
  std::vector<std::pair<std::string, Json>> all = {
      {kContainerContext, {{"allowPrivilegeEscalation", true}}},
      {"/pod/annotations",
       {{"container.apparmor.security.beta.kubernetes.io/raftkv", "unconfined"}}}};
  for (const Json& value : wrong) {
    all.emplace_back(kPodContext, value);
    all.emplace_back(kContainerContext, value);
  }
  for (const auto& [pointer, value] : all) {
    EXPECT_FALSE(Create(pointer, value)) << pointer << " " << value;
    // Not by our reading of the standard alone.
    auto pod = CreatePodOf(WithSpec(pointer, value));
    ASSERT_FALSE(pod) << pointer << " " << value;
    EXPECT_EQ(pod.error().reason, Reason::kForbidden) << pod.error().ToString();
    EXPECT_NE(pod.error().message.find("violates PodSecurity"), std::string::npos)
        << pod.error().message;
  }
}

// Resources may be older than the rule, and their members drop all capabilities even so.
TEST_F(RestrictedPods, CapabilitiesThatTheSchemaRefusesAreDroppedAnyway) {
  for (const Json& drop : {Json(), Json::array(), Json::array({"NET_RAW"})}) {
    const Json value = {{"capabilities", drop.is_null() ? Json::object() : Json{{"drop", drop}}}};
    EXPECT_FALSE(Create(kContainerContext, value)) << value;
    auto pod = CreatePodOf(WithSpec(kContainerContext, value));
    EXPECT_TRUE(pod) << value << " " << pod.error().message;
  }
}

}  // namespace
}  // namespace raftkv::kube
