// The rules of membership: what a configuration change, an invitation and the first state make of a
// ClusterState, or why they are refused.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "node/raft/entry.h"
#include "raftkv/v1/cluster.pb.h"
#include "raftkv/v1/command.pb.h"

namespace raftkv::kv {

// What a request was decided on still holds: `expected_config_index` is the state's (0: no
// condition), and no operator with a greater `epoch` has changed it (0: no condition). Otherwise
// kConflict.
Status CheckConditions(const v1::ClusterState& state, uint64_t expected_config_index,
                       uint64_t epoch);

// The state after `change`, whose entry has `index`; `request` is its context.
//
// Refused: kConflict if the configuration index or the epoch does not match, or a name or address
// is taken; kNotFound if a member is named that is not there; kFailedPrecondition for removed ids,
// the last voter, and changes that do not fit a joint (or not joint) configuration;
// kInvalidArgument for the rest.
Result<v1::ClusterState> ChangeMembership(const v1::ClusterState& state,
                                          const raft::ConfChange& change,
                                          const v1::MembershipChange& request, raft::Index index);

// Whether other members could dial it; kInvalidArgument begins with `what`.
Status CheckPeerAddress(const std::string& address, const std::string& what);

// Adds an invitation, or replaces the one with the same name, or withdraws it.
Result<v1::ClusterState> Invite(const v1::ClusterState& state, const v1::InviteCommand& invite);

// The first state of a cluster: `initial` completed (all members are voters) and checked.
Result<v1::ClusterState> FirstClusterState(const v1::ClusterState& initial, raft::Index index);

}  // namespace raftkv::kv
