// A member answers those who want to join, or to be replaced.

#include <algorithm>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/runtime/peer_reply.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

// A majority has to confirm the leader who agrees to a replacement; less than the caller waits.
constexpr Duration kConfirmWithin = std::chrono::seconds(3);

}  // namespace

// At a member: a damaged one, or the new one at its place, asks to be replaced. Nobody else may
// want the old one back: it says itself that it cannot go on, and the leader does not hear of it.
Result<v1::ChangeMembershipRequest> Replica::PlanReplacement(const v1::PeerCall& call) const {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  const uint64_t old = call.replaces();
  if (!is_leader()) {
    return Error(Code::kUnavailable, "only the leader replaces a damaged member");
  }
  const auto& removed = cluster->removed_ids();
  if (std::find(removed.begin(), removed.end(), old) != removed.end()) {
    return Error(Code::kFailedPrecondition,
                 "member " + HexId(old) +
                     " was removed from the cluster meanwhile: nothing is left to replace. To add "
                     "this node as a new member, POST /admin/join");
  }
  const auto found = std::ranges::find(cluster->members(), old, &v1::Member::id);
  if (found == cluster->members().end()) {
    return Error(Code::kNotFound, HexId(old) + " is not a member");
  }
  if (found->peer_address() != call.join().peer_address()) {
    return Error(Code::kFailedPrecondition,
                 "member " + HexId(old) + " is at " + found->peer_address() + ", not at " +
                     call.join().peer_address() + ": this may be a copy of its data");
  }
  const raft::CoreStatus status = core_->status();
  const auto progress = status.progress.find(raft::NodeId(old));
  if (progress != status.progress.end() && progress->second.recently_active) {
    return Error(Code::kUnavailable, "member " + HexId(old) + " was heard of a moment ago");
  }
  v1::ChangeMembershipRequest request;
  request.set_expected_config_index(cluster->config_index());
  request.add_remove(old);
  v1::Member& learner = *request.add_add_learners();
  learner = call.join();
  const auto& voters = cluster->conf().voters();
  const bool voted = std::find(voters.begin(), voters.end(), old) != voters.end();
  learner.set_auto_promote(voted || found->auto_promote());
  return request;
}

// At a member: a damaged one asks whether it would be replaced, before its data are moved. The
// answer has to rest on a majority that is alive at this moment: a leader that has not heard of the
// others since its last look at them does not know yet that they are damaged too. No damaged member
// takes part in a round that begins after it asked; so whoever is the last of a majority to ask
// finds none left that confirms, and the data of all of them stay where they are.
void Replica::AgreeToReplace(v1::PeerCall call, transport::ReplyFn reply) {
  const auto refusal = [this](const v1::PeerCall& asked) -> raftkv::Status {
    const Result<v1::ChangeMembershipRequest> planned = PlanReplacement(asked);
    if (!planned) return planned.error();
    // Who has no say in the configuration to come cannot answer for it.
    if (ChangeUnderWay()) return {Code::kUnavailable, "another change is under way"};
    return raftkv::Status::Ok();
  };
  if (const raftkv::Status refused = refusal(call); !refused.ok())
    return reply(RefuseReplacement(refused));
  if (MUTATION(agree_unconfirmed)) return reply(JoinAnswer());
  Read(Consistency::kLinearizable, env_.clock->Now() + kConfirmWithin,
       [this, refusal, call = std::move(call), reply](const raftkv::Status& confirmed) {
         if (!confirmed.ok()) return reply(RefuseReplacement(confirmed));
         const raftkv::Status refused = refusal(call);
         reply(refused.ok() ? JoinAnswer() : RefuseReplacement(refused));
       });
}

v1::PeerReply Replica::JoinAnswer() const {
  v1::PeerReply joined;
  joined.mutable_join()->set_cluster_id(env_.storage.dir->identity().cluster_id());
  *joined.mutable_join()->mutable_members() = env_.storage.machine->cluster()->members();
  return joined;
}

// Names the members: whoever asks may know one of them only, and that one need never lead.
v1::PeerReply Replica::RefuseReplacement(const raftkv::Status& status) const {
  v1::PeerReply refusal = Refusal(status);
  if (!MUTATION(refusal_names_nobody)) *refusal.mutable_join() = JoinAnswer().join();
  return refusal;
}

// At a member: somebody wants to join.
void Replica::HandleJoin(const v1::PeerCall& call, transport::ReplyFn reply) {
  const v1::Member& member = call.join();
  if (member.id() == 0 || member.peer_address().empty()) {
    return reply(Refusal({Code::kInvalidArgument, "a joining node has an id and an address"}));
  }
  if (call.check_only()) return AgreeToReplace(call, std::move(reply));
  for (const v1::Member& known : env_.storage.machine->cluster()->members()) {
    if (known.id() == member.id()) return reply(JoinAnswer());  // a repeated call
  }
  v1::ChangeMembershipRequest request;
  if (call.replaces() != 0) {
    Result<v1::ChangeMembershipRequest> planned = PlanReplacement(call);
    if (!planned) return reply(RefuseReplacement(planned.error()));
    request = std::move(*planned);
    log::Warning("a member with damaged data is replaced",
                 {{"member", log::Hex{call.replaces()}}, {"by", log::Hex{member.id()}}});
  } else {
    v1::Member& learner = *request.add_add_learners();
    learner = member;
    learner.set_auto_promote(!call.remain_learner());
  }
  const MonotonicTime deadline = env_.clock->Now() + std::chrono::seconds(5);
  ChangeMembership(std::move(request), deadline,
                   [this, reply](Result<v1::ChangeMembershipResponse> response) {
                     reply(response ? JoinAnswer() : Refusal(response.error()));
                   });
}

}  // namespace raftkv::runtime
