#include "operator/raftkv/act.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "operator/raftkv/plan.h"
#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

using ::testing::HasSubstr;

class Act : public ThreeMembers {
 protected:
  // The members' own: three that answer are not yet one.
  void HaveCluster() {
    ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                           {{"status", {{"clusterID", "00000000000000c1"}}}},
                           {.subresource = "status"}));
  }
  static std::string ReasonOf(const Observation& seen, const std::string& type) {
    for (const PlannedCondition& condition : MakePlan(seen).status.conditions) {
      if (condition.type == type) return condition.reason;
    }
    return "";
  }
};

TEST_F(Act, ObservesWhatIsThere) {
  Observation out = Look().observation;
  EXPECT_EQ(out.slots.size(), 3U);
  EXPECT_EQ(out.epoch, 4U);
  EXPECT_TRUE(out.objects.stateful_set);
  EXPECT_TRUE(out.objects.template_current);
  EXPECT_FALSE(out.objects.others_current);
  EXPECT_EQ(out.objects.min_available, -1);
  ASSERT_TRUE(out.membership);
  EXPECT_EQ(out.membership->leader, 0xb2U);
  EXPECT_EQ(out.slots.at(1).report->member, 0xb2U);
  EXPECT_EQ(out.slots.at(1).silent_since_s, 0);
}

TEST_F(Act, ALiveLookSeesWhatTheCachesHaveMissed) {
  Seen cached = Look();
  ASSERT_TRUE(api_.Delete(resources::kPods, {"ns", "store-2"},
                          {.uid = UidOf(resources::kPods, "store-2")}));
  auto live = observer_.LookLive({"ns", "store"}, 4);
  ASSERT_TRUE(live);
  EXPECT_TRUE(cached.observation.slots.at(2).pod);
  EXPECT_FALSE(live->observation.slots.at(2).pod);
  EXPECT_TRUE(live->observation.slots.at(2).claim);
  EXPECT_TRUE(live->observation.objects.stateful_set);
  EXPECT_EQ(observer_.LookLive({"ns", "none"}, 4).error().code(), Code::kNotFound);
}

TEST_F(Act, SilenceIsRememberedAndForgotten) {
  nodes_.nodes.erase("10.0.0.2");
  Observation first = Look().observation;
  EXPECT_FALSE(first.slots.at(2).report);
  EXPECT_GT(first.slots.at(2).silent_since_s, 0);
  EXPECT_EQ(Look().observation.slots.at(2).silent_since_s, first.slots.at(2).silent_since_s);
}

// Else members of a node that is NotReady for a moment would be replaced.
TEST_F(Act, AWallClockThatIsSetMakesNoSilenceLong) {
  HaveCluster();
  nodes_.nodes.erase("10.0.0.1");  // the leader
  Look();
  timing_.JumpWall(std::chrono::hours(48));
  timing_.Advance(std::chrono::seconds(7));
  Observation later = Look().observation;
  EXPECT_EQ(later.now_s - later.slots.at(1).silent_since_s, 7);
  EXPECT_EQ(later.now_s - later.leaderless_since_s, 7);
  timing_.JumpWall(-std::chrono::hours(96));
  later = Look().observation;
  EXPECT_EQ(later.now_s - later.slots.at(1).silent_since_s, 7);
  EXPECT_EQ(later.now_s - later.leaderless_since_s, 7);
}

// Seen on a real cluster: two pods came back after 40 s, and a second later the warning was
// ElectionsFail, before they had had a chance to elect anybody.
TEST_F(Act, AQuorumThatComesBackHasItsTimeToElectALeader) {
  HaveCluster();
  const auto lost = std::exchange(nodes_.nodes, {});
  nodes_.nodes["10.0.0.0"] = lost.at("10.0.0.0");
  Observation out = Look().observation;
  EXPECT_EQ(ReasonOf(out, "QuorumLost"), "MembersDown");
  EXPECT_EQ(out.leaderless_since_s, 0) << "one of three cannot elect anybody";
  timing_.Advance(std::chrono::seconds(40));
  nodes_.nodes["10.0.0.2"] = lost.at("10.0.0.2");
  out = Look().observation;
  EXPECT_EQ(out.leaderless_since_s, out.now_s);
  EXPECT_EQ(ReasonOf(out, "QuorumLost"), "Electing");
  timing_.Advance(std::chrono::seconds(40));
  EXPECT_EQ(ReasonOf(Look().observation, "QuorumLost"), "ElectionsFail");
  nodes_.nodes.erase("10.0.0.0");
  Look();
  nodes_.nodes["10.0.0.0"] = lost.at("10.0.0.0");
  EXPECT_EQ(ReasonOf(Look().observation, "QuorumLost"), "Electing") << "lost again meanwhile";
}

