#include "operator/kube/metrics.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/proc.h"
#include "base/version.h"

namespace raftkv::kube {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Labels = std::map<std::string, std::string>;

const Histogram::BucketBoundaries kQueueSeconds = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2,
                                                   0.1,  1,    10,   100,  1000};
const Histogram::BucketBoundaries kReconcileSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                       1,     2.5,  5,     10,   30,  60};
const Histogram::BucketBoundaries kRequestSeconds = {0.005, 0.025, 0.1, 0.25, 0.5, 1,
                                                     2,     4,     8,   15,   30,  60};

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

template <typename Builder>
auto& Register(Builder builder, prometheus::Registry* registry, const char* name,
               const char* help) {
  return builder.Name(name).Help(help).Register(*registry);
}

}  // namespace

struct Metrics::Families {
  explicit Families(prometheus::Registry* r)
      : registry(r),
        depth(Register(prometheus::BuildGauge(), r, "workqueue_depth",
                       "Keys that wait to be reconciled.")),
        adds(Register(prometheus::BuildCounter(), r, "workqueue_adds_total",
                      "Keys added; a key that waits already is not counted.")),
        retries(Register(prometheus::BuildCounter(), r, "workqueue_retries_total",
                         "Keys added again after a failure.")),
        queue_seconds(Register(prometheus::BuildHistogram(), r, "workqueue_queue_duration_seconds",
                               "How long keys wait before they are worked on, in seconds.")),
        work_seconds(Register(prometheus::BuildHistogram(), r, "workqueue_work_duration_seconds",
                              "How long keys are worked on, in seconds.")),
        unfinished(Register(prometheus::BuildGauge(), r, "workqueue_unfinished_work_seconds",
                            "Seconds of work in progress, all keys together; grows while a worker "
                            "is stuck.")),
        longest(Register(prometheus::BuildGauge(), r, "workqueue_longest_running_processor_seconds",
                         "How long the longest work in progress has been running, in seconds.")),
        reconciles(Register(prometheus::BuildCounter(), r, "controller_runtime_reconcile_total",
                            "Reconciles by result: success, requeue_after, error.")),
        errors(Register(prometheus::BuildCounter(), r, "controller_runtime_reconcile_errors_total",
                        "Reconciles that failed.")),
        panics(Register(prometheus::BuildCounter(), r, "controller_runtime_reconcile_panics_total",
                        "Reconciles that threw an exception: bugs.")),
        reconcile_seconds(Register(prometheus::BuildHistogram(), r,
                                   "controller_runtime_reconcile_time_seconds",
                                   "How long a reconcile takes, in seconds.")),
        max_workers(Register(prometheus::BuildGauge(), r,
                             "controller_runtime_max_concurrent_reconciles",
                             "Workers of a controller.")),
        active(Register(prometheus::BuildGauge(), r, "controller_runtime_active_workers",
                        "Workers that are busy.")),
        requests(Register(prometheus::BuildCounter(), r, "rest_client_requests_total",
                          "Requests to the API server by code (<error>: no answer), method and "
                          "host.")),
        request_seconds(Register(prometheus::BuildHistogram(), r,
                                 "rest_client_request_duration_seconds",
                                 "How long a request to the API server takes, by verb and host, in "
                                 "seconds.")),
        leader(Register(prometheus::BuildGauge(), r, "leader_election_master_status",
                        "1 in the process that holds the lease, 0 in the others.")),
        dropped_events(
            Register(prometheus::BuildCounter(), r, "raftkv_operator_events_dropped_total",
                     "Events that nobody can see, and repetitions that are not counted: too "
                     "many of one object, or refused by the API server. The log has "
                     "them.")
                .Add({})) {}

  prometheus::Registry* const registry;
  Family<Gauge>& depth;
  Family<Counter>& adds;
  Family<Counter>& retries;
  Family<Histogram>& queue_seconds;
  Family<Histogram>& work_seconds;
  Family<Gauge>& unfinished;
  Family<Gauge>& longest;
  Family<Counter>& reconciles;
  Family<Counter>& errors;
  Family<Counter>& panics;
  Family<Histogram>& reconcile_seconds;
  Family<Gauge>& max_workers;
  Family<Gauge>& active;
  Family<Counter>& requests;
  Family<Histogram>& request_seconds;
  Family<Gauge>& leader;
  Counter& dropped_events;

  // Gauges that are computed when they are read.
  std::mutex mutex;
  std::set<const class OneController*> controllers;
};

class OneController final : public ControllerMetrics {
 public:
  OneController(Metrics::Families* families, const std::string& name, int workers,
                std::function<std::vector<Duration>()> running)
      : families_(families),
        running_(std::move(running)),
        queue_labels_({{"controller", name}, {"name", name}}),
        labels_({{"controller", name}}),
        depth_(families->depth.Add(queue_labels_)),
        adds_(families->adds.Add(queue_labels_)),
        retries_(families->retries.Add(queue_labels_)),
        queue_seconds_(families->queue_seconds.Add(queue_labels_, kQueueSeconds)),
        work_seconds_(families->work_seconds.Add(queue_labels_, kQueueSeconds)),
        unfinished_(families->unfinished.Add(queue_labels_)),
        longest_(families->longest.Add(queue_labels_)),
        success_(families->reconciles.Add(WithResult("success"))),
        requeue_after_(families->reconciles.Add(WithResult("requeue_after"))),
        error_(families->reconciles.Add(WithResult("error"))),
        errors_(families->errors.Add(labels_)),
        panics_(families->panics.Add(labels_)),
        reconcile_seconds_(families->reconcile_seconds.Add(labels_, kReconcileSeconds)),
        active_(families->active.Add(labels_)) {
    families->max_workers.Add(labels_).Set(workers);
    std::lock_guard lock(families->mutex);
    families->controllers.insert(this);
  }
  ~OneController() override {
    std::lock_guard lock(families_->mutex);
    families_->controllers.erase(this);
  }

