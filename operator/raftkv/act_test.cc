#include "operator/raftkv/act.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

using ::testing::HasSubstr;

class Act : public ThreeMembers {};

TEST_F(Act, AForeignServiceIsLeftAloneAndReported) {
  Object foreign(resources::kServices, {"ns", "store-leader"});
  ASSERT_TRUE(api_.Create(resources::kServices, foreign));
  EXPECT_EQ(actor_.Carry(Look(), ApplyObjects{}).code(), Code::kConflict);
  EXPECT_THAT(Look().observation.objects.foreign, HasSubstr("store-leader"));
  EXPECT_TRUE(api_.Get(resources::kServices, {"ns", "store-leader"})->At("/spec").is_null());
}

TEST_F(Act, TheBudgetComesAndGoes) {
  ASSERT_TRUE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
  EXPECT_EQ(Look().observation.objects.min_available, 2);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyDisruptionBudget{-1}).ok());
  EXPECT_EQ(Look().observation.objects.min_available, -1);
}

TEST_F(Act, TheServiceAccountGoesWhenTheSpecNamesAnotherAndComesBack) {
  ASSERT_TRUE(actor_.Carry(Look(), ApplyObjects{}).ok());
  ASSERT_TRUE(Exists(resources::kServiceAccounts, "store"));
  EXPECT_FALSE(Look().observation.objects.spare_account);
  const auto name_account = [&](const Json& name) {
    api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
               {{"spec", {{"pod", {{"serviceAccountName", name}}}}}});
  };
  name_account("store");
  EXPECT_FALSE(Look().observation.objects.spare_account) << "the one that is named";
  name_account("mine");
  EXPECT_TRUE(Look().observation.objects.spare_account);
  api_.Patch(resources::kPods, {"ns", "store-1"}, kube::PatchType::kMerge,
             {{"spec", {{"serviceAccountName", "store"}}}});
  EXPECT_TRUE(Look().observation.slots.at(1).pod->own_account);
  EXPECT_FALSE(Look().observation.slots.at(2).pod->own_account);
  ASSERT_TRUE(actor_.Carry(Look(), DeleteServiceAccount{}).ok());
  EXPECT_FALSE(Exists(resources::kServiceAccounts, "store"));
  EXPECT_FALSE(Look().observation.objects.spare_account);

  name_account(nullptr);
  EXPECT_FALSE(Look().observation.objects.others_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyObjects{}).ok());
  EXPECT_TRUE(Exists(resources::kServiceAccounts, "store"));
}

TEST_F(Act, SomebodyElsesServiceAccountOfOurNameStays) {
  Object account(resources::kServiceAccounts, {"ns", "store"});
  account.Set("/metadata/labels/app.kubernetes.io~1name", "raftkv");
  ASSERT_TRUE(api_.Create(resources::kServiceAccounts, account));
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"spec", {{"pod", {{"serviceAccountName", "mine"}}}}}});
  EXPECT_FALSE(Look().observation.objects.spare_account);
  EXPECT_EQ(actor_.Carry(Look(), DeleteServiceAccount{}).code(), Code::kConflict);
  EXPECT_TRUE(Exists(resources::kServiceAccounts, "store"));
}

TEST_F(Act, OnePodIsMarkedAsLeader) {
  ASSERT_TRUE(actor_.Carry(Look(), MarkLeader{"store-0"}).ok());
  EXPECT_EQ(Look().observation.objects.leader_pod, "store-0");
  ASSERT_TRUE(actor_.Carry(Look(), MarkLeader{"store-1"}).ok());
  EXPECT_EQ(Look().observation.objects.leader_pod, "store-1");
  ASSERT_TRUE(actor_.Carry(Look(), MarkLeader{""}).ok());
  EXPECT_EQ(Look().observation.objects.leader_pod, "");
}

TEST_F(Act, FinalizersOfOthersStay) {
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"finalizers", {"other/one"}}}}});
  ASSERT_TRUE(actor_.Carry(Look(), AddFinalizer{}).ok());
  Seen seen = Look();
  EXPECT_TRUE(seen.observation.finalizer);
  ASSERT_TRUE(actor_.Carry(seen, RemoveFinalizer{}).ok());
  EXPECT_EQ(api_.Get(kRaftKvs, {"ns", "store"})->At("/metadata/finalizers"),
            Json::array({"other/one"}));
}