TEST_F(Act, ObjectsAreAppliedOnceAndNoMore) {
  ASSERT_TRUE(actor_.Carry(Look(), ApplyObjects{}).ok());
  Seen seen = Look();
  EXPECT_TRUE(seen.observation.objects.others_current);
  size_t calls = api_.calls().size();
  ASSERT_TRUE(actor_.Carry(seen, ApplyObjects{}).ok());
  EXPECT_EQ(api_.calls().size(), calls);

  // Somebody edits a Service.
  api_.Patch(resources::kServices, {"ns", "store-leader"}, kube::PatchType::kMerge,
             {{"spec", {{"selector", {{"raftkv.dev/role", "follower"}}}}}});
  EXPECT_FALSE(Look().observation.objects.others_current);
}

// An apply takes off only what it has set: `kubectl set resources` had its way.
TEST_F(Act, ResourcesThatSomebodySetsAreTakenBack) {
  const std::string resources = "/spec/template/spec/containers/0/resources";
  const auto set_resources = [&](const Json& value) {
    Object set = *api_.Get(resources::kStatefulSets, {"ns", "store"});
    set.Set(resources, value);
    ASSERT_TRUE(api_.Update(resources::kStatefulSets, set));
  };
  const auto now = [&] {
    return api_.Get(resources::kStatefulSets, {"ns", "store"})->At(resources);
  };
  EXPECT_TRUE(Look().observation.objects.template_current);
  set_resources({{"limits", {{"memory", "1Gi"}}}, {"requests", {{"cpu", "1"}}}});
  EXPECT_FALSE(Look().observation.objects.template_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(now(), Json::object());
  EXPECT_TRUE(Look().observation.objects.template_current);

  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"spec", {{"resources", {{"requests", {{"cpu", "1"}}}}}}}}));
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  set_resources({{"requests", {{"cpu", "2"}, {"memory", "1Gi"}}}});
  EXPECT_FALSE(Look().observation.objects.template_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(now(), (Json{{"requests", {{"cpu", "1"}}}}));

  // What somebody else takes off first is no refusal.
  set_resources({{"requests", {{"cpu", "1"}}}, {"limits", {{"memory", "1Gi"}}}});
  const Seen seen = Look();
  bool taken = false;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (call != "PATCH statefulsets/store" || std::exchange(taken, true)) return {};
    set_resources({{"requests", {{"cpu", "1"}}}});
    return std::unexpected(kube::ApiError{.reason = kube::Reason::kInvalid, .http_status = 422});
  };
  EXPECT_TRUE(actor_.Carry(seen, ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(taken);
  api_.before = nullptr;

  // A webhook that insists is told once, and let be.
  api_.admit = [&](Object& object) {
    if (object.kind() == "StatefulSet") object.Set(resources + "/limits", {{"memory", "1Gi"}});
  };
  ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"spec", {{"image", "node:2"}}}}));
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(Look().observation.objects.template_current);
  EXPECT_EQ(observer_.TakeChanged({"ns", "store"}).size(), 1U);
  timing_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(Look().observation.objects.template_current) << "it insists still";
  // What it added stayed when it went, and fell with the next operator, which rolled all pods.
  api_.admit = nullptr;
  timing_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(Look().observation.objects.template_current);
  timing_.Advance(std::chrono::minutes(5));
  EXPECT_FALSE(Look().observation.objects.template_current);
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(now(), (Json{{"requests", {{"cpu", "1"}}}}));
  EXPECT_TRUE(Look().observation.objects.template_current);
}

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

