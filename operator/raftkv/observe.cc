#include "operator/raftkv/observe.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hex_id.h"
#include "operator/kube/ownership.h"
#include "operator/raftkv/plan_facts.h"
#include "operator/raftkv/resource.h"

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
constexpr Duration kRefusedPause = std::chrono::seconds(5);
// A refusal of what is not wanted any more is forgotten so long after its next try was due.
constexpr Duration kRefusedForgotten = std::chrono::minutes(10);
// Until it is asked again what a webhook makes of an object.
constexpr Duration kAskAnewPause = std::chrono::hours(1);
// Until another answer is believed: a webhook whose failures are ignored may be away for a moment.
constexpr Duration kAskAgainPause = std::chrono::minutes(5);
constexpr size_t kRefusedBytes = 600;  // of the server's words

int64_t SecondsOf(std::string_view time) {
  auto micros = kube::ParseTime(time);
  return micros ? *micros / kMicros : 0;
}

// The entry of `list` whose `field` is `value`; null if there is none.
const Json* Entry(const Json& list, const char* field, std::string_view value) {
  if (!list.is_array()) return nullptr;
  for (const Json& entry : list) {
    if (entry.is_object() && entry.value(field, Json()) == value) return &entry;
  }
  return nullptr;
}

bool HasCondition(const Object& object, std::string_view type, std::string_view status) {
  const Json* condition = Entry(object.At("/status/conditions"), "type", type);
  return condition != nullptr && condition->value("status", Json()) == status;
}

PodView ViewPod(const Object& pod, std::string_view own_account) {
  PodView out{.name = std::string(pod.name()),
              .uid = std::string(pod.uid()),
              .node = std::string(pod.String("/spec/nodeName")),
              .ready = HasCondition(pod, "Ready", "True"),
              .deleting = pod.deleting(),
              .created_s = SecondsOf(pod.String("/metadata/creationTimestamp")),
              .revision = std::string(pod.Label("controller-revision-hash").value_or("")),
              .own_account = pod.String("/spec/serviceAccountName") == own_account};
  std::string_view phase = pod.String("/status/phase");
  out.finished = phase == "Succeeded" || phase == "Failed";
  const Json* scheduled = Entry(pod.At("/status/conditions"), "type", "PodScheduled");
  out.unschedulable = scheduled != nullptr && scheduled->value("reason", Json()) == "Unschedulable";
  const Json* container = Entry(pod.At("/status/containerStatuses"), "name", kContainer);
  if (container == nullptr) return out;
  Object status(*container);
  out.restarts = static_cast<int>(status.Int("/restartCount").value_or(0));
  out.waiting = status.String("/state/waiting/reason");
  bool ended = status.At("/state/terminated").is_object();
  out.finished = out.finished || ended || out.waiting == "CrashLoopBackOff";
  return out;
}

// Cut at a whole character.
std::string Shortened(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return std::string(text.substr(0, bytes)) + "...";
}

ClaimView ViewClaim(const Object& claim) {
  auto bytes = [&](std::string_view pointer) {
    return ParseQuantity(claim.String(pointer)).value_or(0);
  };
  std::string_view phase = claim.String("/status/phase");
  std::string cannot_grow(claim.String("/status/allocatedResourceStatuses/storage"));
  if (!cannot_grow.ends_with("Infeasible")) cannot_grow.clear();
  for (const char* type : {"ControllerResizeError", "NodeResizeError"}) {
    const Json* error = Entry(claim.At("/status/conditions"), "type", type);
    if (error == nullptr || error->value("status", Json()) != "True") continue;
    cannot_grow = Shortened(Object(*error).String("/message"), kRefusedBytes);
    if (cannot_grow.empty()) cannot_grow = type;
  }
  return {.name = std::string(claim.name()),
          .uid = std::string(claim.uid()),
          .bound = phase == "Bound",
          .lost = phase == "Lost",
          .deleting = claim.deleting(),
          .requested_bytes = bytes("/spec/resources/requests/storage"),
          .capacity_bytes = bytes("/status/capacity/storage"),
          .cannot_grow = std::move(cannot_grow),
          .member = ParseHexId(claim.Annotation(kMemberAnnotation).value_or("")).value_or(0)};
}

// NotReady, or without an object.
bool IsLost(const ObjectPtr& node) {
  if (node == nullptr) return true;
  const Json* ready = Entry(node->At("/status/conditions"), "type", "Ready");
  return ready != nullptr && ready->value("status", Json()) != "True";
}

// Since when its readiness is what it is; 0: nothing says so.
int64_t TransitionOf(const ObjectPtr& node) {
  if (node == nullptr) return 0;
  const Json* ready = Entry(node->At("/status/conditions"), "type", "Ready");
  if (ready == nullptr) return 0;
  return kube::ParseTime(Object(*ready).String("/lastTransitionTime")).value_or(0);
}

std::string NameOf(const Object& object) {
  return std::string(object.kind()) + " " + std::string(object.name());
}

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

