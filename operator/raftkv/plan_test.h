// Observations for the planner's table tests, put together piece by piece.
#pragma once

#include <string>
#include <vector>

#include "operator/raftkv/plan.h"

namespace raftkv::op {

inline constexpr int64_t kNow = 1'000'000;
inline constexpr ClusterId kCluster = 0xC1;
inline constexpr uint64_t kGiB = uint64_t{1} << 30;

inline MemberId Id(int slot) { return 0xA0 + static_cast<MemberId>(slot); }

inline std::string PodOf(int slot) { return "db-" + std::to_string(slot); }

// An observation that is put together piece by piece; it begins with a resource that nothing has
// been done for.
struct Given : Observation {
  Given() {
    now_s = kNow;
    ns = "prod";
    name = "db";
    uid = "resource-uid";
    generation = 1;
    finalizer = true;
    epoch = 7;
    spec.storage_bytes = 10 * kGiB;
    objects.others_current = true;
    objects.template_current = true;
    objects.update_revision = "rev-1";
  }

  // A StatefulSet and nodes that run, blank.
  static Given BlankNodes(int count) {
    Given given;
    given.spec.replicas = count;
    given.StatefulSet(count);
    for (int slot = 0; slot < count; ++slot) given.Node(slot, NodeReport::Role::kBlank, Id(slot));
    return given;
  }

  // A cluster of this many voters at rest; slot 0 leads.
  static Given Cluster(int count) {
    Given given;
    given.spec.replicas = count;
    given.cluster = kCluster;
    given.StatefulSet(count);
    given.membership.emplace();
    given.membership->config_index = 5;
    given.membership->leader_commit = 100;
    given.membership->leader_term = 2;
    for (int slot = 0; slot < count; ++slot) given.Voter(slot);
    given.Leader(0);
    given.objects.leader_pod = "db-0";
    given.objects.min_available = count / 2 + 1;
    return given;
  }

  void StatefulSet(int replicas) {
    objects.stateful_set = true;
    objects.stateful_set_replicas = replicas;
  }

  PodView& Pod(int slot) {
    SlotView& view = slots[slot];
    if (!view.pod) {
      view.pod = PodView{.name = PodOf(slot), .uid = "pod-uid-" + std::to_string(slot)};
      view.pod->node = "node-" + std::to_string(slot);
      view.pod->created_s = kNow - 3600;
      view.pod->revision = "rev-1";
    }
    return *view.pod;
  }

  ClaimView& Claim(int slot, MemberId member = 0) {
    SlotView& view = slots[slot];
    if (!view.claim) {
      view.claim =
          ClaimView{.name = "data-" + PodOf(slot), .uid = "claim-uid-" + std::to_string(slot)};
      view.claim->bound = true;
      view.claim->requested_bytes = view.claim->capacity_bytes = 10 * kGiB;
      view.claim->member = member;
    }
    return *view.claim;
  }

  NodeReport& Node(int slot, NodeReport::Role role, MemberId member) {
    Pod(slot).ready = role != NodeReport::Role::kBlank;
    Claim(slot);
    NodeReport report;
    report.role = role;
    report.member = member;
    report.cluster = role == NodeReport::Role::kBlank ? 0 : kCluster;
    report.version = "1.0.0";
    slots[slot].report = report;
    return *slots[slot].report;
  }

  void Member(int slot, MemberId id) {
    MemberView view{.id = id, .name = PodOf(slot)};
    view.peer_address = PodOf(slot) + ".db-peers.prod.svc:7071";
    view.match = 100;
    view.active = true;
    membership->members[id] = view;
    Claim(slot).member = id;
  }

  void Voter(int slot, MemberId id = 0) {
    if (id == 0) id = Id(slot);
    Node(slot, NodeReport::Role::kFollower, id);
    Member(slot, id);
    membership->voters.insert(id);
  }

  void Learner(int slot, MemberId id = 0) {
    if (id == 0) id = Id(slot);
    Node(slot, NodeReport::Role::kLearner, id);
    Member(slot, id);
    membership->learners.insert(id);
  }

  void Leader(int slot) {
    membership->leader = slots[slot].report->member;
    slots[slot].report->role = NodeReport::Role::kLeader;
    objects.leader_pod = PodOf(slot);
  }

  void Remove(MemberId id) {
    membership->voters.erase(id);
    membership->learners.erase(id);
    membership->members.erase(id);
    membership->removed.insert(id);
  }

  // Its process does not answer and is not heard of.
  void Silent(int slot, int64_t for_s) {
    slots[slot].report.reset();
    slots[slot].silent_since_s = kNow - for_s;
    if (slots[slot].pod) slots[slot].pod->ready = false;
    if (!membership) return;
    for (auto& [id, view] : membership->members) {
      if (view.name == PodOf(slot)) view.active = false;
    }
  }

  void NodeLost(int slot, int64_t for_s) {
    Silent(slot, for_s);
    Pod(slot).node_lost_since_s = kNow - for_s;
  }

  // Its disk is gone; the pod came back with a new directory.
  void Blanked(int slot, MemberId id) {
    Silent(slot, 5);
    slots[slot].claim.reset();
    Claim(slot).uid = "new-claim-uid-" + std::to_string(slot);
    Node(slot, NodeReport::Role::kBlank, id);
    slots[slot].silent_since_s = 0;
  }

  // The API server refuses it, and it is tried again after this time.
  void Refuse(const Action& action, const std::string& message, int64_t for_s) {
    refusals[RefusalKey(action)] = {.message = message, .again_s = kNow + for_s};
  }

  // The former plan's status has been written.
  void Wrote(const Plan& plan) {
    observed_generation = plan.status.observed_generation;
    operation = plan.status.operation;
    cluster = plan.status.cluster;
    initializing = plan.status.initializing;
    for (const PlannedCondition& condition : plan.status.conditions) {
      reasons[condition.type] = condition.reason;
    }
    told_lags.clear();
    for (const MemberStatus& member : plan.status.members) {
      if (member.lag) told_lags[member.member] = *member.lag;
    }
  }
};

inline std::string Do(const Observation& given) { return ToString(MakePlan(given).action); }

inline const PlannedCondition& Condition(const Plan& plan, const std::string& type) {
  for (const PlannedCondition& condition : plan.status.conditions) {
    if (condition.type == type) return condition;
  }
  static const PlannedCondition kNone;
  return kNone;
}

inline std::string ReasonOf(const Plan& plan, const std::string& type) {
  const PlannedCondition& condition = Condition(plan, type);
  return (condition.status ? "+" : "-") + condition.reason;
}

inline std::vector<std::string> EventReasons(const Plan& plan) {
  std::vector<std::string> out;
  for (const PlannedEvent& event : plan.events) out.push_back(event.reason);
  return out;
}

}  // namespace raftkv::op
