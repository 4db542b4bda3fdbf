#include "node/raft/progress.h"

#include <algorithm>

#include "base/check.h"

namespace raftkv::raft {

void Inflights::Add(Index last, uint64_t bytes) {
  CHECK(!Full(), "an append was sent although the window is full");
  window_.push_back({last, bytes});
  bytes_ += bytes;
}

void Inflights::FreeUpTo(Index to) {
  while (!window_.empty() && window_.front().last <= to) {
    bytes_ -= window_.front().bytes;
    window_.pop_front();
  }
}

bool Inflights::Full() const {
  return count() == max_count_ || (max_bytes_ != 0 && bytes_ >= max_bytes_);
}

void Inflights::Reset() {
  window_.clear();
  bytes_ = 0;
}

std::string_view Describe(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe:
      return "StateProbe";
    case ProgressState::kReplicate:
      return "StateReplicate";
    case ProgressState::kSnapshot:
      return "StateSnapshot";
  }
  return "StateProbe";
}

void Progress::ResetState(ProgressState to) {
  append_flow_paused = false;
  pending_snapshot = Index();
  state = to;
  inflights.Reset();
}

void Progress::BecomeProbe() {
  // A snapshot that was sent is taken to have arrived: the probe goes on behind it.
  const Index sent = state == ProgressState::kSnapshot ? pending_snapshot : Index();
  ResetState(ProgressState::kProbe);
  next = std::max(match, sent).Next();
  sent_commit = std::min(sent_commit, next.Prev());
}

void Progress::BecomeReplicate() {
  ResetState(ProgressState::kReplicate);
  next = match.Next();
}

void Progress::BecomeSnapshot(Index snapshot) {
  ResetState(ProgressState::kSnapshot);
  pending_snapshot = snapshot;
  next = snapshot.Next();
  sent_commit = snapshot;
}

void Progress::SentEntries(int entries, uint64_t bytes) {
  CHECK(state != ProgressState::kSnapshot, "an append was sent while a snapshot is on its way");
  if (state == ProgressState::kProbe) {
    // An empty probe leaves the flow open, so that entries proposed meanwhile go out at once.
    if (entries > 0) append_flow_paused = true;
    return;
  }
  if (entries > 0) {
    next = next + static_cast<uint64_t>(entries);
    inflights.Add(next.Prev(), bytes);
  }
  append_flow_paused = inflights.Full();
}

bool Progress::CanBumpCommit(Index index) const {
  // A commit index at next - 1 or beyond already covers all that was sent.
  return index > sent_commit && sent_commit < next.Prev();
}

void Progress::SentCommit(Index commit) { sent_commit = commit; }

bool Progress::MaybeUpdate(Index index) {
  if (index <= match) return false;
  match = index;
  next = std::max(next, index.Next());
  append_flow_paused = false;
  return true;
}

bool Progress::MaybeDecrementTo(Index rejected, Index match_hint) {
  if (state == ProgressState::kReplicate) {
    // Already acknowledged: the rejection was overtaken.
    if (rejected <= match) return false;
    next = match.Next();
    sent_commit = std::min(sent_commit, next.Prev());
    return true;
  }
  // Outside of replicate, one append is probed at a time, at next - 1: any other index is stale.
  if (next.Prev() != rejected) return false;
  next = std::max(std::min(rejected, match_hint.Next()), match.Next());
  sent_commit = std::min(sent_commit, next.Prev());
  append_flow_paused = false;
  return true;
}

bool Progress::IsPaused() const { return state == ProgressState::kSnapshot || append_flow_paused; }

std::string Progress::ToString() const {
  std::string text(Describe(state));
  text += " match=" + std::to_string(match.value) + " next=" + std::to_string(next.value);
  if (is_learner) text += " learner";
  if (IsPaused()) text += " paused";
  if (pending_snapshot) text += " pendingSnap=" + std::to_string(pending_snapshot.value);
  if (!recently_active) text += " inactive";
  if (inflights.count() > 0) {
    text += " inflight=" + std::to_string(inflights.count());
    if (inflights.Full()) text += "[full]";
  }
  return text;
}

std::string Describe(const ProgressMap& progress) {
  std::string text;
  for (const auto& [id, member] : progress) {
    text += std::to_string(id.value) + ": " + member.ToString() + '\n';
  }
  return text;
}

}  // namespace raftkv::raft
