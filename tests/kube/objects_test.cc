// The operator's looks and acts on objects that a real API server and its StatefulSet controller
// hold: what they refuse, and what they take from somebody else. No pod runs.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "operator/raftkv/plan.h"
#include "tests/kube/objects_on_server.h"

namespace raftkv::op {
namespace {

using ::testing::HasSubstr;

constexpr const char* kAdmission = "admissionregistration.k8s.io";
constexpr Resource kMutatingPolicies{kAdmission, "v1", "mutatingadmissionpolicies",
                                     "MutatingAdmissionPolicy", false};
constexpr Resource kMutatingPolicyBindings{kAdmission, "v1", "mutatingadmissionpolicybindings",
                                           "MutatingAdmissionPolicyBinding", false};
constexpr Resource kMutatingWebhooks{kAdmission, "v1", "mutatingwebhookconfigurations",
                                     "MutatingWebhookConfiguration", false};

class RealObjects : public ObjectsOnServer {
 protected:
  static PlannedCondition Degraded(const Seen& seen) {
    for (const PlannedCondition& condition : MakePlan(seen.observation).status.conditions) {
      if (condition.type == "Degraded") return condition;
    }
    return {};
  }

  // Of a kind that is in no namespace, named as this test's; goes with it.
  void CreateForThisTest(const Resource& resource, const Json& content) {
    Object object(resource, {"", ns_});
    for (const auto& [field, value] : content.items()) object.Set("/" + field, value);
    auto made = api_->Create(resource, object);
    ASSERT_TRUE(made) << made.error().ToString();
    for_this_test_.emplace_back(resource, *made);
  }
  void TearDown() override {
    for (const auto& [resource, object] : for_this_test_) {
      EXPECT_TRUE(api_->Delete(resource, object.key(), {.uid = std::string(object.uid())}));
    }
    ObjectsOnServer::TearDown();
  }
  // What the API server is asked in this namespace about objects of one kind.
  Json Asked(const char* group, const char* resource) const {
    return {{"apiGroups", {group}},
            {"apiVersions", {"v1"}},
            {"operations", {"CREATE", "UPDATE"}},
            {"resources", {resource}}};
  }
  Json HereAlone() const { return {{"matchLabels", {{"kubernetes.io/metadata.name", ns_}}}}; }

