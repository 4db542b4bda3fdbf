// Everything that must hold between two steps, as far as one node can see it (after LogCabin's
// RaftConsensusInvariants). Every test and the simulator call this after each step.
#include <algorithm>

#include "base/check.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {

void Core::Impl::CheckInvariants() const {
  CheckLog();
  CheckConfiguration();
  CheckRole();
  if (as_leader() != nullptr) CheckProgress();
  CheckMessages();
}

void Core::Impl::CheckLog() const {
  const UnstableLog& unstable = log_.unstable();
  CHECK(log_.applied() <= log_.applying() && log_.applying() <= log_.committed());
  CHECK(log_.committed() <= log_.last_index(), "what is committed is in the log");
  CHECK(log_.first_index() <= log_.last_index().Next());
  CHECK(log_.HasPendingSnapshot() || log_.first_index() <= log_.applied().Next(),
        "the log is compacted only as far as it is applied");
  CHECK(unstable.offset() <= unstable.accepted() && unstable.accepted() <= unstable.end());
  CHECK(log_.LastId().term <= term_ || log_.LastId().index == log_.first_index().Prev(),
        "no entry is newer than the current term");

  // Indexes without gaps, terms that never fall.
  Index index = unstable.offset();
  Term term = log_.TermOrZero(index.Prev());
  for (const Entry& entry : unstable.entries()) {
    CHECK(entry.index == index && entry.term >= term, "the unstable log is consistent");
    term = entry.term;
    ++index;
  }
  if (unstable.snapshot()) {
    CHECK(unstable.offset() == unstable.snapshot()->index.Next());
    CHECK(log_.committed() >= unstable.snapshot()->index);
  }

  // Persistent state only grows, and a vote is never taken back (paper, figure 2).
  const HardState now = hard_state();
  CHECK(now.term >= previous_hard_.term && now.commit >= previous_hard_.commit);
  CHECK(now.term > previous_hard_.term || previous_hard_.vote == kNone ||
        now.vote == previous_hard_.vote);
}

void Core::Impl::CheckConfiguration() const {
  const TrackerConfig& config = tracker_.config;
  const std::set<NodeId> voters = config.voters.Ids();
  for (NodeId learner : config.learners) CHECK(!voters.contains(learner));
  for (NodeId next : config.learners_next) CHECK(config.voters.outgoing.contains(next));
  CHECK(config.joint() || !config.auto_leave);
  CHECK(tracker_.progress.size() == voters.size() + config.learners.size());
  for (const auto& [member, progress] : tracker_.progress) {
    CHECK(config.learners.contains(member) ? progress.is_learner : voters.contains(member));
    CHECK(!progress.is_learner || !voters.contains(member));
  }
  CHECK(is_learner_ == config.learners.contains(id()));
}

void Core::Impl::CheckRole() const {
  switch (role()) {
    case Role::kFollower:
      CHECK(leader() != id(), "a follower follows somebody else");
      break;
    case Role::kPreCandidate:
      break;
    case Role::kCandidate:
      CHECK(term_ && vote_ == id(), "a candidate votes for itself");
      break;
    case Role::kLeader:
      CHECK(term_ && vote_ == id(), "a leader has voted for itself");
      CHECK(!log_.HasPendingSnapshot(), "a leader's log is complete");
      CHECK(as_leader()->pending_conf_index <= log_.last_index());
      CHECK(as_leader()->transferee != id());
      CHECK(as_leader()->postponed_reads.empty() || !CommittedInCurrentTerm());
      // Leader append-only, and its first entry (paper, figure 3 and section 8).
      CHECK(log_.LastId().term == term_);
      break;
  }
}

void Core::Impl::CheckProgress() const {
  for (const auto& [member, progress] : tracker_.progress) {
    CHECK(progress.match < progress.next);
    CHECK(progress.match <= log_.last_index(), "nobody acknowledges what was never sent");
    CHECK(progress.next <= log_.last_index().Next());
    CHECK((progress.state == ProgressState::kSnapshot) ==
          static_cast<bool>(progress.pending_snapshot));
    CHECK(progress.state == ProgressState::kReplicate || progress.inflights.count() == 0);
    CHECK(progress.inflights.count() <= tracker_.max_inflight_messages());
    CHECK(member != id() || progress.recently_active);
  }
}

void Core::Impl::CheckMessages() const {
  for (const Message& m : messages_) {
    CHECK(m.to != id() && !IsLocalTarget(m.to) && m.to != kNone);
    CHECK(m.Is<raft::Propose>() || m.Is<ReadIndex>() ? !m.term
                                                     : m.Is<RequestPreVote>() || m.term <= term_);
  }
  for (const Message& m : messages_after_append_) {
    CHECK(m.Is<AppendResponse>() || m.Is<VoteResponse>() || m.Is<PreVoteResponse>(),
          "only votes and acknowledgements wait for the disk");
  }
}

}  // namespace raftkv::raft
