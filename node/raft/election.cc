#include "base/check.h"
#include "base/mutations.h"
#include "base/random.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {

// --- Time ----------------------------------------------------------------------------------------

void Core::Impl::Tick(bool leader_lost) {
  if (as_leader() != nullptr) {
    TickHeartbeat();
  } else {
    TickElection(leader_lost);
  }
}

void Core::Impl::TickElection(bool leader_lost) {
  ++election_elapsed_;
  if (!Promotable() || election_elapsed_ < ElectionTimeout(leader_lost)) return;
  election_elapsed_ = 0;
  (void)Step({.from = id(), .to = kNone, .term = {}, .body = Campaign{}});
}

void Core::Impl::TickHeartbeat() {
  ++election_elapsed_;
  ++std::get<Leader>(role_).heartbeat_elapsed;
  if (election_elapsed_ >= config_.election_ticks) {
    election_elapsed_ = 0;
    if (config_.check_quorum) CheckQuorumActive();
    // A transfer that takes longer than an election has failed (thesis, section 3.10).
    if (auto* leader = std::get_if<Leader>(&role_)) leader->transferee = kNone;
  }
  auto* leader = std::get_if<Leader>(&role_);
  if (leader == nullptr || leader->heartbeat_elapsed < config_.heartbeat_ticks) return;
  leader->heartbeat_elapsed = 0;
  BroadcastHeartbeat();
}

// A leader that no majority answers steps down, so that clients learn of it (thesis, section 6.2).
void Core::Impl::CheckQuorumActive() {
  if (!tracker_.QuorumActive()) {
    report_.Warning(id(), " stepped down to follower since quorum is not active");
    BecomeFollower(term_, kNone);
  }
  for (auto& [member, progress] : tracker_.progress) {
    if (member != id()) progress.recently_active = false;
  }
}

// Randomized, so that split votes are rare and do not repeat (paper, section 5.2).
void Core::Impl::ResetElectionTimeout() {
  const int spread = static_cast<int>(config_.random->Uniform(config_.election_ticks));
  randomized_election_timeout_ = config_.election_ticks + spread;
}

// The usual range is wide because a leader that is only slow should have time to be heard again;
// one that is lost mostly is gone. What is left of it keeps members from campaigning together. Only
// the first campaign is meant: after a split vote the range is the usual one.
int Core::Impl::ElectionTimeout(bool leader_lost) const {
  if (!leader_lost || leader() == kNone) return randomized_election_timeout_;
  const int drawn = randomized_election_timeout_ - config_.election_ticks;
  return config_.election_ticks + drawn / 4;
}

bool Core::Impl::InLease() const {
  return config_.check_quorum && leader() != kNone && election_elapsed_ < config_.election_ticks;
}

// --- Changes of role (paper, figure 4) -----------------------------------------------------------

void Core::Impl::Reset(Term term) {
  if (term_ != term) {
    term_ = term;
    vote_ = kNone;
  }
  election_elapsed_ = 0;
  ResetElectionTimeout();
  tracker_.ResetVotes();
  const Index last = log_.last_index();
  for (auto& [member, progress] : tracker_.progress) {
    Progress fresh;
    fresh.match = member == id() ? last : Index();
    fresh.next = last.Next();
    fresh.inflights = Inflights(tracker_.max_inflight_messages(), tracker_.max_inflight_bytes());
    fresh.is_learner = progress.is_learner;
    progress = std::move(fresh);
  }
}

void Core::Impl::BecomeFollower(Term term, NodeId leader) {
  Reset(term);
  role_ = Follower{leader};
  report_.Info(id(), " became follower at term ", term_);
}

// Changes neither term nor vote: whether there will be an election is what it asks.
void Core::Impl::BecomePreCandidate() {
  CHECK(as_leader() == nullptr, "invalid transition [leader -> pre-candidate]");
  tracker_.ResetVotes();
  role_ = PreCandidate{};
  report_.Info(id(), " became pre-candidate at term ", term_);
}

void Core::Impl::BecomeCandidate() {
  CHECK(as_leader() == nullptr, "invalid transition [leader -> candidate]");
  Reset(term_.Next());
  vote_ = id();
  role_ = Candidate{};
  report_.Info(id(), " became candidate at term ", term_);
}

void Core::Impl::BecomeLeader() {
  CHECK(role() != Role::kFollower, "invalid transition [follower -> leader]");
  Reset(term_);
  Leader& leader = role_.emplace<Leader>();
  Progress* self = tracker_.Find(id());
  CHECK(self != nullptr, "a leader is elected from among the members");
  self->BecomeReplicate();
  self->recently_active = true;
  // There may be a configuration change among the entries that are not applied yet. Rather than
  // search them, wait until all are.
  leader.pending_conf_index = MUTATION(forget_pending_change) ? Index() : log_.last_index();
  // A leader may count replicas only for entries of its own term (paper, section 5.4.2); this one
  // commits all that came before (section 8).
  CHECK(AppendAsLeader(leader, std::vector<Entry>(1)), "empty entry was dropped");
  report_.Info(id(), " became leader at term ", term_);
}

void Core::Impl::LearnCommitted(EntryId entry) {
  if (!log_.MaybeCommit(entry)) return;
  // Who campaigns asks the voters of a configuration that may be outdated by this, and may itself
  // be none of those who come after. (Otherwise nothing is committed during a campaign.)
  const bool campaigns = role() == Role::kPreCandidate || role() == Role::kCandidate;
  if (campaigns && HasUnappliedConfChange() && !MUTATION(campaign_past_a_change)) {
    BecomeFollower(term_, kNone);
  }
}

