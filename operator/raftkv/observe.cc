#include "operator/raftkv/observe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "operator/kube/ownership.h"
#include "operator/raftkv/plan_facts.h"
#include "operator/raftkv/resource.h"
#include "operator/raftkv/view.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Key;
using kube::Object;
using kube::ObjectPtr;

constexpr int64_t kMicros = 1'000'000;
// A leader forgets who was active once in an election timeout, and knows again a heartbeat later.
constexpr Duration kActivityPause = std::chrono::milliseconds(150);
constexpr int kActivityLooks = 3;
constexpr Duration kForeignPause = std::chrono::seconds(10);

// Which object, and the hash of what it is to be.
std::string Described(const Object& desired) {
  return NameOf(desired) + " " + std::string(desired.Annotation(kAppliedAnnotation).value_or(""));
}

// Whatever the spec asks for otherwise.
std::set<std::string> ContentOf(const Seen& seen, const std::string& key) {
  const auto content = seen.contents.find(key);
  const std::string generation = std::to_string(seen.observation.generation);
  if (content == seen.contents.end()) return {generation};
  std::set<std::string> out = content->second;
  // The hash does not have the number of replicas in it.
  if (key == RefusalKey(ApplyStatefulSet{})) out.insert(generation);
  return out;
}

// An IP outlives its pod in a cache, and another pod may have it by then: who answers there tells
// nothing of the slot.
std::map<int, NodeStatus> Own(const Observation& seen, std::map<int, NodeStatus> statuses) {
  std::erase_if(statuses, [&](const auto& answer) {
    const std::string pod = PodName(seen.name, answer.first);
    if (answer.second.name == pod) return false;
    log::Warning(
        "another node answers at the address of a pod",
        {{"raftkv", seen.ns + "/" + seen.name}, {"pod", pod}, {"node", answer.second.name}});
    return true;
  });
  return statuses;
}

}  // namespace

kube::Cache* Caches::Of(const kube::Resource& resource) const {
  for (kube::Cache* cache :
       {clusters, stateful_sets, pods, claims, services, accounts, policies, budgets}) {
    if (cache->resource() == resource) return cache;
  }
  return nullptr;
}

Observer::Memory& Observer::MemoryOf(const Key& key) {
  std::lock_guard lock(mutex_);
  return memories_[key];  // a map's elements stay where they are
}

void Observer::NoteForeign(const Key& key, std::string sentence) {
  Memory& memory = MemoryOf(key);
  memory.foreign = std::move(sentence);
  memory.foreign_until = timing_->Now() + kForeignPause;
}

void Observer::NoteRefusal(const Seen& seen, const Action& action, std::string_view message,
                           Duration longest) {
  MemoryOf(seen.resource->key())
      .refusals.Note(action, ContentOf(seen, RefusalKey(action)), message, longest, timing_->Now());
}

void Observer::BeginTry(const Seen& seen) { MemoryOf(seen.resource->key()).refusals.BeginTry(); }

void Observer::EndTry(const Seen& seen, const Action& action, bool done) {
  MemoryOf(seen.resource->key())
      .refusals.EndTry(action, ContentOf(seen, RefusalKey(action)), done, timing_->Now());
}

bool Observer::IsHeld(const Seen& seen, const Action& action) {
  return MemoryOf(seen.resource->key())
      .refusals.IsHeld(action, ContentOf(seen, RefusalKey(action)), timing_->Now());
}

void Observer::NoteApplied(const Key& key, const DesiredObject& desired, const Object& answer) {
  Memory& memory = MemoryOf(key);
  memory.applied.Note(desired, answer, timing_->Now());
  // An apply that changes nothing makes no version.
  memory.compared.versions.clear();
}

std::vector<std::string> Observer::TakeChanged(const Key& key) {
  return MemoryOf(key).applied.TakeChanged();
}

bool Observer::IsAsApplied(const Key& key, const Object& existing, const DesiredObject& desired) {
  return MemoryOf(key).applied.IsAsApplied(existing, desired);
}

