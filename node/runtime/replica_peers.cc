// What comes from other nodes, and who they are: calls, adoption, introductions, streams.

#include <algorithm>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/kv/commands.h"
#include "node/kv/membership.h"
#include "node/runtime/peer_reply.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

constexpr Duration kHelpEvery = std::chrono::seconds(1);  // each candidate

// The first configuration that a blank node is to begin with, if it is told one.
raftkv::Status JudgeInitial(const v1::Adopt& adopt) {
  if (!adopt.has_initial()) return raftkv::Status::Ok();
  ASSIGN_OR_RETURN_STATUS(const v1::ClusterState first,
                          kv::FirstClusterState(adopt.initial(), raft::Index(1)));
  if (first.cluster_id() != adopt.cluster_id()) {
    return {Code::kInvalidArgument, "the first configuration is another cluster's"};
  }
  const bool named = std::ranges::any_of(
      first.members(), [&](const v1::Member& m) { return m.id() == adopt.member_id(); });
  return named ? raftkv::Status::Ok()
               : raftkv::Status(Code::kInvalidArgument,
                                "the first configuration does not name this node");
}

}  // namespace

void Replica::OnCall(raft::NodeId from, v1::PeerCall call, transport::ReplyFn reply) {
  const MonotonicTime deadline = env_.clock->Now() + std::chrono::seconds(5);
  env_.wake();
  switch (call.body_case()) {
    case v1::PeerCall::kCommand:
      // Another member may run another version, or be out of order: what it sends is not trusted.
      if (raftkv::Status readable = kv::CheckReadable(call.command()); !readable.ok()) {
        return reply(Refusal(readable));
      }
      if (!HasRoomFor(call.command())) {
        return reply(
            Refusal({Code::kOutOfSpace,
                     "the disk or the quota of the leader is full: delete keys, compact, or give "
                     "it more space; reads and deletes go on"}));
      }
      AddWaiting(
          {Proposal{0, Buffer(std::move(*call.mutable_command())), {}}, from, std::move(reply)});
      return;
    case v1::PeerCall::kChangeMembership:
      if (!is_leader()) break;
      return Dispatch({std::move(*call.mutable_change_membership()), deadline,
                       [reply](Result<v1::ChangeMembershipResponse> response) {
                         if (!response) return reply(Refusal(response.error()));
                         v1::PeerReply answer;
                         *answer.mutable_change_membership() = std::move(*response);
                         reply(std::move(answer));
                       },
                       true});
    case v1::PeerCall::kTransfer:
      if (!is_leader()) break;
      return TransferLeadership(call.transfer(), deadline,
                                [reply](Result<v1::TransferLeadershipResponse> response) {
                                  if (!response) return reply(Refusal(response.error()));
                                  v1::PeerReply answer;
                                  *answer.mutable_transfer() = std::move(*response);
                                  reply(std::move(answer));
                                });
    default:
      log::Warning("a member sent a call that this version does not know",
                   {{"from", log::Hex{from.value}}});
      return reply(Refusal({Code::kInvalidArgument, "unknown call"}));
  }
  reply(Refusal({Code::kUnavailable, "this member does not lead; repeat"}));
}

void Replica::OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, transport::ReplyFn reply) {
  env_.wake();
  switch (call.body_case()) {
    case v1::PeerCall::kWhoAreYou: {
      v1::PeerReply answer;
      v1::IAm& i_am = *answer.mutable_i_am();
      // Whoever takes the place of a member is not free for a new cluster.
      i_am.set_cluster_id(replacing() ? env_.options->replaces->cluster_id
                                      : env_.storage.dir->identity().cluster_id());
      i_am.set_removed(leaving_);
      *i_am.mutable_member() = Self();
      return reply(std::move(answer));
    }
    case v1::PeerCall::kJoin:
      if (!serving()) return reply(Refusal(NotServing()));
      return HandleJoin(call, std::move(reply));
    case v1::PeerCall::kAdopt:
      return HandleAdopt(call.adopt(), std::move(reply));
    default:
      log::Warning("a stranger sent a call that is not for strangers",
                   {{"member", log::Hex{hello.member_id()}}});
      return reply(Refusal({Code::kInvalidArgument, "this call is for members only"}));
  }
}

