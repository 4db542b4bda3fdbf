#include "operator/raftkv/act.h"

#include <algorithm>
#include <climits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/fault_points.h"
#include "base/hex_id.h"
#include "operator/kube/ownership.h"
#include "operator/raftkv/member_names.h"
#include "operator/raftkv/quantity.h"
#include "operator/raftkv/resource.h"
#include "operator/raftkv/view.h"

namespace raftkv::op {
namespace {

using kube::Json;
using kube::Key;
using kube::Object;
using kube::Reason;

constexpr int kApplyTries = 3;
// A webhook that does not answer is there again in a moment, mostly.
constexpr Duration kWebhookPauseMax = std::chrono::seconds(30);

// The IP of the pod in which a member runs; empty if it does not answer.
std::string HostOf(const Seen& seen, MemberId member) {
  for (const auto& [slot, view] : seen.observation.slots) {
    if (!view.report || view.report->member != member) continue;
    auto host = seen.hosts.find(slot);
    if (host != seen.hosts.end()) return host->second;
  }
  return {};
}

bool IsMember(const Membership& membership, MemberId id) {
  return membership.voters.contains(id) || membership.voters_outgoing.contains(id) ||
         membership.learners.contains(id) || membership.learners_next.contains(id);
}

Status NobodyAnswers(MemberId member) {
  return {Code::kUnavailable, "member " + HexId(member) + " does not answer now"};
}

Key PodKey(const Seen& seen, int slot) {
  return {seen.observation.ns, PodName(seen.observation.name, slot)};
}

Key ClaimKey(const Seen& seen, int slot) {
  return {seen.observation.ns, ClaimName(seen.observation.name, slot)};
}

}  // namespace

Status Actor::Carry(const Seen& seen, const Action& action) {
  observer_->BeginTry(seen);
  Status done = NeedsLiveLook(action) ? CheckUnchanged(seen) : Status::Ok();
  if (done.ok()) done = std::visit([&](const auto& one) { return Do(seen, one); }, action);
  observer_->EndTry(seen, action, done.ok());
  return done;
}

Status Actor::Failed(const Seen& seen, const Action& action, const kube::Resource& resource,
                     const Key& key, const kube::ApiError& error) {
  if (!error.ConcernsThisCallAlone()) return error.ToStatus();
  std::string message = std::string(resource.kind) + " " + key.name + ": " + error.message;
  observer_->NoteRefusal(seen, action, message,
                         error.IsRefusal() ? kRefusedPauseMax : kWebhookPauseMax);
  return {error.ToStatus().code(), std::move(message)};
}

Status Actor::CheckUnchanged(const Seen& seen) {
  auto live = api_->Get(kRaftKvs, seen.resource->key());
  if (!live) return live.error().ToStatus();
  bool same = live->uid() == seen.resource->uid() &&
              live->generation() == seen.resource->generation() &&
              live->deleting() == seen.resource->deleting();
  if (same) return Status::Ok();
  return {Code::kConflict, "the resource has changed since it was looked at"};
}

Status Actor::CheckNoMember(const Seen& seen, int first_slot, int last_slot, MemberId member) {
  auto membership = observer_->LookAtMembers(seen);
  if (!membership) {
    // Before there is a cluster nobody can be its member; the planner has seen every node there is.
    auto live = api_->Get(kRaftKvs, seen.resource->key());
    if (!live) return live.error().ToStatus();
    if (member == 0 && live->String("/status/clusterID").empty()) return Status::Ok();
    return {Code::kUnavailable, "no member answers, so nobody can tell whose data would go"};
  }
  if (membership->joint()) {
    return {Code::kConflict, "a change of the membership is under way"};
  }
  for (const auto& [id, view] : membership->members) {
    int slot = SlotOfPod(seen.observation.name, PodOfMember(view.name));
    // A slot whose member is known by its claim is judged by that member alone.
    bool concerned = member != 0 ? id == member : slot >= first_slot && slot <= last_slot;
    if (concerned && IsMember(*membership, id)) {
      return {Code::kConflict,
              "member " + HexId(id) + " (" + view.name + ") still belongs to the cluster"};
    }
  }
  return Status::Ok();
}

// Whoever owns the pods: a StatefulSet may have been taken away from us.
Status Actor::CheckUnused(const Seen& seen, std::string_view claim) {
  auto pods =
      api_->List(kube::resources::kPods,
                 {.ns = seen.observation.ns, .label_selector = PodSelector(seen.observation.name)});
  if (!pods) return pods.error().ToStatus();
  for (const Object& pod : pods->items) {
    const Json& volumes = pod.At("/spec/volumes");
    const bool mounted =
        volumes.is_array() && std::ranges::any_of(volumes, [&](const Json& volume) {
          return Object(volume).String("/persistentVolumeClaim/claimName") == claim;
        });
    if (mounted) {
      return {Code::kConflict,
              "pod " + std::string(pod.name()) + " uses claim " + std::string(claim) + " yet"};
    }
  }
  return Status::Ok();
}

Status Actor::Patch(const Seen& seen, const Action& action, const kube::Resource& resource,
                    const Key& key, const Json& patch) {
  FAULT_POINT(patch_before);
  auto patched = api_->Patch(resource, key, kube::PatchType::kMerge, patch);
  FAULT_POINT(patch_after);
  if (!patched) return Failed(seen, action, resource, key, patched.error());
  caches_.Of(resource)->Wrote(*patched);
  return ReplicasOf(action) ? CheckAnswer(seen, action, *patched) : Status::Ok();
}

Status Actor::CheckAnswer(const Seen& seen, const Action& action, const Object& answer) {
  const std::optional<int> asked = ReplicasOf(action);
  const int64_t replicas = answer.Int("/spec/replicas").value_or(0);
  std::string wrong;
  if (!IsLabelledFor(answer, seen.observation.name)) {
    wrong = "it was stored without the labels by which the operator finds it";
  } else if (asked && replicas != *asked) {
    wrong = "it was stored with " + std::to_string(replicas) + " replicas instead of " +
            std::to_string(*asked);
  }
  if (wrong.empty()) return Status::Ok();
  std::string message = std::string(answer.kind()) + " " + std::string(answer.name()) + ": " +
                        wrong + " (a webhook changes what is written)";
  observer_->NoteRefusal(seen, action, message, kRefusedPauseMax);
  return {Code::kFailedPrecondition, std::move(message)};
}

Status Actor::SetFinalizers(const Seen& seen, const Action& action, bool present) {
  Json finalizers = Json::array();
  const Json& existing = seen.resource->At("/metadata/finalizers");
  if (existing.is_array()) {
    for (const Json& finalizer : existing) {
      if (finalizer != kFinalizer) finalizers.push_back(finalizer);
    }
  }
  if (present) finalizers.push_back(std::string(kFinalizer));
  // With the version: a list is replaced as a whole.
  auto live = api_->Get(kRaftKvs, seen.resource->key());
  if (!live && live.error().Is(Reason::kNotFound) && !present) return Status::Ok();
  if (!live) return live.error().ToStatus();
  bool same = live->uid() == seen.resource->uid() &&
              live->At("/metadata/finalizers") == seen.resource->At("/metadata/finalizers");
  if (!same) return {Code::kConflict, "the finalizers have changed since they were looked at"};
  return Patch(seen, action, kRaftKvs, seen.resource->key(),
               {{"metadata",
                 {{"finalizers", std::move(finalizers)},
                  {"resourceVersion", std::string(live->resource_version())}}}});
}

kube::ApiResult<Object> Actor::WithoutSurplus(const Seen& seen, const DesiredObject& desired,
                                              Object applied) {
  constexpr int kPatchDoesNotFit = 422;
  for (int tries = 1;; ++tries) {
    const Json surplus = SurplusOf(applied, desired.object);
    if (surplus.empty()) return applied;
    FAULT_POINT(patch_before);
    auto patched =
        api_->Patch(desired.resource, desired.object.key(), kube::PatchType::kJson, surplus);
    FAULT_POINT(patch_after);
    if (patched || patched.error().http_status != kPatchDoesNotFit || tries == kApplyTries) {
      return patched;
    }
    // Somebody else may have taken it off meanwhile.
    auto again = kube::ApplyOwned(*api_, desired.resource, desired.object, *seen.resource);
    if (!again) return again;
    applied = *std::move(again);
  }
}

Status Actor::Apply(const Seen& seen, const Action& action, const DesiredObject& desired) {
  FAULT_POINT(apply_before);
  auto applied = kube::ApplyOwned(*api_, desired.resource, desired.object, *seen.resource);
  // Kubernetes' own controllers write the status of what was just made.
  for (int tries = 1; tries < kApplyTries && !applied && applied.error().Is(Reason::kConflict) &&
                      applied.error().http_status != 0;
       ++tries) {
    applied = kube::ApplyOwned(*api_, desired.resource, desired.object, *seen.resource);
  }
  FAULT_POINT(apply_after);
  if (!applied) {
    // Without an HTTP status it is ApplyOwned that refuses: another's object.
    if (applied.error().Is(Reason::kConflict) && applied.error().http_status == 0) {
      observer_->NoteForeign(seen.resource->key(), applied.error().message);
    }
    return Failed(seen, action, desired.resource, desired.object.key(), applied.error());
  }
  applied = WithoutSurplus(seen, desired, *std::move(applied));
  if (!applied) {
    return Failed(seen, action, desired.resource, desired.object.key(), applied.error());
  }
  caches_.Of(desired.resource)->Wrote(*applied);
  observer_->NoteApplied(seen.resource->key(), desired, *applied);
  return CheckAnswer(seen, action, *applied);
}

Status Actor::Do(const Seen&, const Nothing&) { return Status::Ok(); }

Status Actor::Do(const Seen& seen, const AddFinalizer& action) {
  return SetFinalizers(seen, action, true);
}

Status Actor::Do(const Seen& seen, const RemoveFinalizer& action) {
  return SetFinalizers(seen, action, false);
}

Status Actor::Do(const Seen& seen, const ApplyObjects& action) {
  Status first;
  std::set<std::string> slow;
  for (const DesiredObject& desired : DesiredObjects(*seen.resource, settings_)) {
    kube::ObjectPtr existing = caches_.Of(desired.resource)->Get(desired.object.key());
    const bool ours = existing != nullptr && kube::IsControlledBy(*existing, *seen.resource);
    const bool stays = ours && !seen.observation.spec_error.empty();
    bool current = ours && observer_->IsAsApplied(seen.resource->key(), *existing, desired);
    if (current || stays || slow.contains(desired.resource.name())) continue;
    // One that is refused keeps none of the others away. A webhook that does not answer is one of a
    // kind, and each call of it can take ten seconds.
    Status applied = Apply(seen, action, desired);
    const bool no_answer =
        applied.code() == Code::kUnavailable || applied.code() == Code::kUnknownOutcome;
    if (no_answer) slow.insert(desired.resource.name());
    if (first.ok()) first = std::move(applied);
  }
  return first;
}

// To none at all is how a cluster sleeps or ends: its members keep their volumes.
Status Actor::CheckMayShrink(const Seen& seen, const Object& set, int replicas) {
  auto current = static_cast<int>(set.Int("/spec/replicas").value_or(0));
  if (replicas == 0 || replicas >= current) return Status::Ok();
  RETURN_IF_ERROR(CheckUnchanged(seen));
  return CheckNoMember(seen, replicas, INT_MAX, 0);
}

Status Actor::Do(const Seen& seen, const ApplyStatefulSet& action) {
  auto live = api_->Get(kube::resources::kStatefulSets, seen.resource->key());
  if (!live && !live.error().Is(Reason::kNotFound)) return live.error().ToStatus();
  // All its pods would be new, and mount claims that nobody has looked at.
  if (!live && seen.stateful_set != nullptr) {
    return {Code::kConflict, "the StatefulSet has gone since it was looked at"};
  }
  if (live) RETURN_IF_ERROR(CheckMayShrink(seen, *live, action.replicas));
  return Apply(
      seen, action,
      DesiredStatefulSet(*seen.resource, settings_, action.replicas, live ? &*live : nullptr));
}

Status Actor::Do(const Seen& seen, const ScaleStatefulSet& action) {
  auto live = api_->Get(kube::resources::kStatefulSets, seen.resource->key());
  if (!live) return live.error().ToStatus();
  if (!kube::IsControlledBy(*live, *seen.resource)) {
    return {Code::kConflict, "the StatefulSet is not of this resource"};
  }
  RETURN_IF_ERROR(CheckMayShrink(seen, *live, action.replicas));
  // With the version: what has changed meanwhile is looked at first.
  return Patch(seen, action, kube::resources::kStatefulSets, live->key(),
               {{"metadata", {{"resourceVersion", std::string(live->resource_version())}}},
                {"spec", {{"replicas", action.replicas}}}});
}

Status Actor::DeleteOwn(const Seen& seen, const Action& action, const kube::Resource& resource) {
  kube::ObjectPtr existing = caches_.Of(resource)->Get(seen.resource->key());
  if (existing == nullptr) return Status::Ok();
  FAULT_POINT(delete_before);
  auto deleted = kube::DeleteOwned(*api_, resource, *existing, *seen.resource);
  FAULT_POINT(delete_after);
  if (deleted) return Status::Ok();
  return Failed(seen, action, resource, existing->key(), deleted.error());
}

Status Actor::Delete(const Seen& seen, const Action& action, const kube::Resource& resource,
                     const Key& key, const kube::DeleteOptions& options) {
  FAULT_POINT(delete_before);
  auto deleted = api_->Delete(resource, key, options);
  FAULT_POINT(delete_after);
  if (deleted || deleted.error().SaysGone()) return Status::Ok();
  return Failed(seen, action, resource, key, deleted.error());
}

Status Actor::Do(const Seen& seen, const DeleteServiceAccount& action) {
  return DeleteOwn(seen, action, kube::resources::kServiceAccounts);
}

Status Actor::Do(const Seen& seen, const ApplyDisruptionBudget& action) {
  if (action.min_available < 0) return DeleteOwn(seen, action, kube::resources::kDisruptionBudgets);
  return Apply(seen, action, DesiredDisruptionBudget(*seen.resource, action.min_available));
}

Status Actor::Do(const Seen& seen, const MarkLeader& action) {
  // The old mark goes first: two leaders behind one Service would be worse than none.
  auto mark = [&](const std::string& pod, const Json& role) {
    return Patch(seen, action, kube::resources::kPods, {seen.observation.ns, pod},
                 {{"metadata", {{"labels", {{std::string(kRoleLabel), role}}}}}});
  };
  for (const auto& [slot, view] : seen.observation.slots) {
    if (!view.pod || view.pod->name == action.pod) continue;
    kube::ObjectPtr pod = caches_.pods->Get({seen.observation.ns, view.pod->name});
    if (pod == nullptr || pod->Label(kRoleLabel) != "leader") continue;
    Status unmarked = mark(view.pod->name, nullptr);
    if (!unmarked.ok() && unmarked.code() != Code::kNotFound) return unmarked;
  }
  return action.pod.empty() ? Status::Ok() : mark(action.pod, "leader");
}

Status Actor::Do(const Seen& seen, const MarkClaim& action) {
  auto live = api_->Get(kube::resources::kClaims, ClaimKey(seen, action.slot));
  if (!live) return live.error().ToStatus();
  if (live->uid() != action.claim_uid) {
    return {Code::kConflict, "the claim has been replaced since it was looked at"};
  }
  Json note = action.member == 0 ? Json() : Json(HexId(action.member));
  return Patch(seen, action, kube::resources::kClaims, live->key(),
               {{"metadata",
                 {{"uid", action.claim_uid},
                  {"annotations", {{std::string(kMemberAnnotation), std::move(note)}}}}}});
}

Status Actor::Do(const Seen& seen, const Initialize& action) {
  auto host = seen.hosts.find(action.slot);
  if (host == seen.hosts.end()) {
    return {Code::kUnavailable, PodName(seen.observation.name, action.slot) + " has no address"};
  }
  // The intent must be on the server, and nobody may have made a cluster since.
  RETURN_IF_ERROR(CheckUnchanged(seen));
  FAULT_POINT(initialize_before);
  Status sent = nodes_->SendInitialize(host->second, action);
  FAULT_POINT(initialize_after);
  return sent;
}

Status Actor::Do(const Seen& seen, const ChangeMembership& action) {
  MemberId leader = seen.observation.membership ? seen.observation.membership->leader : 0;
  std::string host = HostOf(seen, leader);
  if (host.empty()) return NobodyAnswers(leader);
  FAULT_POINT(membership_before);
  Status sent = nodes_->SendMembership(host, action);
  FAULT_POINT(membership_after);
  return sent;
}

Status Actor::Do(const Seen& seen, const TransferLeadership& action) {
  std::string host = HostOf(seen, action.from);
  if (host.empty()) return NobodyAnswers(action.from);
  FAULT_POINT(transfer_before);
  Status sent = nodes_->SendTransfer(host, action);
  FAULT_POINT(transfer_after);
  return sent;
}

Status Actor::Do(const Seen& seen, const DeletePod& action) {
  if (seen.stateful_set == nullptr) return Status::Ok();
  auto live = api_->Get(kube::resources::kPods, PodKey(seen, action.slot));
  if (!live && live.error().Is(Reason::kNotFound)) return Status::Ok();
  if (!live) return live.error().ToStatus();
  if (live->uid() != action.uid) return Status::Ok();
  if (!kube::IsControlledBy(*live, *seen.stateful_set)) {
    return {Code::kConflict, "the pod is not of this resource's StatefulSet"};
  }
  if (live->deleting() && !action.force) return Status::Ok();
  if (action.without_claim) {
    // The caches hold what carries our labels.
    auto claim = api_->Get(kube::resources::kClaims, ClaimKey(seen, action.slot));
    if (!claim && !claim.error().Is(Reason::kNotFound)) return claim.error().ToStatus();
    if (claim) return {Code::kConflict, "claim " + std::string(claim->name()) + " is there"};
  }
  kube::DeleteOptions options = kube::DeleteOptions::For(*live);
  if (action.force) options.grace_period_s = 0;
  return Delete(seen, action, kube::resources::kPods, live->key(), options);
}

Status Actor::Do(const Seen& seen, const DeleteClaim& action) {
  auto live = api_->Get(kube::resources::kClaims, ClaimKey(seen, action.slot));
  if (!live && live.error().Is(Reason::kNotFound)) return Status::Ok();
  if (!live) return live.error().ToStatus();
  if (live->uid() != action.uid || live->deleting()) return Status::Ok();
  if (!seen.observation.deleting) {
    MemberId member = ParseHexId(live->Annotation(kMemberAnnotation).value_or("")).value_or(0);
    RETURN_IF_ERROR(CheckNoMember(seen, action.slot, action.slot, member));
  } else {
    RETURN_IF_ERROR(CheckUnused(seen, live->name()));
  }
  return Delete(seen, action, kube::resources::kClaims, live->key(),
                kube::DeleteOptions::For(*live));
}

Status Actor::Do(const Seen& seen, const ResizeClaim& action) {
  auto live = api_->Get(kube::resources::kClaims, ClaimKey(seen, action.slot));
  if (!live) return live.error().ToStatus();
  if (live->uid() != action.uid) {
    return {Code::kConflict, "the claim has been replaced since it was looked at"};
  }
  auto now = ParseQuantity(live->String("/spec/resources/requests/storage"));
  if (now && *now >= action.bytes) return Status::Ok();  // claims never shrink
  return Patch(
      seen, action, kube::resources::kClaims, live->key(),
      {{"metadata", {{"uid", action.uid}}},
       {"spec", {{"resources", {{"requests", {{"storage", std::to_string(action.bytes)}}}}}}}});
}

}  // namespace raftkv::op
