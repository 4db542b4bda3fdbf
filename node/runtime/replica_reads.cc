// Reads: one read-index round for all reads that wait, and the leader's lease.

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/mutations.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

const char kNotConfirmed[] =
    "no leader confirmed that this node's state is current within the time given; repeat the read, "
    "or read with ?consistency=stale";

}  // namespace

void Replica::Read(Consistency consistency, MonotonicTime deadline, BarrierCallback done) {
  if (!serving()) return done(NotServing());
  if (consistency == Consistency::kStale) return done(raftkv::Status::Ok());
  counters_.reads.fetch_add(1, std::memory_order_relaxed);
  const size_t waiting = next_reads_.size() + round_reads_.size() + applied_reads_.size();
  if (waiting >= env_.options->max_inflight_requests) {
    return done(raftkv::Status(Code::kResourceExhausted,
                               "too many reads wait for this node already; repeat later"));
  }
  if (consistency == Consistency::kLease && LeaseValid()) {
    counters_.lease_reads.fetch_add(1, std::memory_order_relaxed);
    applied_reads_.emplace(core_->committed(), PendingRead{deadline, std::move(done)});
    return;
  }
  next_reads_.push_back({deadline, std::move(done)});
}

void Replica::StartReadRound() {
  if (core_->leader() == raft::kNone) return;  // the reads wait; ticks come back here
  for (PendingRead& read : next_reads_) round_reads_.push_back(std::move(read));
  next_reads_.clear();
  round_under_way_ = true;
  round_started_ = env_.clock->Now();
  round_retry_at_ = round_started_ + env_.options->tick * env_.options->election_ticks / 2;
  // A context is never used twice, not even for a retry: an answer to an older one proves less.
  ++read_round_;
  round_term_ = core_->term();
  std::string context(sizeof(read_round_), '\0');
  std::memcpy(context.data(), &read_round_, sizeof(read_round_));
  counters_.read_rounds.fetch_add(1, std::memory_order_relaxed);
  core_->RequestReadIndex(Buffer(std::move(context)));
}

void Replica::OnReadState(const raft::ReadState& state) {
  uint64_t context = 0;
  CHECK(state.context.size() == sizeof(context), "read contexts are ours");
  std::memcpy(&context, state.context.view().data(), sizeof(context));
  if (!round_under_way_ || (!MUTATION(any_read_answer_counts) && context != read_round_)) {
    counters_.read_answers_late.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  round_under_way_ = false;
  for (PendingRead& read : round_reads_) applied_reads_.emplace(state.index, std::move(read));
  round_reads_.clear();
  if (is_leader() && env_.options->check_quorum && core_->term() == round_term_) {
    // A quorum answered after round_started_; until an election timeout later none of them votes
    // for another (thesis, section 6.4.1). A tenth and one tick are kept for drift and rounding.
    const Duration lease = env_.options->tick * (env_.options->election_ticks - 1) * 9 / 10 *
                           (MUTATION(lease_too_long) ? 5 : 1);
    lease_until_ = round_started_ + lease;
    lease_term_ = round_term_;
  }
}

bool Replica::LeaseValid() const {
  return is_leader() && core_->term() == lease_term_ &&
         (MUTATION(lease_survives_transfer) || core_->term() != transfer_term_) &&
         env_.clock->Now() < lease_until_;
}

// A leader's lease counts on this voter not to help another to power within an election timeout of
// its last confirmation, and the core that promised it is gone with the last process. Campaigning
// needs no such guard: the new core waits at least an election timeout of ticks.
void Replica::KeepQuietAfterRestart() {
  if (!env_.options->check_quorum || IsOnlyVoter()) return;
  quiet_until_ = env_.clock->Now() + env_.options->tick * env_.options->election_ticks;
}

bool Replica::WithheldAfterRestart(const raft::Message& message) const {
  if (env_.clock->Now() >= quiet_until_) return false;
  if (message.Is<raft::RequestPreVote>()) return true;
  // The leader that asked for this election has given up its lease.
  return message.Is<raft::RequestVote>() && !message.As<raft::RequestVote>().leader_transfer;
}

void Replica::ReleaseReads() {
  // Before the look at what is applied: whoever applies more after it sees that somebody waits.
  awaits_apply_ = !applied_reads_.empty();
  if (applied_reads_.empty()) return;
  const raft::Index applied = env_.storage.machine->applied().index;
  while (!applied_reads_.empty() &&
         (MUTATION(read_before_applied) || applied_reads_.begin()->first <= applied)) {
    BarrierCallback done = std::move(applied_reads_.begin()->second.done);
    applied_reads_.erase(applied_reads_.begin());
    done(raftkv::Status::Ok());
  }
  awaits_apply_ = !applied_reads_.empty();
}

void Replica::ExpireReads() {
  const MonotonicTime now = env_.clock->Now();
  const raftkv::Status late(Code::kUnavailable, kNotConfirmed);
  uint64_t failed = 0;
  const auto expired = [&](PendingRead& read) {
    if (read.deadline > now) return false;
    ++failed;
    read.done(late);
    return true;
  };
  std::erase_if(next_reads_, expired);
  std::erase_if(round_reads_, expired);
  for (auto it = applied_reads_.begin(); it != applied_reads_.end();) {
    it = expired(it->second) ? applied_reads_.erase(it) : std::next(it);
  }
  counters_.read_rounds_failed.fetch_add(failed, std::memory_order_relaxed);
  if (round_under_way_ && now >= round_retry_at_) {
    round_under_way_ = false;
    counters_.read_rounds_slow.fetch_add(1, std::memory_order_relaxed);
    // Ask again, for those who still wait, with a new context.
    for (PendingRead& read : round_reads_) next_reads_.push_back(std::move(read));
    round_reads_.clear();
  }
}

void Replica::FailAllReads(const raftkv::Status& status) {
  for (PendingRead& read : std::exchange(next_reads_, {})) read.done(status);
  for (PendingRead& read : std::exchange(round_reads_, {})) read.done(status);
  for (auto& [index, read] : std::exchange(applied_reads_, {})) read.done(status);
  round_under_way_ = false;
}

}  // namespace raftkv::runtime
