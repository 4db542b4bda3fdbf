// What this node tells about itself.

#include "base/version.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

v1::StatusResponse::Role RoleOf(const raft::Core& core, const v1::ClusterState& cluster) {
  if (cluster.members().empty()) return v1::StatusResponse::JOINING;
  if (core.is_learner()) return v1::StatusResponse::LEARNER;
  switch (core.role()) {
    case raft::Role::kFollower:
      return v1::StatusResponse::FOLLOWER;
    case raft::Role::kCandidate:
      return v1::StatusResponse::CANDIDATE;
    case raft::Role::kLeader:
      return v1::StatusResponse::LEADER;
    case raft::Role::kPreCandidate:
      return v1::StatusResponse::PRE_CANDIDATE;
  }
  return v1::StatusResponse::FOLLOWER;
}

}  // namespace

// Where the member list sends others, if that is not where this node is.
std::vector<std::string> Replica::AddressWarnings() const {
  const v1::Member self = Self();
  std::vector<std::string> warnings;
  const auto compare = [&](const char* kind, const std::string& listed, const std::string& own) {
    if (listed.empty() || own.empty() || listed == own) return;
    warnings.push_back("the member list has " + listed + " as the " + kind +
                       " address of this node, which advertises " + own +
                       ": others do not find it there; POST /admin/membership with `update`");
  };
  for (const v1::Member& member : env_.storage.machine->cluster()->members()) {
    if (member.id() != id_.value) continue;
    compare("peer", member.peer_address(), self.peer_address());
    compare("client", member.client_address(), self.client_address());
  }
  return warnings;
}

v1::StatusResponse Replica::Status() const {
  v1::StatusResponse status;
  const v1::Identity& identity = env_.storage.dir->identity();
  status.set_version(std::string(Version()));
  status.set_member_id(id_.value);
  status.set_name(env_.options->name);
  status.set_cluster_id(identity.cluster_id());
  if (core_ == nullptr) {
    status.set_role(leaving_ ? v1::StatusResponse::REMOVED : v1::StatusResponse::BLANK);
    if (!leaving_ && !last_bootstrap_log_.empty()) {
      status.add_warnings("waiting to become a member: " + last_bootstrap_log_);
    }
    return status;
  }
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  status.set_role(leaving_ ? v1::StatusResponse::REMOVED : RoleOf(*core_, *cluster));
  status.set_leader(core_->leader().value);
  status.set_transferee(core_->transferee().value);
  status.set_term(core_->term().value);
  status.set_commit_index(core_->committed().value);
  const kv::AppliedState applied = env_.storage.machine->applied();
  status.set_applied_index(applied.index.value);
  status.set_revision(applied.revision);
  status.set_compact_revision(applied.compact_revision);
  status.set_first_index(env_.storage.log->first_index().value);
  status.set_last_index(core_->last_index().value);
  *status.mutable_cluster() = *cluster;
  for (std::string& warning : AddressWarnings()) status.add_warnings(std::move(warning));
  if (!is_leader()) return status;
  const std::map<raft::NodeId, transport::PeerStats> streams = transport_->stats();
  for (const auto& [id, progress] : core_->status().progress) {
    v1::PeerProgress& peer = *status.add_progress();
    peer.set_id(id.value);
    peer.set_state(progress.state == raft::ProgressState::kProbe       ? "probe"
                   : progress.state == raft::ProgressState::kReplicate ? "replicate"
                                                                       : "snapshot");
    peer.set_match(progress.match.value);
    peer.set_next(progress.next.value);
    peer.set_pending_snapshot(progress.pending_snapshot.value);
    peer.set_recently_active(progress.recently_active);
    peer.set_paused(progress.IsPaused());
    peer.set_inflight_messages(static_cast<uint32_t>(progress.inflights.count()));
    peer.set_inflight_bytes(progress.inflights.bytes());
    peer.set_learner(progress.is_learner);
    const auto stream = streams.find(id);
    peer.set_connected(id == id_ || (stream != streams.end() && stream->second.connected));
  }
  return status;
}

}  // namespace raftkv::runtime
