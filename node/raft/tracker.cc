#include "node/raft/tracker.h"

namespace raftkv::raft {
namespace {

class MatchIndexer final : public AckedIndexer {
 public:
  explicit MatchIndexer(const ProgressMap& progress) : progress_(progress) {}

  std::optional<Index> AckedIndex(NodeId voter) const override {
    const auto found = progress_.find(voter);
    return found == progress_.end() ? std::nullopt : std::optional(found->second.match);
  }

 private:
  const ProgressMap& progress_;
};

std::vector<NodeId> ToVector(const std::set<NodeId>& ids) { return {ids.begin(), ids.end()}; }

}  // namespace

std::string TrackerConfig::ToString() const {
  std::string text = "voters=" + voters.ToString();
  if (!learners.empty()) text += " learners=" + MajorityConfig(learners).ToString();
  if (!learners_next.empty()) text += " learners_next=" + MajorityConfig(learners_next).ToString();
  if (auto_leave) text += " autoleave";
  return text;
}

ConfState TrackerConfig::ToConfState() const {
  return {.voters = ToVector(voters.incoming.ids()),
          .learners = ToVector(learners),
          .voters_outgoing = ToVector(voters.outgoing.ids()),
          .learners_next = ToVector(learners_next),
          .auto_leave = auto_leave};
}

Tracker::Tracker(int max_inflight_messages, uint64_t max_inflight_bytes)
    : max_inflight_messages_(max_inflight_messages), max_inflight_bytes_(max_inflight_bytes) {}

bool Tracker::IsSingleton() const {
  return config.voters.incoming.size() == 1 && config.voters.outgoing.empty();
}

Progress* Tracker::Find(NodeId id) {
  const auto found = progress.find(id);
  return found == progress.end() ? nullptr : &found->second;
}

const Progress* Tracker::Find(NodeId id) const {
  const auto found = progress.find(id);
  return found == progress.end() ? nullptr : &found->second;
}

Index Tracker::Committed() const { return config.voters.CommittedIndex(MatchIndexer(progress)); }

bool Tracker::QuorumActive() const {
  Votes active;
  for (const auto& [id, member] : progress) {
    if (!member.is_learner) active.emplace(id, member.recently_active);
  }
  return config.voters.Result(active) == VoteResult::kWon;
}

std::vector<NodeId> Tracker::VoterIds() const { return ToVector(config.voters.Ids()); }

std::vector<NodeId> Tracker::LearnerIds() const { return ToVector(config.learners); }

void Tracker::ResetVotes() { votes_.clear(); }

void Tracker::RecordVote(NodeId id, bool granted) { votes_.emplace(id, granted); }

VoteTally Tracker::TallyVotes() const {
  VoteTally tally;
  // The counts are for people: votes of those who are no members any more are left out.
  for (const auto& [id, member] : progress) {
    const auto vote = votes_.find(id);
    if (member.is_learner || vote == votes_.end()) continue;
    ++(vote->second ? tally.granted : tally.rejected);
  }
  tally.result = config.voters.Result(votes_);
  return tally;
}

}  // namespace raftkv::raft
