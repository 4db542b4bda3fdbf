// The planner: from what is seen of a RaftKV resource to the one next action and its status.
//
// Pure: no clock, no I/O, no memory. The same observation gives the same plan. It depends on base
// alone, so that the model run (model_test) can put it through millions of steps.
//
// Order of precedence (the first that has something to do, or to wait for, decides): deletion and
// finalizer; paused; a spec that cannot be read; foreign objects; Services and StatefulSet; pods
// that can never start; bootstrap; disruption budget, leader mark and notes on claims; wake and
// hibernate; then, with a leader and outside of a joint state only: names and addresses of members;
// what members that were removed left behind; replacement; scale; roll; a ServiceAccount that
// nobody uses; resize; pods that a roll has to leave alone. With a quorum lost nothing is done that
// needs one or takes anything away. A rule whose action the API server refuses is passed over until
// it is time to try again.
//
// Rules that no plan breaks (the model run checks them after each step):
//   P1  Initialize only while status.clusterID is empty, on blank nodes, after the intent is
//   written, never if the cluster is to be made of a snapshot, and not of itself in the place of
//   one that may have acknowledged writes. P2  No action leaves fewer live
//   voters than a quorum of either half of the configuration. P3  A claim is deleted only if its
//   data belongs to no member of the configuration, and no joint
//       state is in force.
//   P4  Members come as learners; voters change by one joint change straight to the target set (but
//       the leader stays one change longer if no voter stays that it could hand over to), in a
//       replacement by one member at a time. Of members that live, all replacements together take
//       one out before another is there.
//   P5  The leader is not removed, and its pod not deleted, before it has handed over, unless it is
//       the only voter.
//   P6  At most one pod at a time is deleted on purpose.
//   P7  In the state that the spec asks for the plan is Nothing, and the status does not change.
//
// Sources: KEP-1847, KEP-3335; Ongaro's thesis 4.2 and 4.3; docs/design/operator.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "operator/raftkv/action.h"
#include "operator/raftkv/observation.h"

namespace raftkv::op {

struct PlannedCondition {
  std::string type;  // Available, Progressing, Degraded, QuorumLost, Paused
  bool status = false;
  std::string reason;  // CamelCase
  std::string message;
  friend bool operator==(const PlannedCondition&, const PlannedCondition&) = default;
};

struct PlannedEvent {
  bool warning = false;
  std::string reason;
  std::string action;
  std::string note;
  bool step = false;  // of the plan's action; the others are of the status
};

struct MemberStatus {
  int slot = -1;  // -1: a member without a slot
  MemberId member = 0;
  std::string role;  // leader, voter, learner, blank, removed, unknown
  // Entries behind the leader's commit, as `ToldLag` rounds them (plan_facts.h); nullopt: nobody
  // knows.
  std::optional<uint64_t> lag;
  std::string version;
  bool healthy = false;
  std::string pod;
  std::string claim_uid;
  friend bool operator==(const MemberStatus&, const MemberStatus&) = default;
};

// All of the resource's status but times of conditions and the selector, which the actor adds.
struct PlannedStatus {
  int64_t observed_generation = 0;
  ClusterId cluster = 0;
  uint64_t config_index = 0;
  bool joint = false;
  std::string leader;  // the pod's name
  int voters = 0;
  int learners = 0;
  int ready = 0;        // members of the configuration that answer and take part
  std::string version;  // of the leader
  std::string phase;    // the Status column: Available, Scaling, Replacing, QuorumLost, ...
  std::vector<MemberStatus> members;
  Operation operation;
  std::vector<MemberId> initializing;  // as Observation::initializing
  std::vector<PlannedCondition> conditions;
  friend bool operator==(const PlannedStatus&, const PlannedStatus&) = default;
};

struct Plan {
  // Written first, if it differs from what the resource has: intent before act. The actor acts only
  // after the write has succeeded.
  PlannedStatus status;
  Action action = Nothing{};
  // Those of the status are recorded when it is written, because the next plan finds it said; the
  // step's after the action has succeeded.
  std::vector<PlannedEvent> events;
  // Look again after this time although Kubernetes reports no change (the nodes are not watched);
  // zero: only after a change.
  Duration look_again = Duration::zero();
};

Plan MakePlan(const Observation& seen);
// For as long as no status, and so no intent, can be written: of that what the intent that is
// written already asks for, or else what is right whatever goes on (Services and policies, the
// budget of the members there are, the leader's mark). Its status has the operation that is
// written.
Plan MakeUnsaidPlan(const Observation& seen);

}  // namespace raftkv::op
