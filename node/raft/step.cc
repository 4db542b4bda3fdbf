#include <type_traits>

#include "base/check.h"
#include "base/mutations.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {
namespace {

template <typename Body>
concept HandledInEveryRole =
    OneOf<Body, Campaign, RequestVote, RequestPreVote, StorageAppendResponse, StorageApplyResponse>;

template <typename... Bodies>
bool IsOneOf(const Message& m) {
  return (m.Is<Bodies>() || ...);
}

bool IsLocal(const Message& m) {
  return IsOneOf<Campaign, Beat, Unreachable, SnapshotStatus, CheckQuorum, StorageAppend,
                 StorageAppendResponse, StorageApply, StorageApplyResponse>(m);
}

bool IsResponse(const Message& m) {
  return IsOneOf<AppendResponse, VoteResponse, HeartbeatResponse, Unreachable, ReadIndexResponse,
                 PreVoteResponse, StorageAppendResponse, StorageApplyResponse>(m);
}

bool IsFromLeader(const Message& m) {
  return IsOneOf<AppendEntries, Heartbeat, InstallSnapshot>(m);
}

}  // namespace

std::optional<VoteRequest> AsVoteRequest(const Message& m) {
  if (const auto* body = std::get_if<RequestVote>(&m.body)) {
    return VoteRequest{m.from, m.term, body->last, false, body->leader_transfer};
  }
  if (const auto* body = std::get_if<RequestPreVote>(&m.body)) {
    return VoteRequest{m.from, m.term, body->last, true, false};
  }
  return std::nullopt;
}

StepResult Core::Impl::StepChecked(Message&& m) {
  if (!IsLocalTarget(m.from)) {
    if (IsLocal(m)) return std::unexpected(StepError::kLocalMessage);
    if (IsResponse(m) && tracker_.Find(m.from) == nullptr) {
      return std::unexpected(StepError::kPeerNotFound);
    }
  }
  return Step(std::move(m));
}

// Terms (paper, section 5.1): whoever sees a newer term adopts it and becomes a follower; what
// comes from an older one is stale.
StepResult Core::Impl::Step(Message&& m) {
  if (m.term > term_) {
    if (!AdmitNewerTerm(m)) return {};
  } else if (m.term && m.term < term_) {
    AnswerOlderTerm(m);
    return {};
  }
  return Dispatch(m);
}

// Returns false if the message is to be ignored altogether.
bool Core::Impl::AdmitNewerTerm(const Message& m) {
  if (const auto request = AsVoteRequest(m);
      request && !request->leader_transfer && !MUTATION(vote_within_lease) && InLease()) {
    // Who was removed, or was cut off for a while, must not depose a leader that a majority hears
    // (thesis, sections 4.2.3 and 6.4.1).
    ReportVote(*request, "ignored",
               Text(": lease is not expired (remaining ticks: ",
                    config_.election_ticks - election_elapsed_, ")"));
    return false;
  }
  // A question about a future election, and its positive answer, change nobody's term.
  if (m.Is<RequestPreVote>()) return true;
  if (const auto* body = std::get_if<PreVoteResponse>(&m.body); body && !body->rejected)
    return true;

  report_.Info(id(), " [term: ", term_, "] received a ", MessageTypeName(m),
               " message with higher term from ", m.from, " [term: ", m.term, "]");
  BecomeFollower(m.term, IsFromLeader(m) ? m.from : kNone);
  return true;
}

