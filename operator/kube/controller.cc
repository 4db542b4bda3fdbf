#include "operator/kube/controller.h"

#include <pthread.h>

#include <exception>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/log.h"
#include "operator/kube/metrics.h"

namespace raftkv::kube {

MapToKeys ToSelf() {
  return [](const Object& object) { return std::vector<Key>{object.key()}; };
}

MapToKeys ToController(const Resource& owner) {
  return [owner](const Object& object) -> std::vector<Key> {
    auto controller = object.Controller();
    if (!controller || controller->kind != owner.kind) return {};
    // Any version: a reference may have been written under another one.
    std::string_view group = controller->api_version;
    size_t slash = group.find('/');
    group = slash == std::string_view::npos ? "" : group.substr(0, slash);
    if (group != owner.group) return {};
    return {{owner.namespaced ? std::string(object.ns()) : "", controller->name}};
  };
}

MapToKeys ToLabel(std::string label) {
  return [label = std::move(label)](const Object& object) -> std::vector<Key> {
    auto name = object.Label(label);
    if (!name || name->empty()) return {};
    return {{std::string(object.ns()), std::string(*name)}};
  };
}

Filter OnlySpecChanges() {
  return [](const Change& change) {
    if (change.type != Change::Type::kModified) return true;
    const Object& before = *change.before;
    const Object& after = *change.after;
    for (std::string_view field :
         {"/metadata/generation", "/metadata/labels", "/metadata/annotations",
          "/metadata/finalizers", "/metadata/deletionTimestamp"}) {
      if (before.At(field) != after.At(field)) return true;
    }
    // Kinds without generations change in their content alone.
    return after.At("/metadata/generation").is_null();
  };
}

Controller::Controller(ControllerOptions options, Reconcile reconcile, Timing* timing,
                       Metrics* metrics)
    : options_(std::move(options)),
      reconcile_(std::move(reconcile)),
      timing_(timing),
      metrics_(metrics == nullptr ? nullptr
                                  : metrics->ForController(options_.name, options_.workers,
                                                           [this] { return queue_.Running(); })),
      queue_(options_.queue, timing, metrics_.get()) {
  CHECK(options_.workers > 0 && !options_.name.empty());
}

Controller::~Controller() {
  Stop(std::chrono::seconds(30));
  workers_.clear();  // waits
  metrics_.reset();  // before the queue that it asks
}

void Controller::Watch(Cache* cache, MapToKeys map, Filter filter) {
  cache->AddHandler([this, map = std::move(map), filter = std::move(filter)](const Change& change) {
    if (filter && !filter(change)) return;
    for (const Key& key : map(change.object())) queue_.Add(key);
    // A change of owners concerns the former one too.
    if (change.type != Change::Type::kModified) return;
    for (const Key& key : map(*change.before)) queue_.Add(key);
  });
}

void Controller::Start() {
  CHECK(workers_.empty(), "a controller starts once");
  for (int i = 0; i < options_.workers; ++i) {
    workers_.emplace_back([this](std::stop_token stop) {
      pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
      Work(std::move(stop));
    });
  }
}

bool Controller::Stop(Duration limit) {
  queue_.Shutdown();
  for (std::jthread& worker : workers_) worker.request_stop();
  return queue_.AwaitIdle(limit);
}

void Controller::Work(std::stop_token stop) {
  while (auto key = queue_.Get()) {
    ReconcileOne(*key, stop);
    queue_.Done(*key);
  }
}

void Controller::ReconcileOne(const Key& key, std::stop_token stop) {
  MonotonicTime start = timing_->Now();
  if (metrics_ != nullptr) metrics_->OnReconcileStart();
  auto result = CallReconcile(key, std::move(stop));
  ReconcileOutcome outcome = ReconcileOutcome::kSuccess;
  if (!result) {
    outcome = ReconcileOutcome::kError;
    // Somebody was faster: looking again is all there is to do.
    log::Write(result.error().Is(Reason::kConflict) ? log::Level::kInfo : log::Level::kError,
               "reconcile failed",
               {{"controller", options_.name},
                {"object", key.ToString()},
                {"failures", queue_.Failures(key) + 1},
                {"error", result.error().ToString()}});
    queue_.AddRateLimited(key);
  } else {
    queue_.Forget(key);
    if (result->requeue_after > Duration::zero()) {
      outcome = ReconcileOutcome::kRequeueAfter;
      queue_.AddAfter(key, result->requeue_after);
    }
  }
  if (metrics_ != nullptr) metrics_->OnReconcileEnd(outcome, timing_->Now() - start);
}

ApiResult<ReconcileResult> Controller::CallReconcile(const Key& key, std::stop_token stop) {
  try {
    return reconcile_(key, std::move(stop));
  } catch (const std::exception& e) {
    if (metrics_ != nullptr) metrics_->OnPanic();
    return Fail(Reason::kUnknown, std::string("exception in reconcile, a bug: ") + e.what());
  } catch (...) {
    if (metrics_ != nullptr) metrics_->OnPanic();
    return Fail(Reason::kUnknown, "exception in reconcile, a bug");
  }
}

}  // namespace raftkv::kube
