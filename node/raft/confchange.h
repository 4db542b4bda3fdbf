// The configuration changer: from one configuration to the next, or a reason why not (thesis,
// chapter 4). Pure.
//
// Thread-safety: pure functions of their arguments.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/raft/entry.h"
#include "node/raft/tracker.h"

namespace raftkv::raft {

struct ChangedConfig {
  TrackerConfig config;
  ProgressMap progress;
};

// The error is etcd's text.
using ChangeResult = std::expected<ChangedConfig, std::string>;

class Changer {
 public:
  // `tracker` must outlive the changer, and is not changed by it. `last_index`: where a new
  // member's progress starts (its first probe is last_index).
  Changer(const Tracker& tracker, Index last_index) : tracker_(tracker), last_index_(last_index) {}

  // Enters the joint configuration: incoming = current voters with `steps` applied.
  ChangeResult EnterJoint(bool auto_leave, const std::vector<ConfChangeStep>& steps) const;
  // Leaves it: outgoing is dropped, learners_next become learners.
  ChangeResult LeaveJoint() const;
  // Changes at most one voter, without a joint configuration.
  ChangeResult Simple(const std::vector<ConfChangeStep>& steps) const;

 private:
  // Steps that name id 0 do nothing: so the state machine marks a change that it has refused.
  std::expected<void, std::string> Apply(const std::vector<ConfChangeStep>& steps,
                                         ChangedConfig& next) const;
  void MakeVoter(NodeId id, ChangedConfig& next) const;
  void MakeLearner(NodeId id, ChangedConfig& next) const;
  void AddMember(NodeId id, bool is_learner, ChangedConfig& next) const;

  const Tracker& tracker_;
  Index last_index_;
};

// The invariants of a configuration and the progress of its members (see TrackerConfig); the error
// names what is wrong. Every change starts and ends with this check.
std::expected<void, std::string> CheckConfig(const TrackerConfig& config,
                                             const ProgressMap& progress);

// Builds the configuration that `conf` describes, from an empty tracker.
ChangeResult Restore(const Tracker& empty, Index last_index, const ConfState& conf);

// Whether to enter a joint configuration for `change`, and whether it leaves by itself.
struct JointUse {
  bool use = false;
  bool auto_leave = false;
};
JointUse EntersJoint(const ConfChange& change);
// A change without steps: leave the joint configuration.
bool LeavesJoint(const ConfChange& change);

// "v1 l2 r3 u4" (make voter, make learner, remove, update) <-> steps. The error is etcd's text.
std::expected<std::vector<ConfChangeStep>, std::string> ParseSteps(std::string_view text);
std::string Describe(const std::vector<ConfChangeStep>& steps);

}  // namespace raftkv::raft
