// The RaftKV resource against a real API server: what is left out has its default, what must not
// change stays, every field is described, kubectl's scale works.
#include <nlohmann/json.hpp>

#include "operator/raftkv/quantity.h"
#include "operator/raftkv/test_quantities.h"
#include "tests/kube/schema_test.h"

namespace raftkv::kube {
namespace {

TEST_F(RaftKvSchema, UnknownFieldsAreNotStored) {
  auto made = Create(
      "", {{"config", {{"raft", {{"electionTick", 10}}}, {"extra", {{"a", 1}}}}}, {"size", 3}});
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(made->At("/spec/config"), Json({{"raft", Json::object()}}));
  EXPECT_TRUE(made->At("/spec/size").is_null());
}

TEST_F(RaftKvSchema, WhatIsLeftOutHasItsDefault) {
  auto made = api_->Create(kRaftKvs, Object(kRaftKvs, {ns_, "bare"}));
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(made->At("/spec"),
            Json({{"replicas", 3},
                  {"storage",
                   {{"size", "10Gi"},
                    {"retention", {{"onDelete", "Retain"}, {"onScaleDown", "Delete"}}}}},
                  {"update", {{"strategy", "RollingUpdate"}, {"paused", false}}},
                  {"replacement", {{"enabled", true}, {"after", "5m"}}},
                  {"disruptionBudget", {{"enabled", true}}},
                  {"service", {{"type", "ClusterIP"}}},
                  {"bootstrap", {{"mode", "New"}}},
                  {"paused", false},
                  {"progressDeadlineSeconds", 600}}));
}

// It took sizes that the operator could not read, and that could not be taken back.
TEST_F(RaftKvSchema, TheOperatorReadsEverySizeThatIsTaken) {
  for (const op::QuantityCase& known : op::kQuantityCases) {
    auto made = Create("/storage/size", known.text);
    // More than limits.minFreeBytes has to fit.
    const bool right = known.bytes >= 300ULL << 20 && known.bytes < 1ULL << 60;
    EXPECT_EQ(made.has_value(), right) << known.text;
    if (!made) continue;
    auto spec = op::ReadSpec(*made);
    ASSERT_TRUE(spec) << spec.error().message();
    EXPECT_EQ(spec->storage_bytes, known.bytes) << known.text;
  }
  for (const op::QuantityCase& known : op::kSignedCases) {
    EXPECT_FALSE(Create("/storage/size", known.text)) << known.text;
  }
  for (const char* bad : op::kNoQuantities) {
    EXPECT_FALSE(Create("/storage/size", bad)) << bad;
  }
}

TEST_F(RaftKvSchema, ResourcesAreTheSameInTheServersWords) {
  constexpr Resource kPodTemplates{"", "v1", "podtemplates", "PodTemplate"};
  const auto same = [&](const op::QuantityCase& known) {
    auto taken = Create("/resources/limits/ephemeral-storage", known.text);
    EXPECT_TRUE(taken) << known.text << ": " << taken.error().ToString();
    Object pods(kPodTemplates, {ns_, "p"});
    const Json limits = {{"ephemeral-storage", known.text}};
    pods.Set("/template/spec/containers",
             Json::array({{{"name", "a"}, {"image", "a"}, {"resources", {{"limits", limits}}}}}));
    auto made = api_->Create(kPodTemplates, pods);
    ASSERT_TRUE(made) << known.text << ": " << made.error().ToString();
    const Json& stored = made->At("/template/spec/containers/0/resources/limits/ephemeral-storage");
    EXPECT_TRUE(op::SameQuantity(known.text, stored.get<std::string>()))
        << known.text << " is stored as " << stored;
    const auto deleted = api_->Delete(kPodTemplates, pods.key(), {.uid = std::string(made->uid())});
    ASSERT_TRUE(deleted) << known.text << ": " << deleted.error().ToString();
  };
  for (const op::QuantityCase& known : op::kQuantityCases) same(known);
  for (const op::QuantityCase& known : op::kSignedCases) same(known);
}

TEST_F(RaftKvSchema, StorageGrowsAndNeverShrinks) {
  auto made = Create("/storage/size", "1Gi");
  ASSERT_TRUE(made) << made.error().ToString();
  const auto resize = [&](const char* size) {
    return api_->Patch(kRaftKvs, made->key(), PatchType::kMerge,
                       {{"spec", {{"storage", {{"size", size}}}}}});
  };
  EXPECT_TRUE(resize("1024Mi")) << "the same amount, written otherwise";
  EXPECT_TRUE(resize("2Gi"));
  auto refused = resize("1Gi");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("a volume cannot shrink: keep the size or raise it"),
            std::string::npos)
      << refused.error().message;
}

TEST_F(RaftKvSchema, StorageClassStaysWhatItWas) {
  auto with = Create("/storage/className", "fast");
  auto without = Create("/storage/size", "1Gi");
  ASSERT_TRUE(with && without);
  const auto change = [&](const Object& object, const Json& name) {
    return api_->Patch(kRaftKvs, object.key(), PatchType::kMerge,
                       {{"spec", {{"storage", {{"className", name}}}}}});
  };
  EXPECT_TRUE(change(*with, "fast"));
  for (const auto& refused :
       {change(*with, "slow"), change(*with, nullptr), change(*without, "fast")}) {
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("className cannot be changed: make a new RaftKV"),
              std::string::npos)
        << refused.error().message;
  }
}

