#include "operator/raftkv/model_operator.h"

#include <algorithm>

#include "base/hex_id.h"
#include "operator/raftkv/plan_facts.h"
#include "operator/raftkv/plan_rules.h"

namespace raftkv::op::model {
namespace {

// Each object comes, changes and goes by itself, in any order; what is not among the news stays as
// old as it was.
template <class Objects>
void TakeSome(Objects* known, const Objects& now, SeededRandom* random) {
  const auto arrives = [&] { return random->Uniform(2) == 0; };
  std::erase_if(*known, [&](const auto& one) { return !now.contains(one.first) && arrives(); });
  for (const auto& [key, object] : now) {
    if (arrives()) known->insert_or_assign(key, object);
  }
}

}  // namespace

void Operator::Restart(const Kube& old) {
  const Kube& now = world_->kube;
  const auto list = [&]() -> const Kube& { return world_->random.Uniform(3) == 0 ? now : old; };
  cache_ = old;
  cache_.resource = list().resource;
  cache_.sts = list().sts;
  cache_.pods = list().pods;
  cache_.claims = list().claims;
  cache_.machines = list().machines;
  Forget();
}

void Operator::Watch(bool all) {
  const Kube& now = world_->kube;
  const auto some = [&] { return all || world_->random.Uniform(3) != 0; };
  const auto take = [&](auto* known, const auto& objects) {
    if (!some()) return;
    if (all || world_->random.Uniform(2) == 0) {
      *known = objects;
    } else {
      TakeSome(known, objects, &world_->random);
    }
  };
  if (some()) cache_.resource = now.resource;
  if (some()) cache_.sts = now.sts;
  take(&cache_.pods, now.pods);
  take(&cache_.claims, now.claims);
  take(&cache_.machines, now.machines);
  if (some()) cache_.leader_pod = now.leader_pod;  // a label of pods
  if (some()) {
    cache_.objects = now.objects;
    cache_.min_available = now.min_available;
  }
}

bool Operator::Reconcile(bool faults) {
  if (!cache_.resource) return false;
  const Observation seen = Observe(faults);
  last_ = MakePlan(seen);
  CheckEvents(seen);
  CheckRetry(seen);
  const bool differs = last_.status != cache_.resource->status;
  if (differs) {
    if (Crash(faults)) return true;
    // As Reconciler::ConfirmCluster.
    if (last_.status.cluster != cache_.resource->status.cluster) {
      const Resource looked_at = *cache_.resource;
      ReadLive();
      const bool same = cache_.resource && cache_.resource->uid == looked_at.uid &&
                        MakePlan(Observe(faults)).status.cluster == last_.status.cluster;
      cache_.resource = looked_at;
      if (!same) return true;
    }
    const std::string refused = world_->WriteStatus(cache_.resource->version, last_.status);
    if (!refused.empty()) return true;
    // The write's answer is as good as news from the watch.
    cache_.resource->status = last_.status;
    cache_.resource->version = world_->kube.resource->version;
    if (Crash(faults)) return true;
  }
  if (std::holds_alternative<Nothing>(last_.action)) return differs;
  // What takes something away, changes who votes or mounts claims is planned once more on live
  // reads, and done only if its intent is what was written last.
  if (NeedsConfirmation(seen, last_.action)) {
    ReadLive();
    if (!cache_.resource) return true;
    const Plan again = MakePlan(Observe(faults));
    if (ToString(again.action) != ToString(last_.action)) return true;
    if (again.status.operation != cache_.resource->status.operation) return true;
    const std::vector<MemberId>& named = cache_.resource->status.initializing;
    if (!named.empty() && again.status.initializing != named) return true;
  }
  const Operation& operation = last_.status.operation;
  const std::string line = name_ + " " + ToString(last_.action) + " [" + operation.step +
                           " target=" + std::to_string(operation.target) + "]";
  const size_t at = world_->history().size();
  const bool by_server = world_->Refuses(last_.action, cache_);
  const std::string refused = world_->Act(last_.action, cache_);
  if (by_server || refused.empty()) NoteAnswer(by_server);
  world_->Note(line + (refused.empty() ? "" : ": refused, " + refused) +
               (world_->history().size() > at ? " (did the above)" : ""));
  Crash(faults);
  return true;
}

void Operator::ReadLive() {
  const Kube& now = world_->kube;
  cache_.resource = now.resource;
  cache_.sts = now.sts;
  cache_.pods = now.pods;
  cache_.claims = now.claims;
  cache_.min_available = now.min_available;
  cache_.leader_pod = now.leader_pod;  // a label of pods
  for (const auto& [slot, pod] : cache_.pods) {
    const auto known = cache_.machines.find(pod.node);
    if (pod.node.empty() || (known != cache_.machines.end() && known->second.up)) continue;
    const auto machine = now.machines.find(pod.node);
    if (machine != now.machines.end()) {
      cache_.machines[pod.node] = machine->second;
    } else {
      cache_.machines.erase(pod.node);
    }
  }
}

bool Operator::Crash(bool faults) {
  if (!faults || world_->random.Uniform(25) != 0) return false;
  world_->Note(name_ + " crashes");
  Forget();
  return true;
}

void Operator::Forget() {
  silent_.clear();
  refused_.clear();
}

int64_t Operator::ContentOf(const std::string& key) const {
  const Resource& resource = *cache_.resource;
  return key == RefusalKey(ApplyStatefulSet{}) ? resource.image : resource.generation;
}

void Operator::CheckRetry(Observation seen) {
  const auto refusal = seen.refusals.find(RefusalKey(last_.action));
  if (refusal == seen.refusals.end()) return;
  refusal->second.again_s = seen.now_s + 5;
  const Plan held = MakePlan(seen);
  if (held.status == last_.status) return;
  world_->Fail("the status changes with a try: " + ToString(last_.action));
}

void Operator::NoteAnswer(bool refused) {
  const std::string key = RefusalKey(last_.action);
  if (!refused) {
    refused_.erase(key);
    return;
  }
  ++refusals_[ActionName(last_.action)];
  RefusedAction& known = refused_[key];
  const bool again = known.pause_s > 0 && known.content == ContentOf(key);
  known.pause_s = again ? std::min<int64_t>(2 * known.pause_s, 300) : 5;
  known.content = ContentOf(key);
  known.again_s = world_->now_s + known.pause_s;
}

void Operator::CheckEvents(const Observation& seen) {
  const auto recorded = [&](const std::string& reason) {
    return std::ranges::any_of(last_.events,
                               [&](const PlannedEvent& e) { return e.reason == reason; });
  };
  const std::optional<PlannedEvent> step = EventOf(seen.name, last_.action);
  if (step.has_value() == std::holds_alternative<Nothing>(last_.action)) {
    world_->Fail("a step has no event: " + ToString(last_.action));
  }
  if (step && !recorded(step->reason)) world_->Fail("not recorded: " + ToString(last_.action));
  for (const PlannedCondition& c : last_.status.conditions) {
    const auto known = std::ranges::find(kConditionReasons, c.reason, &ConditionReason::reason);
    if (known == std::end(kConditionReasons)) world_->Fail("not in the list: " + c.reason);
    const auto said = seen.reasons.find(c.type);
    const bool is_new = said == seen.reasons.end() || said->second != c.reason;
    const bool bad = c.status && (c.type == "Degraded" || c.type == "QuorumLost");
    if (bad && is_new && !recorded(c.reason)) world_->Fail("nobody is told: " + c.reason);
  }
}

Observation Operator::Observe(bool faults) {
  const Resource& resource = *cache_.resource;
  Observation seen;
  seen.now_s = world_->now_s;
  seen.ns = "ns";
  seen.name = "db";
  seen.uid = resource.uid;
  seen.generation = resource.generation;
  seen.observed_generation = resource.status.observed_generation;
  seen.deleting = resource.deleting;
  seen.finalizer = resource.finalizer;
  seen.spec = resource.spec;
  seen.cluster = resource.status.cluster;
  seen.operation = resource.status.operation;
  seen.initializing = resource.status.initializing;
  for (const PlannedCondition& c : resource.status.conditions) seen.reasons[c.type] = c.reason;
  for (const MemberStatus& m : resource.status.members) {
    if (m.lag) seen.told_lags[m.member] = *m.lag;
  }
  seen.epoch = epoch_;
  ObserveObjects(resource, &seen.objects);
  if (resource.unreadable) ObserveUnreadable(&seen);
  for (const auto& [key, known] : refused_) {
    const bool same = known.content == ContentOf(key);
    seen.refusals[key] = {.message = key, .again_s = same ? known.again_s : 0};
  }
  for (const auto& [slot, pod] : cache_.pods) seen.slots[slot].pod = ObservePod(slot, pod);
  for (const auto& [slot, claim] : cache_.claims) {
    if (!claim.foreign) seen.slots[slot].claim = ObserveClaim(slot, claim);
  }
  LookForClaims(&seen);
  std::map<int, NodeReport> reports;
  for (auto& [slot, view] : seen.slots) {
    if (faults && world_->random.Uniform(30) == 0) continue;
    view.report = world_->Ask(slot);
    if (view.report) reports[slot] = *view.report;
  }
  for (auto& [slot, view] : seen.slots) {
    if (view.report || !view.pod) {
      silent_.erase(slot);
    } else {
      view.silent_since_s = silent_.try_emplace(slot, seen.now_s).first->second;
    }
  }
  seen.membership = world_->AskMembership(reports);
  const Facts facts(seen);
  if (facts.has_leader() || !facts.QuorumAnswers()) {
    leaderless_since_s_ = 0;
  } else if (leaderless_since_s_ == 0) {
    leaderless_since_s_ = seen.now_s;
  }
  seen.leaderless_since_s = leaderless_since_s_;
  return seen;
}

void Operator::ObserveUnreadable(Observation* seen) {
  seen->spec_error = "spec.replicas is 'many'";
  const Operation& operation = seen->operation;
  const bool sized = operation.type == Operation::Type::kScale && operation.target > 0;
  seen->spec.replicas = sized ? operation.target : seen->objects.stateful_set_replicas;
  seen->objects.others_current = true;
  seen->objects.template_current = seen->objects.stateful_set;
}

void Operator::ObserveObjects(const Resource& resource, ObjectsView* objects) const {
  objects->others_current = cache_.objects;
  objects->min_available = cache_.min_available;
  objects->leader_pod = cache_.leader_pod;
  if (!cache_.sts) return;
  if (cache_.sts->owner != resource.uid) {
    objects->foreign = "StatefulSet db belongs to another resource.";
    return;
  }
  objects->stateful_set = true;
  objects->stateful_set_replicas = cache_.sts->replicas;
  objects->template_current = cache_.sts->image == resource.image;
  objects->update_revision = "rev-" + std::to_string(cache_.sts->image);
}

PodView Operator::ObservePod(int slot, const Pod& pod) const {
  PodView view;
  view.name = PodName("db", slot);
  view.uid = pod.uid;
  view.node = pod.node;
  view.ready = pod.ready;
  view.deleting = pod.deleting;
  view.finished = pod.finished;
  view.created_s = pod.created_s;
  view.revision = "rev-" + std::to_string(pod.image);
  if (!pod.node.empty() && world_->broken_images.contains(pod.image))
    view.waiting = "ImagePullBackOff";
  const auto machine = cache_.machines.find(pod.node);
  if (!pod.node.empty() && machine == cache_.machines.end()) {
    view.node_lost_since_s = pod.created_s;
    view.node_gone = true;
  }
  if (machine != cache_.machines.end() && !machine->second.up) {
    view.node_lost_since_s = machine->second.down_since_s;
  }
  return view;
}

void Operator::LookForClaims(Observation* seen) const {
  const int slots = SlotsToLookAt(Facts(*seen));
  for (const auto& [slot, live] : world_->kube.claims) {
    if (slot >= slots) break;
    SlotView& view = seen->slots[slot];
    if (view.claim) continue;
    if (live.foreign) {
      view.hidden_claim = HiddenClaim::kForeign;
    } else {
      view.claim = ObserveClaim(slot, live);
    }
  }
}

ClaimView Operator::ObserveClaim(int slot, const Claim& claim) const {
  ClaimView view;
  view.name = "data-" + PodName("db", slot);
  view.uid = claim.uid;
  view.bound = claim.bound;
  view.lost = claim.lost;
  view.deleting = claim.deleting;
  view.requested_bytes = claim.bytes;
  view.capacity_bytes = claim.capacity;
  if (world_->volumes_stay_small) view.cannot_grow = "no space is left";
  view.member = claim.member;
  return view;
}

}  // namespace raftkv::op::model
