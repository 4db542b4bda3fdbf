#include "operator/raftkv/cluster_metrics.h"

#include <algorithm>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include "operator/raftkv/objects.h"
#include "operator/raftkv/resource.h"

namespace raftkv::op {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using Labels = std::map<std::string, std::string>;

Labels LabelsOf(const kube::Key& key) { return {{"namespace", key.ns}, {"name", key.name}}; }

Family<Gauge>& MakeGauge(prometheus::Registry* registry, const std::string& name,
                         const char* help) {
  return BuildGauge().Name("raftkv_operator_cluster_" + name).Help(help).Register(*registry);
}

bool Is(const PlannedStatus& status, std::string_view type) {
  return std::ranges::any_of(status.conditions, [&](const PlannedCondition& condition) {
    return condition.type == type && condition.status;
  });
}

bool DeadlineExceeded(const PlannedStatus& status) {
  return std::ranges::any_of(status.conditions, [](const PlannedCondition& condition) {
    return condition.type == "Progressing" && !condition.status &&
           condition.reason == "DeadlineExceeded";
  });
}

// Members of the configuration whose slot has lost its claim.
int WithoutClaim(const Observation& seen) {
  if (!seen.membership) return 0;
  int out = 0;
  for (const auto& [id, member] : seen.membership->members) {
    auto slot = seen.slots.find(SlotOfPod(seen.name, member.name));
    if (slot == seen.slots.end() || !slot->second.claim) ++out;
  }
  return out;
}

}  // namespace

struct ClusterMetrics::Families {
  explicit Families(prometheus::Registry* r)
      : desired(MakeGauge(r, "replicas_desired", "Members that the resource asks for.")),
        ready(MakeGauge(r, "members_ready",
                        "Members of the configuration that answer and take part.")),
        voters(MakeGauge(r, "voters", "Voting members of the configuration.")),
        learners(MakeGauge(r, "learners", "Members that do not vote yet.")),
        joint(MakeGauge(r, "joint", "1 while a change of the membership is under way.")),
        quorum_lost(MakeGauge(r, "quorum_lost",
                              "1 while the condition QuorumLost is true: too few members answer "
                              "for a quorum, none at all, or those that do elect no leader.")),
        paused(MakeGauge(r, "paused", "1 while the resource is paused.")),
        deadline(MakeGauge(r, "progress_deadline_exceeded",
                           "1 while the running step takes longer than "
                           "spec.progressDeadlineSeconds.")),
        without_claim(MakeGauge(r, "members_without_claim",
                                "Members of the configuration whose slot has no claim.")),
        operation_age(MakeGauge(r, "operation_age_seconds",
                                "How long the running operation has been running.")),
        step_age(MakeGauge(r, "step_age_seconds", "How long its present step has been running.")),
        condition(MakeGauge(r, "status_condition",
                            "1 for what each condition of the status is: condition, status (true "
                            "or false) and reason.")),
        actions(BuildCounter()
                    .Name("raftkv_operator_actions_total")
                    .Help("Actions carried out, by their name.")
                    .Register(*r)),
        replacements(BuildCounter()
                         .Name("raftkv_operator_replacements_total")
                         .Help("Replacements of members that were begun.")
                         .Register(*r)),
        refusals(BuildCounter()
                     .Name("raftkv_operator_refusals_total")
                     .Help("What was asked for or planned and not done, by reason.")
                     .Register(*r)) {}

  Family<Gauge>& desired;
  Family<Gauge>& ready;
  Family<Gauge>& voters;
  Family<Gauge>& learners;
  Family<Gauge>& joint;
  Family<Gauge>& quorum_lost;
  Family<Gauge>& paused;
  Family<Gauge>& deadline;
  Family<Gauge>& without_claim;
  Family<Gauge>& operation_age;
  Family<Gauge>& step_age;
  Family<Gauge>& condition;
  Family<Counter>& actions;
  Family<Counter>& replacements;
  Family<Counter>& refusals;

  // Everything made for a resource, to take it away with it.
  struct Series {
    std::map<Family<Gauge>*, Gauge*> gauges;
    std::map<std::pair<Family<Counter>*, std::string>, Counter*> counters;  // by a label's value
    std::map<std::string, std::pair<Labels, Gauge*>> conditions;            // by type
  };
  std::mutex mutex;
  std::map<kube::Key, Series> series;