// Whoever had a say in what was applied may not have it any more, or say something else, or say it
// again: that is asked without a write.
void Observer::AskAnew(const Seen& seen) {
  const Object& resource = *seen.resource;
  Memory& memory = MemoryOf(resource.key());
  const MonotonicTime now = timing_->Now();
  if (!memory.applied.AnyDue(now)) return;
  std::vector<DesiredObject> all = DesiredObjects(resource, settings_);
  if (const ObjectPtr& set = seen.stateful_set; set != nullptr) {
    const auto replicas = static_cast<int>(set->Int("/spec/replicas").value_or(0));
    all.push_back(DesiredStatefulSet(resource, settings_, replicas, set.get()));
  }
  if (const auto minimum = memory.applied.budget_asked()) {
    all.push_back(DesiredDisruptionBudget(resource, static_cast<int>(*minimum)));
  }
  if (memory.applied.AskAnew(*api_, resource, all, now)) memory.compared.versions.clear();
}

void Observer::LookAtRefusals(Seen& seen) {
  Observation& out = seen.observation;
  const auto content_of = [&](const std::string& key) { return ContentOf(seen, key); };
  out.refusals =
      MemoryOf(seen.resource->key())
          .refusals.Tell(content_of, out.objects.template_current, timing_->Now(), out.now_s);
}

void Observer::NoteStatus(const Key& key, bool refused) {
  Memory& memory = MemoryOf(key);
  memory.status_refused = refused;
  if (!refused) memory.status_written = timing_->Now();
}

bool Observer::IsStatusRefused(const Key& key) { return MemoryOf(key).status_refused; }

Duration Observer::SinceStatus(const Key& key) {
  const auto& written = MemoryOf(key).status_written;
  return written ? timing_->Now() - *written : Duration::max();
}

void Observer::Forget(const Key& key) {
  std::lock_guard lock(mutex_);
  memories_.erase(key);
}

Result<Seen> Observer::LookLive(const Key& key, uint64_t epoch) {
  auto resource = api_->Get(kRaftKvs, key);
  if (!resource) return Error(resource.error().ToStatus());
  kube::Cache sets(kube::resources::kStatefulSets);
  kube::Cache pods(kube::resources::kPods);
  kube::Cache claims(kube::resources::kClaims);
  kube::Cache budgets(kube::resources::kDisruptionBudgets);
  Caches live = caches_;
  live.stateful_sets = &sets;
  live.pods = &pods;
  live.claims = &claims;
  live.budgets = &budgets;
  for (kube::Cache* cache : {&sets, &pods, &claims, &budgets}) {
    kube::ListOptions options{.ns = key.ns, .label_selector = PodSelector(key.name)};
    auto list = api_->List(cache->resource(), options);
    if (!list) return Error(list.error().ToStatus());
    RETURN_UNEXPECTED_IF_ERROR(cache->Replace(std::move(list->items), list->resource_version));
  }
  return LookIn(live, std::make_shared<const Object>(std::move(*resource)), epoch, true);
}

Seen Observer::LookIn(const Caches& caches, const ObjectPtr& resource, uint64_t epoch, bool live) {
  Seen seen{.resource = resource};
  Observation& out = seen.observation;
  out.now_s = timing_->WallMicros() / kMicros;
  out.ns = resource->ns();
  out.name = resource->name();
  out.uid = resource->uid();
  out.generation = resource->generation();
  out.observed_generation = resource->Int("/status/observedGeneration").value_or(0);
  out.deleting = resource->deleting();
  out.finalizer = resource->HasFinalizer(kFinalizer);
  out.orphans = out.deleting && resource->HasFinalizer("orphan");
  out.foreground = out.deleting && resource->HasFinalizer("foregroundDeletion");
  out.cluster = ReadCluster(*resource);
  out.operation = ReadOperation(*resource);
  out.initializing = ReadInitializing(*resource);
  out.reasons = ReadReasons(*resource);
  out.told_lags = ReadLags(*resource);
  out.epoch = epoch;
  LookAtObjects(caches, seen);
  LookAtSpec(out, *resource);
  LookAtRefusals(seen);
  LookAtClaims(caches, seen);
  LookAtPods(caches, seen, live);
  LookForClaims(seen);
  LookAtNodes(seen);
  return seen;
}

// The last spec that could be read is kept nowhere; what was made of it is in the live StatefulSet
// and in the operation that is written.
void Observer::LookAtSpec(Observation& out, const Object& resource) {
  Status wrong;
  out.spec = ReadReadable(resource, &wrong);
  if (wrong.ok()) return;
  out.spec_error = wrong.message();
  out.spec.on_delete = Retention::kRetain;
  if (out.spec.replicas < 0) {
    const bool sized = out.operation.type == Operation::Type::kScale && out.operation.target > 0;
    // Without a StatefulSet nobody knows how many; but it does not sleep.
    const int now = out.objects.stateful_set ? out.objects.stateful_set_replicas : 1;
    out.spec.replicas = sized ? out.operation.target : now;
  }
  // What is there stays as it is. What somebody deleted is made of what can be read: members do not
  // find each other without their Service, nor are they let alone without their policies.
  out.objects.others_current = MemoryOf(resource.key()).compared.others_there;
  out.objects.template_current = out.objects.stateful_set;
  out.objects.spare_account = false;
}

