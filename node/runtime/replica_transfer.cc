// Handing leadership over (thesis, section 3.10).

#include <algorithm>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "node/kv/membership.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {

raft::NodeId Replica::BestTransferee(const std::set<raft::NodeId>& excluded) const {
  const raft::CoreStatus status = core_->status();
  raft::NodeId best;
  raft::Index best_match;
  for (const auto& [id, progress] : status.progress) {
    if (id == id_ || progress.is_learner || excluded.contains(id) || !progress.recently_active) {
      continue;
    }
    if (best == raft::kNone || progress.match > best_match) {
      best = id;
      best_match = progress.match;
    }
  }
  return best;
}

void Replica::StartTransfer(raft::NodeId to) {
  // The target campaigns whatever leases say: none is worth anything for the rest of this term.
  transfer_term_ = core_->term();
  core_->RequestTransfer(to);
}

void Replica::TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                                 Callback<v1::TransferLeadershipResponse> done) {
  if (!serving()) return done(Error(NotServing()));
  const raft::NodeId leader = core_->leader();
  if (leader == raft::kNone) {
    return done(Error(Code::kUnavailable, "no leader to transfer from; repeat later"));
  }
  if (leader != id_) {
    v1::PeerCall call;
    *call.mutable_transfer() = request;
    transport_->Call(leader, std::move(call),
                     [done = std::move(done)](Result<v1::PeerReply> reply) {
                       if (!reply) return done(Error(reply.error()));
                       if (reply->code() != 0) {
                         return done(Error(static_cast<Code>(reply->code()), reply->message()));
                       }
                       done(reply->transfer());
                     });
    return;
  }
  if (request.from() != 0 && request.from() != id_.value) {
    return done(Error(Code::kConflict, HexId(id_.value) + " leads, not " + HexId(request.from()) +
                                           ": read the status again and decide anew"));
  }
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  const raftkv::Status held =
      kv::CheckConditions(*cluster, request.expected_config_index(), request.epoch());
  if (!held.ok()) return done(Error(held));
  raft::NodeId to(request.to());
  if (to == raft::kNone) to = BestTransferee({});
  if (to == raft::kNone) {
    return done(Error(Code::kFailedPrecondition, "there is no other voter that could lead"));
  }
  if (to == id_) {
    v1::TransferLeadershipResponse response;
    response.set_leader(id_.value);
    return done(response);
  }
  const auto& voters = cluster->conf().voters();
  if (std::find(voters.begin(), voters.end(), to.value) == voters.end()) {
    return done(Error(Code::kInvalidArgument, HexId(to.value) + " is not a voter"));
  }
  StartTransfer(to);
  transfers_.push_back({to, deadline, std::move(done)});
}

void Replica::FinishTransfers() {
  const MonotonicTime now = env_.clock->Now();
  std::erase_if(transfers_, [&](TransferCall& call) {
    if (core_->leader() == call.to) {
      v1::TransferLeadershipResponse response;
      response.set_leader(call.to.value);
      call.done(response);
      return true;
    }
    const bool aborted = is_leader() && core_->transferee() == raft::kNone;
    if (!aborted && call.deadline > now) return false;
    call.done(Error(Code::kUnavailable,
                    HexId(call.to.value) + " did not take over within an election timeout"));
    return true;
  });
}

bool Replica::HandOver(const char* why) {
  if (!is_leader()) return false;
  const raft::NodeId to = BestTransferee({});
  if (to == raft::kNone) return false;
  log::Info("handing leadership over", {{"to", log::Hex{to.value}}, {"why", why}});
  StartTransfer(to);
  return true;
}

}  // namespace raftkv::runtime
