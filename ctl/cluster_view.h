// What raftkvctl knows of a whole cluster: the replicated membership, and each member's own word.
//
// Thread-safety: none.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "ctl/admin.h"
#include "ctl/session.h"

namespace raftkv::ctl {

struct MemberView {
  v1::Member member;
  std::string kind;  // voter, learner; leaving: a voter of the outgoing half of a joint change
  // Its own status; absent: it could not be asked.
  std::optional<v1::StatusResponse> status;
  // What the leader knows of it; absent without a leader, and of the leader itself.
  std::optional<v1::PeerProgress> progress;

  std::string RoleName() const;  // leader, follower, ...; unreachable
  // Entries between the leader's commit index and what this member has applied (or, unreachable,
  // acknowledged); nullopt: unknown.
  std::optional<uint64_t> Lag(uint64_t leader_commit) const;
};

struct ClusterView {
  v1::ClusterState cluster;    // the newest that any node told
  uint64_t leader = 0;         // 0: none known
  uint64_t term = 0;           // highest seen
  uint64_t leader_commit = 0;  // 0: the leader could not be asked
  std::vector<MemberView> members;
  std::vector<v1::StatusResponse>
      outside;  // nodes that answered but are no members: blank, removed
};

// From one node's status: enough to name members and to change the membership.
ClusterView ViewOf(const v1::StatusResponse& status);

// Asks every node: those of the admin endpoints and, unless these are given, all members that can
// be found through their client addresses. kUnavailable if nobody answers.
Result<ClusterView> LookAround(const Session& session);

// Why the nodes that answered know of no member: kNotServing, and what to do, if all are blank and
// wait for somebody; kUnavailable if they are about to become members.
Status NoMembers(const std::vector<v1::StatusResponse>& answered);

// By ID (16 hexadecimal digits) or name. kNotFound lists the members.
Result<v1::Member> FindMember(const v1::ClusterState& cluster, const std::string& text);

}  // namespace raftkv::ctl