  std::vector<std::pair<Resource, Object>> for_this_test_;
};

TEST_F(RealObjects, ForeignClaimIsNeitherAdoptedNorItsPodDeleted) {
  Object claim(resources::kClaims, {ns_, "data-db-0"});
  claim.Set("/spec", {{"accessModes", {"ReadWriteOnce"}},
                      {"resources", {{"requests", {{"storage", "1Gi"}}}}}});
  ASSERT_TRUE(api_->Create(resources::kClaims, claim));
  Seen seen = Look();
  ASSERT_TRUE(actor_->Carry(seen, ApplyObjects{}).ok());
  ASSERT_TRUE(actor_->Carry(seen, ApplyStatefulSet{1}).ok());
  const kube::Key pod{ns_, "db-0"};
  ASSERT_TRUE(Soon([&] { return api_->Get(resources::kPods, pod).has_value(); }));
  seen = Look();
  ASSERT_TRUE(seen.observation.slots.contains(0));
  const SlotView& slot = seen.observation.slots.at(0);
  ASSERT_TRUE(slot.pod);
  EXPECT_FALSE(slot.claim);
  EXPECT_EQ(slot.hidden_claim, HiddenClaim::kForeign);
  EXPECT_EQ(Degraded(seen).reason, "ForeignObject");
  const DeletePod gone{0, slot.pod->uid, "its claim is gone", false, true};
  EXPECT_EQ(actor_->Carry(seen, gone).code(), Code::kConflict);
  EXPECT_FALSE(api_->Get(resources::kPods, pod)->deleting());
  EXPECT_TRUE(api_->Get(resources::kClaims, claim.key())->At("/metadata/labels").is_null());
}

TEST_F(RealObjects, PodsThatAreRefusedAreSaidInTheServersWordsAndTheSizeChangesWithoutThem) {
  ASSERT_TRUE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  ASSERT_TRUE(
      api_->Patch(kRaftKvs, {ns_, "db"}, kube::PatchType::kMerge,
                  {{"spec", {{"resources", {{"requests", {{"example.com/device", "1"}}}}}}}}));
  EXPECT_FALSE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  Seen seen = Look();
  EXPECT_EQ(Degraded(seen).reason, "ApplyRefused");
  EXPECT_THAT(Degraded(seen).message,
              HasSubstr("StatefulSet db: StatefulSet.apps \"db\" is invalid: "));
  EXPECT_THAT(Degraded(seen).message, HasSubstr("Limit must be set"));
  ASSERT_TRUE(actor_->Carry(seen, ScaleStatefulSet{1}).ok());
  EXPECT_EQ(api_->Get(resources::kStatefulSets, {ns_, "db"})->Int("/spec/replicas"), 1);
  // What is scaled in between is nobody else's afterwards.
  ASSERT_TRUE(api_->Patch(kRaftKvs, {ns_, "db"}, kube::PatchType::kMerge,
                          {{"spec", {{"resources", nullptr}}}}));
  seen = Look();
  ASSERT_TRUE(actor_->Carry(seen, ApplyStatefulSet{0}).ok());
  EXPECT_EQ(api_->Get(resources::kStatefulSets, {ns_, "db"})->Int("/spec/replicas"), 0);
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// Each look was an apply.
TEST_F(RealObjects, WhatAnAdmissionPolicyChangesIsAppliedOnce) {
  CreateForThisTest(
      kMutatingPolicies,
      {{"spec",
        {{"failurePolicy", "Fail"},
         {"reinvocationPolicy", "Never"},
         {"matchConstraints",
          {{"namespaceSelector", HereAlone()},
           {"resourceRules", Json::array({Asked("apps", "statefulsets")})}}},
         {"mutations",
          Json::array(
              {{{"patchType", "JSONPatch"},
                {"jsonPatch",
                 {{"expression",
                   "[JSONPatch{op: 'replace', path: "
                   "'/spec/template/spec/containers/0/image', value: 'mirror/node'}]"}}}}})}}}});
  CreateForThisTest(
      kMutatingPolicyBindings,
      {{"spec", {{"policyName", ns_}, {"matchResources", {{"namespaceSelector", HereAlone()}}}}}});
  const kube::Key set{ns_, "db"};
  const auto image = [&] {
    auto live = api_->Get(resources::kStatefulSets, set);
    return std::string(live ? live->String("/spec/template/spec/containers/0/image") : "");
  };
  // The policy is in force after a moment.
  ASSERT_TRUE(Soon(
      [&] { return actor_->Carry(Look(), ApplyStatefulSet{0}).ok() && image() == "mirror/node"; }));
  EXPECT_TRUE(Look().observation.objects.template_current);
  ASSERT_TRUE(api_->Patch(resources::kStatefulSets, set, kube::PatchType::kMerge,
                          {{"spec", {{"template", {{"spec", {{"enableServiceLinks", true}}}}}}}}));
  EXPECT_FALSE(Look().observation.objects.template_current) << "somebody has changed it";
  ASSERT_TRUE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  EXPECT_TRUE(Look().observation.objects.template_current);
  EXPECT_EQ(image(), "mirror/node");
}

// Resources were not compared, and an apply takes off only what it has set itself; an entry more in
// a selector was not noticed.
TEST_F(RealObjects, ResourcesAndSelectorsThatOthersChangeAreTakenBack) {
  const kube::Key db{ns_, "db"};
  const auto set_resources = [&](const Json& value) {
    const Json container = {{"name", std::string(kContainer)}, {"resources", value}};
    const Json pod = {{"spec", {{"containers", Json::array({container})}}}};
    ASSERT_TRUE(api_->Patch(resources::kStatefulSets, db, kube::PatchType::kStrategic,
                            {{"spec", {{"template", pod}}}}));
  };
  const auto take_back = [&] {
    EXPECT_FALSE(Look().observation.objects.template_current);
    EXPECT_TRUE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
    EXPECT_TRUE(Look().observation.objects.template_current);
    return api_->Get(resources::kStatefulSets, db)
        ->At("/spec/template/spec/containers/0/resources");
  };
  ASSERT_TRUE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  EXPECT_TRUE(Look().observation.objects.template_current);
  set_resources({{"limits", {{"memory", "1Gi"}, {"example.com/device", "1"}}}});
  EXPECT_EQ(take_back(), Json::object());

  ASSERT_TRUE(api_->Patch(kRaftKvs, db, kube::PatchType::kMerge,
                          {{"spec", {{"resources", {{"requests", {{"cpu", "1000m"}}}}}}}}));
  EXPECT_EQ(take_back(), (Json{{"requests", {{"cpu", "1"}}}}));
  set_resources({{"requests", {{"cpu", "2"}, {"memory", "1Gi"}}}});
  EXPECT_EQ(take_back(), (Json{{"requests", {{"cpu", "1"}}}}));

  ASSERT_TRUE(actor_->Carry(Look(), ApplyObjects{}).ok());
  const Json selector = api_->Get(resources::kServices, db)->At("/spec/selector");
  ASSERT_TRUE(api_->Patch(resources::kServices, db, kube::PatchType::kMerge,
                          {{"spec", {{"selector", {{"extra", "x"}}}}}}));
  ASSERT_TRUE(actor_->Carry(Look(), ApplyObjects{}).ok());
  EXPECT_EQ(api_->Get(resources::kServices, db)->At("/spec/selector"), selector);
}

// 500: it was no refusal, and everything waited behind it.
TEST_F(RealObjects, AWebhookThatDoesNotAnswerIsSaid) {
  CreateForThisTest(
      kMutatingWebhooks,
      {{"webhooks", Json::array({{{"name", "gone.raftkv.dev"},
                                  {"clientConfig", {{"url", "https://127.0.0.1:1/"}}},
                                  {"failurePolicy", "Fail"},
                                  {"sideEffects", "None"},
                                  {"admissionReviewVersions", {"v1"}},
                                  {"timeoutSeconds", 1},
                                  {"namespaceSelector", HereAlone()},
                                  {"rules", Json::array({Asked("apps", "statefulsets"),
                                                         Asked("", "configmaps")})}}})}});
  // It is asked after a moment.
  int tries = 0;
  ASSERT_TRUE(Soon([&] {
    Object other(resources::kConfigMaps, {ns_, "try" + std::to_string(++tries)});
    return !api_->Create(resources::kConfigMaps, other);
  }));
  EXPECT_FALSE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  const PlannedCondition degraded = Degraded(Look());
  EXPECT_EQ(degraded.reason, "ApplyRefused");
  EXPECT_THAT(degraded.message, HasSubstr("failed calling webhook \"gone.raftkv.dev\""));
}

}  // namespace
}  // namespace raftkv::op
