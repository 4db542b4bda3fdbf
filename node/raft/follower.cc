// What followers (and candidates, which become followers by it) do with the messages of a leader,
// and what they pass on to it.
#include <algorithm>

#include "node/raft/core_impl.h"

namespace raftkv::raft {

StepResult Core::Impl::DropForLackOfLeader() {
  report_.Info(id(), " no leader at term ", term_, "; dropping proposal");
  return std::unexpected(StepError::kProposalDropped);
}

StepResult Core::Impl::On(Follower& follower, raft::Propose&, Message& m) {
  if (follower.leader == kNone) return DropForLackOfLeader();
  if (config_.disable_proposal_forwarding) {
    report_.Info(id(), " not forwarding to leader ", follower.leader, " at term ", term_,
                 "; dropping proposal");
    return std::unexpected(StepError::kProposalDropped);
  }
  Forward(follower.leader, m);
  return {};
}

void Core::Impl::On(Follower& follower, AppendEntries& body, Message& m) {
  HearFromLeader(follower, m.from);
  HandleAppend(body, m.from);
}

void Core::Impl::On(Follower& follower, Heartbeat& body, Message& m) {
  HearFromLeader(follower, m.from);
  HandleHeartbeat(body, m.from);
}

void Core::Impl::On(Follower& follower, InstallSnapshot& body, Message& m) {
  HearFromLeader(follower, m.from);
  HandleSnapshot(body, m.from);
}

void Core::Impl::On(Follower& follower, TransferLeader&, Message& m) {
  if (follower.leader == kNone) {
    report_.Info(id(), " no leader at term ", term_, "; dropping leader transfer msg");
    return;
  }
  Forward(follower.leader, m);
}

// So that it grants pre-votes before its election timeout, when somebody who knows that the leader
// is gone says so. It keeps term and vote, so no second leader of the term can come of it.
void Core::Impl::On(Follower& follower, ForgetLeader&, Message&) {
  if (config_.read_only == ReadOnlyOption::kLeaseBased) {
    // The leader answers reads because its followers elect nobody else for a while.
    report_.Error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
    return;
  }
  if (follower.leader == kNone) return;
  report_.Info(id(), " forgetting leader ", follower.leader, " at term ", term_);
  follower.leader = kNone;
}

// Thesis, section 3.10. No pre-vote: the leader itself wants this election.
void Core::Impl::On(Follower&, TimeoutNow&, Message& m) {
  report_.Info(id(), " [term ", term_, "] received MsgTimeoutNow from ", m.from,
               " and starts an election to get leadership.");
  Hup(CampaignKind::kTransfer);
}

void Core::Impl::On(Follower& follower, ReadIndex&, Message& m) {
  if (follower.leader == kNone) {
    report_.Info(id(), " no leader at term ", term_, "; dropping index reading msg");
    return;
  }
  Forward(follower.leader, m);
}

void Core::Impl::On(Follower&, ReadIndexResponse& body, Message&) {
  read_states_.push_back({body.index, std::move(body.context)});
}

void Core::Impl::HearFromLeader(Follower& follower, NodeId leader) {
  election_elapsed_ = 0;
  follower.leader = leader;
}

// AppendEntries, the receiver's side (paper, figure 2 and section 5.3).
void Core::Impl::HandleAppend(AppendEntries& body, NodeId from) {
  if (body.prev.index < log_.committed()) {
    // Late or repeated: everything up to the commit index matches by now.
    SendDurably(from, term_, AppendResponse{.index = log_.committed()});
    return;
  }
  if (const auto last = log_.MaybeAppend(body.prev, std::move(body.entries), body.commit)) {
    SendDurably(from, term_, AppendResponse{.index = *last});
    return;
  }
  report_.Debug(id(), " [logterm: ", log_.TermOrZero(body.prev.index), ", index: ", body.prev.index,
                "] rejected MsgApp [logterm: ", body.prev.term, ", index: ", body.prev.index,
                "] from ", from);
  // A hint where the logs may meet (paper, end of section 5.3): all of the leader's entries up to
  // prev have at most prev.term, so positions here with a higher term cannot match.
  const RaftLog::Hint hint =
      log_.FindConflictByTerm(std::min(body.prev.index, log_.last_index()), body.prev.term);
  SendDurably(from, term_,
              AppendResponse{.index = body.prev.index,
                             .rejected = true,
                             .hint_index = hint.index,
                             .hint_term = hint.term});
}

void Core::Impl::HandleHeartbeat(Heartbeat& body, NodeId from) {
  log_.CommitTo(body.commit);
  Send(from, HeartbeatResponse{std::move(body.read_counter)});
}

}  // namespace raftkv::raft
