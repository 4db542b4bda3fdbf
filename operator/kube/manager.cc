#include "operator/kube/manager.h"

#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include <prometheus/registry.h>

#include "base/check.h"
#include "base/log.h"
#include "base/random.h"
#include "operator/kube/metrics.h"

namespace raftkv::kube {

struct Manager::Watched {
  struct Follower {
    Follower(Api* api, Cache* cache, ReflectorOptions options, Timing* timing, uint64_t seed)
        : reflector(api, cache, std::move(options), timing, seed) {}
    Reflector reflector;
    std::thread thread;
  };

  Watched(const Resource& resource, const std::vector<std::string>& namespaces)
      : cache(resource, Cache::kMaxObjects, namespaces), names(namespaces) {}

  std::string LastError() const {
    for (const Follower& follower : followers) {
      if (std::string error = follower.reflector.stats().last_error; !error.empty()) return error;
    }
    return "";
  }

  Cache cache;
  const std::vector<std::string> names;  // of namespaces; none: all of them at once
  std::deque<Follower> followers;
};

namespace {

ManagerOptions WithSeed(ManagerOptions options) {
  if (options.seed == 0) options.seed = SystemEntropy();
  return options;
}

// For work whose calls have been cut off.
constexpr Duration kLostGrace = std::chrono::seconds(1);
constexpr Duration kEventGrace = std::chrono::seconds(2);
// For keys of a namespace that is not filled.
constexpr Duration kFillPause = std::chrono::seconds(1);

// An attempt that hangs must leave time for another one before the renew deadline, which is the
// election's to keep.
RestOptions ForLease(RestOptions options, const ElectionOptions& election) {
  options.call_timeout = election.renew_deadline / 2;
  options.connect_timeout = election.renew_deadline / 2;
  options.max_retries = 0;
  options.calls_per_second = 0;
  options.max_idle_connections = 1;
  return options;
}

}  // namespace

Manager::Manager(ClientConfig config, ManagerOptions options, Timing* timing)
    : options_(WithSeed(std::move(options))),
      timing_(timing),
      registry_(std::make_unique<prometheus::Registry>()),
      metrics_(std::make_unique<Metrics>(registry_.get())) {
  const ElectionOptions& election = options_.election;
  if (!election.lease.name.empty()) {
    lease_client_ = std::make_unique<RestClient>(config, ForLease(options_.rest, election), timing,
                                                 metrics_.get());
    election_ =
        std::make_unique<Election>(lease_client_.get(), election, timing, options_.seed + 1);
    metrics_->SetLeader(election.lease.name, false);
  }
  client_ = std::make_unique<RestClient>(std::move(config), options_.rest, timing, metrics_.get(),
                                         election_.get());
  events_ = std::make_unique<EventRecorder>(client_.get(), options_.events, timing,
                                            options_.seed + 2, metrics_.get());
}

Manager::~Manager() {
  health_.reset();
  reflectors_.request_stop();
  for (auto& watched : watched_) {
    for (auto& follower : watched->followers) {
      if (follower.thread.joinable()) follower.thread.join();
    }
  }
}

Cache& Manager::Watch(const Resource& resource, ReflectorOptions options,
                      const std::vector<std::string>& namespaces) {
  Watched& watched = *watched_.emplace_back(std::make_unique<Watched>(resource, namespaces));
  auto follow = [&] {
    uint64_t seed = options_.seed + 100 * watched_.size() + watched.followers.size();
    watched.followers.emplace_back(client_.get(), &watched.cache, options, timing_, seed);
  };
  for (const std::string& ns : namespaces) {
    options.ns = ns;
    follow();
  }
  if (namespaces.empty()) follow();
  return watched.cache;
}

Controller& Manager::Add(ControllerOptions options, Reconcile reconcile) {
  return *controllers_.emplace_back(std::make_unique<Controller>(
      std::move(options),
      [this, reconcile = std::move(reconcile)](const Key& key, std::stop_token stop) {
        if (IsFilled(key.ns)) return reconcile(key, std::move(stop));
        return ApiResult<ReconcileResult>(ReconcileResult{.requeue_after = kFillPause});
      },
      timing_, metrics_.get()));
}

uint16_t Manager::health_port() const { return health_ == nullptr ? 0 : health_->port(); }

bool Manager::IsLeader() const { return election_ == nullptr || election_->IsLeader(); }

uint64_t Manager::term() const { return election_ == nullptr ? 1 : election_->transitions() + 1; }

void Manager::RaiseTerm(uint64_t term) {
  if (election_ != nullptr && term > this->term()) election_->RaiseTransitions(term - 1);
}

Status Manager::CachesSynced() const {
  for (const auto& watched : watched_) {
    if (watched->cache.synced()) continue;
    std::string error = watched->LastError();
    return {Code::kUnavailable, "the cache of " + watched->cache.resource().name() +
                                    " is not filled yet" + (error.empty() ? "" : ": " + error)};
  }
  return Status::Ok();
}

bool Manager::IsFilled(std::string_view ns) const {
  return std::ranges::all_of(watched_,
                             [&](const auto& watched) { return watched->cache.synced(ns); });
}

bool Manager::IsAnyFilled() const {
  return std::ranges::any_of(watched_, [&](const auto& watched) {
    return std::ranges::any_of(watched->names, [&](const std::string& ns) { return IsFilled(ns); });
  });
}

Status Manager::StartHealth() {
  if (options_.health_address.empty()) return Status::Ok();
  HealthServerOptions health;
  health.address = options_.health_address;
  health.live = {{"ping", [] { return Status::Ok(); }}};
  // A replica without the lease is ready: it is there to take over.
  health.ready = {{"caches", [this] { return CachesSynced(); }}};
  health.metrics = [this] { return metrics_->Render(); };
  ASSIGN_OR_RETURN_STATUS(health_, HealthServer::Start(std::move(health)));
  return Status::Ok();
}

Status Manager::StartControllers() {
  MonotonicTime deadline = SaturatingAdd(timing_->Now(), options_.sync_timeout);
  for (const auto& watched : watched_) {
    if (watched->cache.AwaitSync(*timing_, deadline - timing_->Now(), stop_.get_token())) continue;
    if (stop_.stop_requested()) return Status::Ok();
    Status unfilled = CachesSynced();
    if (!IsAnyFilled()) return unfilled;
    log::Warning("starts without a namespace that cannot be read", {{"why", unfilled.message()}});
    break;
  }
  for (auto& controller : controllers_) controller->Start();
  return Status::Ok();
}

Status Manager::Run() {
  RETURN_IF_ERROR(StartHealth());
  for (auto& watched : watched_) {
    std::string name = ("w:" + std::string(watched->cache.resource().kind)).substr(0, 15);
    for (auto& follower : watched->followers) {
      follower.thread = std::thread([this, name, reflector = &follower.reflector] {
        pthread_setname_np(pthread_self(), name.c_str());
        reflector->Run(reflectors_.get_token());
      });
    }
  }
  Status result;
  if (election_ == nullptr) {
    result = Work();
  } else {
    result = RunElected();
  }
  reflectors_.request_stop();
  client_->Stop();
  return result;
}

Status Manager::RunElected() {
  std::stop_source end_election;
  std::mutex mutex;
  bool elected = false;
  std::stop_callback on_stop(stop_.get_token(), [&] {
    std::lock_guard lock(mutex);
    // Once elected, the lease is held until the work has ended.
    if (!elected) end_election.request_stop();
  });
  Status result;
  std::thread work;
  const std::string& lease = options_.election.lease.name;
  Election::End end = election_->Run(
      [&] {
        {
          std::lock_guard lock(mutex);
          elected = true;
        }
        metrics_->SetLeader(lease, true);
        work = std::thread([&] {
          result = Work();
          end_election.request_stop();
        });
      },
      end_election.get_token());
  metrics_->SetLeader(lease, false);
  if (end == Election::End::kLost) {
    lost_ = true;
    client_->Stop();
    stop_.request_stop();
  }
  if (work.joinable()) work.join();
  if (end == Election::End::kLost) {
    return {Code::kUnavailable, "the lease " + options_.election.lease.ToString() +
                                    " was lost; another process does the work now"};
  }
  return result;
}

Status Manager::Work() {
  Status started = StartControllers();
  if (started.ok()) timing_->Sleep(Duration::max(), stop_.get_token());
  Drain();
  return started;
}

void Manager::Drain() {
  bool drained = true;
  // It may hang, and a reconcile with it. Who has a credential goes on to the end.
  client_->EndPlugins();
  MonotonicTime deadline =
      SaturatingAdd(timing_->Now(), lost_ ? kLostGrace : options_.drain_timeout);
  for (auto& controller : controllers_) {
    drained = controller->Stop(std::max(deadline - timing_->Now(), Duration::zero())) && drained;
  }
  if (!drained) {
    log::Warning("controllers did not stop in time, their calls are cut off");
    client_->Stop();
  }
  if (!lost_) events_->Flush(kEventGrace);
}

}  // namespace raftkv::kube
