#include "operator/raftkv/resource.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/kube/conditions.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Object;

constexpr int64_t kNow = 1'800'000'000'000'000;  // 2027-01-15T08:00:00Z

Object Resource(Json spec, Json status = nullptr) {
  Object out(kRaftKvs, {"ns", "store"});
  out.Set("/metadata/uid", "u1");
  out.Set("/metadata/generation", 7);
  out.Set("/spec", std::move(spec));
  if (!status.is_null()) out.Set("/status", std::move(status));
  return out;
}

ClusterSpec Readable(const Object& resource) {
  Status wrong;
  return ReadReadable(resource, &wrong);
}

TEST(DurationText, AsGoWritesThem) {
  EXPECT_EQ(ParseDuration("5m"), std::chrono::minutes(5));
  EXPECT_EQ(ParseDuration("1h30m"), std::chrono::minutes(90));
  EXPECT_EQ(ParseDuration("1.5s"), std::chrono::milliseconds(1500));
  EXPECT_EQ(ParseDuration("100ms"), std::chrono::milliseconds(100));
  for (const char* bad : {"", "5", "m", "5x", "-5m", "5m 3s", "1e400h"}) {
    EXPECT_EQ(ParseDuration(bad), std::nullopt) << bad;
  }
}

TEST(Spec, DefaultsAreTheSchemas) {
  auto spec = ReadSpec(Resource(Json::object()));
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->replicas, 3);
  EXPECT_EQ(spec->storage_bytes, 10ULL << 30);
  EXPECT_EQ(spec->on_delete, Retention::kRetain);
  EXPECT_EQ(spec->on_scale_down, Retention::kDelete);
  EXPECT_EQ(spec->strategy, UpdateStrategy::kRollingUpdate);
  EXPECT_TRUE(spec->replacement_enabled);
  EXPECT_EQ(spec->replacement_after, std::chrono::minutes(5));
  EXPECT_TRUE(spec->disruption_budget);
  EXPECT_FALSE(spec->restore);
  EXPECT_FALSE(spec->paused);
  EXPECT_EQ(spec->progress_deadline, std::chrono::minutes(10));
}

TEST(Spec, EveryFieldIsRead) {
  auto spec = ReadSpec(Resource(
      {{"replicas", 5},
       {"storage",
        {{"size", "2Gi"}, {"retention", {{"onDelete", "Delete"}, {"onScaleDown", "Retain"}}}}},
       {"update", {{"strategy", "OnDelete"}, {"paused", true}}},
       {"replacement", {{"enabled", false}, {"after", "30s"}}},
       {"disruptionBudget", {{"enabled", false}}},
       {"bootstrap", {{"mode", "Restore"}}},
       {"paused", true},
       {"progressDeadlineSeconds", 60}}));
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->replicas, 5);
  EXPECT_EQ(spec->storage_bytes, 2ULL << 30);
  EXPECT_EQ(spec->on_delete, Retention::kDelete);
  EXPECT_EQ(spec->on_scale_down, Retention::kRetain);
  EXPECT_EQ(spec->strategy, UpdateStrategy::kOnDelete);
  EXPECT_TRUE(spec->update_paused);
  EXPECT_FALSE(spec->replacement_enabled);
  EXPECT_EQ(spec->replacement_after, std::chrono::seconds(30));
  EXPECT_FALSE(spec->disruption_budget);
  EXPECT_TRUE(spec->restore);
  EXPECT_TRUE(spec->paused);
  EXPECT_EQ(spec->progress_deadline, std::chrono::minutes(1));
}

TEST(Spec, AWordThatIsNotKnownKeepsTheData) {
  Json retention = {{"onDelete", "Shred"}, {"onScaleDown", "Shred"}};
  const Object resource = Resource({{"storage", {{"retention", retention}}}});
  EXPECT_FALSE(ReadSpec(resource)) << "and is said";
  const ClusterSpec spec = Readable(resource);
  EXPECT_EQ(spec.on_delete, Retention::kRetain);
  EXPECT_EQ(spec.on_scale_down, Retention::kRetain);
}

