// Manager: the life of an operator process. Puts caches, election, controllers, events, health and
// metrics together in the right order:
//
//   1. health and metrics are served at once; ready when the caches are synced
//   2. the reflectors start, on every replica: a follower takes over with warm caches
//   3. the lease is awaited; then the controllers start, once every cache is synced (2 minutes at
//      most, else Run fails)
//   4. Stop: controllers drain (30 s at most), events are sent, then the lease is released, then
//   the
//      rest ends. Lost lease: the write fence falls, Run returns at once, the process must exit.
//
//   Manager manager(std::move(config), {.lease = {"raftkv-system", "raftkv-operator"}});
//   Cache& pods = manager.Watch(resources::kPods, {.label_selector = "app=raftkv"});
//   manager.Add({.name = "raftkv", .workers = 2}, reconcile).Watch(&pods, ToController(kRaftKv));
//   return manager.Run();
//
// Thread-safety: set up on one thread; Stop and the accessors from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "operator/kube/cache.h"
#include "operator/kube/controller.h"
#include "operator/kube/election.h"
#include "operator/kube/events.h"
#include "operator/kube/health_server.h"
#include "operator/kube/reflector.h"
#include "operator/kube/rest_client.h"

namespace prometheus {
class Registry;
}

namespace raftkv::kube {

class Metrics;

struct ManagerOptions {
  RestOptions rest;
  ElectionOptions election;  // a lease without a name: no election
  EventOptions events;
  std::string health_address = ":8081";  // empty: none
  Duration sync_timeout = std::chrono::minutes(2);
  Duration drain_timeout = std::chrono::seconds(30);
  uint64_t seed = 0;  // 0: from the system's entropy
};

class Manager {
 public:
  Manager(ClientConfig config, ManagerOptions options, Timing* timing = &Timing::System());
  ~Manager();

  // The cache of one kind; lives as long as the manager. `namespaces`: with a list and a watch of
  // each of them; without any, one of what `options` say.
  Cache& Watch(const Resource& resource, ReflectorOptions options = {},
               const std::vector<std::string>& namespaces = {});
  // `reconcile` is called for keys alone of whose namespace every cache is filled.
  Controller& Add(ControllerOptions options, Reconcile reconcile);

  // For controllers: refuses writes when the lease is lost.
  Api& api() { return *client_; }
  EventRecorder& events() { return *events_; }
  prometheus::Registry& registry() { return *registry_; }
  Timing& timing() { return *timing_; }
  uint16_t health_port() const;
  bool IsLeader() const;
  // Orders the terms of office of all processes that ever held the lease: its transitions and one.
  // 1 without election.
  uint64_t term() const;
  // Makes it at least `term`, with the next renewal of the lease, as long as it is held.
  void RaiseTerm(uint64_t term);

  // Ok after Stop; kUnavailable when the lease was lost or the caches did not sync: exit, so that
  // the next process starts from nothing. One namespace of several whose caches do not sync,
  // because it was deleted or the right to read it is gone, is left alone until they do.
  Status Run();
  void Stop() { stop_.request_stop(); }

 private:
  struct Watched;

  Status StartHealth();
  Status StartControllers();
  // Waits for the lease and works as long as it is held.
  Status RunElected();
  // Starts the controllers, waits for Stop, drains.
  Status Work();
  void Drain();
  Status CachesSynced() const;
  bool IsFilled(std::string_view ns) const;
  // Some namespace that is watched by its name can be worked on.
  bool IsAnyFilled() const;

  const ManagerOptions options_;
  Timing* const timing_;
  std::stop_source stop_;        // asked to end
  std::stop_source reflectors_;  // ends the reflectors
  std::atomic<bool> lost_{false};
  std::unique_ptr<prometheus::Registry> registry_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<RestClient> lease_client_;
  std::unique_ptr<Election> election_;
  std::unique_ptr<RestClient> client_;
  std::unique_ptr<EventRecorder> events_;
  std::deque<std::unique_ptr<Watched>> watched_;
  std::deque<std::unique_ptr<Controller>> controllers_;
  std::unique_ptr<HealthServer> health_;
};

}  // namespace raftkv::kube
