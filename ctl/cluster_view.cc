#include "ctl/cluster_view.h"

#include <algorithm>
#include <set>

#include "base/hex_id.h"
#include "ctl/text.h"

namespace raftkv::ctl {
namespace {

using client::Endpoint;

bool Contains(const google::protobuf::RepeatedField<uint64_t>& ids, uint64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

std::string Kind(const v1::ConfState& conf, uint64_t id) {
  if (Contains(conf.voters(), id)) return "voter";
  if (Contains(conf.voters_outgoing(), id)) return "leaving";
  return "learner";
}

const char* RoleText(v1::StatusResponse::Role role) {
  switch (role) {
    case v1::StatusResponse::FOLLOWER:
      return "follower";
    case v1::StatusResponse::PRE_CANDIDATE:
      return "pre-candidate";
    case v1::StatusResponse::CANDIDATE:
      return "candidate";
    case v1::StatusResponse::LEADER:
      return "leader";
    case v1::StatusResponse::LEARNER:
      return "learner";
    case v1::StatusResponse::BLANK:
      return "blank";
    case v1::StatusResponse::JOINING:
      return "joining";
    case v1::StatusResponse::REMOVED:
      return "removed";
    case v1::StatusResponse::DAMAGED:
      return "damaged";
    default:
      return "unknown";
  }
}

bool IsMember(const v1::ClusterState& cluster, uint64_t id) {
  return std::any_of(cluster.members().begin(), cluster.members().end(),
                     [&](const v1::Member& member) { return member.id() == id; });
}

// Later configurations have higher indexes; the leader's word of itself counts in its term.
ClusterView Combine(const std::vector<v1::StatusResponse>& statuses) {
  ClusterView view;
  const v1::StatusResponse* leader = nullptr;
  for (const auto& status : statuses) {
    if (status.cluster().config_index() > view.cluster.config_index())
      view.cluster = status.cluster();
    if (status.term() > view.term || (status.term() == view.term && view.leader == 0))
      view.leader = status.leader();
    view.term = std::max(view.term, status.term());
    if (status.role() == v1::StatusResponse::LEADER &&
        (leader == nullptr || status.term() > leader->term()))
      leader = &status;
  }
  if (leader != nullptr && leader->term() == view.term) {
    view.leader = leader->member_id();
    view.leader_commit = leader->commit_index();
  } else {
    leader = nullptr;
  }
  for (const v1::Member& member : view.cluster.members()) {
    MemberView row{.member = member,
                   .kind = Kind(view.cluster.conf(), member.id()),
                   .status = {},
                   .progress = {}};
    for (const auto& status : statuses)
      if (status.member_id() == member.id()) row.status = status;
    if (leader != nullptr)
      for (const auto& progress : leader->progress())
        if (progress.id() == member.id() && member.id() != view.leader) row.progress = progress;
    view.members.push_back(std::move(row));
  }
  for (const auto& status : statuses)
    if (!IsMember(view.cluster, status.member_id())) view.outside.push_back(status);
  return view;
}

}  // namespace

std::string MemberView::RoleName() const {
  return status ? RoleText(status->role()) : "unreachable";
}

std::optional<uint64_t> MemberView::Lag(uint64_t leader_commit) const {
  if (leader_commit == 0) return std::nullopt;
  uint64_t has = 0;
  if (status) {
    has = status->applied_index();
  } else if (progress) {
    has = progress->match();
  } else {
    return std::nullopt;
  }
  return leader_commit - std::min(leader_commit, has);
}

ClusterView ViewOf(const v1::StatusResponse& status) { return Combine({status}); }

Result<ClusterView> LookAround(const Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.MakeAdmin());
  std::vector<v1::StatusResponse> statuses;
  std::set<uint64_t> seen;
  Status last;
  auto ask = [&](const Endpoint& endpoint) {
    auto status = admin.StatusOf(endpoint);
    if (!status) {
      last = status.error();
    } else if (seen.insert(status->member_id()).second) {
      statuses.push_back(std::move(*status));
    }
  };
  for (const Endpoint& endpoint : admin.endpoints()) ask(endpoint);
  if (statuses.empty()) return Error(last);
  if (session.admin_endpoints.empty()) {
    v1::ClusterState known = Combine(statuses).cluster;
    for (const v1::Member& member : known.members()) {
      if (seen.contains(member.id())) continue;
      auto address = client::ParseEndpoint(member.client_address());
      if (!address) continue;
      auto found = session.AdminEndpointOf(*address);
      if (found) ask(*found);
    }
  }
  return Combine(statuses);
}

Status NoMembers(const std::vector<v1::StatusResponse>& answered) {
  // A node that is about to become a member by itself says in a warning what it waits for.
  const bool blank = std::ranges::all_of(answered, [](const v1::StatusResponse& status) {
    return status.role() == v1::StatusResponse::BLANK && status.warnings().empty();
  });
  if (!blank) return Status(Code::kUnavailable, "no node that answers is a member of a cluster");
  return Status(Code::kNotServing,
                "no node that answers belongs to a cluster; raftkvctl initialize makes a new one "
                "of a blank node, raftkvctl join PEER lets it join one");
}

Result<v1::Member> FindMember(const v1::ClusterState& cluster, const std::string& text) {
  if (cluster.members().empty()) return Error(NoMembers({}));
  // Only a whole ID: "a1" is a name.
  std::optional<uint64_t> id;
  if (text.size() == 16) id = ParseHexId(text);
  std::vector<v1::Member> found;
  std::string known;
  for (const v1::Member& member : cluster.members()) {
    if ((id && member.id() == *id) || (!member.name().empty() && member.name() == text))
      found.push_back(member);
    known += (known.empty() ? "" : ", ") + HexId(member.id());
    if (!member.name().empty()) known += " (" + client::Printable(member.name()) + ")";
  }
  if (found.size() == 1) return found.front();
  if (found.size() > 1)
    return Error(Code::kInvalidArgument, "several members are called " + text + "; use the ID");
  return Error(Code::kNotFound, "no member " + text + "; there are: " + known);
}

}  // namespace raftkv::ctl
