#include "operator/raftkv/reconciler.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/fault_points.h"
#include "base/log.h"
#include "operator/raftkv/resource.h"

namespace raftkv::op {
namespace {

using kube::ApiResult;
using kube::Json;
using kube::Key;
using kube::Object;
using kube::Reason;
using kube::ReconcileResult;

// Until our own write has come back through a watch.
constexpr Duration kBehindPause = std::chrono::milliseconds(50);
// After an action: what nodes do is not watched.
constexpr Duration kAfterAction = std::chrono::milliseconds(200);
constexpr Duration kAfterRefusal = std::chrono::seconds(1);
// Until a status that the API server refuses is tried again.
constexpr Duration kUnsaidPause = std::chrono::seconds(10);
constexpr int kDeleteTries = 3;

// A lag that swings, as loads do, is written as often as this at most, if nothing else is new.
constexpr Duration kBetweenLags = std::chrono::seconds(30);

Json WithoutLag(Json status) {
  if (!status.is_object()) return status;
  auto members = status.find("members");
  if (members == status.end() || !members->is_array()) return status;
  for (Json& member : *members) {
    if (member.is_object()) member.erase("lag");
  }
  return status;
}

// What is deleted is deleted in the version that was read, and statuses move by themselves.
bool MayHaveMoved(const Action& action, const Status& done) {
  const bool deletes =
      std::holds_alternative<DeletePod>(action) || std::holds_alternative<DeleteClaim>(action);
  return deletes && done.code() == Code::kConflict;
}

ReconcileResult After(Duration pause) { return {.requeue_after = pause}; }

}  // namespace

Reconciler::Reconciler(ReconcilerParts parts)
    : parts_(std::move(parts)),
      observer_(parts_.api, parts_.caches, parts_.nodes, parts_.settings, parts_.timing),
      actor_(parts_.api, parts_.nodes, &observer_, parts_.caches, parts_.settings) {}

bool Reconciler::IsBehind(const Object& resource) const {
  const Caches& caches = parts_.caches;
  Key key = resource.key();
  if (caches.clusters->IsBehind(key)) return true;
  for (const ObjectName& object : NamesOfObjects(key)) {
    if (caches.Of(object.resource)->IsBehind(object.key)) return true;
  }
  constexpr int kMostSlots = 10;
  for (int slot = 0; slot < kMostSlots; ++slot) {
    if (caches.pods->IsBehind({key.ns, PodName(key.name, slot)}) ||
        caches.claims->IsBehind({key.ns, ClaimName(key.name, slot)})) {
      return true;
    }
  }
  return false;
}

ApiResult<ReconcileResult> Reconciler::Reconcile(const Key& key, std::stop_token stop) {
  kube::ObjectPtr resource = parts_.caches.clusters->Get(key);
  if (resource == nullptr) {
    observer_.Forget(key);
    parts_.metrics->Remove(key);
    parts_.watch_leader(key, "");
    return ReconcileResult{};
  }
  if (IsBehind(*resource)) return After(kBehindPause);

  const Seen seen = observer_.Look(resource, parts_.epoch());
  if (stop.stop_requested()) return ReconcileResult{};
  const auto& membership = seen.observation.membership;
  if (membership && membership->epoch > seen.observation.epoch) {
    parts_.raise_epoch(membership->epoch + 1);
  }
  WatchLeader(seen);
  Plan plan = MakePlan(seen.observation);

  if (const Status adopted = ConfirmCluster(seen, plan); !adopted.ok()) {
    if (adopted.code() == Code::kConflict) return After(kAfterAction);
    return kube::Fail(Reason::kServer, adopted.ToString());
  }
  auto written = WriteStatus(seen, plan.status);
  if (!written && written.error().ConcernsThisCallAlone()) {
    observer_.NoteStatus(key, true);
    return CarryUnsaid(seen, plan, written.error());
  }
  parts_.metrics->Set(seen.observation, plan.status);
  if (written) {
    Record(*seen.resource, plan, false);
    return Carry(seen, plan, MakePlan);
  }
  if (written.error().Is(Reason::kConflict)) return After(kBehindPause);
  if (written.error().Is(Reason::kNotFound)) return ReconcileResult{};
  return std::unexpected(written.error());
}

// What a status would say is in the metrics at least. An intent that is not written is not acted
// on.
ApiResult<ReconcileResult> Reconciler::CarryUnsaid(const Seen& seen, const Plan& plan,
                                                   const kube::ApiError& error) {
  const Object& resource = *seen.resource;
  constexpr const char* kReason = "StatusRefused";
  log::Warning("the status is refused",
               {{"raftkv", resource.key().ToString()}, {"why", error.ToString()}});
  PlannedStatus status = plan.status;
  for (PlannedCondition& condition : status.conditions) {
    if (condition.type == "Degraded") condition = {"Degraded", true, kReason, error.message};
  }
  parts_.metrics->Set(seen.observation, status);
  parts_.metrics->CountRefusal(resource.key(), kReason);
  parts_.events->Record(
      resource, {.warning = true, .reason = kReason, .action = "Maintain", .note = error.message});
  auto carried = Carry(seen, MakeUnsaidPlan(seen.observation), MakeUnsaidPlan);
  if (!carried) return carried;
  return After(std::max(carried->requeue_after, kUnsaidPause));
}

ApiResult<void> Reconciler::WriteStatus(const Seen& seen, const PlannedStatus& status) {
  Json wanted = StatusToJson(status, *seen.resource, parts_.timing->WallMicros());
  const Json& present = seen.resource->At("/status");
  // While it is refused nothing can be said: not even that nothing has changed, by which a look
  // would plan otherwise than the next one.
  const Key key = seen.resource->key();
  const bool refused = observer_.IsStatusRefused(key);
  if (!refused && wanted == present) return {};
  if (!refused && observer_.SinceStatus(key) < kBetweenLags &&
      WithoutLag(wanted) == WithoutLag(present)) {
    return {};
  }
  Object updated = *seen.resource;
  updated.Set("/status", std::move(wanted));
  FAULT_POINT(status_before);
  auto written = parts_.api->Update(kRaftKvs, updated, "status");
  FAULT_POINT(status_after);
  if (!written) return std::unexpected(written.error());
  observer_.NoteStatus(key, false);
  parts_.caches.clusters->Wrote(*written);
  bool replacing = status.operation.type == Operation::Type::kReplace;
  if (replacing && seen.observation.operation.type != Operation::Type::kReplace) {
    parts_.metrics->CountReplacement(key);
  }
  return {};
}

Status Reconciler::ConfirmCluster(const Seen& seen, const Plan& plan) {
  if (plan.status.cluster == seen.observation.cluster) return Status::Ok();
  const Key key = seen.resource->key();
  auto live = observer_.LookLive(key, seen.observation.epoch);
  if (!live && live.error().code() != Code::kNotFound) return live.error();
  const bool same = live && live->resource->uid() == seen.resource->uid() &&
                    MakePlan(live->observation).status.cluster == plan.status.cluster;
  if (same) return Status::Ok();
  log::Info("a live look finds another cluster, or none", {{"raftkv", key.ToString()}});
  return {Code::kConflict, "not confirmed by a live look"};
}

Result<Seen> Reconciler::Confirm(const Seen& seen, const Plan& plan, Planner planner) {
  if (!NeedsConfirmation(seen.observation, plan.action)) return seen;
  Key key = seen.resource->key();
  auto live = observer_.LookLive(key, seen.observation.epoch);
  if (live && live->resource->uid() == seen.resource->uid()) {
    const Plan again = planner(live->observation);
    // Another operator may have written its own intent since.
    const std::vector<MemberId>& named = live->observation.initializing;
    // A definition that is older than this operator keeps none.
    bool ours = again.status.operation == live->observation.operation &&
                (named.empty() || again.status.initializing == named);
    if (ours && ToString(again.action) == ToString(plan.action)) return live;
    log::Info("a live look plans otherwise",
              {{"raftkv", key.ToString()}, {"action", ToString(again.action)}});
    if (const auto& unread = live->unread_node; unread) {
      // Without the right to read it nothing but this action waits for somebody to give it.
      if (unread->IsRefusal()) {
        observer_.NoteRefusal(seen, plan.action, unread->message, kRefusedPauseMax);
      }
      return Error(unread->ToStatus());
    }
  } else if (!live && live.error().code() != Code::kNotFound) {
    return live;
  }
  return Error(Code::kConflict, "not confirmed by a live look");
}

ApiResult<ReconcileResult> Reconciler::Carry(const Seen& seen, const Plan& plan, Planner planner) {
  const Object& resource = *seen.resource;
  Key key = resource.key();
  if (std::holds_alternative<Nothing>(plan.action)) return After(plan.look_again);
  std::string name = ActionName(plan.action);
  log::Info("act", {{"raftkv", key.ToString()}, {"action", ToString(plan.action)}});
  Status done;
  for (int tries = 0; tries < kDeleteTries; ++tries) {
    observer_.BeginTry(seen);
    auto confirmed = Confirm(seen, plan, planner);
    if (!confirmed) {
      observer_.EndTry(seen, plan.action, false);
      if (confirmed.error().code() == Code::kConflict) {
        if (observer_.IsHeld(seen, plan.action)) RecordUnconfirmed(resource, name);
        return After(kAfterAction);
      }
      done = confirmed.error();
      break;
    }
    done = actor_.Carry(*confirmed, plan.action);
    if (!MayHaveMoved(plan.action, done)) break;
  }
  for (const std::string& changed : observer_.TakeChanged(key)) {
    parts_.events->Record(
        resource, {.reason = "AppliedOtherwise",
                   .action = "Maintain",
                   .note = changed + " was stored otherwise than it was asked for: a webhook, or "
                                     "another manager of its fields, has a say in it"});
  }
  if (done.ok()) {
    parts_.metrics->CountAction(key, name);
    Record(resource, plan, true);
    return After(kAfterAction);
  }
  RecordFailure(resource, name, done);
  if (done.code() == Code::kConflict) return After(kAfterRefusal);
  // The plan says when it is tried again, and goes on with everything else.
  if (observer_.IsHeld(seen, plan.action)) return After(kAfterAction);
  return kube::Fail(Reason::kServer, name + ": " + done.ToString());
}

// Another try of what was refused, which has had its turn.
void Reconciler::RecordUnconfirmed(const Object& resource, const std::string& action) {
  parts_.events->Record(
      resource, {.reason = "NotConfirmed",
                 .action = action,
                 .note = action + " was refused before and was to be tried again, but the server's "
                                  "own state plans otherwise: the next try has to wait again"});
}

void Reconciler::RecordFailure(const Object& resource, const std::string& action,
                               const Status& done) {
  const Key key = resource.key();
  const bool unknown = done.code() == Code::kUnknownOutcome;
  log::Warning(unknown ? "may have been done, and is looked at again" : "not done",
               {{"raftkv", key.ToString()},
                {"action", action},
                {"outcome", unknown ? "unknown" : "failed"},
                {"why", done.ToString()}});
  bool refused = done.code() == Code::kConflict || done.code() == Code::kInvalidArgument ||
                 done.code() == Code::kFailedPrecondition;
  if (refused) parts_.metrics->CountRefusal(key, "Action" + action);
  const char* reason = unknown ? "OutcomeUnknown" : refused ? "ActionRefused" : "ActionFailed";
  const char* more = unknown ? "; it may have been carried out, and is looked at again" : "";
  parts_.events->Record(
      resource,
      {.warning = true, .reason = reason, .action = action, .note = done.message() + more});
}

void Reconciler::WatchLeader(const Seen& seen) {
  std::string host;
  for (const auto& [slot, view] : seen.observation.slots) {
    const auto& membership = seen.observation.membership;
    if (!membership || !view.report || membership->leader == 0) continue;
    if (view.report->member != membership->leader) continue;
    auto found = seen.hosts.find(slot);
    if (found != seen.hosts.end()) host = found->second;
  }
  parts_.watch_leader(seen.resource->key(), host);
}

void Reconciler::Record(const Object& resource, const Plan& plan, bool step) {
  bool acted = !std::holds_alternative<Nothing>(plan.action);
  for (const PlannedEvent& event : plan.events) {
    if (event.step != step) continue;
    parts_.events->Record(
        resource, {.warning = event.warning,
                   .reason = event.reason,
                   .action = event.action,
                   .note = event.note,
                   .kind = event.step ? kube::EventKind::kStep : kube::EventKind::kCondition});
    if (event.warning && !acted) parts_.metrics->CountRefusal(resource.key(), event.reason);
  }
}

}  // namespace raftkv::op