TEST(Spec, WhatCannotBeUnderstoodIsNamed) {
  auto size = ReadSpec(Resource({{"storage", {{"size", "big"}}}}));
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().message(),
            "spec.storage.size is 'big', which is not a quantity such as 10Gi");
  EXPECT_FALSE(ReadSpec(Resource({{"replicas", 12}})));
  EXPECT_FALSE(ReadSpec(Resource({{"replacement", {{"after", "soon"}}}})));
  // Of another type than is known, which was read as the default: three replicas.
  EXPECT_FALSE(ReadSpec(Resource({{"replicas", "many"}})));
  EXPECT_FALSE(ReadSpec(Resource({{"update", {{"strategy", "Canary"}}}})));
  EXPECT_FALSE(ReadSpec(Resource({{"bootstrap", {{"mode", "Clone"}}}})));
  EXPECT_FALSE(ReadSpec(Resource({{"paused", "no"}})));
  EXPECT_FALSE(ReadSpec(Resource({{"progressDeadlineSeconds", "1h"}})));
}

TEST(Spec, WhatCanBeReadIsReadAndTheRestChangesNothing) {
  const ClusterSpec spec = Readable(Resource({{"replicas", "many"},
                                              {"storage", {{"size", "big"}}},
                                              {"update", {{"strategy", "Canary"}}},
                                              {"replacement", {{"after", "30s"}}},
                                              {"paused", true}}));
  EXPECT_LT(spec.replicas, 0);
  EXPECT_EQ(spec.storage_bytes, 0U);
  EXPECT_EQ(spec.strategy, UpdateStrategy::kOnDelete);
  EXPECT_EQ(spec.replacement_after, std::chrono::seconds(30));
  EXPECT_TRUE(spec.paused);
}

// A newer definition wrote them otherwise, and the operator went on as if they were not there: it
// acted although it was paused, deleted claims, gave members up after the default's five minutes.
TEST(Spec, ASwitchThatCannotBeReadIsOff) {
  const Object resource = Resource({{"paused", "yes"},
                                    {"storage", {{"retention", "Retain"}}},
                                    {"update", {{"paused", "yes"}}},
                                    {"replacement", {{"enabled", "Manual"}}}});
  EXPECT_FALSE(ReadSpec(resource));
  const ClusterSpec spec = Readable(resource);
  EXPECT_TRUE(spec.paused);
  EXPECT_EQ(spec.on_scale_down, Retention::kRetain);
  EXPECT_EQ(spec.on_delete, Retention::kRetain);
  EXPECT_TRUE(spec.update_paused);
  EXPECT_FALSE(spec.replacement_enabled);
  EXPECT_FALSE(Readable(Resource({{"replacement", {{"after", "30d"}}}})).replacement_enabled);
  for (const Json& other :
       {Json{{"image", {{"tag", "v2"}}}}, Json{{"version", 2}}, Json{{"update", "OnDelete"}}}) {
    EXPECT_FALSE(ReadSpec(Resource(other))) << other;
  }
  EXPECT_EQ(Readable(Resource({{"update", "x"}})).strategy, UpdateStrategy::kOnDelete);
}

