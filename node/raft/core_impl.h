// The inside of Core: its state, the roles, and the steps by topic. Only the .cc files of the core
// include this.
//
//   step.cc         terms; which role handles which message
//   election.cc     ticks, campaigns, votes, changes of role
//   follower.cc     what followers and candidates do with the leader's messages
//   replication.cc  the leader: proposals, appends, acknowledgements, heartbeats, commit
//   snapshot.cc     sending, receiving and reporting snapshots
//   reads.cc        read indexes
//   transfer.cc     leadership transfer
//   membership.cc   configuration changes
//   ready.cc        what the owner takes out and reports back
//   invariants.cc   CheckInvariants
#pragma once

#include <concepts>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "node/raft/confchange.h"
#include "node/raft/config.h"
#include "node/raft/core.h"
#include "node/raft/describe.h"
#include "node/raft/entry.h"
#include "node/raft/message.h"
#include "node/raft/raft_log.h"
#include "node/raft/read_only.h"
#include "node/raft/report.h"
#include "node/raft/tracker.h"
#include "node/raft/types.h"

namespace raftkv::raft {

// --- Roles (paper, section 5.1): what exists in one role only ------------------------------------

struct Follower {
  NodeId leader;  // kNone: not known
};

struct PreCandidate {
};  // asks whether it could win before it disturbs anybody (thesis, section 9.6)

struct Candidate {};

struct Leader {
  ReadOnly reads;
  // Reads that came before the first commit of this term; until then the commit index may lie
  // behind what the previous leader acknowledged (thesis, section 6.4).
  std::vector<ReadRequest> postponed_reads;
  // Where leadership is going (thesis, section 3.10). No proposals meanwhile.
  NodeId transferee;
  // At or beyond the index of the latest configuration change that may not be applied yet.
  Index pending_conf_index;
  // Payload bytes of the uncommitted tail of the log; an estimate that is never too high.
  uint64_t uncommitted_bytes = 0;
  int heartbeat_elapsed = 0;
};

// In the order of enum Role.
using RoleState = std::variant<Follower, Candidate, Leader, PreCandidate>;

template <typename T, typename... Options>
concept OneOf = (std::same_as<T, Options> || ...);
template <typename T>
concept Campaigner = OneOf<T, Candidate, PreCandidate>;

enum class CampaignKind { kPreElection, kElection, kTransfer };

// RequestVote and RequestPreVote, by what they have in common.
struct VoteRequest {
  NodeId from;
  Term term;
  EntryId last;
  bool pre = false;
  bool leader_transfer = false;

  std::string_view type() const { return pre ? "MsgPreVote" : "MsgVote"; }
};
std::optional<VoteRequest> AsVoteRequest(const Message& message);

class Core::Impl {
 public:
  explicit Impl(const Config& config);

  // --- ready.cc
  bool HasReady() const;
  Ready TakeReady();
  void Advance();

  // --- step.cc
  // From outside: refuses what no peer may send.
  StepResult StepChecked(Message&& message);
  StepResult Step(Message&& message);

  // --- election.cc
  void Tick(bool leader_lost);

  // --- replication.cc
  void EntriesRead();

  // --- membership.cc
  ConfState ApplyConfChange(const ConfChange& change);

  // --- invariants.cc
  void CheckInvariants() const;

  // --- state, read by the facade
  NodeId id() const { return config_.id; }
  Term term() const { return term_; }
  Role role() const { return static_cast<Role>(role_.index()); }
  NodeId leader() const;
  bool is_learner() const { return is_learner_; }
  const RaftLog& log() const { return log_; }
  void LearnCommitted(EntryId entry);
  const Tracker& tracker() const { return tracker_; }
  const Leader* as_leader() const { return std::get_if<Leader>(&role_); }
  SoftState soft_state() const { return {leader(), role()}; }
  HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  void set_randomized_election_timeout(int ticks) { randomized_election_timeout_ = ticks; }

 private:
  // --- step.cc: the dispatch. One overload for each role and message; a pair that nobody thought
  // of does not compile. `m` is the message that `body` is part of. A handler that changes the
  // role must not touch its role argument afterwards.
  bool AdmitNewerTerm(const Message& m);
  void AnswerOlderTerm(Message& m);
  StepResult Dispatch(Message& m);

