// Checker: what must hold at every moment of a simulation, whatever fails. Each hook does only the
// work of the event that it is called for. The first violation is kept; the run ends with it.
//
//   election safety       one leader a term; one vote a term and member, also over restarts
//   log matching          two entries with the same index and term are the same, and so are those
//                         before them (paper, section 5.3)
//   leader completeness   a new leader's log has everything that was decided before (section 5.4)
//   state machine safety  each index is applied as the same entry, with the same result, by all,
//   and
//                         leaves the same bytes: those of the reference model
//   durability            votes and acknowledgements leave after what they promise is on the disk;
//                         what is applied is on the disk; nobody is called removed by a node that a
//                         crash would make forget it
//   membership            one change in flight; each on the configuration and after the epoch that
//                         it names (memberships.h); removed ids never return; blank and removed
//                         nodes do not vote; nobody campaigns by a configuration that it knows is
//                         outdated
//   clients               history.h
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "node/kv/reference_model.h"
#include "node/kv/state_machine.h"
#include "node/raft/core.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/memberships.h"
#include "tests/simulation/sim_disk.h"

namespace raftkv::sim {

class Checker final : public LogObserver {
 public:
  explicit Checker(Coverage* coverage) : coverage_(coverage) {
    // The first configuration stands for index 1, term 1, which nobody ever sends.
    decided_.push_back({.term = raft::Term(1), .committed_by = raft::Term(1), .has_result = true});
  }

  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  void Fail(std::string what) {
    if (failure_.empty()) failure_ = std::move(what);
  }

  // The first cluster begins with nothing; one that was made from a backup with what that held.
  void BeginWith(const kv::ReferenceModel& model, raft::EntryId applied);

  // --- Hooks

  void OnLogged(const SimLog& log, raft::NodeId node, const raft::Entry& entry,
                raft::EntryId previous) override;
  // The node with this disk is about to apply these, and has got these results.
  void OnApply(const SimLog& log, raft::NodeId node, std::span<const raft::Entry> entries);
  void OnResults(raft::NodeId node, std::span<const raft::Entry> entries,
                 std::span<const kv::ApplyResult> results);
  // ... so that this machine, whose revision was `before`, holds what the model does: each key that
  // the entries may have changed is compared, byte by byte.
  void OnApplied(raft::NodeId node, std::span<const raft::Entry> entries, uint64_t before,
                 const kv::StateMachine& machine);
  // A snapshot has taken the place of its state: all of it is compared.
  void OnReplaced(raft::NodeId node, const kv::StateMachine& machine);
  void OnClusterState(raft::NodeId node, const v1::ClusterState& cluster);
  // A node sends a message to another.
  void OnSend(const SimDisk& disk, bool removed, const raft::Message& message);
  // An event of the node with this log is over. True if it has just taken another role.
  bool OnStep(raft::NodeId node, const raft::Core& core, const SimLog& log);
  // The same of a process that runs on a copy of a member's disk: nobody speaks to it, so it has
  // nothing to decide.
  void OnStepOfCopy(raft::NodeId node, const raft::Core& core);
  // A node tells another that it was removed; it has this much of its state on its disk.
  void OnCalledRemoved(raft::NodeId node, raft::NodeId removed, raft::Index flushed);
  void OnStateHash(raft::NodeId node, const kv::StateHash& hash);
  // A disk is lost: its identity must never speak again.
  void OnLost(raft::NodeId node) { lost_.insert(node); }
  bool lost(raft::NodeId node) const { return lost_.contains(node); }

  // --- What is decided

  // Result of a request, if its entry has been applied by anyone.
  struct Decided {
    raft::Index index;
    kv::CommandResult result;
  };
  const Decided* FindRequest(uint64_t origin, uint64_t request_id) const;
  raft::Index last_decided() const { return raft::Index(decided_.size()); }
  const kv::ReferenceModel& model() const { return model_; }
  Memberships& memberships() { return memberships_; }
  // What `memberships` says of an answer; nothing is well.
  void CheckMembership(const std::string& wrong) {
    if (!wrong.empty()) Fail("membership: " + wrong);
  }
  // Clients were told that this request is not and will not be carried out.
  void OnRefused(uint64_t origin, uint64_t request_id);
  // Clients do not know; counted when it happens after all.
  void OnUnknown(uint64_t origin, uint64_t request_id) { unknown_.insert({origin, request_id}); }

 private:
  struct LoggedEntry {
    raft::Term term;
    raft::Term previous;
    uint64_t hash;
  };
  struct DecidedEntry {
    raft::Term term;
    // It was committed by the leader of this term or of a former one; not before its own term, but
    // maybe long after it (paper, figure 8).
    raft::Term committed_by;
    uint64_t hash = 0;
    uint64_t result = 0;
    bool has_result = false;
  };
  using RequestId = std::pair<uint64_t, uint64_t>;

  void CheckNewLeader(raft::NodeId node, const raft::Entry& entry, raft::EntryId previous);
  void CheckLaterLeaders(raft::NodeId node, const raft::Entry& entry, raft::Term committed_by);
  void CheckPendingChange(const SimLog& log, raft::NodeId node, const raft::Entry& entry);
  void CheckCampaign(raft::NodeId node, const raft::Core& core, const SimLog& log);
  void AddDecided(const DecidedEntry& entry);
  void CompareKey(raft::NodeId node, const std::string& key, const kv::StateMachine& machine);
  void Decide(raft::NodeId node, const raft::Entry& entry, const kv::ApplyResult& result);
  std::string Where(raft::NodeId node, raft::Index index) const;

  Coverage* const coverage_;
  std::string failure_;

  std::vector<std::vector<LoggedEntry>> logged_;  // by index
  std::vector<DecidedEntry> decided_;             // by index - 1
  std::map<raft::Term, raft::NodeId> leaders_;
  std::map<raft::Term, raft::Index> first_entries_;  // of each term's leader
  std::map<std::pair<raft::NodeId, raft::Term>, raft::NodeId> votes_;
  std::set<raft::NodeId> lost_;
  struct NodeView {
    raft::Term term;
    raft::Index applied;
    raft::Role role = raft::Role::kFollower;
  };
  std::map<raft::NodeId, NodeView> nodes_;
  std::map<uint64_t, uint64_t> removed_at_;  // config index from which an id counts as removed
  std::map<raft::Index, uint64_t> state_hashes_;

  kv::ReferenceModel model_;
  Memberships memberships_;
  std::map<RequestId, Decided> requests_;
  std::set<RequestId> refused_;
  std::set<RequestId> unknown_;
};

}  // namespace raftkv::sim