// Members under their pods' names.
std::optional<Membership> JoinByPods(const std::vector<NodeStatus>& nodes, ClusterId cluster) {
  auto out = JoinMemberships(nodes, cluster);
  if (!out) return out;
  for (auto& [id, member] : out->members) member.name = PodOfMember(member.name);
  return out;
}

}  // namespace

Json EntriesOf(const Json& list, const char* field, std::string_view value) {
  Json out = Json::array();
  if (!list.is_array()) return out;
  std::ranges::copy_if(list, std::back_inserter(out), [&](const Json& entry) {
    return entry.is_object() && entry.value(field, Json()) == value;
  });
  return out;
}

bool IsLabelledFor(const Object& object, std::string_view name) {
  return object.Label("app.kubernetes.io/name") == "raftkv" &&
         object.Label("app.kubernetes.io/instance") == name;
}

void OnlyWhatIsViewed(Object& pod) {
  Json status = {{"phase", pod.String("/status/phase")}, {"podIP", pod.String("/status/podIP")}};
  status["conditions"] = EntriesOf(pod.At("/status/conditions"), "type", "Ready");
  for (Json& scheduled : EntriesOf(pod.At("/status/conditions"), "type", "PodScheduled")) {
    status["conditions"].push_back(std::move(scheduled));
  }
  for (const Json& container : EntriesOf(pod.At("/status/containerStatuses"), "name", kContainer)) {
    status["containerStatuses"].push_back({{"name", kContainer},
                                           {"restartCount", container.value("restartCount", 0)},
                                           {"state", container.value("state", Json())}});
  }
  pod.Erase("/metadata/managedFields");
  pod.Erase("/metadata/annotations");
  pod.Set("/spec", Json{{"nodeName", pod.String("/spec/nodeName")},
                        {"serviceAccountName", pod.String("/spec/serviceAccountName")}});
  pod.Set("/status", std::move(status));
}

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
  const std::string key = RefusalKey(action);
  Memory& memory = MemoryOf(seen.resource->key());
  RefusedAction& refused = memory.refused[key];
  // Another object of the same action.
  if (refused.noted_in == memory.tries && refused.pause > Duration::zero()) {
    if (!refused.message.contains(message)) {
      refused.message = Shortened(refused.message + " " + std::string(message), kRefusedBytes);
    }
    return;
  }
  std::set<std::string> content = ContentOf(seen, key);
  const bool again = std::ranges::includes(refused.content, content);
  refused.pause = again ? std::min(2 * refused.pause, longest) : kRefusedPause;
  refused.again = timing_->Now() + refused.pause;
  refused.noted_in = memory.tries;
  refused.content = std::move(content);
  refused.message = Shortened(message, kRefusedBytes);
}

void Observer::BeginTry(const Seen& seen) { ++MemoryOf(seen.resource->key()).tries; }

void Observer::EndTry(const Seen& seen, const Action& action, bool done) {
  const std::string key = RefusalKey(action);
  Memory& memory = MemoryOf(seen.resource->key());
  const auto known = memory.refused.find(key);
  if (known == memory.refused.end()) return;
  if (done) {
    memory.refused.erase(known);
    return;
  }
  RefusedAction& refused = known->second;
  std::set<std::string> content = ContentOf(seen, key);
  if (!std::ranges::includes(refused.content, content)) refused.pause = kRefusedPause;
  refused.again = timing_->Now() + refused.pause;
  refused.content = std::move(content);
}

bool Observer::IsHeld(const Seen& seen, const Action& action) {
  const std::string key = RefusalKey(action);
  const auto& refused = MemoryOf(seen.resource->key()).refused;
  const auto found = refused.find(key);
  return found != refused.end() && timing_->Now() < found->second.again &&
         std::ranges::includes(found->second.content, ContentOf(seen, key));
}

void Observer::NoteApplied(const Key& key, const DesiredObject& desired, const Object& answer) {
  Memory& memory = MemoryOf(key);
  Answer& known = memory.applied[NameOf(desired.object)];
  const bool changed = !IsCurrent(answer, desired.object);
  Answer made{.hash = FieldsHash(answer, desired.object),
              .otherwise = known.otherwise || changed,
              .asked = timing_->Now()};
  if (known.hash != made.hash && changed) memory.changed.push_back(NameOf(desired.object));
  known = std::move(made);
  if (desired.resource == kube::resources::kDisruptionBudgets) {
    memory.budget_asked = desired.object.Int("/spec/minAvailable");
  }
  // An apply that changes nothing makes no version.
  memory.compared.versions.clear();
}

std::vector<std::string> Observer::TakeChanged(const Key& key) {
  return std::exchange(MemoryOf(key).changed, {});
}

