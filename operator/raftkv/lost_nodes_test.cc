// What an Observer sees of the nodes of Kubernetes, whose loss decides that data are given up.

#include "operator/raftkv/observe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "operator/raftkv/test_cluster.h"

namespace raftkv::op {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr int64_t kWell = -1;

// Each pod on a node of its own, n0 to n2.
class LostNodes : public ThreeMembers {
 protected:
  LostNodes() {
    for (int slot = 0; slot < 3; ++slot) {
      const std::string node = "n" + std::to_string(slot);
      SetNode(node, "True", NowSeconds() - 86400);
      Schedule(slot, node);
    }
  }

  int64_t NowSeconds() const { return timing_.WallMicros() / 1'000'000; }
  void MakeNotReady(const std::string& node, int64_t ago_s) {
    SetNode(node, "Unknown", NowSeconds() - ago_s);
  }
  void SetConditions(const std::string& node, const Json& conditions) {
    EXPECT_TRUE(api_.Patch(resources::kNodes, {"", node}, kube::PatchType::kMerge,
                           {{"status", {{"conditions", conditions}}}}));
  }
  void DeleteNode(const std::string& name) {
    const auto node = api_.Get(resources::kNodes, {"", name});
    ASSERT_TRUE(node &&
                api_.Delete(resources::kNodes, {"", name}, {.uid = std::string(node->uid())}));
  }
  static int64_t LostFor(const Observation& seen, int slot) {
    const int64_t since_s = seen.slots.at(slot).pod->node_lost_since_s;
    return since_s == 0 ? kWell : seen.now_s - since_s;
  }
  int64_t LostFor(int slot) { return LostFor(Look().observation, slot); }
  Observation LookLive() {
    auto live = observer_.LookLive({"ns", "store"}, 4);
    EXPECT_TRUE(live);
    return live->observation;
  }
};

TEST_F(LostNodes, OneIsLostSinceItIsNotReady) {
  MakeNotReady("n1", 100);
  EXPECT_EQ(LostFor(0), kWell);
  EXPECT_EQ(LostFor(1), 100);
  EXPECT_FALSE(Look().observation.slots.at(1).pod->node_gone);
  timing_.Advance(seconds(5));
  EXPECT_EQ(LostFor(1), 105);
  SetNode("n1", "False", NowSeconds() - 3);
  EXPECT_EQ(LostFor(1), 3) << "it was well meanwhile";
  SetNode("n1", "True", NowSeconds());
  EXPECT_EQ(LostFor(1), kWell);
  // Of a node that says nothing of itself nobody knows anything.
  SetConditions("n1", Json::array());
  EXPECT_EQ(LostFor(1), kWell);
}

// It counted from 1970.
TEST_F(LostNodes, OneThatDoesNotSaySinceWhenIsLostSinceItIsSeen) {
  SetConditions("n1", Json::array({{{"type", "Ready"}, {"status", "False"}}}));
  EXPECT_EQ(LostFor(1), 0);
  timing_.Advance(seconds(7));
  EXPECT_EQ(LostFor(1), 7);
}

TEST_F(LostNodes, OneWithoutAnObjectIsGoneSinceItIsSeen) {
  DeleteNode("n1");
  EXPECT_EQ(LostFor(1), 0);
  EXPECT_TRUE(Look().observation.slots.at(1).pod->node_gone);
  timing_.Advance(seconds(10));
  timing_.JumpWall(hours(48));
  EXPECT_EQ(LostFor(1), 10);
  SetNode("n1", "True", NowSeconds());
  EXPECT_EQ(LostFor(1), kWell);
  EXPECT_FALSE(Look().observation.slots.at(1).pod->node_gone);
  DeleteNode("n1");
  timing_.Advance(seconds(10));
  EXPECT_EQ(LostFor(1), 0);
}

TEST_F(LostNodes, APodThatWaitsForTheNodeOfItsVolumeIsLostWithIt) {
  Schedule(2, "");
  MakeNotReady("n2", 50);
  EXPECT_EQ(LostFor(2), kWell) << "its volume is tied to none";
  ASSERT_TRUE(api_.Patch(
      resources::kClaims, {"ns", "data-store-2"}, kube::PatchType::kMerge,
      {{"metadata", {{"annotations", {{"volume.kubernetes.io/selected-node", "n2"}}}}}}));
  EXPECT_EQ(LostFor(2), 50);
  // Where it runs is what counts.
  Schedule(2, "n0");
  EXPECT_EQ(LostFor(2), kWell);
}

// A clock that was set was enough to force the pods of a deleted cluster off, and to take their
// claims.
TEST_F(LostNodes, AWallClockThatIsSetMakesNobodyLostForLong) {
  EXPECT_EQ(LostFor(1), kWell);
  timing_.Advance(seconds(20));
  MakeNotReady("n1", 5);
  EXPECT_EQ(LostFor(1), 5);
  timing_.JumpWall(hours(48));
  EXPECT_EQ(LostFor(1), 5);
  timing_.JumpWall(-hours(96));
  timing_.Advance(seconds(2));
  EXPECT_EQ(LostFor(1), 7);

  // Set before it was lost: not for longer than since it was seen well.
  EXPECT_EQ(LostFor(2), kWell);
  timing_.Advance(seconds(8));
  MakeNotReady("n2", 3);
  timing_.JumpWall(hours(48));
  EXPECT_EQ(LostFor(2), 8);
  // What is to come is not long ago.
  MakeNotReady("n0", -3600);
  EXPECT_EQ(LostFor(0), 0);
}

// What was known of it went with the pod, and a clock that was set counted again.
TEST_F(LostNodes, TheNodeOfAClaimIsRememberedWithoutAPod) {
  ASSERT_TRUE(api_.Patch(
      resources::kClaims, {"ns", "data-store-2"}, kube::PatchType::kMerge,
      {{"metadata", {{"annotations", {{"volume.kubernetes.io/selected-node", "n2"}}}}}}));
  EXPECT_EQ(LostFor(2), kWell);
  const Object pod = *api_.Get(resources::kPods, {"ns", "store-2"});
  ASSERT_TRUE(api_.Delete(resources::kPods, {"ns", "store-2"}, {.uid = std::string(pod.uid())}));
  timing_.Advance(seconds(7));
  MakeNotReady("n2", 3);
  timing_.JumpWall(hours(48));
  Look();
  Object made = pod;
  made.Erase("/metadata/resourceVersion");
  ASSERT_TRUE(api_.Create(resources::kPods, made));
  Schedule(2, "");
  EXPECT_EQ(LostFor(2), 7);
}

TEST_F(LostNodes, ALiveLookReadsTheNodesThatAreSaidToBeLostAlone) {
  MakeNotReady("n1", 600);
  EXPECT_EQ(LostFor(1), 600);
  EXPECT_EQ(api_.CountCalls("GET nodes/n1"), 0U) << "nothing is to be destroyed";
  SetNode("n1", "True", NowSeconds());  // which the cache does not show yet
  EXPECT_EQ(LostFor(LookLive(), 1), kWell);
  EXPECT_EQ(api_.CountCalls("GET nodes/n1"), 1U);
  EXPECT_EQ(api_.CountCalls("GET nodes/n0"), 0U);
  timing_.Advance(seconds(4));
  EXPECT_EQ(LostFor(observer_.Look(clusters_.Get({"ns", "store"}), 4).observation, 1), 4)
      << "the cache is old, and it was well when it was read";

  // One that only the cache lacks.
  EXPECT_TRUE(kube_nodes_.Replace({}, "1000").ok());
  EXPECT_EQ(LostFor(LookLive(), 0), kWell);
  // And one that is lost.
  MakeNotReady("n2", 600);
  FillCaches();
  EXPECT_EQ(LostFor(LookLive(), 2), 0) << "it was well a moment ago";
  timing_.Advance(seconds(9));
  EXPECT_EQ(LostFor(LookLive(), 2), 9);
}

TEST_F(LostNodes, OneThatCannotBeReadIsNotCalledLost) {
  MakeNotReady("n1", 600);
  Look();
  api_.before = [](const std::string& call) -> kube::ApiResult<void> {
    if (call == "GET nodes/n1") return kube::Fail(kube::Reason::kForbidden, "not yours");
    return {};
  };
  auto live = observer_.LookLive({"ns", "store"}, 4);
  ASSERT_TRUE(live);
  EXPECT_EQ(LostFor(live->observation, 1), kWell);
  ASSERT_TRUE(live->unread_node);
  EXPECT_EQ(live->unread_node->message, "the read of node n1: not yours");
  EXPECT_EQ(LostFor(1), 600);
}

TEST_F(LostNodes, WithoutTheRightToReadNodesNobodyIsLost) {
  caches_.nodes = nullptr;
  Observer blind(&api_, caches_, &nodes_, settings_, &timing_);
  MakeNotReady("n1", 600);
  FillCaches();
  EXPECT_EQ(LostFor(blind.Look(clusters_.Get({"ns", "store"}), 4).observation, 1), kWell);
}

}  // namespace
}  // namespace raftkv::op
