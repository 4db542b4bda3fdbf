// An operator that dies between any two of its writes, also within one action (an apply that makes
// an object is three: the object, whose its fields are, the apply): the next one makes the same of
// it, does nothing twice and takes over nothing that is somebody else's.

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/hex_id.h"
#include "operator/kube/ownership.h"
#include "operator/kube/test_api.h"
#include "operator/raftkv/reconciler.h"
#include "operator/raftkv/test_caches.h"
#include "operator/raftkv/view.h"

namespace raftkv::op {
namespace {

namespace resources = kube::resources;
using kube::Json;
using kube::Key;
using kube::MemoryApi;
using kube::Object;
using Role = NodeReport::Role;

const Key kStore{"ns", "store"};

struct Died {};

// The members' nodes, by the IPs of their pods. Each change is in force at once.
class SmallCluster final : public NodeApi {
 public:
  std::function<void(const std::string&)> before;  // each change

  std::map<int, NodeStatus> Statuses(const std::map<int, std::string>& hosts) override {
    std::map<int, NodeStatus> out;
    for (const auto& [slot, host] : hosts) {
      const auto found = members.find(host);
      if (found == members.end() || config.removed.contains(found->second)) continue;
      const MemberId member = found->second;
      NodeStatus& status = out[slot];
      status.name = PodName("store", slot);
      status.report = {.role = Role::kBlank, .member = member};
      if (!config.members.contains(member)) continue;
      const bool leads = config.leader == member;
      status.report.role = leads                              ? Role::kLeader
                           : config.learners.contains(member) ? Role::kLearner
                                                              : Role::kFollower;
      status.report.cluster = cluster;
      status.report.leader = config.leader;
      status.membership = config;
      status.membership.leader = leads ? member : 0;
    }
    return out;
  }

  Status SendInitialize(const std::string& host, const Initialize& action) override {
    before("initialize");
    if (cluster != 0) return cluster == action.cluster ? Status::Ok() : Refused();
    if (members.at(host) != action.members.front().id) return Refused();
    cluster = action.cluster;
    for (const MemberView& member : action.members) {
      Add(member);
      config.voters.insert(member.id);
    }
    config.leader = action.members.front().id;
    Changed("initialize");
    return Status::Ok();
  }

  Status SendMembership(const std::string&, const ChangeMembership& action) override {
    before("membership");
    if (action.expected_config_index != config.config_index) return Refused();
    for (const MemberView& member : action.add_learners) {
      Add(member);
      config.learners.insert(member.id);
    }
    for (const MemberId id : action.promote) {
      config.learners.erase(id);
      config.voters.insert(id);
    }
    for (const MemberId id : action.remove) {
      config.learners.erase(id);
      config.voters.erase(id);
      config.members.erase(id);
      config.removed.insert(id);
    }
    Changed("add " + ListIds(action.add_learners, ",") + " promote " +
            ListIds(action.promote, ",") + " remove " + ListIds(action.remove, ","));
    return Status::Ok();
  }

  Status SendTransfer(const std::string&, const TransferLeadership& action) override {
    before("transfer");
    if (config.leader != action.from) return Refused();
    config.leader = action.to;
    changes.push_back("transfer");
    return Status::Ok();
  }

  std::map<std::string, MemberId> members;  // whose directory is there
  ClusterId cluster = 0;
  Membership config;
  std::vector<std::string> changes;  // that were accepted

 private:
  static Status Refused() { return {Code::kConflict, "refused"}; }
  void Add(const MemberView& member) {
    config.members[member.id] = member;
    config.members[member.id].active = true;
  }
  void Changed(const std::string& what) {
    ++config.config_index;
    for (auto& [id, member] : config.members) member.match = config.config_index;
    changes.push_back(what);
  }
};

// One life of a RaftKV, from nothing to its deletion, whose first operator dies instead of its
// write number `dies_at`.
class Life : TestCaches {
 public:
  explicit Life(size_t dies_at, int replicas = 3) : dies_at_(dies_at) {
    api_.tracks_fields = true;
    api_.before = [this](const std::string& call) -> kube::ApiResult<void> {
      const bool reads = call.starts_with("GET ") || call.starts_with("DRYRUN ");
      if (operator_writes_ && meddle) {
        operator_writes_ = false;
        meddle(call);
        operator_writes_ = true;
      }
      if (operator_writes_ && !reads) Write(call);
      return {};
    };
    nodes_.before = [this](const std::string& call) { Write(call); };
    Object resource(kRaftKvs, kStore);
    resource.Set("/metadata/generation", 1);
    resource.Set("/spec", {{"replicas", replicas}});
    EXPECT_TRUE(api_.Create(kRaftKvs, resource));
    Object node(resources::kNodes, {"", "node1"});
    node.Set("/status/conditions", {{{"type", "Ready"}, {"status", "True"}}});
    EXPECT_TRUE(api_.Create(resources::kNodes, node));
    Restart();
  }

