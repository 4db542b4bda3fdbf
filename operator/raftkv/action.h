// Action: the one thing to do next. Each can be repeated: "already done?" is answered by the next
// observation, never by the memory of having done it.
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "operator/raftkv/observation.h"

namespace raftkv::op {

struct Nothing {};
struct AddFinalizer {};
// Services, ServiceAccount, NetworkPolicies.
struct ApplyObjects {};
// The StatefulSet with this many replicas and the pod template of the spec.
struct ApplyStatefulSet {
  int replicas = 0;
};
// The number of replicas alone: the pod template that the spec asks for cannot be had now.
struct ScaleStatefulSet {
  int replicas = 0;
};
// Of the ServiceAccount that the operator made, which no pod uses any more.
struct DeleteServiceAccount {};
// minAvailable < 0: no budget.
struct ApplyDisruptionBudget {
  int min_available = 0;
};
// The leader Service points to this pod (label raftkv.dev/role of the pods); empty: to none.
struct MarkLeader {
  std::string pod;
};
// Notes on the claim whose data it holds (annotation raftkv.dev/member-id); 0 takes the note away.
struct MarkClaim {
  int slot = 0;
  std::string claim_uid;
  MemberId member = 0;
};
// POST /admin/initialize to the node in `slot`, which must be blank and be `members.front()`'s.
struct Initialize {
  int slot = 0;
  ClusterId cluster = 0;
  std::vector<MemberView> members;
};
// POST /admin/membership through the leader: one joint change, compare-and-set on the index.
struct ChangeMembership {
  uint64_t expected_config_index = 0;
  uint64_t epoch = 0;
  std::vector<MemberView> add_learners;
  std::vector<MemberId> promote;
  std::vector<MemberId> remove;
  // Members that get this name and peer address instead of theirs.
  std::vector<MemberView> update;
};
// POST /admin/transfer: refused unless `from` still leads, in this configuration, and no operator
// with a greater epoch has changed it.
struct TransferLeadership {
  MemberId from = 0;
  MemberId to = 0;
  uint64_t expected_config_index = 0;
  uint64_t epoch = 0;
};
// With the UID as precondition, after a live read.
struct DeletePod {
  int slot = 0;
  std::string uid;
  std::string why;
  bool force = false;          // its node is gone: grace period 0
  bool without_claim = false;  // only if there is no claim of its name, whosever it may be
};
struct DeleteClaim {
  int slot = 0;
  std::string uid;
  std::string why;
  // What the claim was noted to hold when this was decided; a live read must find the same (0: no
  // note), or else nothing is deleted.
  MemberId member = 0;
};
struct ResizeClaim {
  int slot = 0;
  std::string uid;
  uint64_t bytes = 0;
};
struct RemoveFinalizer {
  std::string why = "nothing is left to be done here";
};

using Action = std::variant<Nothing, AddFinalizer, ApplyObjects, ApplyStatefulSet, ScaleStatefulSet,
                            DeleteServiceAccount, ApplyDisruptionBudget, MarkLeader, MarkClaim,
                            Initialize, ChangeMembership, TransferLeadership, DeletePod,
                            DeleteClaim, ResizeClaim, RemoveFinalizer>;

// For std::visit.
template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

// In hexadecimal, for people.
std::string ListIds(const std::vector<MemberId>& ids, const char* separator);
std::string ListIds(const std::vector<MemberView>& members, const char* separator);

// One line for logs: "ChangeMembership add=1a2b promote= remove=".
std::string ToString(const Action& action);
// The first word of that: "ChangeMembership".
std::string ActionName(const Action& action);
// Under which the API server's refusal of it is remembered: what it writes, and to which object.
// The pod template and the Services are told from others by their hashes
// (operator/raftkv/observe.h).
std::string RefusalKey(const Action& action);
// The size that the StatefulSet is given; nullopt: it is another action.
std::optional<int> ReplicasOf(const Action& action);
// Takes something away that cannot be had back, or says who votes, or where members are found.
bool NeedsLiveLook(const Action& action);
// That, or it gives the StatefulSet another size, whose new pods mount whatever has the names of
// their claims, or writes over the note of whose data a claim holds, who is a member yet: before
// it, everything is read live and planned once more.
bool NeedsConfirmation(const Observation& seen, const Action& action);

}  // namespace raftkv::op