// Seen on a real cluster: the cache had no pod's account, so nobody seemed to use ours, each live
// look said otherwise, and the roll never began.
TEST_F(Act, APodInACacheTellsWhatTheWholeOneTells) {
  api_.Patch(resources::kPods, {"ns", "store-1"}, kube::PatchType::kMerge,
             {{"metadata",
               {{"labels", {{"controller-revision-hash", "r1"}}},
                {"creationTimestamp", "2026-01-01T00:00:00Z"}}},
              {"spec", {{"nodeName", "node1"}, {"serviceAccountName", "store"}}},
              {"status",
               {{"phase", "Running"},
                {"conditions",
                 {{{"type", "Ready"}, {"status", "True"}},
                  {{"type", "PodScheduled"}, {"reason", "Unschedulable"}},
                  {{"type", "Other"}, {"status", "True"}}}},
                {"containerStatuses",
                 {{{"name", std::string(kContainer)},
                   {"restartCount", 3},
                   {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}}}}}}}}}}});
  const PodView whole = *Look().observation.slots.at(1).pod;
  EXPECT_TRUE(whole.own_account && whole.ready && whole.unschedulable && whole.finished);
  Object pod = *api_.Get(resources::kPods, {"ns", "store-1"});
  OnlyWhatIsViewed(pod);
  EXPECT_TRUE(pod.At("/status/conditions/2").is_null()) << "smaller";
  EXPECT_TRUE(pods_.Replace({pod}, "1001").ok());
  const Seen seen = observer_.Look(clusters_.Get({"ns", "store"}), 4);
  EXPECT_EQ(*seen.observation.slots.at(1).pod, whole);
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

TEST_F(Act, MembershipChangesGoToTheLeaderWithAddresses) {
  ChangeMembership change{
      .expected_config_index = 5, .epoch = 4, .add_learners = {{.id = 0xd4, .name = "store-3"}}};
  ASSERT_TRUE(actor_.Carry(Look(), change).ok());
  EXPECT_EQ(nodes_.sent_to, "10.0.0.1");
  EXPECT_EQ(nodes_.membership.add_learners[0].peer_address, "store-3.store-peers.ns.svc:7071");
  EXPECT_EQ(nodes_.membership.expected_config_index, 5U);

  nodes_.answer = {Code::kConflict, "another change came first"};
  EXPECT_EQ(actor_.Carry(Look(), change).code(), Code::kConflict);
}

// Seen on a real cluster: names and addresses are unique among members, and a new member of a slot
// was refused for ever because the lost one still had its pod's.
TEST_F(Act, AMemberThatLostItsDiskGivesUpItsNameAndAddress) {
  ChangeMembership change{.add_learners = {{.id = 0xd4, .name = "store-0"}}};
  ASSERT_TRUE(actor_.Carry(Look(), change).ok());
  ASSERT_EQ(nodes_.updates.size(), 1U);
  EXPECT_EQ(nodes_.updates[0].id, 0xa1U);
  EXPECT_EQ(nodes_.updates[0].name, "store-0.00000000000000a1");
  EXPECT_EQ(nodes_.updates[0].peer_address, "00000000000000a1.former.invalid:7071");

  // A second one of that slot, while the first is still there.
  configuration_.members[0xa1] = nodes_.updates[0];
  Seen seen = Look();
  EXPECT_EQ(seen.observation.membership->members.at(0xa1).name, "store-0");
  ASSERT_TRUE(actor_.Carry(seen, change).ok());
  EXPECT_TRUE(nodes_.updates.empty());
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

TEST_F(Act, ADeletionThatOrphansIsSeenAsOne) {
  ASSERT_TRUE(api_.Patch(
      kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
      {{"metadata",
        {{"deletionTimestamp", "2026-01-01T00:00:00Z"}, {"finalizers", {kFinalizer, "orphan"}}}}}));
  EXPECT_TRUE(Look().observation.orphans);
  ASSERT_TRUE(api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"metadata", {{"ownerReferences", nullptr}}}}));
  EXPECT_TRUE(Look().observation.objects.foreign_set);
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

// 5 s, 10 s, ... 5 min; what is wanted otherwise is tried at once, and a success is the end of it.
TEST_F(Act, WhatTheServerRefusesIsTriedAgainLessAndLessOften) {
  Seen seen = Look();
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    return std::unexpected(kube::ErrorFromAnswer(403, R"({"kind":"Status","message":"no"})", {}));
  };
  for (const int64_t pause : {5, 10, 20, 40, 80, 160, 300, 300}) {
    EXPECT_EQ(actor_.Carry(seen, ApplyDisruptionBudget{2}).code(), Code::kFailedPrecondition);
    seen = Look();
    const Refusal refusal = seen.observation.refusals.at(name);
    EXPECT_EQ(refusal.message, "PodDisruptionBudget store: no");
    EXPECT_EQ(refusal.again_s - seen.observation.now_s, pause);
    EXPECT_TRUE(observer_.IsHeld(seen, ApplyDisruptionBudget{2}));
    EXPECT_FALSE(observer_.IsHeld(seen, ApplyDisruptionBudget{1}));
    timing_.Advance(std::chrono::seconds(pause));
    EXPECT_EQ(Look().observation.refusals.at(name).again_s, 0);
  }
  EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 9}}}});
  seen = Look();
  EXPECT_EQ(seen.observation.refusals.at(name).again_s, 0);
  api_.before = nullptr;
  EXPECT_TRUE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// 500 is no refusal, and everything waited behind it, with nothing in the status.