// Ours, or null; a foreign one is noted.
ObjectPtr Observer::FindOwn(const Caches& caches, const ObjectName& name, const Object& resource,
                            std::string* foreign) {
  ObjectPtr existing = caches.Of(name.resource)->Get(name.key);
  if (existing == nullptr) return nullptr;
  auto allowed = kube::CheckMayManage(*existing, resource);
  if (!allowed && !kube::IsControlledBy(*existing, resource)) {
    *foreign = allowed.error().message;
    return nullptr;
  }
  return existing;
}

void Observer::LookAtObjects(const Caches& caches, Seen& seen) {
  ObjectsView& out = seen.observation.objects;
  const Object& resource = *seen.resource;
  Memory& memory = MemoryOf(resource.key());
  if (timing_->Now() < memory.foreign_until) out.foreign = memory.foreign;

  seen.stateful_set =
      FindOwn(caches, {kube::resources::kStatefulSets, resource.key()}, resource, &out.foreign);
  AskAnew(seen);
  std::vector<uint64_t> versions = VersionsOf(caches, resource);
  if (versions.empty() || versions != memory.compared.versions) {
    memory.compared = Compare(caches, seen);
    memory.compared.versions = std::move(versions);
  }
  const Compared& compared = memory.compared;
  if (!compared.foreign.empty()) out.foreign = compared.foreign;
  out.others_current = compared.others_current;
  out.spare_account = compared.spare_account;
  out.min_available = compared.min_available;
  out.template_current = compared.template_current;
  seen.contents[RefusalKey(ApplyObjects{})] = compared.stale_objects;
  seen.contents[RefusalKey(ApplyStatefulSet{})] = compared.template_wanted;

  if (seen.stateful_set == nullptr) {
    out.foreign_set = caches.stateful_sets->Get(resource.key()) != nullptr;
    return;
  }
  out.stateful_set = true;
  out.stateful_set_deleting = seen.stateful_set->deleting();
  out.stateful_set_replicas =
      static_cast<int>(seen.stateful_set->Int("/spec/replicas").value_or(0));
  // The revision of a template that its controller has not seen yet is not known.
  if (seen.stateful_set->Int("/status/observedGeneration") == seen.stateful_set->generation()) {
    out.update_revision = seen.stateful_set->String("/status/updateRevision");
  }
}

// Empty unless all are there.
std::vector<uint64_t> Observer::VersionsOf(const Caches& caches, const Object& resource) {
  std::vector<uint64_t> out = {kube::ParseResourceVersion(resource.resource_version()).value_or(0)};
  for (const ObjectName& object : NamesOfObjects(resource.key())) {
    out.push_back(caches.Of(object.resource)->VersionOf(object.key));
  }
  if (std::ranges::find(out, 0U) != out.end()) out.clear();
  return out;
}

Observer::Compared Observer::Compare(const Caches& caches, const Seen& seen) {
  const Object& resource = *seen.resource;
  const Key key = resource.key();
  Compared out{.others_current = true, .others_there = true};
  for (const DesiredObject& desired : DesiredObjects(resource, settings_)) {
    ObjectPtr existing =
        FindOwn(caches, {desired.resource, desired.object.key()}, resource, &out.foreign);
    bool current = existing != nullptr && IsAsApplied(key, *existing, desired);
    out.others_current = out.others_current && current;
    out.others_there = out.others_there && existing != nullptr;
    if (!current) out.stale_objects.insert(Described(desired.object));
  }

  std::string_view named = resource.String("/spec/pod/serviceAccountName");
  if (!named.empty() && named != resource.name()) {
    // Somebody else's of our name is not in the way.
    ObjectPtr account = caches.accounts->Get(resource.key());
    out.spare_account = account != nullptr && kube::IsControlledBy(*account, resource);
  }

  const ObjectName budget{kube::resources::kDisruptionBudgets, resource.key()};
  if (ObjectPtr existing = FindOwn(caches, budget, resource, &out.foreign)) {
    auto minimum = existing->Int("/spec/minAvailable");
    // One that somebody changed to something else is applied anew; what a webhook made of the one
    // that was asked for is as good as that.
    const int seen_minimum = minimum ? static_cast<int>(*minimum) : INT32_MAX;
    const int asked = static_cast<int>(MemoryOf(key).applied.budget_asked().value_or(seen_minimum));
    const auto is_as_applied = [&](int wanted) {
      return IsAsApplied(key, *existing, DesiredDisruptionBudget(resource, wanted));
    };
    out.min_available = is_as_applied(asked)          ? asked
                        : is_as_applied(seen_minimum) ? seen_minimum
                                                      : INT32_MAX;
  }

  const ObjectPtr& set = seen.stateful_set;
  int replicas = set == nullptr ? 0 : static_cast<int>(set->Int("/spec/replicas").value_or(0));
  DesiredObject desired = DesiredStatefulSet(resource, settings_, replicas, set.get());
  out.template_current = set != nullptr && IsAsApplied(key, *set, desired);
  out.template_wanted = {Described(desired.object)};
  return out;
}

