// raftkv-mirror: the smallest operator on operator/kube. For every ConfigMap with the label
// mirror=yes it keeps one more, NAME-mirror, with the same data. It is what the tests of this
// folder run, stop and kill, and an example of how the pieces go together.
//
//   raftkv-mirror NAMESPACE IDENTITY HEALTH-ADDRESS
//
// Exit statuses: 0 stopped as asked, 1 lost its lease or could not start, 2 wrong arguments.

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "operator/kube/manager.h"
#include "operator/kube/ownership.h"
#include "operator/kube/process.h"

namespace raftkv::kube {
namespace {

constexpr std::string_view kSuffix = "-mirror";

class Mirror {
 public:
  Mirror(Manager* manager, const std::string& ns)
      : manager_(manager), maps_(manager->Watch(resources::kConfigMaps, {.ns = ns})) {
    // Only for its memory and its events: what an operator of pods would have in its cache.
    manager->Watch(resources::kPods, {.ns = ns});
    Controller& controller =
        manager->Add({.name = "mirror", .workers = 2},
                     [this](const Key& key, std::stop_token) { return Reconcile(key); });
    controller.Watch(&maps_);
    controller.Watch(&maps_, ToController(resources::kConfigMaps));
  }

 private:
  ApiResult<ReconcileResult> Reconcile(const Key& key) {
    ObjectPtr source = maps_.Get(key);
    if (source == nullptr || source->deleting() || source->Label("mirror") != "yes") {
      return ReconcileResult{};
    }
    Key name{key.ns, key.name + std::string(kSuffix)};
    // Our own last write must have come back, or we would decide on the state before it.
    if (maps_.IsBehind(name)) return ReconcileResult{.requeue_after = std::chrono::seconds(1)};
    ObjectPtr copy = maps_.Get(name);
    if (copy != nullptr && IsControlledBy(*copy, *source) &&
        copy->At("/data") == source->At("/data")) {
      return ReconcileResult{};
    }
    Object wanted(resources::kConfigMaps, name);
    wanted.Set("/data", source->At("/data"));
    auto applied = ApplyOwned(manager_->api(), resources::kConfigMaps, wanted, *source);
    if (!applied) {
      manager_->events().Record(*source, {.warning = true,
                                          .reason = "NotMirrored",
                                          .action = "Mirror",
                                          .note = applied.error().message});
      return std::unexpected(applied.error());
    }
    maps_.Wrote(*applied);
    manager_->events().Record(
        *source, {.reason = "Mirrored", .action = "Mirror", .note = "copied to " + name.name});
    return ReconcileResult{};
  }

  Manager* const manager_;
  Cache& maps_;
};

int Main(const std::string& ns, const std::string& identity, const std::string& health) {
  PrepareProcess();

  auto config = DefaultConfig();
  if (!config) {
    log::Error("no API server", {{"error", config.error().message()}});
    return 1;
  }
  ManagerOptions options;
  options.rest.field_manager = "raftkv-mirror";
  options.election = {.lease = {ns, "raftkv-mirror"}, .identity = identity};
  options.events = {.controller = "raftkv.dev/mirror", .instance = identity};
  options.health_address = health;
  Manager manager(std::move(*config), std::move(options));
  Mirror mirror(&manager, ns);

  Status ended = RunUntilSignal(manager);
  if (!ended.ok()) log::Error("ended", {{"error", ended.message()}});
  return ended.ok() ? 0 : 1;
}

}  // namespace
}  // namespace raftkv::kube

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: raftkv-mirror NAMESPACE IDENTITY HEALTH-ADDRESS\n");
    return 2;
  }
  return raftkv::kube::Main(argv[1], argv[2], argv[3]);
}