TEST_F(Act, MembershipChangesGoToTheLeader) {
  ChangeMembership change{
      .expected_config_index = 5, .epoch = 4, .add_learners = {{.id = 0xd4, .name = "store-3"}}};
  ASSERT_TRUE(actor_.Carry(Look(), change).ok());
  EXPECT_EQ(nodes_.sent_to, "10.0.0.1");
  EXPECT_EQ(nodes_.membership.add_learners[0].name, "store-3");
  EXPECT_EQ(nodes_.membership.expected_config_index, 5U);

  nodes_.answer = {Code::kConflict, "another change came first"};
  EXPECT_EQ(actor_.Carry(Look(), change).code(), Code::kConflict);
}

// Whom it adds and who gives up a name is said by the plan, which is confirmed as a whole.
TEST_F(Act, AChangeOfNamesIsDoneForTheResourceThatWasLookedAtAlone) {
  const ChangeMembership change{.update = {{.id = 0xa1, .name = "store-0"}}};
  Seen seen = Look();
  ASSERT_TRUE(actor_.Carry(seen, change).ok());
  ASSERT_EQ(nodes_.membership.update.size(), 1U);
  EXPECT_EQ(nodes_.membership.update[0].id, 0xa1U);
  nodes_.sent_to = "";
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}});
  EXPECT_EQ(actor_.Carry(seen, change).code(), Code::kConflict);
  EXPECT_EQ(nodes_.sent_to, "");
}

TEST_F(Act, APodIsDeletedOnlyIfItIsTheOneThatWasMeant) {
  Seen seen = Look();
  std::string uid = UidOf(resources::kPods, "store-0");
  EXPECT_TRUE(actor_.Carry(seen, DeletePod{.slot = 0, .uid = "another"}).ok());
  EXPECT_TRUE(Exists(resources::kPods, "store-0")) << "its successor stays";
  EXPECT_TRUE(actor_.Carry(seen, DeletePod{.slot = 0, .uid = uid}).ok());
  EXPECT_FALSE(Exists(resources::kPods, "store-0"));
  EXPECT_TRUE(actor_.Carry(seen, DeletePod{.slot = 0, .uid = uid}).ok()) << "it is done";
}

// The UID alone was asked for: whatever the pod had become since it was read did not count.
TEST_F(Act, ForeignClaimIsNeitherAdoptedNorItsPodDeleted) {
  HaveCluster();
  EXPECT_EQ(Look().observation.slots.at(2).hidden_claim, HiddenClaim::kNone);
  const size_t asked = api_.CountCalls("GET persistentvolumeclaims/data-store-2");
  const Seen seen = Look();
  EXPECT_EQ(api_.CountCalls("GET persistentvolumeclaims/data-store-2"), asked) << "for nothing";
  const DeletePod pod{2, UidOf(resources::kPods, "store-2"), "its claim is gone", false, true};
  EXPECT_EQ(actor_.Carry(seen, pod).code(), Code::kConflict) << "it is there";

  api_.Patch(resources::kClaims, {"ns", "data-store-2"}, kube::PatchType::kMerge,
             {{"metadata", {{"labels", {{"app.kubernetes.io/instance", "other"}}}}}});
  const SlotView slot = Look().observation.slots.at(2);
  EXPECT_FALSE(slot.claim);
  EXPECT_EQ(slot.hidden_claim, HiddenClaim::kForeign);
  EXPECT_EQ(actor_.Carry(seen, pod).code(), Code::kConflict);
  EXPECT_TRUE(Exists(resources::kPods, "store-2"));

  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call != "GET persistentvolumeclaims/data-store-2") return {};
    return kube::Fail(kube::Reason::kDeadline, "no answer");
  };
  EXPECT_EQ(Look().observation.slots.at(2).hidden_claim, HiddenClaim::kUnknown);
  EXPECT_FALSE(actor_.Carry(seen, pod).ok());
  EXPECT_TRUE(Exists(resources::kPods, "store-2"));
  api_.before = nullptr;
  ASSERT_TRUE(api_.Delete(resources::kClaims, {"ns", "data-store-2"},
                          {.uid = UidOf(resources::kClaims, "data-store-2")}));
  EXPECT_TRUE(actor_.Carry(seen, pod).ok());
  EXPECT_FALSE(Exists(resources::kPods, "store-2"));
}