  // In every role.
  void OnAny(Campaign&, Message&);
  void OnAny(RequestVote&, Message&);
  void OnAny(RequestPreVote&, Message&);
  void OnAny(StorageAppendResponse&, Message&);
  void OnAny(StorageApplyResponse&, Message&);

  StepResult On(Follower&, raft::Propose&, Message&);
  void On(Follower&, AppendEntries&, Message&);
  void On(Follower&, Heartbeat&, Message&);
  void On(Follower&, InstallSnapshot&, Message&);
  void On(Follower&, TransferLeader&, Message&);
  void On(Follower&, ForgetLeader&, Message&);
  void On(Follower&, TimeoutNow&, Message&);
  void On(Follower&, ReadIndex&, Message&);
  void On(Follower&, ReadIndexResponse&, Message&);
  void On(Follower&,
          OneOf<AppendResponse, VoteResponse, PreVoteResponse, HeartbeatResponse, Beat, CheckQuorum,
                Unreachable, SnapshotStatus, StorageAppend, StorageApply> auto&,
          Message&) {}  // late, or not a follower's business

  StepResult On(Campaigner auto&, raft::Propose&, Message&) { return DropForLackOfLeader(); }
  void On(Campaigner auto&, AppendEntries& body, Message& m) {
    BecomeFollower(term_, m.from);
    HandleAppend(body, m.from);
  }
  void On(Campaigner auto&, Heartbeat& body, Message& m) {
    BecomeFollower(term_, m.from);
    HandleHeartbeat(body, m.from);
  }
  void On(Campaigner auto&, InstallSnapshot& body, Message& m) {
    BecomeFollower(term_, m.from);
    HandleSnapshot(body, m.from);
  }
  void On(Campaigner auto&, TimeoutNow&, Message& m) { IgnoreTimeoutNow(m.from); }
  void On(Candidate&, VoteResponse&, Message&);
  void On(PreCandidate&, PreVoteResponse&, Message&);
  void On(Candidate&, PreVoteResponse&, Message&) {}  // late, from before the campaign proper
  void On(PreCandidate&, VoteResponse&, Message&) {}  // late, from an earlier campaign
  void On(Campaigner auto&,
          OneOf<AppendResponse, HeartbeatResponse, TransferLeader, ForgetLeader, ReadIndex,
                ReadIndexResponse, Beat, CheckQuorum, Unreachable, SnapshotStatus, StorageAppend,
                StorageApply> auto&,
          Message&) {}  // late, or there is no leader to pass it to

  StepResult On(Leader&, raft::Propose&, Message&);
  void On(Leader&, Beat&, Message&) { BroadcastHeartbeat(); }
  void On(Leader&, CheckQuorum&, Message&) { CheckQuorumActive(); }
  void On(Leader&, ReadIndex&, Message&);
  void On(Leader&, AppendResponse&, Message&);
  void On(Leader&, HeartbeatResponse&, Message&);
  void On(Leader&, SnapshotStatus&, Message&);
  void On(Leader&, Unreachable&, Message&);
  void On(Leader&, TransferLeader&, Message&);
  void On(Leader&, ForgetLeader&, Message&) {}  // it knows the leader
  void On(Leader&,
          OneOf<AppendEntries, Heartbeat, InstallSnapshot, TimeoutNow, VoteResponse,
                PreVoteResponse, ReadIndexResponse, StorageAppend, StorageApply> auto&,
          Message& m) {  // late, or from the time before it was leader
    ProgressOf(m.from);
  }

  // --- sending. Every message leaves through one of these.
  // At once, in parallel with the writes under way. Not to itself.
  void Send(NodeId to, MessageBody body);
  // Once everything that is unstable now is on disk: votes and acknowledgements (thesis, section
  // 3.8). Also to itself.
  void SendDurably(NodeId to, Term term, MessageBody body);
  void SendVoteRequest(NodeId to, Term term, MessageBody body);
  // Somebody's proposal or request on to the leader. Carries no term, unless it must.
  void Forward(NodeId leader, Message& m);

  // --- election.cc
  void TickElection(bool leader_lost);
  int ElectionTimeout(bool leader_lost) const;
  void TickHeartbeat();
  void Reset(Term term);
  void BecomeFollower(Term term, NodeId leader);
  void BecomePreCandidate();
  void BecomeCandidate();
  void BecomeLeader();
  void ResetElectionTimeout();
  bool Promotable() const;
  bool HasUnappliedConfChange() const;
  void Hup(CampaignKind kind);
  void StartCampaign(CampaignKind kind);
  void HandleVoteRequest(const VoteRequest& request);
  void ReportVote(const VoteRequest& request, std::string_view action,
                  std::string_view suffix = {}) const;
  bool InLease() const;
  VoteResult Poll(NodeId from, std::string_view type, bool granted);
  void IgnoreTimeoutNow(NodeId from);
  void CheckQuorumActive();

