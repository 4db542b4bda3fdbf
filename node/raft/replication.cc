// The leader's side of log replication (paper, section 5.3), and what follows from it: commit.
#include <algorithm>

#include "base/check.h"
#include "base/mutations.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {

Progress* Core::Impl::ProgressOf(NodeId from) {
  Progress* progress = tracker_.Find(from);
  if (progress == nullptr) report_.Debug(id(), " no progress available for ", from);
  return progress;
}

// --- Proposals -----------------------------------------------------------------------------------

StepResult Core::Impl::On(Leader& leader, raft::Propose& body, Message&) {
  CHECK(!body.entries.empty(), Text(id(), " stepped empty MsgProp"));
  // Removed from the configuration while it led.
  if (tracker_.Find(id()) == nullptr) return std::unexpected(StepError::kProposalDropped);
  if (leader.transferee != kNone) {
    report_.Debug(id(), " [term ", term_, "] transfer leadership to ", leader.transferee,
                  " is in progress; dropping proposal");
    return std::unexpected(StepError::kProposalDropped);
  }
  const Index pending = VetConfChanges(leader, body.entries);
  if (!AppendAsLeader(leader, std::move(body.entries))) {
    return std::unexpected(StepError::kProposalDropped);
  }
  leader.pending_conf_index = pending;
  BroadcastAppend();
  return {};
}

bool Core::Impl::AppendAsLeader(Leader& leader, std::vector<Entry>&& entries) {
  Index last = log_.last_index();
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = ++last;
  }
  if (!ReserveUncommitted(leader, PayloadSize(entries))) {
    report_.Warning(
        id(),
        " appending new entries to log would exceed uncommitted entry size limit; dropping "
        "proposal");
    return false;
  }
  log_.Append(std::move(entries));
  // It acknowledges its own entries like any follower: once they are on disk (thesis, section
  // 10.2.1: the leader writes to its disk in parallel with replicating).
  if (MUTATION(count_leader_before_its_disk)) (void)tracker_.Find(id())->MaybeUpdate(last);
  SendDurably(id(), term_, AppendResponse{.index = last});
  return true;
}

// A single proposal of any size is accepted when nothing is uncommitted, else none could ever be;
// and empty ones always, so that neither a new leader's no-op nor the departure from a joint
// configuration can be refused.
bool Core::Impl::ReserveUncommitted(Leader& leader, uint64_t bytes) {
  const uint64_t limit = config_.max_uncommitted_bytes;
  const uint64_t used = leader.uncommitted_bytes;
  if (used > 0 && bytes > 0 && (used > limit || bytes > limit - used)) return false;
  leader.uncommitted_bytes += bytes;
  return true;
}

// Entries of former terms were never reserved, hence the lower bound.
void Core::Impl::ReleaseUncommitted(uint64_t bytes) {
  if (auto* leader = std::get_if<Leader>(&role_)) {
    leader->uncommitted_bytes -= std::min(leader->uncommitted_bytes, bytes);
  }
}

// --- Appends and heartbeats ----------------------------------------------------------------------

bool Core::Impl::MaybeSendAppend(NodeId to, Progress& progress, bool even_if_empty) {
  if (progress.IsPaused()) return false;

  const Index prev = progress.next.Prev();
  const LogResult<Term> prev_term = log_.TermAt(prev);
  // Compacted already: the log cannot catch this follower up.
  if (!prev_term) return MaybeSendSnapshot(to, progress);

  // With a full window only empty appends go out, each after a heartbeat response: if all that
  // filled the window was lost, one of these will be answered and open it again.
  LogResult<std::vector<Entry>> entries;
  if (progress.state != ProgressState::kReplicate || !progress.inflights.Full()) {
    // They come from the disk: EntriesRead goes on.
    if (!log_.AtHand(progress.next)) return false;
    entries = log_.EntriesFrom(progress.next, config_.max_bytes_per_append);
  }
  if ((!entries || entries->empty()) && !even_if_empty) return false;
  if (!entries) return MaybeSendSnapshot(to, progress);

  const int count = static_cast<int>(entries->size());
  const uint64_t bytes = PayloadSize(*entries);
  Send(to, AppendEntries{{*prev_term, prev}, std::move(*entries), log_.committed()});
  progress.SentEntries(count, bytes);
  progress.SentCommit(log_.committed());
  return true;
}

void Core::Impl::BroadcastAppend() {
  for (auto& [member, progress] : tracker_.progress) {
    if (member != id()) SendAppend(member, progress);
  }
}

void Core::Impl::SendWhatIsLacking() {
  for (auto& [member, progress] : tracker_.progress) {
    if (member != id()) MaybeSendAppend(member, progress, false);
  }
}

void Core::Impl::EntriesRead() {
  if (as_leader() != nullptr) SendWhatIsLacking();
}

void Core::Impl::BroadcastHeartbeat() {
  const Buffer counter = EncodeReadCounter(std::get<Leader>(role_).reads.Pending());
  for (auto& [member, progress] : tracker_.progress) {
    if (member == id()) continue;
    // Never a commit index beyond what the follower is known to have: its log may differ there.
    const Index commit = MUTATION(heartbeat_commits_beyond_match)
                             ? log_.committed()
                             : std::min(progress.match, log_.committed());
    Send(member, Heartbeat{commit, counter});
    progress.SentCommit(commit);
  }
}