// A claim that only its cache does not show yet.
TEST_F(Act, AClaimThatACacheMissesIsLookedFor) {
  FillCaches();
  EXPECT_TRUE(claims_.Replace({}, "1000").ok());
  const Seen seen = observer_.Look(clusters_.Get({"ns", "store"}), 4);
  EXPECT_TRUE(seen.observation.slots.at(2).claim);
}

TEST_F(Act, APodIsDeletedInTheVersionThatWasReadAlone) {
  Seen seen = Look();
  const std::string uid = UidOf(resources::kPods, "store-0");
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call == "DELETE pods/store-0") api_.Touch(resources::kPods, {"ns", "store-0"});
    return {};
  };
  EXPECT_EQ(actor_.Carry(seen, DeletePod{.slot = 0, .uid = uid}).code(), Code::kConflict);
  EXPECT_TRUE(Exists(resources::kPods, "store-0"));
  api_.before = nullptr;
  EXPECT_TRUE(actor_.Carry(seen, DeletePod{.slot = 0, .uid = uid}).ok());
  EXPECT_FALSE(Exists(resources::kPods, "store-0"));
}

TEST_F(Act, NothingIsDestroyedForAResourceThatHasChanged) {
  Seen seen = Look();
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 2}}}});
  std::string uid = UidOf(resources::kPods, "store-0");
  EXPECT_EQ(actor_.Carry(seen, DeletePod{.slot = 0, .uid = uid}).code(), Code::kConflict);
  EXPECT_TRUE(Exists(resources::kPods, "store-0"));
}

TEST_F(Act, AClaimOfAMemberIsNeverDeleted) {
  Seen seen = Look();
  std::string uid = UidOf(resources::kClaims, "data-store-2");
  ASSERT_TRUE(actor_.Carry(seen, MarkClaim{.slot = 2, .claim_uid = uid, .member = 0xc3}).ok());
  EXPECT_EQ(Look().observation.slots.at(2).claim->member, 0xc3U);
  EXPECT_EQ(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid, .member = 0xc3}).code(),
            Code::kConflict);

  EXPECT_EQ(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid}).code(), Code::kConflict)
      << "judged without the note";

  // A change that is not through: nobody may be missing yet.
  configuration_.voters.erase(0xc3);
  configuration_.members.erase(0xc3);
  configuration_.voters_outgoing = {0xa1, 0xb2};
  seen = Look();
  EXPECT_EQ(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid, .member = 0xc3}).code(),
            Code::kConflict);
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-2"));

  configuration_.voters_outgoing.clear();
  seen = Look();
  EXPECT_TRUE(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid, .member = 0xc3}).ok());
  EXPECT_FALSE(Exists(resources::kClaims, "data-store-2"));
}

// Also when the planner sees no pod, because their StatefulSet is not ours any more.
TEST_F(Act, AClaimThatAPodUsesSurvivesTheDeletionOfItsCluster) {
  Seen seen = Look();
  seen.observation.deleting = true;
  std::string uid = UidOf(resources::kClaims, "data-store-2");
  Json volumes =
      Json::array({{{"name", "data"}, {"persistentVolumeClaim", {{"claimName", "data-store-2"}}}}});
  ASSERT_TRUE(api_.Patch(resources::kPods, {"ns", "store-2"}, kube::PatchType::kMerge,
                         {{"spec", {{"volumes", volumes}}}}));
  EXPECT_EQ(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid}).code(), Code::kConflict);
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-2"));
  ASSERT_TRUE(api_.Delete(resources::kPods, {"ns", "store-2"},
                          {.uid = UidOf(resources::kPods, "store-2")}));
  EXPECT_TRUE(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid}).ok());
  EXPECT_FALSE(Exists(resources::kClaims, "data-store-2"));
}