void Core::Impl::AnswerOlderTerm(Message& m) {
  if ((config_.check_quorum || config_.pre_vote) && IsOneOf<Heartbeat, AppendEntries>(m)) {
    // The message may be merely late; but it may also come from a leader that cannot hear of our
    // newer term in any other way, because it ignores our vote requests while its followers hear
    // it. An answer that carries our term frees both: the leader steps down, and an election at a
    // higher term follows. Removed members never get here, since no leader writes to them.
    SendDurably(m.from, term_, AppendResponse{});
  } else if (const auto request = AsVoteRequest(m); request && request->pre) {
    // A candidate from before PreVote was switched on may have a higher term and a shorter log:
    // without an answer it and the others would wait for each other for ever.
    ReportVote(*request, "rejected");
    SendDurably(m.from, term_, PreVoteResponse{.rejected = true});
  } else if (auto* body = std::get_if<StorageAppendResponse>(&m.body)) {
    // The entries may have been replaced since, by a write that is still under way; see
    // MakeStorageAppendResponse. A snapshot is committed state, whatever the term.
    if (body->last.index) {
      report_.Info(id(), " [term: ", term_, "] ignored entry appends from a ", MessageTypeName(m),
                   " message with lower term [term: ", m.term, "]");
    }
    if (MUTATION(take_stale_append_done) && body->last.index) log_.StableTo(body->last);
    if (body->snapshot) SnapshotStable(*body->snapshot);
  } else {
    report_.Info(id(), " [term: ", term_, "] ignored a ", MessageTypeName(m),
                 " message with lower term from ", m.from, " [term: ", m.term, "]");
  }
}

StepResult Core::Impl::Dispatch(Message& m) {
  return std::visit(
      [&]<typename Body>(Body& body) -> StepResult {
        if constexpr (HandledInEveryRole<Body>) {
          OnAny(body, m);
          return {};
        } else {
          return std::visit(
              [&](auto& role) -> StepResult {
                if constexpr (std::is_void_v<decltype(On(role, body, m))>) {
                  On(role, body, m);
                  return {};
                } else {
                  return On(role, body, m);
                }
              },
              role_);
        }
      },
      m.body);
}

void Core::Impl::OnAny(Campaign&, Message&) {
  Hup(config_.pre_vote && !MUTATION(skip_pre_vote) ? CampaignKind::kPreElection
                                                   : CampaignKind::kElection);
}

void Core::Impl::OnAny(RequestVote&, Message& m) { HandleVoteRequest(*AsVoteRequest(m)); }
void Core::Impl::OnAny(RequestPreVote&, Message& m) { HandleVoteRequest(*AsVoteRequest(m)); }

void Core::Impl::OnAny(StorageAppendResponse& body, Message&) {
  if (body.last.index) log_.StableTo(body.last);
  if (body.snapshot) SnapshotStable(*body.snapshot);
}

void Core::Impl::OnAny(StorageApplyResponse& body, Message&) {
  if (body.entries.empty()) return;
  AppliedTo(body.entries.back().index, EntrySize(body.entries));
  ReleaseUncommitted(PayloadSize(body.entries));
}

void Core::Impl::Send(NodeId to, MessageBody body) {
  CHECK(to != id(), "message should not be self-addressed");
  messages_.push_back({id(), to, term_, std::move(body)});
}

void Core::Impl::SendVoteRequest(NodeId to, Term term, MessageBody body) {
  CHECK(term && to != id(), "term should be set when sending a vote request to another");
  messages_.push_back({id(), to, term, std::move(body)});
}

// Thesis, section 3.8: a server persists its term and vote before it answers, lest it vote twice;
// and entries before it acknowledges them, lest committed ones get lost. The rule covers refusals
// too: they may rest on what is not on disk yet, and they are rare.
void Core::Impl::SendDurably(NodeId to, Term term, MessageBody body) {
  if (MUTATION(answer_before_durable) && to != id()) {
    messages_.push_back({id(), to, term, std::move(body)});
    return;
  }
  messages_after_append_.push_back({id(), to, term, std::move(body)});
}

// Proposals and reads are the same to whichever leader they reach, so they have no term; a
// transfer request is meant for the leader of this one.
void Core::Impl::Forward(NodeId leader, Message& m) {
  CHECK(leader != id(), "message should not be self-addressed");
  const Term term = m.Is<TransferLeader>() ? term_ : Term();
  messages_.push_back({m.from == kNone ? id() : m.from, leader, term, std::move(m.body)});
}

}  // namespace raftkv::raft
