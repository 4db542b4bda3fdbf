// Progress: what the leader knows of one follower, and how fast it may send to it. The states
// probe, replicate and snapshot are those of etcd's tracker (its design.md explains them).
//
// Thread-safety: none; owned by the leader's tracker.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

#include "node/raft/types.h"

namespace raftkv::raft {

// The appends that were sent and not yet acknowledged: a sliding window bounded by count and bytes.
class Inflights {
 public:
  // max_bytes == 0: bounded by count only.
  explicit Inflights(int max_count = 0, uint64_t max_bytes = 0)
      : max_count_(max_count), max_bytes_(max_bytes) {}

  // An append up to `last` with `bytes` of payload was sent. !Full().
  void Add(Index last, uint64_t bytes);
  // Everything up to `to` has arrived.
  void FreeUpTo(Index to);
  bool Full() const;
  int count() const { return static_cast<int>(window_.size()); }
  uint64_t bytes() const { return bytes_; }
  void Reset();

 private:
  struct Sent {
    Index last;
    uint64_t bytes;
  };
  int max_count_;
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::deque<Sent> window_;
};

enum class ProgressState {
  kProbe,      // one append per heartbeat: the leader does not know where the logs meet
  kReplicate,  // appends are pipelined
  kSnapshot,   // paused until the snapshot has arrived
};
std::string_view Describe(ProgressState state);  // StateProbe, StateReplicate, StateSnapshot

struct Progress {
  Index match;  // highest index known to be on the follower's disk
  Index next;   // next index to send; match < next
  // Highest commit index that was sent (in flight); saves redundant commit-only appends.
  Index sent_commit;
  ProgressState state = ProgressState::kProbe;
  Index pending_snapshot;           // kSnapshot only: the index of the snapshot on its way
  bool recently_active = false;     // heard from since the last quorum check
  bool append_flow_paused = false;  // the probe, or the full window, has been used up
  Inflights inflights;
  bool is_learner = false;

  void ResetState(ProgressState to);
  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(Index snapshot);
  // `entries` entries with `bytes` of payload, starting at next, were sent.
  void SentEntries(int entries, uint64_t bytes);
  // Whether sending commit index `index` tells the follower something new.
  bool CanBumpCommit(Index index) const;
  void SentCommit(Index commit);
  // An append up to `index` was accepted; false if that was known already.
  bool MaybeUpdate(Index index);
  // An append after `rejected` was refused, with a hint where the logs may match; false if stale.
  bool MaybeDecrementTo(Index rejected, Index match_hint);
  bool IsPaused() const;

  // "StateProbe match=0 next=11 learner paused pendingSnap=.. inactive inflight=3[full]".
  std::string ToString() const;
};

using ProgressMap = std::map<NodeId, Progress>;
std::string Describe(const ProgressMap& progress);  // one "id: progress" line each

}  // namespace raftkv::raft