TEST(Status, AnOperationIsReadBackAsItWasWritten) {
  PlannedStatus status;
  status.cluster = 0xc1;
  status.operation = {.type = Operation::Type::kReplace,
                      .step = "AddLearner",
                      .since_s = 1'799'999'000,
                      .step_since_s = 1'799'999'500,
                      .target = 3,
                      .cluster = 0xc1,
                      .seed = 0xfedcba9876543210,
                      .slot = 0,
                      .old_member = 0xa1,
                      .new_member = 0xffffffffffffffff};
  Json json = StatusToJson(status, Resource(Json::object()), kNow);
  EXPECT_EQ(json["clusterID"], "00000000000000c1");
  EXPECT_EQ(json["operation"]["type"], "Replace");
  EXPECT_EQ(json["operation"]["newMember"], "ffffffffffffffff");
  Object stored = Resource(Json::object(), json);
  EXPECT_EQ(ReadOperation(stored), status.operation);
  EXPECT_EQ(ReadCluster(stored), 0xc1U);

  EXPECT_FALSE(json.contains("initializing"));
  status.initializing = {0xa1, 0xffffffffffffffff};
  json = StatusToJson(status, stored, kNow);
  EXPECT_EQ(json["initializing"], Json::array({"00000000000000a1", "ffffffffffffffff"}));
  EXPECT_EQ(ReadInitializing(Resource(Json::object(), json)), status.initializing);

  status.operation = {};
  json = StatusToJson(status, stored, kNow);
  EXPECT_FALSE(json.contains("operation"));
  EXPECT_EQ(ReadOperation(Resource(Json::object(), json)), Operation{});
}

TEST(Status, NothingIsReadFromWhatOthersWrote) {
  Object odd = Resource(Json::object(),
                        {{"clusterID", 5}, {"operation", {{"type", "Dance"}, {"slot", "x"}}}});
  EXPECT_EQ(ReadCluster(odd), 0U);
  EXPECT_EQ(ReadOperation(odd), Operation{});
  EXPECT_TRUE(ReadInitializing(odd).empty());
}

TEST(Status, ConditionsKeepTheirTimeUntilTheyFlip) {
  PlannedStatus status{.observed_generation = 7};
  status.conditions = {{"Available", true, "QuorumHealthy", "all three"}};
  Json first = StatusToJson(status, Resource(Json::object()), kNow);
  Object stored = Resource(Json::object(), first);
  EXPECT_EQ(StatusToJson(status, stored, kNow + 60'000'000), first);

  status.conditions[0].reason = "QuorumAvailable";
  Json second = StatusToJson(status, stored, kNow + 60'000'000);
  EXPECT_EQ(second["conditions"][0]["lastTransitionTime"], "2027-01-15T08:00:00Z");
  EXPECT_EQ(second["conditions"][0]["observedGeneration"], 7);
  status.conditions[0].status = false;
  Json third = StatusToJson(status, stored, kNow + 60'000'000);
  EXPECT_EQ(third["conditions"][0]["lastTransitionTime"], "2027-01-15T08:01:00Z");
}

TEST(Status, MembersAndSelector) {
  PlannedStatus status;
  status.members = {{.slot = 1,
                     .member = 0xb2,
                     .role = "voter",
                     .lag = 4,
                     .version = "0.1.0",
                     .healthy = true,
                     .pod = "store-1",
                     .claim_uid = "c"},
                    {.member = 0xd4, .role = "unknown"}};
  Json json = StatusToJson(status, Resource(Json::object()), kNow);
  EXPECT_EQ(json["selector"], "app.kubernetes.io/name=raftkv,app.kubernetes.io/instance=store");
  Json expected = {{"slot", 1},          {"memberID", "00000000000000b2"},
                   {"role", "voter"},    {"lag", 4},
                   {"version", "0.1.0"}, {"healthy", true},
                   {"pod", "store-1"},   {"claimUID", "c"}};
  EXPECT_EQ(json["members"][0], expected);
  EXPECT_EQ(json["members"][1]["slot"], -1) << "as the definition says of one without a slot";
  EXPECT_FALSE(json["members"][1].contains("lag")) << "nobody knows it";
  const std::map<MemberId, uint64_t> lags = {{0xb2, 4}};
  EXPECT_EQ(ReadLags(Resource(Json::object(), json)), lags);
  EXPECT_TRUE(ReadLags(Resource(Json::object())).empty());
}

}  // namespace
}  // namespace raftkv::op
