// Fields that others own, on a real API server beside the operator's own acts: what they set stays
// through all that we apply, and what we set is ours to take back.
#include <nlohmann/json.hpp>

#include "tests/kube/objects_on_server.h"

namespace raftkv::op {
namespace {

constexpr const char* kRestartedAt =
    "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";

class SharedFields : public ObjectsOnServer {
 protected:
  void SetUp() override {
    ObjectsOnServer::SetUp();
    const Seen seen = Look();
    ASSERT_TRUE(actor_->Carry(seen, ApplyObjects{}).ok());
    ASSERT_TRUE(actor_->Carry(seen, ApplyStatefulSet{0}).ok());
  }
  // As another client does it.
  kube::ApiResult<Object> PatchAs(const std::string& manager, const Resource& kind,
                                  const Json& patch) {
    kube::RestClient other(kube::TestCluster(), {.field_manager = manager},
                           &kube::Timing::System());
    return other.Patch(kind, {ns_, "db"}, kube::PatchType::kMerge, patch);
  }
  void SetTeam(const Json& team) {
    ASSERT_TRUE(
        PatchAs("kubectl-edit", kRaftKvs, {{"spec", {{"pod", {{"labels", {{"team", team}}}}}}}}));
  }
  Object Set() { return *api_->Get(resources::kStatefulSets, {ns_, "db"}); }
};

TEST_F(SharedFields, ASecondApplyChangesNothing) {
  // Its controller writes the status once.
  ASSERT_TRUE(Soon([&] { return !Set().String("/status/updateRevision").empty(); }));
  const Object before = Set();
  ASSERT_TRUE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  EXPECT_EQ(Set().resource_version(), before.resource_version());
}

// Sidecar injectors and the like annotate; kubectl rollout restart is an annotation, too.
TEST_F(SharedFields, AnnotationsOfOthersAndARolloutRestartSurvive) {
  ASSERT_TRUE(PatchAs("kubectl-rollout", resources::kStatefulSets,
                      {{"spec",
                        {{"template",
                          {{"metadata",
                            {{"annotations",
                              {{"kubectl.kubernetes.io/restartedAt", "2026-01-01T00:00:00Z"},
                               {"sidecar.example.com/inject", "true"}}}}}}}}}}));
  ASSERT_TRUE(PatchAs("injector", resources::kStatefulSets,
                      {{"metadata", {{"annotations", {{"sidecar.example.com/status", "in"}}}}}}));
  ASSERT_TRUE(PatchAs("cloud", resources::kServices,
                      {{"metadata", {{"annotations", {{"cloud.example.com/id", "7"}}}}}}));
  EXPECT_TRUE(Look().observation.objects.template_current) << "it is no reason to apply";
  for (const Json& team : {Json("store"), Json()}) {
    SetTeam(team);
    const Seen seen = Look();
    EXPECT_FALSE(seen.observation.objects.template_current);
    ASSERT_TRUE(actor_->Carry(seen, ApplyStatefulSet{0}).ok());
    ASSERT_TRUE(actor_->Carry(seen, ApplyObjects{}).ok());
    const Object set = Set();
    EXPECT_EQ(set.At("/spec/template/metadata/labels/team"), team);
    EXPECT_EQ(set.String(kRestartedAt), "2026-01-01T00:00:00Z");
    EXPECT_EQ(set.String("/spec/template/metadata/annotations/sidecar.example.com~1inject"),
              "true");
    EXPECT_EQ(set.Annotation("sidecar.example.com/status"), "in");
    EXPECT_EQ(api_->Get(resources::kServices, {ns_, "db"})->Annotation("cloud.example.com/id"),
              "7");
  }
}

// An autoscaler writes the size of the RaftKV, by its scale subresource.
TEST_F(SharedFields, TheSizeThatAnAutoscalerSetsSurvives) {
  const Seen before = Look();
  kube::RestClient scaler(kube::TestCluster(), {.field_manager = "horizontal-pod-autoscaler"},
                          &kube::Timing::System());
  ASSERT_TRUE(scaler.SetScale(kRaftKvs, {ns_, "db"}, 5));
  ASSERT_TRUE(actor_->Carry(before, AddFinalizer{}).ok()) << "on what was seen before";
  ASSERT_TRUE(actor_->Carry(Look(), ApplyStatefulSet{0}).ok());
  Object live = *api_->Get(kRaftKvs, {ns_, "db"});
  live.Set("/spec/replicas", 1);  // the status alone is written with it
  live.Set("/status", {{"phase", "Scaling"}, {"conditions", Json::array()}});
  ASSERT_TRUE(api_->Update(kRaftKvs, live, "status"));
  const Seen after = Look();
  EXPECT_EQ(after.resource->String("/status/phase"), "Scaling");
  EXPECT_EQ(after.observation.spec.replicas, 5);
  EXPECT_TRUE(after.observation.finalizer);
}

// What is ours is taken back from whoever changes it.
TEST_F(SharedFields, AFieldThatWeApplyIsTakenBack) {
  ASSERT_TRUE(PatchAs("someone", resources::kStatefulSets,
                      {{"spec", {{"template", {{"spec", {{"enableServiceLinks", true}}}}}}}}));
  const Seen seen = Look();
  EXPECT_FALSE(seen.observation.objects.template_current);
  ASSERT_TRUE(actor_->Carry(seen, ApplyStatefulSet{0}).ok());
  EXPECT_EQ(Set().At("/spec/template/spec/enableServiceLinks"), false);
}

}  // namespace
}  // namespace raftkv::op