TEST_F(Act, AWebhookThatFailsIsSaidAndTriedAgainSoon) {
  Seen seen = Look();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    return std::unexpected(kube::ErrorFromAnswer(
        500,
        R"({"kind":"Status","message":"Internal error occurred: failed calling webhook \"a.b\": x"})",
        {}));
  };
  for (const int64_t pause : {5, 10, 20, 30, 30}) {
    EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
    seen = Look();
    const Refusal refusal = seen.observation.refusals.at(RefusalKey(ApplyDisruptionBudget{2}));
    EXPECT_THAT(refusal.message, HasSubstr("PodDisruptionBudget store: Internal error occurred: "
                                           "failed calling webhook"));
    EXPECT_EQ(refusal.again_s - seen.observation.now_s, pause);
    timing_.Advance(std::chrono::seconds(pause));
  }
  api_.before = nullptr;
  EXPECT_TRUE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// It was in the way of the next change of size, for one look.
TEST_F(Act, ARefusalOfATemplateThatNobodyWantsAnyMoreIsForgotten) {
  HaveCluster();
  const auto want = [&](int generation, const char* image) {
    api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
               {{"metadata", {{"generation", generation}}}, {"spec", {{"image", image}}}});
  };
  want(2, "no");
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call != "APPLY statefulsets/store") return {};
    return std::unexpected(kube::ErrorFromAnswer(422, R"({"kind":"Status","message":"no"})", {}));
  };
  EXPECT_FALSE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(Look().observation.refusals.size(), 1U);
  want(3, "node:1");
  EXPECT_TRUE(Look().observation.objects.template_current);
  EXPECT_TRUE(Look().observation.refusals.empty());
}

// It was due for ever, and chosen before everything else.
TEST_F(Act, ATryOfWhatWasRefusedIsPutOffAlsoIfItFailsOtherwise) {
  Seen seen = Look();
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  int status = 403;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    if (status == 0) return kube::Fail(kube::Reason::kDeadline, "no answer");
    return std::unexpected(kube::ErrorFromAnswer(status, R"({"kind":"Status"})", {}));
  };
  EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
  for (const int other : {0, 404, 409, 429, 500, 504}) {
    timing_.Advance(std::chrono::seconds(5));
    seen = Look();
    EXPECT_EQ(seen.observation.refusals.at(name).again_s, 0);
    status = other;
    EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok());
    seen = Look();
    EXPECT_EQ(seen.observation.refusals.at(name).again_s - seen.observation.now_s, 5) << other;
  }
}

// It was tried again after 5 s then, however long it had been refused.
TEST_F(Act, ATryThatFailsOtherwiseWaitsAsLongAsARefusedOne) {
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  int status = 403;
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.ends_with("poddisruptionbudgets/store")) return {};
    return std::unexpected(kube::ErrorFromAnswer(status, R"({"kind":"Status"})", {}));
  };
  const auto pause = [&] {
    EXPECT_FALSE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
    const Observation seen = Look().observation;
    const int64_t left = seen.refusals.at(name).again_s - seen.now_s;
    timing_.Advance(std::chrono::seconds(left));
    return left;
  };
  for (const int64_t expected : {5, 10, 20}) EXPECT_EQ(pause(), expected);
  status = 500;
  EXPECT_EQ(pause(), 20);
  status = 403;
  EXPECT_EQ(pause(), 40);
  status = 500;
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
             {{"metadata", {{"generation", 9}}}});
  EXPECT_EQ(pause(), 5) << "something else is wanted";
}