  // Every object, and every change of the members so far, after each wish; as far as to the one in
  // which the operator dies.
  std::vector<std::string> ToItsEnd() {
    std::vector<std::string> out;
    const std::vector<Json> wishes = {
        {{"spec", {{"replicas", 3}}}},
        {{"spec", {{"replicas", 2}}}},
        {{"spec", {{"replicas", 3}}}},
        {{"spec", {{"image", "node:2"}}}},
        {{"spec", {{"storage", {{"retention", {{"onDelete", "Delete"}}}}}}},
         {"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}}},
    };
    for (const Json& wish : wishes) {
      Wish(wish);
      out.push_back(Settled());
      for (const std::string& change : nodes_.changes) out.back() += change + "\n";
      if (!died_before_.empty()) break;
    }
    return out;
  }
  // With one that somebody else makes under the name of what the operator was about to make, when
  // it died.
  void LetOthersMakeIt() { others_make_it_ = true; }
  // Before the next operator comes.
  void LoseDisksWhenItDies() { disks_go_ = true; }
  // Somebody writes, too, just before a call of the operator.
  std::function<void(const std::string&)> meddle;

  std::string Settled() {
    int steps = 0;
    for (int quiet = 0; quiet < 2 && steps < 300; ++steps) {
      const size_t before = writes_;
      const bool lived = Reconcile();
      Kubernetes();
      quiet = lived && writes_ == before ? quiet + 1 : 0;
    }
    EXPECT_LT(steps, 300) << "there is always something to write";
    return Objects();
  }

  // Lets what has to be confirmed by people be begun.
  void SayNothingIsMissed() {
    EXPECT_TRUE(api_.Patch(kRaftKvs, kStore, kube::PatchType::kJson,
                           {{{"op", "remove"}, {"path", "/status/initializing"}}}));
  }
  std::string ReasonOf(const std::string& condition) {
    const Object resource = *api_.Get(kRaftKvs, kStore);
    const Json found = EntriesOf(resource.At("/status/conditions"), "type", condition);
    return found.empty() ? "" : found[0].value("reason", "");
  }

  size_t writes() const { return writes_; }
  const std::vector<std::string>& calls() const { return calls_; }
  const std::vector<std::string>& changes() const { return nodes_.changes; }
  const std::string& died_before() const { return died_before_; }
  MemoryApi& api() { return api_; }

 private:
  void Write(const std::string& call) {
    calls_.push_back(call);
    if (++writes_ != dies_at_) return;
    died_before_ = call;
    throw Died{};
  }

  void Restart() {
    operator_ = std::make_unique<Reconciler>(
        ReconcilerParts{.api = &api_,
                        .nodes = &nodes_,
                        .events = &events_,
                        .metrics = &metrics_,
                        .timing = &kube::Timing::System(),
                        .caches = caches_,
                        .settings = {.default_image = "node:1", .operator_namespace = "system"},
                        .epoch = [] { return 4; },
                        .raise_epoch = [](uint64_t) {},
                        .watch_leader = [](const Key&, const std::string&) {}});
  }

  bool Reconcile() {
    FillFrom(api_);
    operator_writes_ = true;
    bool lived = true;
    try {
      (void)operator_->Reconcile(kStore, {});  // what has failed is tried again
    } catch (const Died&) {
      lived = false;
    }
    operator_writes_ = false;
    if (lived) return true;
    Restart();
    if (disks_go_) LoseDisks();
    if (others_make_it_ && died_before_.starts_with("CREATE ")) MakeForeign();
    return false;
  }

  void LoseDisks() {
    for (const kube::Resource* kind : {&resources::kPods, &resources::kClaims}) {
      for (const Object& object : api_.All(*kind)) {
        EXPECT_TRUE(api_.Delete(*kind, object.key(), {.uid = std::string(object.uid())}));
      }
    }
    nodes_.members.clear();
    nodes_.cluster = 0;
    nodes_.config = {};
  }

  void MakeForeign() {
    for (const kube::Resource* kind :
         {&resources::kServices, &resources::kStatefulSets, &resources::kServiceAccounts,
          &resources::kNetworkPolicies, &resources::kDisruptionBudgets}) {
      const std::string prefix = "CREATE " + std::string(kind->plural) + "/";
      if (!died_before_.starts_with(prefix)) continue;
      EXPECT_TRUE(api_.Create(*kind, Object(*kind, {"ns", died_before_.substr(prefix.size())})));
    }
  }

  void Wish(const Json& patch) {
    ASSERT_TRUE(api_.Patch(kRaftKvs, kStore, kube::PatchType::kMerge, patch));
    const int64_t generation = *api_.Get(kRaftKvs, kStore)->Int("/metadata/generation");
    ASSERT_TRUE(api_.Patch(kRaftKvs, kStore, kube::PatchType::kMerge,
                           {{"metadata", {{"generation", generation + 1}}}}));
  }

  // The StatefulSet's controller and the kubelets; claims are bound, and directories minted, as
  // they come.
  void Kubernetes() {
    const auto set = api_.Get(resources::kStatefulSets, kStore);
    if (!set || !set->Controller()) return;
    const int replicas = static_cast<int>(*set->Int("/spec/replicas"));
    const std::string revision(set->String("/spec/template/spec/containers/0/image"));
    for (int slot = 0; slot < 9; ++slot) {
      const std::string ip = "10.0.0." + std::to_string(slot);
      if (slot < replicas) {
        MakePod(*set, slot, ip, revision);
        continue;
      }
      const auto pod = api_.Get(resources::kPods, {"ns", PodName("store", slot)});
      if (!pod) continue;
      ASSERT_TRUE(api_.Delete(resources::kPods, pod->key(), {.uid = std::string(pod->uid())}));
      nodes_.members.erase(ip);
    }
    api_.Patch(resources::kStatefulSets, kStore, kube::PatchType::kMerge,
               {{"metadata", {{"generation", 1}}},
                {"status", {{"observedGeneration", 1}, {"updateRevision", revision}}}});
  }

  static Json Labels() {
    return {{"app.kubernetes.io/name", "raftkv"}, {"app.kubernetes.io/instance", "store"}};
  }

  void MakePod(const Object& set, int slot, const std::string& ip, const std::string& revision) {
    const Key claim_key{"ns", ClaimName("store", slot)};
    auto claim = api_.Get(resources::kClaims, claim_key);
    if (!claim) {
      Object made(resources::kClaims, claim_key);
      made.Set("/metadata/labels", Labels());
      made.Set("/spec/resources/requests/storage", kDefaultStorage);
      made.Set("/status", {{"phase", "Bound"}, {"capacity", {{"storage", kDefaultStorage}}}});
      claim = api_.Create(resources::kClaims, made);
    }
    const MemberId member =
        directories_.try_emplace(std::string(claim->uid()), next_member_).first->second;
    if (member == next_member_) ++next_member_;
    nodes_.members[ip] = member;
    const bool ended = nodes_.config.removed.contains(member);
    const Json status = {{"phase", ended ? "Succeeded" : "Running"},
                         {"podIP", ip},
                         {"conditions", {{{"type", "Ready"}, {"status", "True"}}}}};
    const Key key{"ns", PodName("store", slot)};
    if (api_.Get(resources::kPods, key)) {
      if (ended) api_.Patch(resources::kPods, key, kube::PatchType::kMerge, {{"status", status}});
      return;
    }
    Object pod(resources::kPods, key);
    kube::SetController(pod, set);
    pod.Set("/metadata/labels", Labels());
    pod.Set("/metadata/labels/controller-revision-hash", revision);
    pod.Set("/spec/nodeName", "node1");
    pod.Set("/status", status);
    ASSERT_TRUE(api_.Create(resources::kPods, pod));
  }

  // Without what differs from one life to another.
  std::string Objects() {
    std::string out;
    for (const kube::Resource* kind :
         {&resources::kServices, &resources::kStatefulSets, &resources::kServiceAccounts,
          &resources::kNetworkPolicies, &resources::kDisruptionBudgets, &resources::kPods,
          &resources::kClaims}) {
      for (Object object : api_.All(*kind)) {
        // What a create has written is an apply's at the latest with the next one. Of both it would
        // never be taken back.
        const Json& entries = object.At("/metadata/managedFields");
        if (kind != &resources::kPods && kind != &resources::kClaims && object.Controller()) {
          EXPECT_EQ(entries.size(), 1U) << object.json().dump();
        }
        for (const char* field :
             {"/metadata/uid", "/metadata/resourceVersion", "/metadata/managedFields"}) {
          object.Erase(field);
        }
        if (object.Controller()) object.json()["metadata"]["ownerReferences"][0].erase("uid");
        out += std::string(kind->kind) + " " + object.json().dump() + "\n";
      }
    }
    const Object resource = *api_.Get(kRaftKvs, kStore);
    return out + "finalizers " + resource.At("/metadata/finalizers").dump() + " cluster " +
           std::string(resource.String("/status/clusterID")) + " operation " +
           std::string(resource.String("/status/operation/type")) + " initializing " +
           resource.At("/status/initializing").dump() + "\n";
  }

  const size_t dies_at_;
  MemoryApi api_;
  SmallCluster nodes_;
  prometheus::Registry registry_;
  ClusterMetrics metrics_{&registry_};
  MemoryApi event_api_;
  kube::EventRecorder events_{
      &event_api_, {.controller = "c", .instance = "i"}, &kube::Timing::System(), 1};
  std::unique_ptr<Reconciler> operator_;
  std::map<std::string, MemberId> directories_;  // by the claim's UID
  MemberId next_member_ = 0xa1;
  size_t writes_ = 0;
  bool operator_writes_ = false;
  bool others_make_it_ = false;
  bool disks_go_ = false;
  std::vector<std::string> calls_;  // that write
  std::string died_before_;
};

constexpr size_t kNever = 0;

TEST(Death, BetweenAnyTwoWritesChangesNothingOfWhatComesOfIt) {
  Life whole(kNever);
  const std::vector<std::string> expected = whole.ToItsEnd();
  ASSERT_EQ(expected.size(), 5U);
  EXPECT_NE(expected.back().find("initialize"), std::string::npos);
  EXPECT_NE(expected.back().find("remove 00000000000000a3"), std::string::npos);
  ASSERT_GT(whole.writes(), 60U);
  std::set<std::string> kinds;  // of the calls before which one died
  for (size_t dies_at = 1; dies_at <= whole.writes(); ++dies_at) {
    Life life(dies_at);
    const std::vector<std::string> came = life.ToItsEnd();
    EXPECT_EQ(came.back(), expected.at(came.size() - 1))
        << dies_at << ": died before " << life.died_before();
    kinds.insert(life.died_before().substr(0, life.died_before().find('/')));
    if (testing::Test::HasFailure()) break;
  }
  for (const char* call :
       {"CREATE services", "PATCH services", "APPLY services", "CREATE statefulsets",
        "PATCH statefulsets", "APPLY statefulsets", "APPLY poddisruptionbudgets", "UPDATE raftkvs",
        "PATCH raftkvs", "PATCH persistentvolumeclaims", "DELETE persistentvolumeclaims",
        "DELETE pods", "PATCH pods", "initialize", "membership"}) {
    EXPECT_TRUE(kinds.contains(call)) << call;
  }
}

// The number of a life's first call of this name.
size_t NumberOf(const Life& life, const std::string& call) {
  const auto found = std::ranges::find(life.calls(), call);
  EXPECT_NE(found, life.calls().end()) << call;
  return static_cast<size_t>(found - life.calls().begin()) + 1;
}

// It was begun anew without a word of what had been acknowledged meanwhile.
TEST(Death, BeforeTheClusterIsWrittenDownDoesNotForgetItWithItsDisk) {
  Life whole(kNever, 1);
  whole.Settled();
  EXPECT_EQ(whole.ReasonOf("Available"), "QuorumHealthy");
  Life life(NumberOf(whole, "initialize") + 1, 1);
  life.LoseDisksWhenItDies();
  life.Settled();
  EXPECT_EQ(life.died_before(), "UPDATE raftkvs/store");
  EXPECT_EQ(life.ReasonOf("Degraded"), "BootstrapInDoubt");
  EXPECT_EQ(life.changes(), std::vector<std::string>{"initialize"});
  life.SayNothingIsMissed();
  life.Settled();
  EXPECT_EQ(life.ReasonOf("Available"), "QuorumHealthy");
  EXPECT_EQ(life.changes(), (std::vector<std::string>{"initialize", "initialize"}));
}

// That of the initialize itself: nothing was begun, but nobody can know.
TEST(Death, BeforeTheBeginningGoesOnWithTheSameDirectory) {
  Life whole(kNever, 1);
  whole.Settled();
  Life life(NumberOf(whole, "initialize"), 1);
  life.Settled();
  EXPECT_EQ(life.died_before(), "initialize");
  EXPECT_EQ(life.ReasonOf("Available"), "QuorumHealthy");
  EXPECT_EQ(life.changes(), std::vector<std::string>{"initialize"});
}

// Two operators: of the members of one the other may have made a cluster.
TEST(Death, NoBeginningIsSentWhereAnotherIsWrittenDown) {
  Life life(kNever, 1);
  bool meddled = false;
  life.meddle = [&](const std::string& call) {
    if (meddled || call != "GET raftkvs/store") return;
    const Object resource = *life.api().Get(kRaftKvs, kStore);
    if (resource.At("/status/initializing").is_null()) return;
    meddled = true;
    EXPECT_TRUE(life.api().Patch(kRaftKvs, kStore, kube::PatchType::kMerge,
                                 {{"status", {{"initializing", {"00000000000000ff"}}}}}));
  };
  life.Settled();
  EXPECT_TRUE(meddled);
  EXPECT_TRUE(life.changes().empty());
  EXPECT_EQ(life.ReasonOf("Degraded"), "BootstrapInDoubt");
  life.SayNothingIsMissed();
  life.Settled();
  EXPECT_EQ(life.changes(), std::vector<std::string>{"initialize"});
}

// A definition that is older than the operator keeps nothing of it.
TEST(Death, ABeginningDoesNotWaitForAFieldThatTheDefinitionLacks) {
  Life life(kNever, 1);
  life.meddle = [&](const std::string&) {
    if (!life.api().Get(kRaftKvs, kStore)->At("/status/initializing").is_null()) {
      life.SayNothingIsMissed();
    }
  };
  life.Settled();
  EXPECT_EQ(life.ReasonOf("Available"), "QuorumHealthy");
}

TEST(Death, WhatSomebodyElseMakesMeanwhileIsNotTakenOver) {
  size_t made = 0;
  for (size_t dies_at = 1; dies_at < 40; ++dies_at) {
    Life life(dies_at);
    life.LetOthersMakeIt();
    life.Settled();
    if (!life.died_before().starts_with("CREATE ")) continue;
    ++made;
    bool there = false;
    for (const kube::Resource* kind :
         {&resources::kServices, &resources::kStatefulSets, &resources::kServiceAccounts,
          &resources::kNetworkPolicies, &resources::kDisruptionBudgets}) {
      for (const Object& object : life.api().All(*kind)) {
        if (object.Controller()) continue;
        there = true;
        EXPECT_TRUE(object.At("/spec").is_null()) << object.json().dump();
        EXPECT_TRUE(object.At("/metadata/labels").is_null()) << object.json().dump();
      }
    }
    EXPECT_TRUE(there) << life.died_before();
    const Object resource = *life.api().Get(kRaftKvs, kStore);
    EXPECT_NE(resource.At("/status").dump().find("ForeignObject"), std::string::npos)
        << life.died_before();
  }
  EXPECT_GE(made, 8U);
}

}  // namespace
}  // namespace raftkv::op