TEST_F(RaftKvSchema, RestoreIsAskedForWhenARaftKvIsMadeAndStaysUntilThereIsACluster) {
  auto fresh = Create("/replicas", 3);
  auto restored = Create("/bootstrap/mode", "Restore");
  ASSERT_TRUE(fresh && restored);
  const auto change = [&](const Object& object, const Json& bootstrap) {
    return api_->Patch(kRaftKvs, object.key(), PatchType::kMerge,
                       {{"spec", {{"bootstrap", bootstrap}}}});
  };
  const auto refuses = [](const ApiResult<Object>& answer, const std::string& advice) {
    ASSERT_FALSE(answer);
    EXPECT_NE(answer.error().message.find(advice), std::string::npos) << answer.error().message;
  };
  refuses(change(*fresh, {{"mode", "Restore"}}), "make another one with it");
  EXPECT_TRUE(change(*fresh, {{"mode", "New"}}));
  refuses(change(*restored, {{"mode", "New"}}), "stays until there is a cluster");
  refuses(change(*restored, nullptr), "stays until there is a cluster");
  EXPECT_TRUE(api_->SetScale(kRaftKvs, restored->key(), 1));

  auto live = api_->Get(kRaftKvs, restored->key());
  ASSERT_TRUE(live);
  live->Set("/status", {{"clusterID", "00000000000000c1"}, {"conditions", Json::array()}});
  ASSERT_TRUE(api_->Update(kRaftKvs, *live, "status"));
  EXPECT_TRUE(change(*restored, nullptr)) << "a manifest without it can be applied afterwards";
  refuses(change(*restored, {{"mode", "Restore"}}), "make another one with it");
}

TEST_F(RaftKvSchema, NamesLeaveRoomForWhatIsMadeOfThem) {
  for (const std::string& name : {std::string("a"), std::string("db-1"), std::string(45, 'a')}) {
    auto made = api_->Create(kRaftKvs, Object(kRaftKvs, {ns_, name}));
    EXPECT_TRUE(made) << made.error().ToString();
  }
  for (const std::string& name : {std::string("1db"), std::string("a.b"), std::string(46, 'a')}) {
    auto refused = api_->Create(kRaftKvs, Object(kRaftKvs, {ns_, name}));
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find("at most 45 lower-case letters"), std::string::npos)
        << refused.error().message;
  }
}

TEST_F(RaftKvSchema, ScaleSubresourceReadsAndWritesTheSize) {
  auto made = Create("/replicas", 3);
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(api_->GetScale(kRaftKvs, made->key()), 3);
  auto scaled = api_->SetScale(kRaftKvs, made->key(), 5);
  EXPECT_TRUE(scaled) << scaled.error().ToString();
  EXPECT_EQ(api_->Get(kRaftKvs, made->key())->Int("/spec/replicas"), 5);
  auto refused = api_->SetScale(kRaftKvs, made->key(), 10);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("less than or equal to 9"), std::string::npos)
      << refused.error().message;
}

TEST_F(RaftKvSchema, StatusTakesAllThatTheOperatorReports) {
  auto made = Create("/replicas", 3);
  ASSERT_TRUE(made) << made.error().ToString();
  const Json status = {{"observedGeneration", 1},
                       {"clusterID", "00000000000000c1"},
                       {"configIndex", 5},
                       {"joint", true},
                       {"leader", "db-0"},
                       {"voters", 3},
                       {"learners", 1},
                       {"ready", 3},
                       {"version", "0.1.0"},
                       {"phase", "Scaling"},
                       {"selector", "raftkv.dev/cluster=db"},
                       {"members",
                        {{{"slot", 0},
                          {"memberID", "00000000000000a1"},
                          {"role", "leader"},
                          {"lag", 0},
                          {"version", "0.1.0"},
                          {"healthy", true},
                          {"pod", "db-0"},
                          {"claimUID", "u"}}}},
                       {"operation",
                        {{"type", "Scale"},
                         {"step", "AddLearners"},
                         {"since", "2026-01-01T00:00:00Z"},
                         {"stepSince", "2026-01-01T00:00:01Z"},
                         {"target", 5},
                         {"clusterID", "00000000000000c1"},
                         {"seed", "00000000000000a1"},
                         {"slot", 3},
                         {"oldMember", "00000000000000a1"},
                         {"newMember", "00000000000000a2"}}},
                       {"conditions",
                        {{{"type", "Available"},
                          {"status", "True"},
                          {"observedGeneration", 1},
                          {"lastTransitionTime", "2026-01-01T00:00:00Z"},
                          {"reason", "QuorumHealthy"},
                          {"message", "3 of 3"}}}}};
  auto patched = api_->Patch(kRaftKvs, made->key(), PatchType::kMerge, {{"status", status}},
                             {.subresource = "status"});
  ASSERT_TRUE(patched) << patched.error().ToString();
  EXPECT_EQ(patched->At("/status"), status);
  EXPECT_EQ(patched->generation(), made->generation()) << "status is not spec";
}

TEST_F(RaftKvSchema, EveryFieldIsDescribed) {
  int fields = 0;
  Walk("", Schema(), [&](const std::string& path, const Json& schema) {
    // Elements are described with their list; metadata is Kubernetes' own.
    if (path.ends_with("[]") || path.ends_with("{}") || path == "metadata") return;
    ++fields;
    const std::string text = schema.value("description", "");
    EXPECT_FALSE(text.empty()) << path;
    if (!text.empty()) {
      EXPECT_EQ(text.back(), '.') << path << ": " << text;
    }
  });
  EXPECT_GT(fields, 200);
  // What the server publishes, which is what kubectl explain shows, is the same schema.
  auto stored = api_->Get(resources::kCustomResourceDefinitions, {"", "raftkvs.raftkv.dev"});
  ASSERT_TRUE(stored) << stored.error().ToString();
  EXPECT_EQ(stored->At("/spec/versions/0/schema/openAPIV3Schema/properties/spec/description"),
            Schema().at("properties").at("spec").at("description"));
}

}  // namespace
}  // namespace raftkv::kube
