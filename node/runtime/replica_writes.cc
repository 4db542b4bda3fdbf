// Writes: proposing as the leader, passing on to the leader, waiting for a leader.

#include <algorithm>
#include <utility>

#include "base/mutations.h"
#include "node/runtime/peer_reply.h"
#include "node/runtime/replica.h"
#include "node/runtime/space_guard.h"

namespace raftkv::runtime {
namespace {

// How long a request may wait for a leader to appear before it is refused; it was certainly not
// proposed then, and the client may repeat it.
constexpr Duration kLeaderWait = std::chrono::seconds(3);

const char kNoLeader[] =
    "no leader: a majority of the members does not answer; the request was not carried out, repeat "
    "it later";

const char kTooMuchProposed[] = "too much is proposed and not yet committed; repeat later";

// A batch waits this long for the end of the one before it. Several rounds of a fast disk, and
// little beside one of a slow network.
constexpr Duration kLongestBatching = std::chrono::milliseconds(1);

// A deliberate bug: answers a put without a condition as if it were applied already. The answer is
// the right one if the put is committed at all, because nothing before it is under way.
void AnswerBeforeCommit(const Replica::Env& env, raft::Index last, const Proposal& proposal) {
  if (env.storage.machine->applied().index != last) return;
  v1::Command command;
  const std::string_view bytes = proposal.command.view();
  if (!command.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  if (!command.has_put() || command.put().has_precondition()) return;
  const auto before = env.storage.machine->Get(command.put().key());
  std::optional<Waiter> waiter = env.waiters->Take(proposal.request_id);
  if (!before || !waiter) return;
  std::get<WriteCallback>(waiter->done)(
      kv::CommandResult{.revision = env.storage.machine->applied().revision + 1,
                        .created = !before->has_value(),
                        .prev_mod_revision = *before ? (*before)->mod_revision : 0,
                        .puts = 1});
}

}  // namespace

bool Replica::FailWaiter(uint64_t request_id, const raftkv::Status& status) {
  std::optional<Waiter> waiter = env_.waiters->Take(request_id);
  if (!waiter) return false;
  counters_.proposals_failed.fetch_add(1, std::memory_order_relaxed);
  waiter->Fail(status);
  return true;
}

void Replica::Propose(std::vector<Proposal> proposals) {
  if (!serving()) {
    for (const Proposal& proposal : proposals) FailWaiter(proposal.request_id, NotServing());
    return;
  }
  counters_.proposals.fetch_add(proposals.size(), std::memory_order_relaxed);
  const raft::NodeId leader = core_->leader();
  if (leader == id_ && core_->transferee() == raft::kNone) {
    for (Proposal& proposal : proposals) {
      AddWaiting({std::move(proposal), raft::kNone, nullptr});
    }
  } else if (leader != raft::kNone && leader != id_) {
    ForwardNow(std::move(proposals));
  } else {
    const MonotonicTime latest = env_.clock->Now() + kLeaderWait;
    for (Proposal& proposal : proposals) {
      proposal.deadline = std::min(proposal.deadline, latest);
      parked_.push_back(std::move(proposal));
    }
  }
}

void Replica::AddWaiting(WaitingProposal waiting) {
  // As the core refuses it when it is proposed and not committed.
  if (waiting_bytes_ >= env_.options->max_uncommitted_bytes) {
    return Refuse(waiting, {Code::kResourceExhausted, kTooMuchProposed});
  }
  waiting_bytes_ += waiting.proposal.command.size();
  waiting_.push_back(std::move(waiting));
}

void Replica::ProposeWaiting() {
  if (waiting_.empty()) return;
  if (!is_leader() || core_->transferee() != raft::kNone) return ReturnWaiting();
  while (!waiting_.empty()) {
    if (const auto until = HoldUntil(env_.clock->Now())) return WakeAt(*until);
    gathering_.Left();
    ProposeBatch();
  }
}

// What comes in while a batch is on its way to a quorum leaves as one batch after it: that saves
// messages and fsyncs, and its appends tell the followers of the commit, too. On a slow network or
// disk a round takes long, and the next batch does not wait for its end.
std::optional<MonotonicTime> Replica::HoldUntil(MonotonicTime now) const {
  if (waiting_bytes_ >= env_.options->max_append_bytes) return std::nullopt;
  if (proposed_.empty()) return gathering_.Until(waiting_.size(), now);
  const MonotonicTime latest = proposed_.back().at + kLongestBatching;
  return now < latest ? std::optional(latest) : std::nullopt;
}

void Replica::ProposeBatch() {
  std::vector<WaitingProposal> batch;
  std::vector<Buffer> commands;
  for (uint64_t bytes = 0; !waiting_.empty() && bytes < env_.options->max_append_bytes;) {
    bytes += waiting_.front().proposal.command.size();
    commands.push_back(waiting_.front().proposal.command);
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    waiting_bytes_ -= commands.back().size();
  }
  if (MUTATION(answer_before_commit) && batch.front().from == raft::kNone) {
    AnswerBeforeCommit(env_, core_->last_index(), batch.front().proposal);
  }
  if (!core_->Propose(std::move(commands))) {
    for (const WaitingProposal& waiting : batch) {
      Refuse(waiting, {Code::kResourceExhausted, kTooMuchProposed});
    }
    return;
  }
  NoteProposed(batch.size());
  raft::Index index = core_->last_index() - (batch.size() - 1);
  for (const WaitingProposal& waiting : batch) {
    if (waiting.from == raft::kNone) {
      Track({core_->term(), index}, waiting.proposal.request_id);
    } else {
      notices_.Await(waiting.from, index);
    }
    ++index;
  }
}

void Replica::Refuse(const WaitingProposal& waiting, const raftkv::Status& status) {
  if (waiting.from == raft::kNone) {
    FailWaiter(waiting.proposal.request_id, status);
    return;
  }
  waiting.refuse(Refusal(status));
}

// This member does not lead any more: its own proposals look for the next leader, and so do the
// members whose commands these were.
void Replica::ReturnWaiting() {
  std::vector<Proposal> own;
  waiting_bytes_ = 0;
  for (WaitingProposal& waiting : std::exchange(waiting_, {})) {
    if (waiting.from != raft::kNone) {
      Refuse(waiting, raftkv::Status(Code::kUnavailable, "this member does not lead"));
    } else {
      own.push_back(std::move(waiting.proposal));
    }
  }
  if (!own.empty()) Propose(std::move(own));
}

void Replica::ForwardNow(std::vector<Proposal> proposals) {
  counters_.proposals_forwarded.fetch_add(proposals.size(), std::memory_order_relaxed);
  for (Proposal& proposal : proposals) {
    v1::PeerCall call;
    call.set_command(proposal.command.view().data(), proposal.command.size());
    if (MUTATION(forward_twice)) {
      transport_->Forward(core_->leader(), call, [](const v1::PeerReply&) {});
    }
    // A refusal says that the command was not proposed; so it may try again with the next leader.
    // The transport keeps this until no refusal can come any more, which is long after most
    // commands are answered: so it holds neither the command nor memory of its own.
    transport_->Forward(core_->leader(), std::move(call),
                        [this, id = proposal.request_id](const v1::PeerReply& reply) {
                          OnForwardRefused(id, reply);
                        });
  }
}

void Replica::OnForwardRefused(uint64_t request_id, const v1::PeerReply& reply) {
  if (reply.code() != static_cast<uint32_t>(Code::kUnavailable)) {
    FailWaiter(request_id, raftkv::Status(static_cast<Code>(reply.code()), reply.message()));
    return;
  }
  std::optional<WaiterTable::Wanted> wanted = env_.waiters->Find(request_id);
  if (!wanted) return;  // its client has been answered
  const MonotonicTime latest = env_.clock->Now() + kLeaderWait;
  parked_.push_back({request_id, std::move(wanted->command), std::min(wanted->deadline, latest)});
}

// The member that took the request has looked at its own disk only. Commands are parsed only when
// there is no room: they may be large.
bool Replica::HasRoomFor(std::string_view forwarded_command) const {
  return !is_leader() || !env_.accepts_growth || env_.accepts_growth(forwarded_command.size()) ||
         !GrowsSerialized(forwarded_command);
}

void Replica::FlushParked() {
  if (parked_.empty() && parked_changes_.empty()) return;
  if (core_->leader() == raft::kNone || core_->transferee() != raft::kNone) return;
  std::vector<Proposal> proposals(std::make_move_iterator(parked_.begin()),
                                  std::make_move_iterator(parked_.end()));
  parked_.clear();
  if (!proposals.empty()) Propose(std::move(proposals));
  std::vector<MembershipCall> changes = std::exchange(parked_changes_, {});
  for (MembershipCall& call : changes) Dispatch(std::move(call));
}

void Replica::ExpireParked() {
  const MonotonicTime now = env_.clock->Now();
  std::erase_if(parked_, [&](const Proposal& proposal) {
    if (proposal.deadline > now) return false;
    FailWaiter(proposal.request_id, raftkv::Status(Code::kUnavailable, kNoLeader));
    return true;
  });
  FlushParked();
}

void Replica::NoteProposed(size_t entries) {
  proposed_.push_back({{core_->term(), core_->last_index()}, entries, env_.clock->Now()});
}

void Replica::NoteCommitted() {
  if (proposed_.empty()) return;
  // Of what another leader's term decides, this node does not know when.
  if (!is_leader() || proposed_.front().last.term != core_->term()) proposed_.clear();
  const raft::Index committed = core_->committed();
  if (proposed_.empty() || proposed_.front().last.index > committed) return;
  const MonotonicTime now = env_.clock->Now();
  size_t entries = 0;
  Duration took{};
  while (!proposed_.empty() && proposed_.front().last.index <= committed) {
    took = now - proposed_.front().at;
    entries += proposed_.front().entries;
    counters_.propose_to_commit.Add(took, proposed_.front().entries);
    proposed_.pop_front();
  }
  if (proposed_.empty()) gathering_.RoundEnded(entries, took, waiting_.size(), now);
}

void Replica::Track(raft::EntryId id, uint64_t request_id) {
  if (tracked_.empty()) {
    tracked_in_order_ = true;
  } else if (id.index <= tracked_.back().id.index) {
    tracked_in_order_ = false;
  }
  tracked_.push_back({id, request_id});
}

std::vector<Replica::TrackedProposal> Replica::TakeTracked(raft::Index up_to) {
  std::vector<TrackedProposal> taken;
  while (!tracked_.empty() && tracked_.front().id.index <= up_to) {
    taken.push_back(tracked_.front());
    tracked_.pop_front();
  }
  if (tracked_in_order_) return taken;
  std::erase_if(tracked_, [&](const TrackedProposal& proposal) {
    if (proposal.id.index > up_to) return false;
    taken.push_back(proposal);
    return true;
  });
  return taken;
}

// An index of ours that was applied here, entry by entry, without answering its waiter holds
// another leader's entry: ours never commits (log matching, paper section 5.3), and the client may
// know for certain.
void Replica::ResolveOverwritten() {
  const raft::Index applied =
      MUTATION(refuse_what_is_under_way) ? core_->last_index() : core_->applied();
  for (const TrackedProposal& proposal : TakeTracked(applied)) {
    FailWaiter(proposal.request_id,
               raftkv::Status(Code::kUnavailable,
                              "another leader took over before the write was committed: it did not "
                              "happen; repeat it"));
  }
}

}  // namespace raftkv::runtime