void Core::Impl::On(Leader& leader, HeartbeatResponse& body, Message& m) {
  Progress* progress = ProgressOf(m.from);
  if (progress == nullptr) return;
  progress->recently_active = true;
  progress->append_flow_paused = false;
  // Also lets a follower that is being probed, but lacks nothing, back into replication; and, with
  // a full window, sends the empty append that will reopen it.
  if (progress->match < log_.last_index() || progress->state == ProgressState::kProbe) {
    SendAppend(m.from, *progress);
  }
  if (config_.read_only != ReadOnlyOption::kSafe || body.read_counter.empty()) return;
  leader.reads.Ack(m.from, DecodeReadCounter(body.read_counter.view()));
  AnswerConfirmedReads(leader);
}

// During optimistic replication appends that were under way are probably lost.
void Core::Impl::On(Leader&, Unreachable&, Message& m) {
  Progress* progress = ProgressOf(m.from);
  if (progress == nullptr) return;
  if (progress->state == ProgressState::kReplicate) progress->BecomeProbe();
  report_.Debug(id(), " failed to send message to ", m.from, " because it is unreachable [",
                *progress, "]");
}

// --- Acknowledgements ----------------------------------------------------------------------------

void Core::Impl::On(Leader& leader, AppendResponse& body, Message& m) {
  Progress* progress = ProgressOf(m.from);
  if (progress == nullptr) return;
  progress->recently_active = true;
  if (body.rejected) {
    HandleRejection(leader, body, m.from, *progress);
  } else {
    HandleAcceptance(leader, body.index, m.from, *progress);
  }
}

// Finds where the logs meet with one probe for each term in the leader's log, not for each entry
// (paper, end of section 5.3). The follower has hint.term at hint.index, hence at most hint.term at
// all positions before; where this log has a higher term they cannot match:
//
//   index         1 2 3 4 5 6 7 8 9
//   leader        1 3 3 3 5 5 5 5 5     The probe after index 9 is refused with the hint (6, 2);
//   follower      1 1 1 1 2 2           the next one goes after index 1.
//
// The follower's hint does the same for its side (see HandleAppend).
void Core::Impl::HandleRejection(Leader&, const AppendResponse& body, NodeId from,
                                 Progress& progress) {
  report_.Debug(id(), " received MsgAppResp(rejected, hint: (index ", body.hint_index, ", term ",
                body.hint_term, ")) from ", from, " for index ", body.index);
  Index match_hint = body.hint_index;
  // Without a term there is nothing in the follower's log to compare.
  if (body.hint_term) match_hint = log_.FindConflictByTerm(match_hint, body.hint_term).index;
  if (!progress.MaybeDecrementTo(body.index, match_hint)) return;
  report_.Debug(id(), " decreased progress of ", from, " to [", progress, "]");
  if (progress.state == ProgressState::kReplicate) progress.BecomeProbe();
  SendAppend(from, progress);
}

void Core::Impl::HandleAcceptance(Leader& leader, Index index, NodeId from, Progress& progress) {
  // An acknowledgement of what was known already still ends a probe. Not so a pending snapshot:
  // the follower lacks the entry after `index`, and so does this log.
  const bool ends_probe = progress.match == index && progress.state == ProgressState::kProbe;
  if (!progress.MaybeUpdate(index) && !ends_probe) return;

  if (progress.state == ProgressState::kProbe) {
    progress.BecomeReplicate();
  } else if (progress.state == ProgressState::kReplicate) {
    progress.inflights.FreeUpTo(index);
  } else if (progress.match.Next() >= log_.first_index()) {
    // Whatever snapshot it was that reached the follower, the log can take over from here.
    report_.Debug(id(),
                  " recovered from needing snapshot, resumed sending replication messages to ",
                  from, " [", progress, "]");
    progress.BecomeProbe();  // takes the snapshot into account
    progress.BecomeReplicate();
  }

  if (MaybeCommit()) {
    ReleasePostponedReads(leader);
    BroadcastAppend();
  } else if (from != id() && progress.CanBumpCommit(log_.committed())) {
    // Tells the follower what is committed before the next heartbeat would.
    SendAppend(from, progress);
  }
  if (from == id()) return;
  // Flow control may have room for several messages now.
  while (MaybeSendAppend(from, progress, false)) {
  }
  if (from == leader.transferee && progress.match == log_.last_index()) {
    report_.Info(id(), " sent MsgTimeoutNow to ", from, " after received MsgAppResp");
    Send(from, TimeoutNow{});
  }
}

// --- Commit and apply ----------------------------------------------------------------------------

bool Core::Impl::MaybeCommit() {
  const Index index = tracker_.Committed();
  return log_.MaybeCommit(
      {MUTATION(commit_former_term_by_count) ? log_.TermOrZero(index) : term_, index});
}

bool Core::Impl::CommittedInCurrentTerm() const {
  return log_.TermOrZero(log_.committed()) == term_;
}

void Core::Impl::AppliedTo(Index index, uint64_t bytes) {
  log_.AppliedTo(std::max(index, log_.applied()), bytes);
  MaybeLeaveJoint();
}

}  // namespace raftkv::raft
