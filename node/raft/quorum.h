// Quorum arithmetic: majorities and joint majorities, for votes and for commit indexes (paper,
// sections 5.2 to 5.4; thesis, section 4.3). Pure functions.
//
// Thread-safety: values.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "node/raft/types.h"

namespace raftkv::raft {

enum class VoteResult { kPending, kLost, kWon };
std::string_view Describe(VoteResult result);  // VotePending, VoteLost, VoteWon

// Answers how far a voter's log is known to be durable; nullopt if nothing is known.
class AckedIndexer {
 public:
  virtual ~AckedIndexer() = default;
  virtual std::optional<Index> AckedIndex(NodeId voter) const = 0;
};

// Votes by id; absent: not voted yet.
using Votes = std::map<NodeId, bool>;

// A set of voters that decides by simple majority. The empty set agrees with everything: an empty
// half of a joint configuration never decides.
class MajorityConfig {
 public:
  MajorityConfig() = default;
  explicit MajorityConfig(std::set<NodeId> ids) : ids_(std::move(ids)) {}

  const std::set<NodeId>& ids() const { return ids_; }
  std::set<NodeId>& ids() { return ids_; }
  bool empty() const { return ids_.empty(); }
  size_t size() const { return ids_.size(); }
  bool contains(NodeId id) const { return ids_.contains(id); }

  // The highest index that a majority has acknowledged; Index::Max() if there are no voters.
  Index CommittedIndex(const AckedIndexer& acked) const;
  VoteResult Result(const Votes& votes) const;

  std::string ToString() const;  // "(1 2 3)"
  // The bar chart of etcd's Describe: one line a voter.
  std::string Describe(const AckedIndexer& acked) const;

  bool operator==(const MajorityConfig&) const = default;

 private:
  std::set<NodeId> ids_;
};

// Two majorities that must both agree; `outgoing` is empty unless a joint configuration is active.
struct JointConfig {
  MajorityConfig incoming;
  MajorityConfig outgoing;

  std::set<NodeId> Ids() const;
  Index CommittedIndex(const AckedIndexer& acked) const;
  VoteResult Result(const Votes& votes) const;
  std::string ToString() const;  // "(1 2 3)&&(3 4 5)"
  std::string Describe(const AckedIndexer& acked) const;

  bool operator==(const JointConfig&) const = default;
};

}  // namespace raftkv::raft
