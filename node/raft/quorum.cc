#include "node/raft/quorum.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "base/mutations.h"
#include "node/raft/text.h"

namespace raftkv::raft {
namespace {

// Clusters of up to this many voters are counted without allocating: every append response comes
// through here.
constexpr size_t kInlineVoters = 7;

struct Bar {
  NodeId id;
  std::optional<Index> acked;
  size_t length = 0;

  Index index() const { return acked.value_or(Index()); }
};

// A bar's length is the number of voters that are further behind.
std::vector<Bar> MakeBars(const std::set<NodeId>& ids, const AckedIndexer& acked) {
  std::vector<Bar> bars;
  bars.reserve(ids.size());
  for (NodeId id : ids) bars.push_back({id, acked.AckedIndex(id)});
  for (Bar& bar : bars) {
    bar.length = static_cast<size_t>(
        std::ranges::count_if(bars, [&](const Bar& other) { return other.index() < bar.index(); }));
  }
  return bars;
}

std::string PadLeft(std::string text, size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

}  // namespace

std::string_view Describe(VoteResult result) {
  switch (result) {
    case VoteResult::kPending:
      return "VotePending";
    case VoteResult::kLost:
      return "VoteLost";
    case VoteResult::kWon:
      return "VoteWon";
  }
  return "VotePending";
}

Index MajorityConfig::CommittedIndex(const AckedIndexer& acked) const {
  if (ids_.empty()) return Index::Max();

  std::array<Index, kInlineVoters> inline_indexes;
  std::vector<Index> heap_indexes;
  std::span<Index> indexes;
  if (ids_.size() <= kInlineVoters) {
    indexes = std::span(inline_indexes).first(ids_.size());
  } else {
    heap_indexes.resize(ids_.size());
    indexes = heap_indexes;
  }
  // Who has not reported counts as index 0.
  size_t i = 0;
  for (NodeId id : ids_) indexes[i++] = acked.AckedIndex(id).value_or(Index());
  // Nobody has more of the log than the leader.
  if (MUTATION(count_leader_twice)) *std::ranges::min_element(indexes) = std::ranges::max(indexes);

  const size_t quorum = ids_.size() / 2 + (MUTATION(minority_commits) ? 0 : 1);
  const auto nth =
      indexes.begin() + static_cast<std::ptrdiff_t>(ids_.size() - std::max<size_t>(quorum, 1));
  std::ranges::nth_element(indexes, nth);
  return *nth;
}

VoteResult MajorityConfig::Result(const Votes& votes) const {
  if (ids_.empty()) return VoteResult::kWon;

  size_t granted = 0;
  size_t missing = 0;
  for (NodeId id : ids_) {
    const auto vote = votes.find(id);
    if (vote == votes.end()) {
      ++missing;
    } else if (vote->second) {
      ++granted;
    }
  }
  const size_t quorum = std::max<size_t>(ids_.size() / 2 + (MUTATION(minority_elects) ? 0 : 1), 1);
  if (granted >= quorum) return VoteResult::kWon;
  return granted + missing >= quorum ? VoteResult::kPending : VoteResult::kLost;
}

std::string MajorityConfig::ToString() const {
  std::string text = "(";
  for (NodeId id : ids_) {
    if (text.size() > 1) text += ' ';
    text += Hex(id);
  }
  return text + ')';
}

std::string MajorityConfig::Describe(const AckedIndexer& acked) const {
  if (ids_.empty()) return "<empty majority quorum>";

  const size_t width = ids_.size();
  std::string text(width, ' ');
  text += "    idx\n";
  for (const Bar& bar : MakeBars(ids_, acked)) {
    if (bar.acked) {
      text.append(bar.length, 'x');
      text += '>';
      text.append(width - bar.length, ' ');
    } else {
      text += '?';
      text.append(width, ' ');
    }
    text += ' ' + PadLeft(std::to_string(bar.index().value), 5) + "    (id=" + Hex(bar.id) + ")\n";
  }
  return text;
}

std::set<NodeId> JointConfig::Ids() const {
  std::set<NodeId> all = incoming.ids();
  all.insert(outgoing.ids().begin(), outgoing.ids().end());
  return all;
}

Index JointConfig::CommittedIndex(const AckedIndexer& acked) const {
  if (MUTATION(joint_commits_by_one_half)) return incoming.CommittedIndex(acked);
  return std::min(incoming.CommittedIndex(acked), outgoing.CommittedIndex(acked));
}

VoteResult JointConfig::Result(const Votes& votes) const {
  const VoteResult in = incoming.Result(votes);
  if (MUTATION(joint_elects_by_one_half)) return in;
  const VoteResult out = outgoing.Result(votes);
  if (in == out) return in;
  if (in == VoteResult::kLost || out == VoteResult::kLost) return VoteResult::kLost;
  return VoteResult::kPending;
}

std::string JointConfig::ToString() const {
  return outgoing.empty() ? incoming.ToString() : incoming.ToString() + "&&" + outgoing.ToString();
}

std::string JointConfig::Describe(const AckedIndexer& acked) const {
  return MajorityConfig(Ids()).Describe(acked);
}

}  // namespace raftkv::raft