TEST_F(Act, AClaimIsNotDeletedWhileNobodyCanTellWhoseItIs) {
  Seen seen = Look();
  nodes_.nodes.clear();
  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"status", {{"clusterID", "00000000000000c1"}}}},
                         {.subresource = "status"}));
  std::string uid = UidOf(resources::kClaims, "data-store-2");
  EXPECT_EQ(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid}).code(), Code::kUnavailable);
  EXPECT_EQ(actor_.Carry(seen, ApplyStatefulSet{2}).code(), Code::kUnavailable);
  EXPECT_TRUE(Exists(resources::kClaims, "data-store-2"));
}

// A spec that was cut before its cluster was made: no member can answer, and none is asked for.
TEST_F(Act, BeforeThereIsAClusterBlankSlotsMayGo) {
  Seen seen = Look();
  nodes_.nodes.clear();
  EXPECT_TRUE(actor_.Carry(seen, ApplyStatefulSet{2}).ok());
  std::string uid = UidOf(resources::kClaims, "data-store-2");
  EXPECT_TRUE(actor_.Carry(seen, DeleteClaim{.slot = 2, .uid = uid}).ok());
  EXPECT_FALSE(Exists(resources::kClaims, "data-store-2"));
}

TEST_F(Act, TheSetShrinksOnlyBelowMembers) {
  EXPECT_EQ(actor_.Carry(Look(), ApplyStatefulSet{2}).code(), Code::kConflict);
  EXPECT_EQ(Look().observation.objects.stateful_set_replicas, 3);
  configuration_.voters.erase(0xc3);
  configuration_.members.erase(0xc3);
  EXPECT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{2}).ok());
  EXPECT_EQ(Look().observation.objects.stateful_set_replicas, 2);
  EXPECT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{0}).ok()) << "hibernation keeps the volumes";
}

TEST_F(Act, OnlyTheNumberOfReplicasIsChangedWhereTheTemplateIsRefused) {
  HaveCluster();
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge, {{"spec", {{"image", "no"}}}});
  Seen seen = Look();
  const Json before = set_.At("/spec/template");
  ASSERT_TRUE(actor_.Carry(seen, ScaleStatefulSet{5}).ok());
  Object set = *api_.Get(resources::kStatefulSets, {"ns", "store"});
  EXPECT_EQ(set.Int("/spec/replicas"), 5);
  EXPECT_EQ(set.At("/spec/template"), before);
  EXPECT_EQ(actor_.Carry(seen, ScaleStatefulSet{2}).code(), Code::kConflict) << "of a member";
  EXPECT_TRUE(actor_.Carry(seen, ScaleStatefulSet{0}).ok());
}

// It was made again at once, and its pods mounted claims that nobody had looked at.
TEST_F(Act, AStatefulSetThatHasGoneIsLookedForFirst) {
  const Seen seen = Look();
  ASSERT_TRUE(api_.Delete(resources::kStatefulSets, {"ns", "store"},
                          {.uid = UidOf(resources::kStatefulSets, "store")}));
  EXPECT_EQ(actor_.Carry(seen, ApplyStatefulSet{3}).code(), Code::kConflict);
  EXPECT_FALSE(Exists(resources::kStatefulSets, "store"));
  EXPECT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(Exists(resources::kStatefulSets, "store"));
}

TEST_F(Act, ClaimsGrowAndNeverShrink) {
  std::string uid = UidOf(resources::kClaims, "data-store-0");
  ASSERT_TRUE(actor_.Carry(Look(), ResizeClaim{.slot = 0, .uid = uid, .bytes = 2000}).ok());
  EXPECT_EQ(Look().observation.slots.at(0).claim->requested_bytes, 2000U);
  ASSERT_TRUE(actor_.Carry(Look(), ResizeClaim{.slot = 0, .uid = uid, .bytes = 1000}).ok());
  EXPECT_EQ(Look().observation.slots.at(0).claim->requested_bytes, 2000U);
}

}  // namespace
}  // namespace raftkv::op
