// Tracker: the active configuration, the progress of each member, and the votes of an election.
//
// Thread-safety: none; owned by the core.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "node/raft/entry.h"
#include "node/raft/progress.h"
#include "node/raft/quorum.h"
#include "node/raft/types.h"

namespace raftkv::raft {

// The configuration in force. Invariants (checked by confchange.h): voters and learners are
// disjoint; learners_next is a subset of voters.outgoing; auto_leave only if joint.
struct TrackerConfig {
  JointConfig voters;
  std::set<NodeId> learners;
  std::set<NodeId> learners_next;
  bool auto_leave = false;

  bool joint() const { return !voters.outgoing.empty(); }
  // "voters=(1 2)&&(1) learners=(4) learners_next=(5) autoleave"
  std::string ToString() const;
  ConfState ToConfState() const;

  bool operator==(const TrackerConfig&) const = default;
};

struct VoteTally {
  int granted = 0;
  int rejected = 0;
  VoteResult result = VoteResult::kPending;
};

class Tracker {
 public:
  Tracker(int max_inflight_messages, uint64_t max_inflight_bytes);

  TrackerConfig config;
  ProgressMap progress;

  bool IsSingleton() const;  // one voter, not joint
  Progress* Find(NodeId id);
  const Progress* Find(NodeId id) const;
  // The index that the quorum (both halves when joint) has on disk.
  Index Committed() const;
  // Whether a quorum was recently active.
  bool QuorumActive() const;
  std::vector<NodeId> VoterIds() const;    // sorted
  std::vector<NodeId> LearnerIds() const;  // sorted

  void ResetVotes();
  // The first vote of an id counts.
  void RecordVote(NodeId id, bool granted);
  VoteTally TallyVotes() const;

  int max_inflight_messages() const { return max_inflight_messages_; }
  uint64_t max_inflight_bytes() const { return max_inflight_bytes_; }

 private:
  int max_inflight_messages_;
  uint64_t max_inflight_bytes_;
  Votes votes_;
};

}  // namespace raftkv::raft