void Observer::LookAtClaims(const Caches& caches, Seen& seen) {
  const std::string& name = seen.observation.name;
  for (const ObjectPtr& claim : caches.claims->WithLabel("app.kubernetes.io/instance", name)) {
    int slot = SlotOfClaim(name, claim->name());
    bool ours = claim->ns() == seen.observation.ns && IsLabelledFor(*claim, name);
    if (slot >= 0 && ours) seen.observation.slots[slot].claim = ViewClaim(*claim);
  }
}

// The StatefulSet mounts a claim by its name, whosever it is, and the caches hold ours alone. Where
// it has no pod yet it is too late once it has one.
void Observer::LookForClaims(Seen& seen) {
  Observation& out = seen.observation;
  for (int slot = 0; slot < SlotsToLookAt(Facts(out)); ++slot) {
    if (auto known = out.slots.find(slot); known != out.slots.end() && known->second.claim) {
      continue;
    }
    auto claim = api_->Get(kube::resources::kClaims, {out.ns, ClaimName(out.name, slot)});
    if (claim && IsLabelledFor(*claim, out.name)) {
      out.slots[slot].claim = ViewClaim(*claim);
    } else if (claim) {
      out.slots[slot].hidden_claim = HiddenClaim::kForeign;
    } else if (!claim.error().Is(kube::Reason::kNotFound)) {
      out.slots[slot].hidden_claim = HiddenClaim::kUnknown;
    }
  }
}

void Observer::LookAtPods(const Caches& caches, Seen& seen, bool live) {
  if (seen.stateful_set == nullptr) return;
  Memory& memory = MemoryOf(seen.resource->key());
  const auto node_of_claim = [&](int slot) -> std::string {
    const std::string name = ClaimName(seen.observation.name, slot);
    const ObjectPtr claim = caches.claims->Get({seen.observation.ns, name});
    if (claim == nullptr) return "";
    return std::string(claim->Annotation("volume.kubernetes.io/selected-node").value_or(""));
  };
  std::set<std::string> used;
  for (const ObjectPtr& pod : caches.pods->OwnedBy(seen.stateful_set->uid())) {
    int slot = SlotOfPod(seen.observation.name, pod->name());
    if (slot < 0 || !kube::IsControlledBy(*pod, *seen.stateful_set)) continue;
    PodView view = ViewPod(*pod, seen.observation.name);
    // A volume may be tied to a node; a pod that waits for that node has none itself.
    const std::string node = view.node.empty() ? node_of_claim(slot) : view.node;
    used.insert(node);
    if (const auto known = LookAtNode(node, seen, live); known && known->lost) {
      view.node_lost_since_s = WallSeconds(known->since);
      view.node_gone = known->gone;
    }
    std::string ip(pod->String("/status/podIP"));
    if (!ip.empty() && !view.finished) seen.hosts[slot] = std::move(ip);
    if (pod->Label(kRoleLabel) == "leader") {
      std::string& leader = seen.observation.objects.leader_pod;
      leader += (leader.empty() ? "" : ",") + view.name;
    }
    seen.observation.slots[slot].pod = std::move(view);
  }
  // A pod that is not there now may come back to the node of its claim.
  std::erase_if(memory.nodes, [&](const auto& known) {
    const std::string& node = known.first;
    return !used.contains(node) &&
           std::ranges::none_of(seen.observation.slots, [&](const auto& slot) {
             return node_of_claim(slot.first) == node;
           });
  });
}

