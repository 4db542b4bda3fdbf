// What an Observer sees of a RaftKV, its objects and its members.

#include "operator/raftkv/observe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/raftkv/plan.h"
#include "operator/raftkv/test_cluster.h"
#include "operator/raftkv/view.h"

namespace raftkv::op {
namespace {

class Observe : public ThreeMembers {
 protected:
  static std::string ReasonOf(const Observation& seen, const std::string& type) {
    for (const PlannedCondition& condition : MakePlan(seen).status.conditions) {
      if (condition.type == type) return condition.reason;
    }
    return "";
  }
};

TEST_F(Observe, ObservesWhatIsThere) {
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

TEST_F(Observe, ALiveLookSeesWhatTheCachesHaveMissed) {
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

// A voter is not added on one that only the cache has.
TEST_F(Observe, ALiveLookSeesTheBudgetThatThereIs) {
  Object budget = DesiredDisruptionBudget(resource_, 2).object;
  kube::SetController(budget, resource_);
  ASSERT_TRUE(api_.Create(resources::kDisruptionBudgets, budget));
  EXPECT_EQ(Look().observation.objects.min_available, 2);
  ASSERT_TRUE(api_.Delete(resources::kDisruptionBudgets, budget.key(),
                          {.uid = UidOf(resources::kDisruptionBudgets, "store")}));
  const auto live = observer_.LookLive({"ns", "store"}, 4);
  ASSERT_TRUE(live);
  EXPECT_EQ(live->observation.objects.min_available, -1);
}

TEST_F(Observe, SilenceIsRememberedAndForgotten) {
  nodes_.nodes.erase("10.0.0.2");
  Observation first = Look().observation;
  EXPECT_FALSE(first.slots.at(2).report);
  EXPECT_GT(first.slots.at(2).silent_since_s, 0);
  EXPECT_EQ(Look().observation.slots.at(2).silent_since_s, first.slots.at(2).silent_since_s);
}

// Else members of a node that is NotReady for a moment would be replaced.
TEST_F(Observe, AWallClockThatIsSetMakesNoSilenceLong) {
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

// A pod's IP stays in a cache, and may be another pod's by then: a blank one of another resource
// was enough to take a member's name, address and note away.
TEST_F(Observe, WhoAnswersUnderTheNameOfAnotherPodTellsNothingOfTheSlot) {
  HaveCluster();
  NodeStatus& answer = nodes_.nodes["10.0.0.0"];
  answer.name = "other-0";
  answer.report.member = 0xe5;
  Observation out = Look().observation;
  EXPECT_FALSE(out.slots.at(0).report);
  EXPECT_EQ(out.slots.at(0).silent_since_s, out.now_s) << "its own member is silent";
  ASSERT_TRUE(out.membership) << "the others answer";
  answer.name = "store-1";
  EXPECT_FALSE(Look().observation.slots.at(0).report) << "nor does one of another slot";
  answer.name = "store-0";
  out = Look().observation;
  ASSERT_TRUE(out.slots.at(0).report);
  EXPECT_EQ(out.slots.at(0).report->member, 0xe5U) << "a new directory of this very slot";
}

TEST_F(Observe, NoMembershipIsTakenFromTheNodeOfAnother) {
  for (auto& [ip, node] : nodes_.nodes) node.name = "other" + node.name.substr(5);
  const Seen seen = Look();
  EXPECT_FALSE(seen.observation.membership);
  EXPECT_FALSE(observer_.LookAtMembers(seen));
}

// Seen on a real cluster: two pods came back after 40 s, and a second later the warning was
// ElectionsFail, before they had had a chance to elect anybody.
TEST_F(Observe, AQuorumThatComesBackHasItsTimeToElectALeader) {
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

// Seen on a real cluster: the cache had no pod's account, so nobody seemed to use ours, each live
// look said otherwise, and the roll never began.
TEST_F(Observe, APodInACacheTellsWhatTheWholeOneTells) {
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

TEST_F(Observe, ADeletionThatOrphansIsSeenAsOne) {
  ASSERT_TRUE(api_.Patch(
      kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
      {{"metadata",
        {{"deletionTimestamp", "2026-01-01T00:00:00Z"}, {"finalizers", {kFinalizer, "orphan"}}}}}));
  EXPECT_TRUE(Look().observation.orphans);
  ASSERT_TRUE(api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
                         {{"metadata", {{"ownerReferences", nullptr}}}}));
  EXPECT_TRUE(Look().observation.objects.foreign_set);
}

// The claim of a slot that is still to come was looked for when its pod had mounted it.
TEST_F(Observe, SeesWhoseClaimsNewSlotsWouldMount) {
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
TEST_F(Observe, SeesWhoseClaimsAreBelowOneOfAnEarlierLife) {
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

TEST_F(Observe, SeesThatAVolumeCannotGrow) {
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

}  // namespace
}  // namespace raftkv::op