void Replica::OnMessages(std::vector<raft::Message> messages) {
  if (core_ == nullptr || removed_) return;
  for (raft::Message& message : messages) {
    // Snapshots come with their files, on a stream of their own.
    if (message.Is<raft::InstallSnapshot>() || WithheldAfterRestart(message)) continue;
    HelpCandidate(message);
    (void)core_->Step(std::move(message));
  }
  env_.wake();
}

void Replica::HandleAdopt(const v1::Adopt& adopt, transport::ReplyFn reply) {
  const uint64_t own_cluster = env_.storage.dir->identity().cluster_id();
  if (adopt.member_id() != id_.value) {
    return reply(Refusal(
        {Code::kFailedPrecondition, "another node listens here: member " + HexId(id_.value)}));
  }
  if (own_cluster != 0) {
    if (own_cluster == adopt.cluster_id()) {
      Introduce(adopt);
      if (core_ != nullptr && !MUTATION(no_help_for_candidates)) {
        core_->LearnCommitted(
            {raft::Term(adopt.committed_term()), raft::Index(adopt.committed_index())});
        env_.wake();
      }
      return reply({});
    }
    return reply(
        Refusal({Code::kFailedPrecondition, "this node belongs to cluster " + HexId(own_cluster)}));
  }
  if (adopt.cluster_id() == 0) {
    return reply(Refusal({Code::kInvalidArgument, "a cluster has an id"}));
  }
  if (replacing() && adopt.cluster_id() != env_.options->replaces->cluster_id) {
    return reply(Refusal(
        {Code::kFailedPrecondition, "this node takes the place of a member of another cluster"}));
  }
  if (const raftkv::Status judged = JudgeInitial(adopt); !judged.ok()) {
    return reply(Refusal(judged));
  }
  v1::ClusterState seeds;
  *seeds.mutable_members() = adopt.members();
  const raftkv::Status status =
      BecomeMember(adopt.cluster_id(), adopt.has_initial() ? &adopt.initial() : nullptr, seeds);
  if (!status.ok()) return env_.fatal(status);
  log::Info("adopted by a cluster", {{"cluster", log::Hex{adopt.cluster_id()}},
                                     {"first configuration", adopt.has_initial()}});
  reply({});
}

// A member of our configuration whose directory is still blank: it has exactly the id that was
// configured, so it is the one that was meant. Or one that has missed changes of the membership.
void Replica::AdoptPeer(raft::NodeId peer, std::optional<raft::Index> last) {
  if (adopting_.contains(peer)) return;
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  for (const v1::Member& member : cluster->members()) {
    if (member.id() != peer.value) continue;
    v1::PeerCall call;
    v1::Adopt& adopt = *call.mutable_adopt();
    adopt.set_cluster_id(cluster->cluster_id());
    adopt.set_member_id(peer.value);
    *adopt.mutable_members() = cluster->members();
    adopt.set_config_index(cluster->config_index());
    const raft::Index committed =
        last ? std::min(*last, core_->committed()) : raft::Index(cluster->config_index());
    if (const raft::LogResult<raft::Term> term = replica_log_.term(committed)) {
      adopt.set_committed_index(committed.value);
      adopt.set_committed_term(term->value);
    }
    // Later configurations arrive with the log or a snapshot; without the first nobody could vote.
    if (cluster->config_index() == 1) *adopt.mutable_initial() = *cluster;
    adopting_.insert(peer);
    transport_->CallAddress(
        member.peer_address(), std::move(call), [this, peer](Result<v1::PeerReply> answer) {
          adopting_.erase(peer);
          if (answer && answer->code() == 0) {
            unintroduced_.erase(peer);
            transport_->Poke(peer);
          } else {
            log::Warning("a member could not be told that it is one",
                         {{"member", log::Hex{peer.value}},
                          {"reason", answer ? answer->message() : answer.error().message()}});
          }
        });
  }
}

