// Linearizable reads without a log entry (thesis, section 6.4): the commit index on arrival,
// confirmed by a round of heartbeats, or by the lease that CheckQuorum implies (section 6.4.1).
#include "node/raft/core_impl.h"

namespace raftkv::raft {

bool Core::Impl::IsOnlyVoter() const {
  return tracker_.IsSingleton() && tracker_.config.voters.incoming.contains(id());
}

void Core::Impl::On(Leader& leader, ReadIndex& body, Message& m) {
  ReadRequest request{m.from, std::move(body.context)};
  if (leader.reads.waiting() + leader.postponed_reads.size() >= config_.max_pending_reads) {
    report_.Warning(id(), " has too many unconfirmed reads; dropping index reading msg");
  } else if (!CommittedInCurrentTerm()) {
    leader.postponed_reads.push_back(std::move(request));
  } else {
    StartRead(leader, std::move(request));
  }
}

void Core::Impl::StartRead(Leader& leader, ReadRequest request) {
  // Of the only voter: nobody else could have been elected.
  if (config_.read_only == ReadOnlyOption::kLeaseBased || IsOnlyVoter()) {
    AnswerRead(std::move(request), log_.committed());
    return;
  }
  leader.reads.Add(log_.committed(), std::move(request));
  leader.reads.Ack(id(), leader.reads.Pending());
  BroadcastHeartbeat();
}

// After a commit in this term.
void Core::Impl::ReleasePostponedReads(Leader& leader) {
  for (ReadRequest& request : std::exchange(leader.postponed_reads, {})) {
    StartRead(leader, std::move(request));
  }
}

void Core::Impl::AnswerConfirmedReads(Leader& leader) {
  for (ReadOnly::Confirmed& read : leader.reads.TakeConfirmed(tracker_.config.voters)) {
    AnswerRead(std::move(read.request), read.index);
  }
}

void Core::Impl::AnswerRead(ReadRequest request, Index index) {
  if (request.from == kNone || request.from == id()) {
    read_states_.push_back({index, std::move(request.context)});
  } else {
    Send(request.from, ReadIndexResponse{index, std::move(request.context)});
  }
}

}  // namespace raftkv::raft