bool Observer::IsAsApplied(const Key& key, const Object& existing, const DesiredObject& desired) {
  const auto& applied = MemoryOf(key).applied;
  const auto answer = applied.find(NameOf(desired.object));
  if (answer != applied.end() && answer->second.stale) return false;
  if (IsCurrent(existing, desired.object)) return true;
  return answer != applied.end() && answer->second.hash == FieldsHash(existing, desired.object);
}

// Whoever had a say in what was applied may not have it any more, or say something else, or say it
// again: that is asked without a write. What would be stored otherwise now, and minutes later, is
// applied again.
void Observer::AskAnew(const Seen& seen) {
  const Object& resource = *seen.resource;
  Memory& memory = MemoryOf(resource.key());
  const MonotonicTime now = timing_->Now();
  const auto due = [&](const auto& entry) {
    const Answer& answer = entry.second;
    const Duration pause = answer.next.empty() ? kAskAnewPause : kAskAgainPause;
    return answer.otherwise && !answer.stale && now - answer.asked >= pause;
  };
  if (std::ranges::none_of(memory.applied, due)) return;
  std::vector<DesiredObject> all = DesiredObjects(resource, settings_);
  if (const ObjectPtr& set = seen.stateful_set; set != nullptr) {
    const auto replicas = static_cast<int>(set->Int("/spec/replicas").value_or(0));
    all.push_back(DesiredStatefulSet(resource, settings_, replicas, set.get()));
  }
  if (memory.budget_asked) {
    const auto minimum = static_cast<int>(*memory.budget_asked);
    all.push_back(DesiredDisruptionBudget(resource, minimum));
  }
  std::erase_if(memory.applied, [&](const auto& entry) {
    return std::ranges::none_of(
        all, [&](const DesiredObject& desired) { return NameOf(desired.object) == entry.first; });
  });
  for (const DesiredObject& desired : all) {
    const auto known = memory.applied.find(NameOf(desired.object));
    if (known == memory.applied.end() || !due(*known)) continue;
    Answer& answer = known->second;
    answer.asked = now;
    auto asked = AskFor(desired, resource);
    if (!asked) return;  // some webhooks cannot be asked; others would be as slow
    std::string hash = FieldsHash(*asked, desired.object);
    if (hash == answer.hash) {
      answer.next.clear();
      continue;
    }
    answer.stale = hash == answer.next;
    answer.next = std::move(hash);
    if (answer.stale) memory.compared.versions.clear();
  }
}

// As Actor::Apply does it: an apply leaves what others have set there, whoever that was.
kube::ApiResult<Object> Observer::AskFor(const DesiredObject& desired, const Object& resource) {
  Object wanted = desired.object;
  kube::SetController(wanted, resource);
  auto answer = api_->Apply(desired.resource, wanted, {.dry_run = true});
  if (!answer) return answer;
  const Json surplus = SurplusOf(*answer, desired.object);
  if (surplus.empty()) return answer;
  return api_->Patch(desired.resource, wanted.key(), kube::PatchType::kJson, surplus,
                     {.dry_run = true});
}

void Observer::LookAtRefusals(Seen& seen) {
  const MonotonicTime now = timing_->Now();
  auto& refused = MemoryOf(seen.resource->key()).refused;
  const auto same_content = [&](const auto& entry) {
    return std::ranges::includes(entry.second.content, ContentOf(seen, entry.first));
  };
  std::erase_if(refused, [&](const auto& entry) {
    // A template that nobody wants any more: the one that is wanted is in force.
    const bool over = entry.first == RefusalKey(ApplyStatefulSet{}) &&
                      seen.observation.objects.template_current && !same_content(entry);
    return over || now - entry.second.again > kRefusedForgotten;
  });
  for (const auto& entry : refused) {
    const auto& [key, refusal] = entry;
    Refusal& out = seen.observation.refusals[key];
    out.message = refusal.message;
    const bool same = same_content(entry);
    if (now >= refusal.again || !same) continue;
    const auto left = std::chrono::ceil<std::chrono::seconds>(refusal.again - now);
    out.again_s = seen.observation.now_s + left.count();
  }
}

void Observer::NoteStatus(const Key& key, bool refused) { MemoryOf(key).status_refused = refused; }

bool Observer::IsStatusRefused(const Key& key) { return MemoryOf(key).status_refused; }

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
  Caches live = caches_;
  live.stateful_sets = &sets;
  live.pods = &pods;
  live.claims = &claims;
  for (kube::Cache* cache : {&sets, &pods, &claims}) {
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
  out.reasons = ReadReasons(*resource);
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
    const int asked = static_cast<int>(MemoryOf(key).budget_asked.value_or(seen_minimum));
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
  next.transition_micros = TransitionOf(node);
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
  std::map<int, NodeStatus> statuses = Ask(seen.hosts);
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
  out.membership = JoinByPods(all, out.cluster);
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
  for (auto& [slot, status] : nodes_->Statuses(seen.hosts)) all.push_back(std::move(status));
  return JoinByPods(all, seen.observation.cluster);
}

}  // namespace raftkv::op
