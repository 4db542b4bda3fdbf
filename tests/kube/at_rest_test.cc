// What raftkv-operator costs with 100 RaftKV of three members when there is nothing to do: the real
// program and the real API server with its controllers; the members are stand-ins that are written
// to all the time, and their pods have no node.
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/kube/operator_process.h"
#include "tests/kube/schema_test.h"
#include "tests/kube/stand_in_nodes.h"

namespace raftkv::kube {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr int kClusters = 100;
constexpr int kMembers = 3;
constexpr int kPort = 18476;
constexpr double kMostMegabytes = 30;
constexpr int kWatches = 9;
constexpr double kMostOfACore = 0.01;
constexpr seconds kInterval(20);
// Two rounds of looks at each cluster, whenever it begins.
constexpr seconds kCpuInterval(60);
constexpr int kMostIntervals = 5;

double SecondsSince(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

class AtRest : public RaftKvSchema {
 protected:
  static constexpr const char* kPrefix = "rest-";
  static std::string NameOf(int cluster) { return kPrefix + std::to_string(cluster); }

  // As the kubelet would.
  void RunPods() {
    auto pods = api_->List(resources::kPods, {.ns = ns_});
    ASSERT_TRUE(pods) << pods.error().ToString();
    for (const Object& pod : pods->items) {
      if (!pod.String("/status/podIP").empty()) continue;
      const std::string name(pod.name());  // rest-CLUSTER-SLOT
      const size_t dash = name.rfind('-');
      const std::string ip = StandInNodes::Address(std::stoi(name.substr(5, dash - 5)),
                                                   std::stoi(name.substr(dash + 1)));
      const Json status = {{"phase", "Running"},
                           {"podIP", ip},
                           {"podIPs", {{{"ip", ip}}}},
                           {"conditions", {{{"type", "Ready"}, {"status", "True"}}}}};
      (void)api_->Patch(resources::kPods, pod.key(), PatchType::kStrategic, {{"status", status}},
                        {.subresource = "status"});
    }
  }
  int Available() {
    auto all = api_->List(kRaftKvs, {.ns = ns_});
    if (!all) return 0;
    return static_cast<int>(std::ranges::count_if(all->items, [](const Object& one) {
      return one.String("/status/phase") == "Available" && one.Int("/status/voters") == kMembers &&
             one.Int("/status/ready") == kMembers;
    }));
  }
  // What the operator has done until now.
  struct Sample {
    Clock::time_point at;
    double writes = -1;  // but of what has been there, as the Lease
    double updates = 0;
    double reads = 0;
    double cpu_seconds = 0;
    std::vector<std::string> versions;
  };
  Sample Take(const OperatorProcess& process) {
    const auto calls = [&](const char* method) {
      return process.Metric("rest_client_requests_total", method);
    };
    Sample out{.versions = Versions()};
    out.at = Clock::now();
    out.writes = calls("\"PATCH\"") + calls("\"POST\"") + calls("\"DELETE\"");
    out.updates = calls("\"PUT\"");
    out.reads = calls("\"GET\"");
    out.cpu_seconds = process.Metric("process_cpu_seconds_total");
    return out;
  }
  // Of everything that the operator writes.
  std::vector<std::string> Versions() {
    std::vector<std::string> out;
    for (const Resource& kind : {kRaftKvs, resources::kStatefulSets, resources::kServices,
                                 resources::kClaims, resources::kServiceAccounts,
                                 resources::kNetworkPolicies, resources::kDisruptionBudgets}) {
      auto all = api_->List(kind, {.ns = ns_});
      EXPECT_TRUE(all) << all.error().ToString();
      for (const Object& one : all->items) {
        out.push_back(std::string(kind.plural) + "/" + std::string(one.name()) + " " +
                      std::string(one.resource_version()));
      }
    }
    std::ranges::sort(out);
    return out;
  }
};

TEST_F(AtRest, AHundredRaftKvCostNoWritesNoPollingAndLittleMemory) {
  const StandInNodes nodes(kPrefix, kClusters, kMembers);
  ASSERT_EQ(nodes.error(), "");
  OperatorProcess process(
      {RAFTKV_OPERATOR, "--namespace=" + ns_, "--lease-namespace=" + ns_,
       "--health-address=127.0.0.1:" + std::to_string(kPort), "--log-level=warning"},
      kPort);
  const auto began = Clock::now();
  for (int i = 0; i < kClusters; ++i) {
    Object one(kRaftKvs, {ns_, NameOf(i)});
    // No node takes its pods, and nobody makes its volumes.
    one.Set("/spec", {{"replicas", kMembers},
                      {"storage", {{"className", "nobody"}}},
                      {"pod", {{"nodeSelector", {{"raftkv.dev/nobody", "yes"}}}}}});
    ASSERT_TRUE(api_->Create(kRaftKvs, one));
  }
  while (Available() < kClusters && Clock::now() - began < seconds(300)) {
    RunPods();
    std::this_thread::sleep_for(seconds(1));
  }
  ASSERT_EQ(Available(), kClusters);
  std::printf("%d RaftKV of %d members are available after %.0f s\n", kClusters, kMembers,
              SecondsSince(began));
  // A repeated event of the beginning may be counted half a minute later, and Kubernetes' own
  // controllers may have something to say of the objects yet: of several intervals the first
  // without any of that is looked at.
  Sample before;
  Sample after = Take(process);
  const auto at_rest = [&] {
    return after.writes == before.writes && after.versions == before.versions;
  };
  for (int interval = 0; interval < kMostIntervals && !at_rest(); ++interval) {
    before = std::move(after);
    std::this_thread::sleep_for(kInterval);
    after = Take(process);
  }
  const double took = std::chrono::duration<double>(after.at - before.at).count();
  EXPECT_EQ(after.writes, before.writes);
  std::vector<std::string> changed;
  std::ranges::set_difference(after.versions, before.versions, std::back_inserter(changed));
  EXPECT_TRUE(changed.empty()) << ::testing::PrintToString(changed);
  EXPECT_EQ(after.versions.size(), before.versions.size());
  // Each watch ends after some minutes and is begun again; each look at each cluster would be more.
  EXPECT_LE(after.reads - before.reads, kWatches) << "it polls";
  // The Lease is renewed each two seconds.
  EXPECT_LE(after.updates - before.updates, took / 2 + 2);
  // Time on a processor: a busy machine gives it later, and not much more of it.
  std::this_thread::sleep_until(before.at + kCpuInterval);
  const double cpu_seconds = process.Metric("process_cpu_seconds_total") - before.cpu_seconds;
  const double of_a_core = cpu_seconds / SecondsSince(before.at);
  const double resident = process.Metric("process_resident_memory_bytes") / (1 << 20);
  std::printf("at rest: %.1f MB resident, %.2f %% of a core, %.0f threads\n", resident,
              of_a_core * 100, process.Metric("process_threads"));
  EXPECT_GT(cpu_seconds, 0);
  EXPECT_LE(of_a_core, kMostOfACore);
  EXPECT_LE(resident, kMostMegabytes);
  EXPECT_EQ(process.End(SIGTERM), 0);
  // Nobody is left to take them off, and the namespace could not go.
  for (int i = 0; i < kClusters; ++i) {
    (void)api_->Patch(kRaftKvs, {ns_, NameOf(i)}, PatchType::kMerge,
                      {{"metadata", {{"finalizers", nullptr}}}});
  }
}

}  // namespace
}  // namespace raftkv::kube