// What it had made of an object was taken as what was asked for until somebody changed the object.
TEST_F(Act, WhatAWebhookMakesOfAnObjectIsAskedAnewNowAndThen) {
  const auto admit = [&](const std::string& image) {
    api_.admit = [image](Object& object) {
      if (object.kind() != "StatefulSet") return;
      object.Set("/spec/template/spec/containers/0/image", image);
    };
  };
  const auto current = [&] { return Look().observation.objects.template_current; };
  const auto asked = [&] { return api_.CountCalls("DRYRUN statefulsets/store"); };
  const Duration pause = std::chrono::hours(1);
  const Duration again = std::chrono::minutes(5);
  admit("mirror/node");
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 0U);
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 1U) << "it is as it was";
  // One that cannot be asked.
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("DRYRUN ")) return {};
    return kube::Fail(kube::Reason::kBadRequest, "does not support dry run");
  };
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 2U);
  api_.before = nullptr;
  // Another image, and then none of its own.
  admit("other/node");
  EXPECT_TRUE(current());
  timing_.Advance(pause);
  EXPECT_TRUE(current()) << "it may be for a moment";
  timing_.Advance(again);
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(current());
  EXPECT_EQ(observer_.TakeChanged({"ns", "store"}).size(), 2U);
  EXPECT_EQ(asked(), 4U);
  api_.admit = nullptr;
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  timing_.Advance(again);
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(asked(), 6U);
  timing_.Advance(pause);
  EXPECT_TRUE(current());
  EXPECT_EQ(asked(), 7U) << "who had a say in it once may have it again";
}

// One whose failures are ignored: images from its mirror were taken back for good while it was
// away for a moment, and all pods with them.
TEST_F(Act, AWebhookThatIsAwayForAMomentChangesNothing) {
  const auto mirror = [](Object& object) {
    if (object.kind() == "StatefulSet") {
      object.Set("/spec/template/spec/containers/0/image", "mirror/node");
    }
  };
  const auto current = [&] { return Look().observation.objects.template_current; };
  api_.admit = mirror;
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  api_.admit = nullptr;
  timing_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(current());
  api_.admit = mirror;
  timing_.Advance(std::chrono::minutes(5));
  EXPECT_TRUE(current());
  // If it is away for longer, what it says is asked for again when it is back.
  api_.admit = nullptr;
  for (int i = 0; i < 2; ++i) {
    timing_.Advance(std::chrono::hours(1));
    current();
  }
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_TRUE(current());
  api_.admit = mirror;
  for (int i = 0; i < 2; ++i) {
    timing_.Advance(std::chrono::hours(1));
    current();
  }
  EXPECT_FALSE(current());
  ASSERT_TRUE(actor_.Carry(Look(), ApplyStatefulSet{3}).ok());
  EXPECT_EQ(api_.Get(resources::kStatefulSets, {"ns", "store"})
                ->String("/spec/template/spec/containers/0/image"),
            "mirror/node");
  EXPECT_TRUE(current());
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

// Webhooks answer with any code, and say which they are.
TEST_F(Act, WhatAWebhookDeniesIsSaidWithWhateverCode) {
  const std::string name = RefusalKey(ApplyDisruptionBudget{2});
  const std::string denied =
      R"({"kind":"Status","message":"admission webhook \"a.b\" denied the request: no"})";
  for (const int status : {404, 409, 429, 500, 503, 504}) {
    api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
      if (!call.ends_with("CREATE poddisruptionbudgets/store")) return {};
      return std::unexpected(kube::ErrorFromAnswer(status, denied, {}));
    };
    EXPECT_FALSE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
    const Observation seen = Look().observation;
    ASSERT_TRUE(seen.refusals.contains(name)) << status;
    EXPECT_THAT(seen.refusals.at(name).message, HasSubstr("denied the request: no"));
    observer_.Forget({"ns", "store"});
  }
  // What is not there needs no deletion; what a webhook keeps is there.
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("DELETE ")) return {};
    return std::unexpected(kube::ErrorFromAnswer(404, denied, {}));
  };
  const DeletePod pod{.slot = 0, .uid = UidOf(resources::kPods, "store-0")};
  EXPECT_FALSE(actor_.Carry(Look(), pod).ok());
  EXPECT_TRUE(Look().observation.refusals.contains(RefusalKey(pod)));
  api_.before = nullptr;
  ASSERT_TRUE(actor_.Carry(Look(), ApplyDisruptionBudget{2}).ok());
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("DELETE ")) return {};
    return std::unexpected(kube::ErrorFromAnswer(404, denied, {}));
  };
  EXPECT_FALSE(actor_.Carry(Look(), ApplyDisruptionBudget{-1}).ok());
}

