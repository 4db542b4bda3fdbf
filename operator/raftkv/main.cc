// raftkv-operator: looks after the RaftKV resources of some namespaces or of a whole cluster.
//
// Exit statuses: 0 stopped as asked, 1 lost its lease or could not start, 2 wrong arguments.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/hex_id.h"
#include "base/log.h"
#include "base/random.h"
#include "base/version.h"
#include "operator/kube/manager.h"
#include "operator/kube/process.h"
#include "operator/raftkv/leader_watch.h"
#include "operator/raftkv/reconciler.h"
#include "operator/raftkv/resource.h"
#include "operator/raftkv/view.h"

namespace raftkv::op {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr const char* kInstanceLabel = "app.kubernetes.io/instance";

struct Options {
  std::vector<std::string> namespaces;  // none: all
  std::string lease_namespace;
  std::string lease_name = "raftkv-operator";
  std::string image = "raftkv-node:" + std::string(Version());
  std::string health_address = ":8081";
  std::string kubeconfig;
  std::string log_level = "info";
  std::string log_format = "json";
  bool read_nodes = true;
  int workers = 4;
};

void AddOptions(CLI::App& app, Options& options) {
  app.add_option("--namespace", options.namespaces,
                 "Look after the RaftKV resources of these namespaces alone, separated by commas. "
                 "Empty: all namespaces.");
  app.add_flag("--read-nodes,!--no-read-nodes", options.read_nodes,
               "Watch Kubernetes' nodes, which takes a ClusterRole, to tell a lost node from a "
               "silent pod. Without it members on lost nodes are not replaced by themselves.")
      ->capture_default_str();
  app.add_option("--image", options.image,
                 "Image of the nodes whose RaftKV names none; spec.version replaces its tag.")
      ->capture_default_str();
  app.add_option("--lease-namespace", options.lease_namespace,
                 "Namespace of the Lease by which one of several operators is elected, and of the "
                 "operator's own pods. Default: the pod's namespace, else 'default'.");
  app.add_option("--lease-name", options.lease_name,
                 "Name of that Lease. Its number of transitions is the epoch that fences "
                 "changes of a membership.")
      ->capture_default_str();
  app.add_option("--health-address", options.health_address,
                 "Where /healthz, /livez, /readyz and /metrics listen. Empty: nowhere.")
      ->capture_default_str();
  app.add_option("--kubeconfig", options.kubeconfig,
                 "How to reach the API server. Default: $KUBECONFIG, else the pod's service "
                 "account, else ~/.kube/config.");
  app.add_option("--workers", options.workers, "Resources that are worked on at the same time.")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "debug, info, warning, error or off")
      ->capture_default_str();
  app.add_option("--log-format", options.log_format, "json or text")->capture_default_str();
  app.set_version_flag("--version", std::string(Version()), "Print the version and end.");
  app.footer(
      "Runs as long as it holds the Lease; on SIGTERM it finishes what it does, releases the "
      "Lease and ends with status 0. Without the Lease it waits with warm caches.");
}

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

// Unique for each process: a restarted one must not take itself for its predecessor.
std::string Identity() { return HostName() + "_" + HexId(SystemEntropy() | 1); }

kube::ReflectorOptions Ours(std::function<void(kube::Object&)> transform = nullptr) {
  return {.label_selector = "app.kubernetes.io/name=raftkv", .transform = std::move(transform)};
}

// Of nodes only whether they are ready is of interest; they have much more to tell.
void OnlyReadiness(kube::Object& node) {
  kube::Json conditions = EntriesOf(node.At("/status/conditions"), "type", "Ready");
  kube::Object small(kube::resources::kNodes, {"", std::string(node.name())});
  small.Set("/metadata/uid", std::string(node.uid()));
  small.Set("/metadata/resourceVersion", std::string(node.resource_version()));
  small.Set("/status/conditions", std::move(conditions));
  node = std::move(small);
}

bool ReadinessChanged(const kube::Change& change) {
  if (change.before == nullptr || change.after == nullptr) return true;
  auto status = [](const kube::Object& node) -> std::string_view {
    return node.String("/status/conditions/0/status");  // the one that OnlyReadiness leaves
  };
  return status(*change.before) != status(*change.after);
}

class Operator {
 public:
  Operator(kube::Manager* manager, const Options& options)
      : metrics_(&manager->registry()),
        caches_(Watch(manager, options)),
        reconciler_(
            {.api = &manager->api(),
             .nodes = &nodes_,
             .events = &manager->events(),
             .metrics = &metrics_,
             .timing = &manager->timing(),
             .caches = caches_,
             .settings = {.default_image = options.image,
                          .operator_namespace = options.lease_namespace},
             .epoch = [manager] { return manager->term(); },
             .raise_epoch = [manager](uint64_t epoch) { manager->RaiseTerm(epoch); },
             .watch_leader = [this](const kube::Key& key,
                                    const std::string& host) { leaders_->Set(key, host); }}) {
    kube::Controller& controller =
        manager->Add({.name = "raftkv", .workers = options.workers},
                     [this](const kube::Key& key, std::stop_token stop) {
                       return reconciler_.Reconcile(key, std::move(stop));
                     });
    leaders_ = std::make_unique<LeaderWatch>(
        &http_, [&controller](const kube::Key& key) { controller.queue().Add(key); });
    controller.Watch(caches_.clusters, kube::ToSelf(), kube::OnlySpecChanges());
    controller.Watch(caches_.pods, kube::ToLabel(kInstanceLabel));
    controller.Watch(caches_.claims, kube::ToLabel(kInstanceLabel));
    for (kube::Cache* cache : {caches_.stateful_sets, caches_.services, caches_.accounts,
                               caches_.policies, caches_.budgets}) {
      controller.Watch(cache, kube::ToController(kRaftKvs));
    }
    if (caches_.nodes == nullptr) return;
    controller.Watch(
        caches_.nodes, [this](const kube::Object& node) { return OnNode(node); }, ReadinessChanged);
  }

