// A Reconciler of the three members of test_cluster.h, on caches that are filled before each look.
#pragma once

#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/raftkv/reconciler.h"
#include "operator/raftkv/test_cluster.h"
#include "operator/raftkv/view.h"

namespace raftkv::op {

// As the API server answers.
inline kube::ApiResult<void> Refuse(int http_status, std::string message) {
  return std::unexpected(kube::ErrorFromAnswer(
      http_status, Json{{"kind", "Status"}, {"message", std::move(message)}}.dump(), {}));
}

class Reconciling : public ThreeMembers {
 protected:
  Reconciling()
      : metrics_(&registry_),
        events_(&event_api_, {.controller = "c", .instance = "i"}, &kube::Timing::System(), 1),
        reconciler_(Parts(&kube::Timing::System())) {}

  ReconcilerParts Parts(kube::Timing* timing) {
    return {.api = &api_,
            .nodes = &nodes_,
            .events = &events_,
            .metrics = &metrics_,
            .timing = timing,
            .caches = caches_,
            .settings = settings_,
            .epoch = [] { return 4; },
            .raise_epoch = [this](uint64_t epoch) { raised_ = epoch; },
            .watch_leader = [this](const kube::Key&, const std::string& host) { leader_ = host; }};
  }

  auto Reconcile() {
    FillCaches();  // with all that has been written
    return reconciler_.Reconcile({"ns", "store"}, {});
  }
  // Whatever else is in the way, the leader is marked and the budget is there.
  void ExpectMarkAndBudgetToComeBack() {
    api_.Patch(resources::kPods, {"ns", "store-1"}, kube::PatchType::kMerge,
               {{"metadata", {{"labels", {{kRoleLabel, nullptr}}}}}});
    ASSERT_TRUE(api_.Delete(resources::kDisruptionBudgets, {"ns", "store"},
                            {.uid = UidOf(resources::kDisruptionBudgets, "store")}));
    Settle();
    EXPECT_EQ(api_.Get(resources::kPods, {"ns", "store-1"})->Label(kRoleLabel), "leader");
    EXPECT_TRUE(Exists(resources::kDisruptionBudgets, "store"));
  }
  // Until nothing is written any more.
  void Settle() {
    for (int i = 0; i < 50; ++i) {
      size_t before = Writes();
      ASSERT_TRUE(Reconcile());
      if (Writes() == before) return;
    }
    FAIL() << "there is always something to write";
  }
  // All pods are ready, and of a template that is not the newest; the next act deletes one.
  void BeginRoll() {
    for (auto& [id, member] : configuration_.members) member.match = configuration_.config_index;
    Settle();
    for (int slot = 0; slot < 3; ++slot) {
      api_.Patch(resources::kPods, {"ns", PodName("store", slot)}, kube::PatchType::kMerge,
                 {{"metadata", {{"labels", {{"controller-revision-hash", "old"}}}}},
                  {"spec", {{"nodeName", "node1"}}},
                  {"status", {{"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}});
    }
    api_.Patch(resources::kStatefulSets, {"ns", "store"}, kube::PatchType::kMerge,
               {{"metadata", {{"generation", 1}}},
                {"status", {{"observedGeneration", 1}, {"updateRevision", "new"}}}});
  }
  size_t Writes() const {
    auto calls = api_.calls();
    return static_cast<size_t>(std::ranges::count_if(
        calls, [](const std::string& call) { return !call.starts_with("GET "); }));
  }
  std::vector<std::string> Told() {
    EXPECT_TRUE(events_.Flush(std::chrono::seconds(5)));
    std::vector<std::string> reasons;
    for (const Object& event : event_api_.All(kube::resources::kEvents)) {
      reasons.emplace_back(event.String("/reason"));
    }
    return reasons;
  }
  // The notes of the events of this reason.
  std::string Notes(const std::string& reason) {
    EXPECT_TRUE(events_.Flush(std::chrono::seconds(5)));
    std::string notes;
    for (const Object& event : event_api_.All(kube::resources::kEvents)) {
      if (event.String("/reason") == reason) notes += event.String("/note");
    }
    return notes;
  }
  // Reason and message of the condition.
  std::string Degraded() {
    const Object resource = *api_.Get(kRaftKvs, {"ns", "store"});
    const Json degraded = EntriesOf(resource.At("/status/conditions"), "type", "Degraded");
    return degraded.at(0).value("reason", "") + ": " + degraded.at(0).value("message", "");
  }
  std::string Metrics() { return prometheus::TextSerializer().Serialize(registry_.Collect()); }
  // Reason, status and value of each series of a condition.
  std::string ConditionsInMetrics(const std::string& type) {
    std::string out;
    for (const auto& family : registry_.Collect()) {
      if (family.name != "raftkv_operator_cluster_status_condition") continue;
      for (const auto& metric : family.metric) {
        std::map<std::string, std::string> labels;
        for (const auto& label : metric.label) labels[label.name] = label.value;
        if (labels["condition"] != type) continue;
        out += labels["reason"] + " " + labels["status"] + " " +
               std::to_string(static_cast<int>(metric.gauge.value)) + "\n";
      }
    }
    return out;
  }

  prometheus::Registry registry_;
  MemoryApi event_api_;
  ClusterMetrics metrics_;
  kube::EventRecorder events_;
  Reconciler reconciler_;
  uint64_t raised_ = 0;
  std::string leader_;
};

}  // namespace raftkv::op