// Seven of them, ten seconds each: the next try was due before the last one had ended.
TEST_F(Act, AWebhookThatIsSlowIsWaitedForOncePerKindAndThenLeftAlone) {
  const Seen seen = Look();
  api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
    if (!call.starts_with("CREATE ")) return {};
    timing_.Advance(std::chrono::seconds(10));
    return std::unexpected(kube::ErrorFromAnswer(
        500, R"({"kind":"Status","message":"failed calling webhook \"a.b\": deadline"})", {}));
  };
  const size_t before = api_.calls().size();
  EXPECT_FALSE(actor_.Carry(seen, ApplyObjects{}).ok());
  std::map<std::string, int> tried;
  const std::vector<std::string> calls = api_.calls();
  for (size_t i = before; i < calls.size(); ++i) {
    if (calls[i].starts_with("CREATE ")) ++tried[calls[i].substr(0, calls[i].find('/'))];
  }
  EXPECT_EQ(tried.size(), 3U) << "Services, the account, policies";
  for (const auto& [kind, times] : tried) EXPECT_EQ(times, 1) << kind;
  const Observation after = Look().observation;
  EXPECT_EQ(after.refusals.at(RefusalKey(ApplyObjects{})).again_s - after.now_s, 5);
}

// The claim of a slot that is still to come was looked for when its pod had mounted it.
TEST_F(Act, SeesWhoseClaimsNewSlotsWouldMount) {
  HaveCluster();
  Object claim(resources::kClaims, {"ns", "data-store-4"});
  ASSERT_TRUE(api_.Create(resources::kClaims, claim));
  EXPECT_FALSE(Look().observation.slots.contains(4)) << "it is not in the way";
  api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge, {{"spec", {{"replicas", 5}}}});
  Observation out = Look().observation;
  EXPECT_EQ(out.slots.at(4).hidden_claim, HiddenClaim::kForeign);
  EXPECT_FALSE(out.slots.contains(3));
  EXPECT_EQ(ReasonOf(out, "Degraded"), "ForeignObject");
}

// Up to the highest claim that may hold a cluster pods are started, also above the wanted number.
TEST_F(Act, SeesWhoseClaimsAreBelowOneOfAnEarlierLife) {
  for (const char* name : {"data-store-3", "data-store-4"}) {
    ASSERT_TRUE(api_.Create(resources::kClaims, Object(resources::kClaims, {"ns", name})));
  }
  EXPECT_FALSE(Look().observation.slots.contains(3)) << "it is not in the way";
  api_.Patch(
      resources::kClaims, {"ns", "data-store-4"}, kube::PatchType::kMerge,
      {{"metadata",
        {{"labels",
          {{"app.kubernetes.io/name", "raftkv"}, {"app.kubernetes.io/instance", "store"}}}}}});
  EXPECT_EQ(Look().observation.slots.at(3).hidden_claim, HiddenClaim::kForeign);
}

// No answer, or somebody who was faster, is no refusal: that is tried again by the queue.
TEST_F(Act, AServerThatIsNotThereRefusesNothing) {
  Seen seen = Look();
  for (const int status : {0, 401, 404, 409, 429, 500, 504}) {
    api_.before = [&](const std::string& call) -> kube::ApiResult<void> {
      if (!call.ends_with("poddisruptionbudgets/store")) return {};
      if (status == 0) return kube::Fail(kube::Reason::kFenced, "not the leader");
      return std::unexpected(kube::ErrorFromAnswer(status, "", {}));
    };
    EXPECT_FALSE(actor_.Carry(seen, ApplyDisruptionBudget{2}).ok()) << status;
    api_.before = nullptr;
    EXPECT_TRUE(Look().observation.refusals.empty()) << status;
  }
}

TEST_F(Act, SeesThatAVolumeCannotGrow) {
  const auto say = [&](Json status) {
    api_.Patch(resources::kClaims, {"ns", "data-store-1"}, kube::PatchType::kMerge,
               {{"status", std::move(status)}});
    return Look().observation.slots.at(1).claim->cannot_grow;
  };
  const auto condition = [](const char* type, const char* status) {
    return Json{{"conditions",
                 Json::array({{{"type", type}, {"status", status}, {"message", "no space"}}})}};
  };
  EXPECT_EQ(say({{"capacity", {{"storage", "1Gi"}}}}), "");
  EXPECT_EQ(say(condition("Resizing", "True")), "");
  EXPECT_EQ(say(condition("ControllerResizeError", "True")), "no space");
  EXPECT_EQ(say(condition("ControllerResizeError", "False")), "");
  EXPECT_EQ(say(condition("NodeResizeError", "True")), "no space");
  EXPECT_EQ(say({{"conditions", nullptr},
                 {"allocatedResourceStatuses", {{"storage", "ControllerResizeInProgress"}}}}),
            "");
  EXPECT_EQ(say({{"allocatedResourceStatuses", {{"storage", "NodeResizeInfeasible"}}}}),
            "NodeResizeInfeasible");
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