// A member that was away while the membership changed may not know who leads now: it has to let
// that member in, and to have an address for the answers (thesis, section 4.1: a server accepts
// requests of a leader that is not in its own configuration).
void Replica::Introduce(const v1::Adopt& adopt) {
  if (adopt.config_index() <=
      std::max(introduced_index_, env_.storage.machine->cluster()->config_index())) {
    return;
  }
  if (MUTATION(no_introduction)) return;
  introduced_index_ = adopt.config_index();
  introduced_.clear();
  for (const v1::Member& member : adopt.members()) {
    introduced_[raft::NodeId(member.id())] = member.peer_address();
  }
  log::Info("told of members that this one does not know yet",
            {{"configuration", introduced_index_}, {"members", introduced_.size()}});
  PublishPeers();
}

// Again and again until it is heard: the call may get lost, and at first this member may itself not
// know that it is one. The first configuration is known to all who are in it.
void Replica::IntroduceSelf() {
  if (env_.storage.machine->cluster()->config_index() <= 1) return;
  for (const raft::NodeId peer : std::set<raft::NodeId>(unintroduced_)) AdoptPeer(peer);
}

// Whoever still goes by a configuration that we know is over may need votes of members that will
// not give them: their logs are longer, by entries that nobody can commit any more. Or it is the
// only one that can be elected, and waits for votes that it does not need. (Only applied
// configurations count; by the paper's rule it would have used the next one as soon as it was in
// its log.) The newest entry of its log that is committed here tells it so, and by log matching all
// that is before; the entry of the configuration itself may be gone from the log here.
void Replica::HelpCandidate(const raft::Message& message) {
  std::optional<raft::Index> last;
  if (const auto* vote = std::get_if<raft::RequestVote>(&message.body)) last = vote->last.index;
  if (const auto* vote = std::get_if<raft::RequestPreVote>(&message.body)) last = vote->last.index;
  if (!last || env_.storage.machine->cluster()->config_index() <= 1) return;
  const MonotonicTime now = env_.clock->Now();
  const auto [helped, is_new] = helped_.try_emplace(message.from, now);
  if (!is_new && now - helped->second < kHelpEvery) return;
  helped->second = now;
  AdoptPeer(message.from, last);
}

v1::HelloReply::Verdict Replica::Admit(raft::NodeId id) {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  if (durably_removed_.contains(id.value)) return v1::HelloReply::REMOVED;
  const auto& removed = cluster->removed_ids();
  if (std::find(removed.begin(), removed.end(), id.value) != removed.end()) {
    return v1::HelloReply::OK;  // for the moment
  }
  for (const v1::Member& member : cluster->members()) {
    if (member.id() == id.value) return v1::HelloReply::OK;
  }
  if (introduced_index_ > cluster->config_index() && introduced_.contains(id)) {
    return v1::HelloReply::OK;
  }
  // Without a configuration yet: the cluster id was checked, and the leader has to get through.
  if (cluster->members().empty()) return v1::HelloReply::OK;
  return v1::HelloReply::NOT_A_MEMBER;
}

void Replica::TellVoters(v1::HelloReply* reply) const {
  reply->set_voter(core_ != nullptr && core_->tracker_config().voters.incoming.contains(id_));
  for (const uint64_t voter : durable_voters_) reply->add_voters(voter);
}

void Replica::OnPeerVerdict(raft::NodeId peer, const v1::HelloReply& reply) {
  if (core_ == nullptr || removed_) return;
  const bool own_cluster = reply.cluster_id() == env_.storage.dir->identity().cluster_id();
  if (reply.member_id() == peer.value &&
      (reply.verdict() == v1::HelloReply::BLANK ||
       (reply.verdict() == v1::HelloReply::NOT_A_MEMBER && own_cluster))) {
    AdoptPeer(peer);
  } else if (reply.verdict() == v1::HelloReply::REMOVED && own_cluster) {
    OnRefusedAsRemoved(peer, reply);
  }
}

// It takes messages from us; whether it knows where to send the answers is another question.
void Replica::OnPeerUp(raft::NodeId peer) {
  if (core_ == nullptr || removed_) return;
  connected_.insert(peer);
  lost_.erase(peer);
  unintroduced_.insert(peer);
  IntroduceSelf();
  if (MUTATION(introduce_once)) unintroduced_.clear();
}

void Replica::OnPeerDown(raft::NodeId peer) {
  if (core_ == nullptr) return;
  if (connected_.erase(peer) > 0) lost_.insert(peer);
  unintroduced_.erase(peer);
  core_->ReportUnreachable(peer);
  env_.wake();
}

}  // namespace raftkv::runtime