  void Put(const kube::Key& key, Family<Gauge>& family, double value, Labels labels = {}) {
    Gauge*& gauge = series[key].gauges[&family];
    if (gauge == nullptr) {
      labels.merge(LabelsOf(key));
      gauge = &family.Add(labels);
    }
    gauge->Set(value);
  }
  void Drop(const kube::Key& key, Family<Gauge>& family) {
    auto& known = series[key].gauges;
    auto gauge = known.find(&family);
    if (gauge == known.end()) return;
    family.Remove(gauge->second);
    known.erase(gauge);
  }
  // There is one series for each condition: what it was before is not 0, it is gone.
  void Say(const kube::Key& key, const PlannedCondition& said) {
    auto& [labels, gauge] = series[key].conditions[said.type];
    Labels now = LabelsOf(key);
    now.insert({{"condition", said.type},
                {"status", said.status ? "true" : "false"},
                {"reason", said.reason}});
    if (gauge != nullptr && labels == now) return;
    if (gauge != nullptr) condition.Remove(gauge);
    gauge = &condition.Add(now);
    gauge->Set(1);
    labels = std::move(now);
  }
  // `label` is empty where the resource's own are enough.
  void Count(const kube::Key& key, Family<Counter>& family, const char* label,
             std::string_view value) {
    std::lock_guard lock(mutex);
    Counter*& counter = series[key].counters[{&family, std::string(value)}];
    if (counter == nullptr) {
      Labels labels = LabelsOf(key);
      if (*label != '\0') labels[label] = value;
      counter = &family.Add(labels);
    }
    counter->Increment();
  }
};

ClusterMetrics::ClusterMetrics(prometheus::Registry* registry)
    : families_(std::make_unique<Families>(registry)) {}
ClusterMetrics::~ClusterMetrics() = default;

void ClusterMetrics::Set(const Observation& seen, const PlannedStatus& status) {
  Families& f = *families_;
  std::lock_guard lock(f.mutex);
  kube::Key key{seen.ns, seen.name};
  f.Put(key, f.desired, seen.spec.replicas);
  f.Put(key, f.ready, status.ready);
  f.Put(key, f.voters, status.voters);
  f.Put(key, f.learners, status.learners);
  f.Put(key, f.joint, status.joint ? 1 : 0);
  f.Put(key, f.quorum_lost, Is(status, "QuorumLost") ? 1 : 0);
  f.Put(key, f.paused, Is(status, "Paused") ? 1 : 0);
  f.Put(key, f.deadline, DeadlineExceeded(status) ? 1 : 0);
  f.Put(key, f.without_claim, WithoutClaim(seen));
  for (const PlannedCondition& condition : status.conditions) f.Say(key, condition);
  f.Drop(key, f.operation_age);
  f.Drop(key, f.step_age);
  const Operation& operation = status.operation;
  if (operation.type == Operation::Type::kNone) return;
  Labels type = {{"type", std::string(OperationName(operation.type))}};
  auto age = [&](int64_t since) {
    return static_cast<double>(std::max<int64_t>(0, seen.now_s - since));
  };
  f.Put(key, f.operation_age, age(operation.since_s), type);
  f.Put(key, f.step_age, age(operation.step_since_s), type);
}

void ClusterMetrics::Remove(const kube::Key& key) {
  Families& f = *families_;
  std::lock_guard lock(f.mutex);
  auto known = f.series.find(key);
  if (known == f.series.end()) return;
  for (auto& [family, gauge] : known->second.gauges) family->Remove(gauge);
  for (auto& [where, counter] : known->second.counters) where.first->Remove(counter);
  for (auto& [type, said] : known->second.conditions) f.condition.Remove(said.second);
  f.series.erase(known);
}

void ClusterMetrics::CountAction(const kube::Key& key, std::string_view action) {
  families_->Count(key, families_->actions, "action", action);
}

void ClusterMetrics::CountReplacement(const kube::Key& key) {
  families_->Count(key, families_->replacements, "", "");
}

void ClusterMetrics::CountRefusal(const kube::Key& key, std::string_view reason) {
  families_->Count(key, families_->refusals, "reason", reason);
}

}  // namespace raftkv::op
