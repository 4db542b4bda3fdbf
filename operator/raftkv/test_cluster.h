// Three members in memory: a1, b2, c3 in the slots 0, 1, 2; b2 leads. For tests of what observes
// them and acts on them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/kube/ownership.h"
#include "operator/kube/test_api.h"
#include "operator/kube/test_timing.h"
#include "operator/raftkv/act.h"
#include "operator/raftkv/member_names.h"
#include "operator/raftkv/resource.h"
#include "operator/raftkv/test_caches.h"

namespace raftkv::op {

namespace resources = kube::resources;
using kube::Json;
using kube::Key;
using kube::MemoryApi;
using kube::Object;

class FakeNodes final : public NodeApi {
 public:
  std::map<int, NodeStatus> Statuses(const std::map<int, std::string>& hosts) override {
    std::map<int, NodeStatus> out;
    for (const auto& [slot, host] : hosts) {
      if (auto found = nodes.find(host); found != nodes.end()) out[slot] = found->second;
    }
    return out;
  }
  Status SendInitialize(const std::string& host, const Initialize& action) override {
    sent_to = host;
    initialize = action;
    return answer;
  }
  Status SendMembership(const std::string& host, const ChangeMembership& action) override {
    sent_to = host;
    membership = action;
    return answer;
  }
  Status SendTransfer(const std::string& host, const TransferLeadership&) override {
    sent_to = host;
    return answer;
  }

  std::map<std::string, NodeStatus> nodes;  // by IP
  Status answer;
  std::string sent_to;
  Initialize initialize;
  ChangeMembership membership;
};

class ThreeMembers : public ::testing::Test, protected TestCaches {
 protected:
  ThreeMembers() {
    Object resource(kRaftKvs, {"ns", "store"});
    resource.Set("/metadata/generation", 1);
    resource.Set("/spec", {{"replicas", 3}});
    resource_ = *api_.Create(kRaftKvs, resource);
    for (MemberId id : {0xa1, 0xb2, 0xc3}) AddNode(id);
    Object set = DesiredStatefulSet(resource_, settings_, 3, nullptr).object;
    kube::SetController(set, resource_);
    set_ = *api_.Create(resources::kStatefulSets, set);
    for (int slot = 0; slot < 3; ++slot) {
      Object pod(resources::kPods, {"ns", PodName("store", slot)});
      kube::SetController(pod, set_);
      pod.Set("/metadata/labels/app.kubernetes.io~1name", "raftkv");
      pod.Set("/metadata/labels/app.kubernetes.io~1instance", "store");
      pod.Set("/status/podIP", "10.0.0." + std::to_string(slot));
      EXPECT_TRUE(api_.Create(resources::kPods, pod));
      Object claim(resources::kClaims, {"ns", ClaimName("store", slot)});
      claim.Set("/metadata/labels/app.kubernetes.io~1name", "raftkv");
      claim.Set("/metadata/labels/app.kubernetes.io~1instance", "store");
      EXPECT_TRUE(api_.Create(resources::kClaims, claim));
    }
    SetNode("node1", "True", 0);
  }

  // A node of Kubernetes whose condition Ready has this status since then.
  void SetNode(const std::string& name, const std::string& ready, int64_t since_s) {
    const Json status = {{"conditions",
                          {{{"type", "Ready"},
                            {"status", ready},
                            {"lastTransitionTime", kube::FormatTime(since_s * 1'000'000)}}}}};
    if (api_.Patch(resources::kNodes, {"", name}, kube::PatchType::kMerge, {{"status", status}})) {
      return;
    }
    Object node(resources::kNodes, {"", name});
    node.Set("/status", status);
    EXPECT_TRUE(api_.Create(resources::kNodes, node));
  }
  void Schedule(int slot, const std::string& node) {
    EXPECT_TRUE(api_.Patch(resources::kPods, {"ns", PodName("store", slot)},
                           kube::PatchType::kMerge, {{"spec", {{"nodeName", node}}}}));
  }

  // The members' own: three that answer are not yet one.
  void HaveCluster() {
    ASSERT_TRUE(api_.Patch(kRaftKvs, {"ns", "store"}, kube::PatchType::kMerge,
                           {{"status", {{"clusterID", "00000000000000c1"}}}},
                           {.subresource = "status"}));
  }

  void AddNode(MemberId id) {
    int slot = static_cast<int>(configuration_.members.size());
    configuration_.voters.insert(id);
    const std::string pod = PodName("store", slot);
    configuration_.members[id] = {
        .id = id, .name = pod, .peer_address = PeerAddress("ns", "store", pod), .active = true};
    configuration_.config_index = 5;
    nodes_.nodes["10.0.0." + std::to_string(slot)].name = pod;
    nodes_.nodes["10.0.0." + std::to_string(slot)].report = {
        .role = NodeReport::Role::kFollower, .member = id, .cluster = 0xc1, .leader = 0xb2};
  }

  // From the server.
  void FillCaches() {
    for (auto& [ip, node] : nodes_.nodes) {
      node.membership = configuration_;
      bool leads = node.report.member == 0xb2;
      node.report.role = leads ? NodeReport::Role::kLeader : NodeReport::Role::kFollower;
      node.membership.leader = leads ? 0xb2 : 0;
    }
    FillFrom(api_);
  }

  Seen Look() {
    FillCaches();
    return observer_.Look(clusters_.Get({"ns", "store"}), 4);
  }

  std::string UidOf(const kube::Resource& kind, const std::string& name) {
    return std::string(api_.Get(kind, {"ns", name})->uid());
  }
  bool Exists(const kube::Resource& kind, const std::string& name) {
    return api_.Get(kind, {"ns", name}).has_value();
  }

  MemoryApi api_;
  FakeNodes nodes_;
  ObjectSettings settings_{.default_image = "node:1", .operator_namespace = "system"};
  kube::FakeTiming timing_{kube::FakeTiming::Mode::kJump};
  Observer observer_{&api_, caches_, &nodes_, settings_, &timing_};
  Actor actor_{&api_, &nodes_, &observer_, caches_, settings_};
  Object resource_;
  Object set_;
  Membership configuration_;
};

}  // namespace raftkv::op
