// A whole operator process (raftkv-mirror) on a real API server: it works, it hands over, and at
// rest it costs nothing.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "operator/kube/ownership.h"
#include "tests/kube/cluster.h"
#include "tests/kube/operator_process.h"

namespace raftkv::kube {
namespace {

using std::chrono::seconds;

class MirrorProcess : public OperatorProcess {
 public:
  MirrorProcess(const std::string& ns, const std::string& identity, int port)
      : OperatorProcess({RAFTKV_MIRROR, ns, identity, "127.0.0.1:" + std::to_string(port)}, port) {}
};

class RuntimeOperator : public ClusterTest {
 protected:
  Object Source(const std::string& name, const std::string& value) {
    Object map = ConfigMap(name, value);
    map.Set("/metadata/labels/mirror", "yes");
    return map;
  }
  std::string Value(const std::string& name) {
    auto map = api_->Get(resources::kConfigMaps, {ns_, name});
    return map ? std::string(map->String("/data/value")) : "";
  }
  std::string Holder() {
    auto lease = api_->Get(resources::kLeases, {ns_, "raftkv-mirror"});
    return lease ? std::string(lease->String("/spec/holderIdentity")) : "?";
  }
};

TEST_F(RuntimeOperator, KeepsTheDesiredStateAndHandsOverOnSigterm) {
  MirrorProcess first(ns_, "first", 18471);
  ASSERT_TRUE(Soon([&] { return Holder() == "first"; }));
  MirrorProcess second(ns_, "second", 18472);
  ASSERT_TRUE(Soon([&] { return second.Get("/readyz").ends_with("\nok\n"); }))
      << "a replica that waits for the lease is ready";

  ASSERT_TRUE(api_->Apply(resources::kConfigMaps, Source("a", "1")));
  EXPECT_TRUE(Soon([&] { return Value("a-mirror") == "1"; }));
  ASSERT_TRUE(api_->Apply(resources::kConfigMaps, Source("a", "2")));
  EXPECT_TRUE(Soon([&] { return Value("a-mirror") == "2"; }));
  // Drift and loss of what it owns are repaired.
  ASSERT_TRUE(api_->Patch(resources::kConfigMaps, {ns_, "a-mirror"}, PatchType::kMerge,
                          {{"data", {{"value", "drift"}}}}));
  EXPECT_TRUE(Soon([&] { return Value("a-mirror") == "2"; }));
  auto mirror = api_->Get(resources::kConfigMaps, {ns_, "a-mirror"});
  ASSERT_TRUE(mirror);
  ASSERT_TRUE(api_->Delete(resources::kConfigMaps, mirror->key(), DeleteOptions::For(*mirror)));
  EXPECT_TRUE(Soon([&] { return Value("a-mirror") == "2"; }));

  EXPECT_EQ(first.End(SIGTERM), 0);
  EXPECT_TRUE(Soon([&] { return Holder() == "second"; }));
  ASSERT_TRUE(api_->Apply(resources::kConfigMaps, Source("a", "3")));
  EXPECT_TRUE(Soon([&] { return Value("a-mirror") == "3"; }));
  EXPECT_EQ(second.End(SIGTERM), 0);
  EXPECT_EQ(Holder(), "");
}

TEST_F(RuntimeOperator, AKilledOneIsReplacedAndOneWhoseLeaseIsTakenExits) {
  MirrorProcess first(ns_, "first", 18473);
  ASSERT_TRUE(Soon([&] { return Holder() == "first"; }));
  first.End(SIGKILL);
  MirrorProcess second(ns_, "second", 18474);
  EXPECT_TRUE(Soon([&] { return Holder() == "second"; }));
  // Taken by force, as by a person or a broken clock.
  auto taken = UpdateWithRetry(*api_, Timing::System(), resources::kLeases, {ns_, "raftkv-mirror"},
                               "", [](Object& lease) {
                                 lease.Set("/spec/holderIdentity", "thief");
                                 return true;
                               });
  ASSERT_TRUE(taken);
  EXPECT_TRUE(Soon([&] { return second.Get("/healthz").empty(); }));
  EXPECT_EQ(second.End(0), 1);
  EXPECT_EQ(Holder(), "thief");
}

// 100 sources with their mirrors, 300 pods: what the operator of 100 RaftKV resources has in its
// caches.
TEST_F(RuntimeOperator, CostsNothingAtRest) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(api_->Apply(resources::kConfigMaps,
                            Source("map-" + std::to_string(i), std::string(500, 'x'))));
  }
  Json container = {{"name", "raftkv"},
                    {"image", "raftkv-node:none"},
                    {"args", Json::array({"--data-dir", "/data", "--start-mode", "blank"})},
                    {"resources", {{"requests", {{"cpu", "100m"}, {"memory", "128Mi"}}}}}};
  for (const char* name : {"A", "B", "C", "D", "E"}) {
    container["env"].push_back({{"name", name}, {"value", std::string(40, 'v')}});
  }
  for (int i = 0; i < 300; ++i) {
    Object pod(resources::kPods, {ns_, "pod-" + std::to_string(i)});
    pod.Set("/metadata/labels/app.kubernetes.io~1name", "raftkv");
    pod.Set("/spec", {{"schedulerName", "nobody"}, {"containers", Json::array({container})}});
    // The namespace's service account is made a moment after the namespace.
    ASSERT_TRUE(Soon([&] { return api_->Create(resources::kPods, pod).has_value(); }));
  }
  MirrorProcess mirror(ns_, "one", 18475);
  ASSERT_TRUE(Soon([&] { return Value("map-99-mirror") != ""; }));
  ASSERT_TRUE(Soon([&] {
    return mirror.Metric("workqueue_depth") == 0 &&
           mirror.Metric("controller_runtime_active_workers") == 0;
  }));
  std::this_thread::sleep_for(seconds(3));  // the events' series

  const std::string requests = "rest_client_requests_total";
  double writes = mirror.Metric(requests, "\"PATCH\"") + mirror.Metric(requests, "\"POST\"");
  double reads = mirror.Metric(requests, "\"GET\"");
  double cpu = mirror.Metric("process_cpu_seconds_total");
  std::this_thread::sleep_for(seconds(20));
  EXPECT_EQ(mirror.Metric(requests, "\"PATCH\"") + mirror.Metric(requests, "\"POST\""), writes);
  EXPECT_EQ(mirror.Metric(requests, "\"GET\""), reads);
  double resident_mb = mirror.Metric("process_resident_memory_bytes") / (1 << 20);
  double core = (mirror.Metric("process_cpu_seconds_total") - cpu) / 20;
  std::printf("at rest: %.1f MB resident, %.2f %% of a core, %.0f threads\n", resident_mb,
              core * 100, mirror.Metric("process_threads"));
  EXPECT_LE(resident_mb, 30);
  EXPECT_LE(core, 0.01);  // of its own processor time, which others on this machine do not add to
  EXPECT_EQ(mirror.End(SIGTERM), 0);
}

}  // namespace
}  // namespace raftkv::kube