  void OnDepth(size_t depth) override { depth_.Set(static_cast<double>(depth)); }
  void OnAdd() override { adds_.Increment(); }
  void OnRetry() override { retries_.Increment(); }
  void OnStart(Duration waited) override { queue_seconds_.Observe(Seconds(waited)); }
  void OnDone(Duration worked) override { work_seconds_.Observe(Seconds(worked)); }
  void OnReconcileStart() override { active_.Increment(); }
  void OnReconcileEnd(ReconcileOutcome outcome, Duration took) override {
    active_.Decrement();
    reconcile_seconds_.Observe(Seconds(took));
    if (outcome == ReconcileOutcome::kSuccess) success_.Increment();
    if (outcome == ReconcileOutcome::kRequeueAfter) requeue_after_.Increment();
    if (outcome != ReconcileOutcome::kError) return;
    error_.Increment();
    errors_.Increment();
  }
  void OnPanic() override { panics_.Increment(); }

  // Before a scrape.
  void Update() const {
    double sum = 0;
    double longest = 0;
    for (Duration one : running_()) {
      sum += Seconds(one);
      longest = std::max(longest, Seconds(one));
    }
    unfinished_.Set(sum);
    longest_.Set(longest);
  }

 private:
  Labels WithResult(const char* result) const {
    Labels out = labels_;
    out["result"] = result;
    return out;
  }

  Metrics::Families* const families_;
  const std::function<std::vector<Duration>()> running_;
  const Labels queue_labels_;
  const Labels labels_;
  Gauge& depth_;
  Counter& adds_;
  Counter& retries_;
  Histogram& queue_seconds_;
  Histogram& work_seconds_;
  Gauge& unfinished_;
  Gauge& longest_;
  Counter& success_;
  Counter& requeue_after_;
  Counter& error_;
  Counter& errors_;
  Counter& panics_;
  Histogram& reconcile_seconds_;
  Gauge& active_;
};

namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Single(const char* name, const char* help, MetricType type, double value) {
  MetricFamily family{name, help, type, {}};
  prometheus::ClientMetric metric;
  metric.gauge.value = metric.counter.value = value;
  family.metric.push_back(std::move(metric));
  return family;
}

// Prometheus' standard set; without /proc there is nothing to tell.
void AppendProcess(std::vector<MetricFamily>* out) {
  auto stats = ReadProcessStats();
  if (!stats) return;
  auto add = [out](const char* name, const char* help, MetricType type, auto value) {
    out->push_back(Single(name, help, type, static_cast<double>(value)));
  };
  add("process_cpu_seconds_total", "User and system CPU time spent, in seconds.",
      MetricType::Counter, stats->cpu_seconds);
  add("process_open_fds", "Open file descriptors.", MetricType::Gauge, stats->open_fds);
  add("process_max_fds", "Highest number of open file descriptors.", MetricType::Gauge,
      stats->max_fds);
  add("process_virtual_memory_bytes", "Virtual memory size, in bytes.", MetricType::Gauge,
      stats->virtual_bytes);
  add("process_resident_memory_bytes", "Resident memory size, in bytes.", MetricType::Gauge,
      stats->resident_bytes);
  add("process_start_time_seconds", "Start of the process, in seconds since the epoch.",
      MetricType::Gauge, stats->start_time_seconds);
  add("process_threads", "Threads of the process.", MetricType::Gauge, stats->threads);
}

}  // namespace

Metrics::Metrics(prometheus::Registry* registry)
    : families_(std::make_unique<Families>(registry)) {}
Metrics::~Metrics() = default;

std::unique_ptr<ControllerMetrics> Metrics::ForController(
    const std::string& name, int workers, std::function<std::vector<Duration>()> queue_running) {
  return std::make_unique<OneController>(families_.get(), name, workers, std::move(queue_running));
}

void Metrics::CountRequest(std::string_view method, int status, const std::string& host,
                           Duration took) {
  std::string verb(method);
  std::string code = status == 0 ? "<error>" : std::to_string(status);
  families_->requests.Add({{"code", code}, {"method", verb}, {"host", host}}).Increment();
  families_->request_seconds.Add({{"verb", verb}, {"host", host}}, kRequestSeconds)
      .Observe(Seconds(took));
}

void Metrics::SetLeader(const std::string& lease, bool leader) {
  families_->leader.Add({{"name", lease}}).Set(leader ? 1 : 0);
}

void Metrics::CountDroppedEvent() { families_->dropped_events.Increment(); }

std::string Metrics::Render() const {
  {
    std::lock_guard lock(families_->mutex);
    for (const OneController* controller : families_->controllers) controller->Update();
  }
  std::vector<MetricFamily> all = families_->registry->Collect();
  AppendProcess(&all);
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace raftkv::kube
