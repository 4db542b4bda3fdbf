#include "node/kv/membership.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "base/hex_id.h"
#include "base/host_port.h"
#include "node/kv/state_machine.h"
#include "node/raft/confchange.h"
#include "node/storage/codec.h"

namespace raftkv::kv {
namespace {

using raft::ConfChange;
using raft::ConfChangeStep;
using raft::ConfChangeType;
using v1::ClusterState;
using v1::Member;

std::string Named(uint64_t id) { return "member " + HexId(id); }

Status Invalid(std::string message) { return Status(Code::kInvalidArgument, std::move(message)); }

template <typename... Lists>
std::set<uint64_t> IdsIn(const Lists&... lists) {
  std::set<uint64_t> ids;
  (ids.insert(lists.begin(), lists.end()), ...);
  return ids;
}

std::set<uint64_t> AllIds(const v1::ConfState& conf) {
  return IdsIn(conf.voters(), conf.learners(), conf.voters_outgoing(), conf.learners_next());
}

// Those that are still there when the joint configuration, if this is one, has been left.
std::set<uint64_t> StayingIds(const v1::ConfState& conf) {
  return IdsIn(conf.voters(), conf.learners(), conf.learners_next());
}

bool Adds(const ConfChangeStep& step) {
  return step.type == ConfChangeType::kAddVoter || step.type == ConfChangeType::kAddLearner;
}

// Ids that no member can have: 0 stands for none, the highest for a member's own threads.
Status CheckId(uint64_t id) {
  if (id == 0) return Invalid("a member has no id");
  if (raft::IsLocalTarget(raft::NodeId(id))) {
    return Invalid(HexId(id) + " cannot be a member's id: each node chooses its own, see its " +
                   "/admin/status");
  }
  return Status::Ok();
}

Status CheckStep(const ClusterState& state, const ConfChangeStep& step,
                 const std::set<uint64_t>& present, const std::set<uint64_t>& described) {
  const uint64_t id = step.id.value;
  RETURN_IF_ERROR(CheckId(id));
  if (std::ranges::binary_search(state.removed_ids(), id)) {
    return Status(Code::kFailedPrecondition,
                  Named(id) +
                      " was removed from this cluster and can never be a member again: "
                      "start the node with an empty data directory, so that it gets a new "
                      "id");
  }
  if (present.contains(id)) {
    // Promotions and demotions come without a record. With one, somebody believes that it is new:
    // adding a voter as a learner would take its vote.
    if (!Adds(step) || !described.contains(id)) return Status::Ok();
    return Status(Code::kConflict, Named(id) +
                                       " is in the configuration already: promote, demote or "
                                       "update it, or add a node with an id of its own");
  }
  if (!Adds(step)) return Status(Code::kNotFound, Named(id) + " is not in the configuration");
  if (!described.contains(id)) return Invalid(Named(id) + " is to be added without a record");
  return Status::Ok();
}

Status CheckSteps(const ClusterState& state, const ConfChange& change,
                  const v1::MembershipChange& request) {
  std::set<uint64_t> described;
  for (const Member& member : request.members()) {
    if (!described.insert(member.id()).second) {
      return Invalid(Named(member.id()) + " has two records");
    }
  }
  const std::set<uint64_t> present = AllIds(state.conf());
  std::set<uint64_t> kept;
  std::set<uint64_t> seen;
  for (const ConfChangeStep& step : change.steps) {
    RETURN_IF_ERROR(CheckStep(state, step, present, described));
    if (!seen.insert(step.id.value).second) {
      return Invalid(Named(step.id.value) + " is named by two steps");
    }
    if (step.type != ConfChangeType::kRemove) kept.insert(step.id.value);
  }
  if (!std::ranges::includes(kept, described)) {
    return Invalid("a record belongs to no member that the change adds or updates");
  }
  return Status::Ok();
}

// The same computation that the core makes when it takes the change over.
Result<raft::ConfState> NextConf(const v1::ConfState& current, const ConfChange& change) {
  const auto refuse = [](const std::string& reason) {
    return Error(Code::kFailedPrecondition, "the change does not fit the configuration: " + reason);
  };
  raft::Tracker tracker(1, 0);
  auto restored = raft::Restore(tracker, raft::Index(), storage::FromProto(current));
  if (!restored) return refuse(restored.error());
  tracker.config = std::move(restored->config);
  tracker.progress = std::move(restored->progress);

  const raft::Changer changer(tracker, raft::Index());
  const raft::JointUse joint = raft::EntersJoint(change);
  const auto changed = raft::LeavesJoint(change) ? changer.LeaveJoint()
                       : joint.use ? changer.EnterJoint(joint.auto_leave, change.steps)
                                   : changer.Simple(change.steps);
  if (!changed) return refuse(changed.error());
  return changed->config.ToConfState();
}

// Keeps the records of exactly the ids in `next->conf`, new ones as `request` has them.
void UpdateMembers(const v1::MembershipChange& request, ClusterState* next) {
  std::map<uint64_t, Member> records;
  for (const Member& member : next->members()) records[member.id()] = member;
  for (const Member& member : request.members()) records[member.id()] = member;

  const std::set<uint64_t> ids = AllIds(next->conf());
  const std::set<uint64_t> voters = IdsIn(next->conf().voters());
  next->clear_members();
  for (auto& [id, member] : records) {
    if (!ids.contains(id)) continue;
    if (voters.contains(id)) member.set_auto_promote(false);
    *next->add_members() = std::move(member);
  }
}

void RememberRemoved(const v1::ConfState& before, ClusterState* next) {
  const std::set<uint64_t> after = AllIds(next->conf());
  for (uint64_t id : AllIds(before)) {
    if (!after.contains(id)) next->add_removed_ids(id);
  }
  std::ranges::sort(*next->mutable_removed_ids());
}

void ConsumeInvitations(const v1::ConfState& before, ClusterState* next) {
  const std::set<uint64_t> known = AllIds(before);
  for (const Member& member : next->members()) {
    if (known.contains(member.id())) continue;
    auto* invited = next->mutable_invited();
    invited->erase(std::remove_if(invited->begin(), invited->end(),
                                  [&](const Member& guest) {
                                    return guest.name() == member.name() ||
                                           guest.peer_address() == member.peer_address();
                                  }),
                   invited->end());
  }
}

Status CheckText(std::string_view text, const std::string& what) {
  if (text.empty()) return Invalid(what + " is empty");
  if (text.size() > kMaxNameBytes) {
    return Invalid(what + " is longer than " + std::to_string(kMaxNameBytes) + " bytes");
  }
  return Status::Ok();
}

// Records complete, names and addresses unique. A member that is on its way out does not count: its
// successor may have its name and its address (a pod that has lost its disk).
Status CheckMembers(const ClusterState& state) {
  const std::set<uint64_t> staying = StayingIds(state.conf());
  std::set<std::string_view> names;
  std::set<std::string_view> addresses;
  for (const Member& member : state.members()) {
    RETURN_IF_ERROR(CheckText(member.name(), "the name of " + Named(member.id())));
    RETURN_IF_ERROR(
        CheckPeerAddress(member.peer_address(), "the peer address of " + Named(member.id())));
    if (member.client_address().size() > kMaxNameBytes) {
      return Invalid("the client address of " + Named(member.id()) + " is too long");
    }
    if (!staying.contains(member.id())) continue;
    if (!names.insert(member.name()).second) {
      return Status(Code::kConflict, "another member is called " + member.name());
    }
    if (!addresses.insert(member.peer_address()).second) {
      return Status(Code::kConflict,
                    "another member has the peer address " + member.peer_address());
    }
  }
  return Status::Ok();
}

}  // namespace

Status CheckConditions(const ClusterState& state, uint64_t expected_config_index, uint64_t epoch) {
  if (expected_config_index != 0 && expected_config_index != state.config_index()) {
    return Status(Code::kConflict, "the configuration index is " +
                                       std::to_string(state.config_index()) + ", not " +
                                       std::to_string(expected_config_index) +
                                       ": read the membership again and decide anew");
  }
  if (epoch != 0 && epoch < state.epoch()) {
    return Status(Code::kConflict,
                  "epoch " + std::to_string(epoch) + " is older than the cluster's, " +
                      std::to_string(state.epoch()) + ": another operator has taken over");
  }
  return Status::Ok();
}

Status CheckPeerAddress(const std::string& address, const std::string& what) {
  RETURN_IF_ERROR(CheckText(address, what));
  const Result<HostPort> parsed = ParseHostPort(address);
  if (!parsed) return Invalid(what + ": " + parsed.error().message());
  if (parsed->IsWildcard() || parsed->port == 0) {
    return Invalid(what + ": other members cannot dial " + address +
                   "; it has to name a host and a port");
  }
  return Status::Ok();
}

Result<ClusterState> ChangeMembership(const ClusterState& state, const ConfChange& change,
                                      const v1::MembershipChange& request, raft::Index index) {
  RETURN_UNEXPECTED_IF_ERROR(
      CheckConditions(state, request.expected_config_index(), request.epoch()));
  RETURN_UNEXPECTED_IF_ERROR(CheckSteps(state, change, request));
  ASSIGN_OR_RETURN(const raft::ConfState conf, NextConf(state.conf(), change));

  ClusterState next = state;
  *next.mutable_conf() = storage::ToProto(conf);
  next.set_config_index(index.value);
  if (request.epoch() != 0) next.set_epoch(request.epoch());
  UpdateMembers(request, &next);
  RememberRemoved(state.conf(), &next);
  RETURN_UNEXPECTED_IF_ERROR(CheckMembers(next));
  ConsumeInvitations(state.conf(), &next);
  return next;
}

Result<ClusterState> Withdraw(const ClusterState& state, const std::string& name) {
  ClusterState next = state;
  auto* invited = next.mutable_invited();
  const auto guest = std::ranges::find(*invited, name, &Member::name);
  if (guest == invited->end()) return Error(Code::kNotFound, "nobody is invited as " + name);
  invited->erase(guest);
  return next;
}

Result<ClusterState> Invite(const ClusterState& state, const v1::InviteCommand& invite) {
  if (invite.withdraw()) return Withdraw(state, invite.name());
  RETURN_UNEXPECTED_IF_ERROR(CheckText(invite.name(), "the name of the invitation"));
  RETURN_UNEXPECTED_IF_ERROR(
      CheckPeerAddress(invite.peer_address(), "the invitation's peer address"));
  for (const Member& member : state.members()) {
    if (member.name() == invite.name() || member.peer_address() == invite.peer_address()) {
      return Error(Code::kConflict, Named(member.id()) + " has this name or peer address already");
    }
  }
  ClusterState next = state;
  auto* invited = next.mutable_invited();
  auto place = std::ranges::find_if(
      *invited, [&](const Member& guest) { return guest.name() >= invite.name(); });
  if (place == invited->end() || place->name() != invite.name()) {
    if (invited->size() >= kMaxInvitations) {
      return Error(Code::kConflict,
                   std::to_string(kMaxInvitations) +
                       " invitations are open: let one of them join, or withdraw one");
    }
    const auto position = place - invited->begin();
    invited->Add();
    std::rotate(invited->begin() + position, invited->end() - 1, invited->end());
    place = invited->begin() + position;
  }
  place->set_name(invite.name());
  place->set_peer_address(invite.peer_address());
  return next;
}

Result<ClusterState> FirstClusterState(const ClusterState& initial, raft::Index index) {
  if (initial.cluster_id() == 0) return Error(Invalid("the new cluster has no id"));
  ClusterState first = initial;
  std::ranges::sort(*first.mutable_members(), {}, &Member::id);
  v1::ConfState conf;
  for (Member& member : *first.mutable_members()) {
    RETURN_UNEXPECTED_IF_ERROR(CheckId(member.id()));
    member.set_auto_promote(false);
    conf.add_voters(member.id());
  }
  if (conf.voters().empty()) return Error(Invalid("the new cluster has no members"));
  if (std::ranges::adjacent_find(conf.voters()) != conf.voters().end()) {
    return Error(Invalid("two members of the new cluster have the same id"));
  }
  const raft::ConfState wanted = storage::FromProto(initial.conf());
  if (wanted != raft::ConfState() && wanted != storage::FromProto(conf)) {
    return Error(Invalid("the first configuration of a cluster is all its members as voters"));
  }
  *first.mutable_conf() = std::move(conf);
  first.set_config_index(index.value);
  RETURN_UNEXPECTED_IF_ERROR(CheckMembers(first));
  return first;
}

}  // namespace raftkv::kv