 private:
  static Caches Watch(kube::Manager* manager, const Options& options) {
    auto watch = [&](const kube::Resource& resource, kube::ReflectorOptions reflector) {
      return &manager->Watch(resource, std::move(reflector), options.namespaces);
    };
    namespace resources = kube::resources;
    return {.clusters = watch(kRaftKvs, {}),
            .stateful_sets = watch(resources::kStatefulSets, Ours()),
            .pods = watch(resources::kPods, Ours(OnlyWhatIsViewed)),
            .claims = watch(resources::kClaims, Ours()),
            .services = watch(resources::kServices, Ours()),
            .accounts = watch(resources::kServiceAccounts, Ours()),
            .policies = watch(resources::kNetworkPolicies, Ours()),
            .budgets = watch(resources::kDisruptionBudgets, Ours()),
            .nodes = options.read_nodes
                         ? &manager->Watch(resources::kNodes, {.transform = OnlyReadiness})
                         : nullptr};
  }

  // The resources that have a pod there.
  std::vector<kube::Key> OnNode(const kube::Object& node) const {
    std::vector<kube::Key> out;
    for (const kube::ObjectPtr& pod : caches_.pods->List()) {
      auto instance = pod->Label(kInstanceLabel);
      if (!instance || pod->String("/spec/nodeName") != node.name()) continue;
      out.push_back({std::string(pod->ns()), std::string(*instance)});
    }
    return out;
  }

  ClusterMetrics metrics_;
  NodeHttp http_;
  NodeClient nodes_{&http_};
  const Caches caches_;
  Reconciler reconciler_;
  std::unique_ptr<LeaderWatch> leaders_;
};

std::string Joined(const std::vector<std::string>& namespaces) {
  std::string out;
  for (const std::string& ns : namespaces) out += (out.empty() ? "" : ",") + ns;
  return out.empty() ? "all" : out;
}

int Run(Options options) {
  kube::PrepareProcess();

  auto config = kube::DefaultConfig(options.kubeconfig);
  if (!config) {
    log::Error("no API server", {{"error", config.error().message()}});
    return kExitFailed;
  }
  if (options.lease_namespace.empty()) options.lease_namespace = config->default_namespace;
  std::string identity = Identity();
  const char* pod = std::getenv("POD_NAME");
  kube::ManagerOptions manager_options;
  manager_options.rest.field_manager = "raftkv-operator";
  manager_options.election = {.lease = {options.lease_namespace, options.lease_name},
                              .identity = identity};
  manager_options.events = {.controller = "raftkv.dev/operator",
                            .instance = pod == nullptr ? HostName() : pod};
  manager_options.health_address = options.health_address;
  kube::Manager manager(std::move(*config), std::move(manager_options));
  Operator raftkv(&manager, options);
  log::Info("operator starts", {{"version", Version()},
                                {"identity", identity},
                                {"namespaces", Joined(options.namespaces)},
                                {"image", options.image}});

  Status ended = kube::RunUntilSignal(manager);
  if (!ended.ok()) log::Error("operator ends", {{"error", ended.message()}});
  log::Flush(std::chrono::seconds(1));
  return ended.ok() ? 0 : kExitFailed;
}

// CLI11 takes the next argument for the value of "--name=".
std::vector<std::string> Arguments(int argc, char** argv) {
  std::vector<std::string> out;
  for (std::string argument : std::vector<std::string>(argv + 1, argv + argc)) {
    bool empty_value = argument.starts_with("--") && argument.ends_with('=');
    if (empty_value) argument.pop_back();
    out.push_back(std::move(argument));
    if (empty_value) out.emplace_back();
  }
  std::ranges::reverse(out);  // as CLI11 wants them
  return out;
}

int WrongUsage(const std::string& message) {
  std::fprintf(stderr, "raftkv-operator: %s\nraftkv-operator --help tells more.\n",
               message.c_str());
  return kExitUsage;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("raftkv-operator looks after RaftKV resources (raftkv.dev/v1alpha1).",
               "raftkv-operator");
  AddOptions(app, options);
  try {
    app.parse(Arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? app.exit(error) : WrongUsage(error.what());
  }
  auto namespaces = kube::ReadNamespaces(options.namespaces);
  if (!namespaces) return WrongUsage("--namespace: " + namespaces.error().message());
  options.namespaces = *std::move(namespaces);
  auto level = log::ParseLevel(options.log_level);
  if (!level) return WrongUsage("--log-level: " + level.error().message());
  auto format = log::ParseFormat(options.log_format);
  if (!format) return WrongUsage("--log-format: " + format.error().message());
  log::SetLevel(*level);
  log::SetFormat(*format);
  return Run(std::move(options));
}

}  // namespace
}  // namespace raftkv::op

int main(int argc, char** argv) { return raftkv::op::Main(argc, argv); }