// --- Campaigns -----------------------------------------------------------------------------------

bool Core::Impl::Promotable() const {
  const Progress* self = tracker_.Find(id());
  return self != nullptr && !self->is_learner && !log_.HasPendingSnapshot();
}

bool Core::Impl::HasUnappliedConfChange() const {
  if (log_.applied() >= log_.committed()) return false;
  const auto is_conf_change = [](const Entry& entry) { return entry.IsConfChange(); };
  return log_.ScanUntil(log_.applied().Next(), log_.committed().Next(), log_.max_applying_bytes(),
                        is_conf_change);
}

void Core::Impl::Hup(CampaignKind kind) {
  if (as_leader() != nullptr) {
    report_.Debug(id(), " ignoring MsgHup because already leader");
  } else if (!Promotable()) {
    report_.Warning(id(), " is unpromotable and can not campaign");
  } else if (!MUTATION(campaign_with_unapplied_change) && HasUnappliedConfChange()) {
    // It would ask the voters of a configuration that is known to be outdated.
    report_.Warning(id(), " cannot campaign at term ", term_,
                    " since there are still pending configuration changes to apply");
  } else {
    report_.Info(id(), " is starting a new election at term ", term_);
    StartCampaign(kind);
  }
}

void Core::Impl::StartCampaign(CampaignKind kind) {
  const bool pre = kind == CampaignKind::kPreElection;
  if (pre) {
    BecomePreCandidate();
  } else {
    BecomeCandidate();
  }
  const Term term = pre ? term_.Next() : term_;
  const EntryId last = log_.LastId();
  for (NodeId voter : tracker_.VoterIds()) {
    if (voter == id()) {
      // Its own vote counts once it is on disk, like anybody's.
      SendDurably(voter, term, pre ? MessageBody(PreVoteResponse{}) : MessageBody(VoteResponse{}));
      continue;
    }
    report_.Info(id(), " [logterm: ", last.term, ", index: ", last.index, "] sent ",
                 pre ? "MsgPreVote" : "MsgVote", " request to ", voter, " at term ", term_);
    if (pre) {
      SendVoteRequest(voter, term, RequestPreVote{last});
    } else {
      SendVoteRequest(voter, term, RequestVote{last, kind == CampaignKind::kTransfer});
    }
  }
}

// --- Votes ---------------------------------------------------------------------------------------

void Core::Impl::ReportVote(const VoteRequest& request, std::string_view action,
                            std::string_view suffix) const {
  const EntryId last = log_.LastId();
  report_.Info(id(), " [logterm: ", last.term, ", index: ", last.index, ", vote: ", vote_, "] ",
               action, " ", request.type(), action == "cast" ? " for " : " from ", request.from,
               " [logterm: ", request.last.term, ", index: ", request.last.index, "] at term ",
               term_, suffix);
}

// Paper, section 5.2 and 5.4.1. Learners vote too: one that was promoted may be needed for a
// majority before it has learned of its promotion; whoever asks it knows it as a voter.
void Core::Impl::HandleVoteRequest(const VoteRequest& request) {
  const bool can_vote = MUTATION(vote_twice) || vote_ == request.from ||
                        (vote_ == kNone && leader() == kNone) ||
                        (request.pre && request.term > term_);
  const bool granted =
      can_vote && (MUTATION(vote_for_shorter_log) || log_.IsUpToDate(request.last));
  ReportVote(request, granted ? "cast" : "rejected");
  // A grant carries the term of the request: that of a pre-vote is ahead of ours, and the sender
  // would ignore an answer from behind its own.
  const Term term = granted ? request.term : term_;
  if (request.pre) {
    SendDurably(request.from, term, PreVoteResponse{.rejected = !granted});
    return;
  }
  SendDurably(request.from, term, VoteResponse{.rejected = !granted});
  if (granted) {
    election_elapsed_ = 0;
    if (!MUTATION(forget_vote)) vote_ = request.from;
  }
}

VoteResult Core::Impl::Poll(NodeId from, std::string_view type, bool granted) {
  report_.Info(id(), " received ", type, granted ? "" : " rejection", " from ", from, " at term ",
               term_);
  tracker_.RecordVote(from, granted);
  const VoteTally tally = tracker_.TallyVotes();
  report_.Info(id(), " has received ", tally.granted, " ", type, " votes and ", tally.rejected,
               " vote rejections");
  return tally.result;
}

void Core::Impl::On(Candidate&, VoteResponse& body, Message& m) {
  switch (Poll(m.from, "MsgVoteResp", !body.rejected)) {
    case VoteResult::kWon:
      BecomeLeader();
      BroadcastAppend();
      break;
    case VoteResult::kLost:
      BecomeFollower(term_, kNone);
      break;
    case VoteResult::kPending:
      break;
  }
}

void Core::Impl::On(PreCandidate&, PreVoteResponse& body, Message& m) {
  switch (Poll(m.from, "MsgPreVoteResp", !body.rejected)) {
    case VoteResult::kWon:
      StartCampaign(CampaignKind::kElection);
      break;
    case VoteResult::kLost:
      BecomeFollower(term_, kNone);
      break;
    case VoteResult::kPending:
      break;
  }
}

void Core::Impl::IgnoreTimeoutNow(NodeId from) {
  report_.Debug(id(), " [term ", term_, " state ", Describe(role()),
                "] ignored MsgTimeoutNow from ", from);
}

}  // namespace raftkv::raft
