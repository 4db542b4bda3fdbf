// Core: the Raft state machine. Pure: no I/O, no threads, no clock; randomness is injected. The
// owner feeds in messages and ticks and takes out Readys: what to persist, send and apply.
//
//   core.Step(message) / core.Tick() / core.Propose(...)
//   if (core.HasReady()) {
//     Ready ready = core.TakeReady();
//     // async_storage_writes: hand StorageAppend and StorageApply to their threads, send the rest;
//     // step the responses when the work is done.
//     // otherwise: persist ready.entries, hard_state and snapshot; send ready.messages; apply
//     // ready.committed; then core.Advance().
//   }
//
// Behaviour: feature for feature that of etcd's raft v3.7.0; the sections of the Raft paper and
// Ongaro's thesis are named beside the code.
//
// Thread-safety: none; one owner at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "node/raft/config.h"
#include "node/raft/entry.h"
#include "node/raft/message.h"
#include "node/raft/progress.h"
#include "node/raft/tracker.h"
#include "node/raft/types.h"

namespace raftkv::raft {

enum class Role { kFollower, kCandidate, kLeader, kPreCandidate };

// Volatile state of interest to the owner; not persisted.
struct SoftState {
  NodeId leader;
  Role role = Role::kFollower;
  bool operator==(const SoftState&) const = default;
};

// A confirmed read: once the state machine has applied `index`, whatever the read named by
// `context` sees is linearizable.
struct ReadState {
  Index index;
  Buffer context;
};

// Everything the owner has to do, in the order of the members. See the class comment.
struct Ready {
  std::optional<SoftState> soft_state;  // set if changed
  std::optional<HardState> hard_state;  // set if changed
  std::vector<ReadState> read_states;
  std::vector<Entry> entries;        // to persist
  std::optional<Snapshot> snapshot;  // to install
  std::vector<Entry> committed;      // to apply
  std::vector<Message> messages;     // to send; async: also the storage messages
  bool must_sync = false;            // entries, term or vote changed: needs an fsync before sending
};

// Why a Step or a proposal was refused. The texts (see Describe) are etcd's.
enum class StepError {
  kProposalDropped,  // no leader, transfer under way, log tail too large, ...
  kLocalMessage,     // a local message that came from outside
  kPeerNotFound,     // a response from someone who is not a member
};
std::string_view Describe(StepError error);
using StepResult = std::expected<void, StepError>;

// A view of the core for status pages and metrics.
struct CoreStatus {
  NodeId id;
  HardState hard_state;
  SoftState soft_state;
  Index applied;
  NodeId transferee;
  TrackerConfig config;
  ProgressMap progress;  // empty unless leader
};

class Core {
 public:
  // Restores from config.log. CHECKs that config.Validate() is ok.
  explicit Core(const Config& config);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // One unit of logical time has passed. `leader_lost`: the owner's connection to the leader broke
  // and is not back. That proves nothing, so it is waited for as long as ever before anybody votes;
  // but the chance that decides who campaigns first then has a quarter of its usual range.
  void Tick(bool leader_lost = false);

  // A message from a peer, or a response from a storage thread.
  StepResult Step(Message message);

  // Appends to the log if leader, or forwards to the leader. One call = one batch: either all
  // entries are accepted or none.
  StepResult Propose(Buffer data);
  StepResult Propose(std::vector<Buffer> batch);
  // A change that is refused (one is pending, or it does not fit the current configuration) is
  // replaced by an empty entry, as in etcd; the owner sees that when it applies.
  StepResult ProposeConfChange(ConfChange change);
  // To be called when the entry of a configuration change is applied, unless the state machine
  // refuses the change. A change without steps leaves the joint configuration. Not to be called for
  // entries before first_index(): a snapshot that has arrived meanwhile, and may still be on its
  // way to the disk, has set a newer configuration.
  ConfState ApplyConfChange(const ConfChange& change);

  StepResult StartCampaign();
  // Asks for a read index; the answer arrives in Ready::read_states, or never (leader lost).
  void RequestReadIndex(Buffer context);
  void RequestTransfer(NodeId transferee);
  StepResult RequestForgetLeader();
  // Somebody has applied this entry: if it is in this log, it is committed here too. A member that
  // was alone with its former configuration may need that to be elected by the one that followed.
  void LearnCommitted(EntryId entry);
  // Entries that LogReader::AtHand lacked were read.
  void EntriesRead();
  void ReportUnreachable(NodeId peer);
  void ReportSnapshot(NodeId peer, bool failed);

  bool HasReady() const;
  // Takes the outstanding work. Without async_storage_writes, Advance() must follow before the
  // next.
  Ready TakeReady();
  void Advance();

  CoreStatus status() const;
  // Cheap accessors, for every step.
  NodeId id() const;
  Term term() const;
  Role role() const;
  NodeId leader() const;
  NodeId transferee() const;
  Index committed() const;
  Index applied() const;
  Index first_index() const;
  Index last_index() const;
  bool is_learner() const;
  const TrackerConfig& tracker_config() const;
  // Highest index of a configuration change that may not be applied yet; a new one must wait for
  // it.
  Index pending_conf_index() const;

  // For tests: fixes the randomized election timeout until the next reset, in ticks.
  void SetRandomizedElectionTimeout(int ticks);
  // CHECKs every cross-field invariant (paper, figure 3, as far as one node can see them).
  void CheckInvariants() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace raftkv::raft