  // --- follower.cc
  StepResult DropForLackOfLeader();
  void HearFromLeader(Follower& follower, NodeId leader);
  void HandleAppend(AppendEntries& body, NodeId from);
  void HandleHeartbeat(Heartbeat& body, NodeId from);

  // --- replication.cc
  // The progress of a sender; reports if it has none.
  Progress* ProgressOf(NodeId from);
  bool AppendAsLeader(Leader& leader, std::vector<Entry>&& entries);
  bool ReserveUncommitted(Leader& leader, uint64_t bytes);
  void ReleaseUncommitted(uint64_t bytes);
  // Sends what the follower lacks, as far as flow control allows; if that is nothing, an empty
  // append. Returns whether anything was sent.
  bool SendAppend(NodeId to, Progress& progress) { return MaybeSendAppend(to, progress, true); }
  bool MaybeSendAppend(NodeId to, Progress& progress, bool even_if_empty);
  void BroadcastAppend();
  // As BroadcastAppend, but nothing to whom nothing can be sent now.
  void SendWhatIsLacking();
  void BroadcastHeartbeat();
  bool MaybeCommit();
  bool CommittedInCurrentTerm() const;
  void HandleRejection(Leader& leader, const AppendResponse& body, NodeId from, Progress& progress);
  void HandleAcceptance(Leader& leader, Index index, NodeId from, Progress& progress);
  void AppliedTo(Index index, uint64_t bytes);

  // --- snapshot.cc
  bool MaybeSendSnapshot(NodeId to, Progress& progress);
  void HandleSnapshot(InstallSnapshot& body, NodeId from);
  bool Restore(Snapshot& snapshot);
  void SnapshotStable(const Snapshot& snapshot);

  // --- reads.cc
  bool IsOnlyVoter() const;
  void StartRead(Leader& leader, ReadRequest request);
  void AnswerRead(ReadRequest request, Index index);
  void AnswerConfirmedReads(Leader& leader);
  void ReleasePostponedReads(Leader& leader);

  // --- membership.cc
  // Why a change may not be proposed now; empty if it may.
  std::string RefusalOf(const ConfChange& change, Index pending) const;
  Index VetConfChanges(const Leader& leader, std::vector<Entry>& entries);
  ConfState SwitchTo(ChangedConfig changed);
  void RestoreConfig(const ConfState& conf);
  void MaybeLeaveJoint();

  // --- ready.cc
  bool NeedsStableReport(const Ready& ready) const;
  Message MakeStorageAppendResponse(const Ready& ready) const;
  Message MakeStorageApplyResponse(const std::vector<Entry>& entries) const;
  void AddStorageMessages(Ready& ready);
  void QueueOwnSteps(Ready& ready);
  // Committed entries that this node has not yet on disk may be applied if the owner persists each
  // Ready before it applies it.
  bool ApplyUnstable() const { return !config_.async_storage_writes; }

  // --- invariants.cc
  void CheckLog() const;
  void CheckConfiguration() const;
  void CheckRole() const;
  void CheckProgress() const;
  void CheckMessages() const;

  const Config config_;  // with its defaults filled in
  const Report report_;

  // Persistent state (paper, figure 2); the commit index is in log_.
  Term term_;
  NodeId vote_;
  RaftLog log_;

  Tracker tracker_;
  bool is_learner_ = false;
  RoleState role_;

  // Ticks since the last word from the leader, or since the last quorum check if leader.
  int election_elapsed_ = 0;
  int randomized_election_timeout_ = 0;  // [election_ticks, 2 * election_ticks)

  // For the next Ready.
  std::vector<Message> messages_;
  std::vector<Message> messages_after_append_;
  std::vector<ReadState> read_states_;
  // As of the last Ready.
  SoftState previous_soft_;
  HardState previous_hard_;
  // What Advance() steps: to itself, after the writes of the last Ready.
  std::vector<Message> steps_on_advance_;
};

}  // namespace raftkv::raft