std::optional<Observer::NodeMemory> Observer::LookAtNode(const std::string& name, Seen& seen,
                                                         bool live) {
  if (caches_.nodes == nullptr || name.empty()) return std::nullopt;
  ObjectPtr node = caches_.nodes->Get({"", name});
  auto& nodes = MemoryOf(seen.resource->key()).nodes;
  const auto known = nodes.find(name);
  if (live && IsLost(node)) {
    auto read = api_->Get(kube::resources::kNodes, {"", name});
    if (!read && !read.error().SaysGone()) {
      seen.unread_node = read.error();
      seen.unread_node->message = "the read of node " + name + ": " + read.error().message;
      return std::nullopt;
    }
    node = read ? std::make_shared<const Object>(std::move(*read)) : nullptr;
  }
  const MonotonicTime now = timing_->Now();
  NodeMemory next{.lost = IsLost(node), .gone = node == nullptr, .since = now};
  if (!next.lost) return nodes[name] = next;
  next.transition_micros = TransitionMicrosOf(node);
  const bool same = known != nodes.end() && known->second.lost && known->second.gone == next.gone &&
                    known->second.transition_micros == next.transition_micros;
  if (same) return known->second;
  if (next.transition_micros != 0) {
    const int64_t age = std::max<int64_t>(0, timing_->WallMicros() - next.transition_micros);
    next.since = now - std::chrono::microseconds(age);
  }
  // It cannot have been lost for longer than since it was seen well.
  if (known != nodes.end()) next.since = std::max(next.since, known->second.since);
  return nodes[name] = next;
}

int64_t Observer::WallSeconds(MonotonicTime since) const {
  const auto elapsed =
      std::chrono::duration_cast<std::chrono::microseconds>(timing_->Now() - since);
  return std::max<int64_t>(1, (timing_->WallMicros() - elapsed.count()) / kMicros);
}

std::map<int, NodeStatus> Observer::Ask(const std::map<int, std::string>& hosts) const {
  std::map<int, NodeStatus> statuses = nodes_->Statuses(hosts);
  for (int look = 1; look < kActivityLooks; ++look) {
    std::map<int, std::string> again;
    for (const auto& [slot, status] : statuses) {
      if (status.report.role != NodeReport::Role::kLeader) continue;
      // Somebody answers us, but not (just now) the leader.
      bool unsure = std::ranges::any_of(statuses, [&](const auto& other) {
        const auto& members = status.membership.members;
        auto member = members.find(other.second.report.member);
        return member != members.end() && !member->second.active;
      });
      if (unsure) again[slot] = hosts.at(slot);
    }
    if (again.empty()) break;
    timing_->Sleep(kActivityPause, {});
    for (auto& [slot, status] : nodes_->Statuses(again)) statuses[slot] = std::move(status);
  }
  return statuses;
}

void Observer::LookAtNodes(Seen& seen) {
  Memory& memory = MemoryOf(seen.resource->key());
  std::map<int, NodeStatus> statuses = Own(seen.observation, Ask(seen.hosts));
  std::map<int, MonotonicTime> silent;
  std::vector<NodeStatus> all;
  for (auto& [slot, view] : seen.observation.slots) {
    if (auto status = statuses.find(slot); status != statuses.end()) {
      view.report = status->second.report;
      all.push_back(std::move(status->second));
      continue;
    }
    auto known = memory.silent_since.find(slot);
    silent[slot] = known == memory.silent_since.end() ? timing_->Now() : known->second;
    view.silent_since_s = WallSeconds(silent[slot]);
  }
  memory.silent_since = std::move(silent);
  Observation& out = seen.observation;
  out.membership = JoinMemberships(all, out.cluster);
  const Facts facts(out);
  // Those who are too few to elect anybody do not begin to be late with it.
  if (facts.has_leader() || !facts.QuorumAnswers()) {
    memory.leaderless_since.reset();
  } else {
    if (!memory.leaderless_since) memory.leaderless_since = timing_->Now();
    out.leaderless_since_s = WallSeconds(*memory.leaderless_since);
  }
}

std::optional<Membership> Observer::LookAtMembers(const Seen& seen) {
  std::vector<NodeStatus> all;
  for (auto& [slot, status] : Own(seen.observation, nodes_->Statuses(seen.hosts))) {
    all.push_back(std::move(status));
  }
  return JoinMemberships(all, seen.observation.cluster);
}

}  // namespace raftkv::op
