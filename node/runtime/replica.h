// Replica: the rules of a node - what to persist, send, apply and answer, in which order. One
// object driven by events; threads, sockets and disks stand around it behind interfaces, so that a
// simulator can run exactly this code.
//
// Events come in through the On*() and request methods; after one or several of them the owner
// calls ProcessReady() once. A blank node has no core: it only answers initialize, join and adopt.
//
// The rules, in short (docs/design/write-path.md and read-path.md give the reasons):
//   - entries and hard state go to the append worker, messages leave at once; votes and append
//     acknowledgements wait for the fsync (the core attaches them to the append job)
//   - committed entries go to the apply worker, which answers the waiters
//   - one read-index round at a time confirms all reads that wait
//   - membership changes are checked against the applied configuration, proposed as one change and
//     answered when the joint configuration has been left
//   - a snapshot is installed by the apply worker first, then the log is reset; appends wait
//
// Thread-safety: none; every method on one thread (the raft thread), but for TellApplied. Callbacks
// given to it run on that thread or on the apply worker's.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "node/raft/core.h"
#include "node/runtime/apply_notices.h"
#include "node/runtime/commit_notices.h"
#include "node/runtime/gathering.h"
#include "node/runtime/latency_counts.h"
#include "node/runtime/member_storage.h"
#include "node/runtime/node.h"
#include "node/runtime/options.h"
#include "node/runtime/replica_log.h"
#include "node/runtime/waiters.h"
#include "node/runtime/workers.h"
#include "node/transport/transport.h"
#include "raftkv/v1/admin.pb.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::runtime {

// Where the replica's storage work goes. Jobs of one kind are done in order.
class StoragePorts {
 public:
  virtual ~StoragePorts() = default;
  virtual void SubmitAppend(AppendJob job) = 0;
  virtual void SubmitTruncate(raft::Index index) = 0;
  virtual void SubmitApply(ApplyJob job) = 0;
  // Reads entries from `low` on from the log, at most `max_bytes` of them but at least one, where
  // the disk may take its time; answered by OnLogRead.
  virtual void SubmitRead(raft::Index low, uint64_t max_bytes) = 0;
  // Reads and checksums the checkpoint in `dir` somewhere else; answered by OnManifest.
  virtual void SubmitDescribe(std::string dir, raft::Snapshot snapshot) = 0;
  virtual void RemoveDir(std::string dir) = 0;
};

// A serialized command of one of this node's clients; its waiter is in the table already.
struct Proposal {
  uint64_t request_id = 0;
  Buffer command;
  MonotonicTime deadline;
};

// Counters for metrics; written on the raft thread, read by anyone.
struct ReplicaCounters {
  std::atomic<uint64_t> leader_changes{0};
  std::atomic<uint64_t> proposals{0};
  std::atomic<uint64_t> proposals_failed{0};
  std::atomic<uint64_t> proposals_forwarded{0};
  std::atomic<uint64_t> read_rounds{0};
  std::atomic<uint64_t> read_rounds_failed{0};
  std::atomic<uint64_t> read_rounds_slow{0};   // not confirmed within half an election timeout
  std::atomic<uint64_t> read_answers_late{0};  // to a round that had been given up
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> lease_reads{0};
  std::atomic<uint64_t> snapshots_sent{0};
  std::atomic<uint64_t> snapshots_send_failed{0};
  std::atomic<uint64_t> snapshots_installed{0};
  std::atomic<uint64_t> snapshot_send_ns{0};  // of all that have ended
  LatencyCounts propose_to_commit;            // raft thread; this node's proposals as a leader
};

// Snapshots under way in this node.
struct SnapshotsUnderWay {
  bool saving = false;
  size_t sending = 0;
  bool installing = false;
};

class Replica final : public transport::Handler {
 public:
  struct Env {
    const Options* options = nullptr;
    const Clock* clock = nullptr;
    Random* random = nullptr;
    MemberStorage storage;
    StoragePorts* ports = nullptr;
    WaiterTable* waiters = nullptr;
    raft::Logger* logger = nullptr;
    // The cluster removed this member; called once.
    std::function<void()> on_removed;
    // This blank node, which was to take the place of a damaged member, has become a member.
    std::function<raftkv::Status()> finish_rebuild;
    // The disk failed in a way that must stop the process. Does not return.
    FatalFn fatal;
    // Unique for the lifetime of the process, and over its restarts in all likelihood.
    std::function<uint64_t()> next_request_id;
    // Runs a function on the raft thread, soon; from any thread.
    std::function<void(std::function<void()>)> post;
    // Likewise, after so long.
    std::function<void(Duration, std::function<void()>)> post_after;
    // Something changed that needs ProcessReady() soon. Called by callbacks that come in from the
    // side (calls, replies), not by the On*() events themselves.
    std::function<void()> wake;
    // The applied index that a crash would leave, as of a moment ago; must not block on the disk.
    std::function<raft::Index()> flushed_index;
    // Whether this member's disk has room for a command of so many bytes that makes the store grow;
    // counts it in. Empty: always.
    std::function<bool(uint64_t bytes)> accepts_growth;
    // Whether so little space is left that the log should be as short as can be; and whether writes
    // wait for space already. Both empty: never.
    std::function<bool()> space_is_short;
    std::function<bool()> waits_for_space;
  };

  explicit Replica(Env env);
  ~Replica() override;

  // Begins as what the data directory says: blank, joining or member. `transport` has this object
  // as its handler.
  void Start(transport::Transport* transport);

  // --- Events
  // ---------------------------------------------------------------------------------------
  void OnTick();
  // `jobs` append jobs are done, and released these.
  void OnAppendDone(size_t jobs, std::vector<raft::Message> responses);
  void OnLogRead(raft::Index low, raft::LogResult<std::vector<raft::Entry>> entries);
  void OnManifest(std::string dir, raft::Snapshot snapshot, Result<v1::SnapshotManifest> manifest);
  // Takes everything the core wants done and hands it out. Call after each batch of events.
  void ProcessReady();
  // An apply job is done. On the thread that did it, the apply worker's or the raft thread: the
  // replica looks at it when it is time.
  void TellApplied(ApplyDone done);

  // --- Requests of this node's clients
  // -----------------------------------------------------------------
  void Propose(std::vector<Proposal> proposals);
  void Read(Consistency consistency, MonotonicTime deadline, BarrierCallback done);
  void Initialize(v1::InitializeRequest request, Callback<v1::InitializeResponse> done);
  // A new cluster of this blank node alone, with the content of the checkpoint in `dir`, which is
  // taken over. `response` is completed. Rather ends the process than leave half of it.
  void Restore(const std::string& dir, v1::RestoreResponse response,
               const Callback<v1::RestoreResponse>& done);
  void Join(const v1::JoinRequest& request, MonotonicTime deadline,
            Callback<v1::JoinResponse> done);
  void ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                        Callback<v1::ChangeMembershipResponse> done);
  void TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                          Callback<v1::TransferLeadershipResponse> done);
  void TakeSnapshot(MonotonicTime deadline, Callback<v1::SnapshotResponse> done);
  // A checkpoint for somebody else: its directory, to be removed by the caller, and what it is.
  void MakeExport(MonotonicTime deadline, Callback<std::pair<std::string, raft::Snapshot>> done);
  v1::StatusResponse Status() const;
  // After the last event: answers everyone who still waits.
  void AbandonCalls(const raftkv::Status& status);
  // Hands leadership to the most up-to-date voter, if this node leads.
  // False if there is nothing to hand over, or at this moment nobody who could take it.
  bool HandOver(const char* why);

  bool blank() const { return core_ == nullptr; }
  // Whether clients can be served: a member, and not on its way out.
  bool serving() const { return core_ != nullptr && !leaving_; }
  bool is_leader() const { return core_ && core_->role() == raft::Role::kLeader; }
  raft::NodeId leader() const { return core_ ? core_->leader() : raft::kNone; }
  const raft::Core* core() const { return core_.get(); }
  const ReplicaCounters& counters() const { return counters_; }
  SnapshotsUnderWay snapshots_under_way() const {
    return {snapshot_requested_ || !exports_.empty(), snapshot_targets_.size(), installing_};
  }

  // --- transport::Handler
  // ---------------------------------------------------------------------------
  void OnMessages(std::vector<raft::Message> messages) override;
  void OnCall(raft::NodeId from, v1::PeerCall call, transport::ReplyFn reply) override;
  void OnStrangerCall(const v1::Hello& hello, v1::PeerCall call, transport::ReplyFn reply) override;
  v1::HelloReply::Verdict Admit(raft::NodeId id) override;
  void TellVoters(v1::HelloReply* reply) const override;
  void OnPeerUp(raft::NodeId peer) override;
  void OnPeerDown(raft::NodeId peer) override;
  void OnPeerVerdict(raft::NodeId peer, const v1::HelloReply& reply) override;
  void OnSnapshotReceived(raft::Message message, std::string dir) override;
  void OnSnapshotSent(raft::NodeId to, bool ok) override;

 private:
  // Members are grouped by topic; each group has a .cc file of its own.

  // replica.cc: life cycle, ready handling, ticks
  void StartCore();
  bool IsOnlyVoter() const;
  void PublishPeers();
  void SendMessages(std::vector<raft::Message> messages);
  void SendToPeers(std::vector<raft::Message> messages);
  void WakeAt(MonotonicTime at);
  void Deliver(std::vector<raft::Message> responses);
  void SubmitAppend(raft::StorageAppend work);
  bool NothingToWrite(const raft::StorageAppend& work) const;
  void HandOutAppend(AppendJob job);
  void HandleLeaderChange();
  void TakeApplied();
  void OnApplyDone(ApplyDone done);
  void ApplyConfChanges(const ApplyDone& done);
  void NoteDurableMembership();
  // Why it is not serving: kNotServing if only somebody's hand can change it, else kUnavailable.
  raftkv::Status NotServing() const;

  // replica_housekeeping.cc
  void TruncateLog();
  void HandOverWhileFull();
  void SampleRevision();
  void ProposeCompaction();

  // replica_removal.cc
  void CheckRemoved();
  void BeginLeaving();
  void OnRefusedAsRemoved(raft::NodeId by, const v1::HelloReply& reply);
  void BecomeRemoved();

  // replica_writes.cc
  struct TrackedProposal {
    raft::EntryId id;
    uint64_t request_id;
  };
  struct WaitingProposal {
    Proposal proposal;          // of another member: the command alone
    raft::NodeId from;          // another member, or none
    transport::ReplyFn refuse;  // another member's: tells it that this was not proposed
  };
  void ForwardNow(std::vector<Proposal> proposals);
  void OnForwardRefused(uint64_t request_id, const v1::PeerReply& reply);
  bool HasRoomFor(std::string_view forwarded_command) const;
  void AddWaiting(WaitingProposal waiting);
  void ProposeWaiting();
  std::optional<MonotonicTime> HoldUntil(MonotonicTime now) const;
  void ProposeBatch();
  void ReturnWaiting();
  void FlushParked();
  void ExpireParked();
  void NoteProposed(size_t entries);
  void NoteCommitted();
  void Track(raft::EntryId id, uint64_t request_id);
  std::vector<TrackedProposal> TakeTracked(raft::Index up_to);
  void ResolveOverwritten();
  void Refuse(const WaitingProposal& waiting, const raftkv::Status& status);
  bool FailWaiter(uint64_t request_id, const raftkv::Status& status);

  // replica_reads.cc
  struct PendingRead {
    MonotonicTime deadline;
    BarrierCallback done;
  };
  void StartReadRound();
  void OnReadState(const raft::ReadState& state);
  void ReleaseReads();
  void ExpireReads();
  void FailAllReads(const raftkv::Status& status);
  bool LeaseValid() const;
  void KeepQuietAfterRestart();
  bool WithheldAfterRestart(const raft::Message& message) const;

  // replica_membership.cc
  struct MembershipCall {
    v1::ChangeMembershipRequest request;
    MonotonicTime deadline;
    Callback<v1::ChangeMembershipResponse> done;
    bool from_member = false;                    // a member passed it on to us as the leader
    std::optional<MonotonicTime> patience = {};  // how long it waits for another change
  };
  void Dispatch(MembershipCall call);
  void PassOn(raft::NodeId leader, MembershipCall call);
  void OnChangeReply(raft::NodeId asked, MembershipCall call, Result<v1::PeerReply> reply);
  void Relay(MembershipCall call, v1::ChangeMembershipResponse response);
  void FinishRelayed();
  bool RemovesSelf(const MembershipCall& call) const;
  bool ChangeUnderWay() const;
  bool WaitsForAnother(MembershipCall& call) const;
  void RetryQueued();
  void FinishOwnRemovals();
  void ChangeAsLeader(MembershipCall call);
  void ResolveAddresses(MembershipCall call);
  Result<raft::ConfChange> PlanChange(const v1::ChangeMembershipRequest& request) const;
  void ProposeChange(raft::ConfChange change, MembershipCall call);
  void OnChangeApplied(MembershipCall call, Result<kv::MembershipResult> result);
  void FinishJointWaiters();
  void ExpireMembershipCalls();
  void PromoteCaughtUpLearners();
  bool CaughtUp(raft::NodeId id) const;

  // replica_transfer.cc
  struct TransferCall {
    raft::NodeId to;
    MonotonicTime deadline;
    Callback<v1::TransferLeadershipResponse> done;
  };
  void FinishTransfers();
  void StartTransfer(raft::NodeId to);
  raft::NodeId BestTransferee(const std::set<raft::NodeId>& excluded) const;

  // replica_snapshots.cc
  void RequestSnapshot();
  void SendSnapshotMessage(raft::Message message);
  std::string NewCheckpointDir();
  void OnCheckpoint(const ApplyDone& done);
  void InstallSnapshot(AppendJob* job);
  void OnReplaced(raft::EntryId snapshot);
  void RetireReadySnapshot();
  void ExpireSnapshotCalls();

  // replica_bootstrap.cc: how a blank node becomes a member
  void BootstrapTick();
  void ExpireJoins();
  v1::JoinResponse Joined() const;  // what a member answers that asks to join
  void AnswerJoins(const Result<v1::JoinResponse>& answer);
  void DiscoverStaticPeers();
  void OnAllDiscovered();
  void TryJoin();
  void JoinAgain(const v1::JoinRequest& request, int next, Callback<v1::JoinResponse> done);
  void OnJoined(const v1::JoinReply& joined);
  // Once of each address that is asked to join, until its answer changes.
  void LogBootstrap(const std::string& text, const std::string& asked = "");
  // Blank, and to take the place of a damaged member.
  bool replacing() const { return core_ == nullptr && env_.options->replaces.has_value(); }
  raftkv::Status BecomeMember(uint64_t cluster_id, const v1::ClusterState* initial,
                              const v1::ClusterState& seeds);
  v1::Member Self() const;
  void AskFirstMember(int index, v1::InitializeRequest request,
                      Callback<v1::InitializeResponse> done);
  Result<v1::InitializeResponse> InitializeNow(const v1::InitializeRequest& request);

  // replica_joins.cc: what a member does for those who want to become one
  Result<v1::ChangeMembershipRequest> PlanReplacement(const v1::PeerCall& call) const;
  void HandleJoin(const v1::PeerCall& call, transport::ReplyFn reply);
  v1::PeerReply JoinAnswer() const;
  v1::PeerReply RefuseReplacement(const raftkv::Status& status) const;
  void AgreeToReplace(v1::PeerCall call, transport::ReplyFn reply);

  // replica_peers.cc: calls of others, adoption, introductions
  void HandleAdopt(const v1::Adopt& adopt, transport::ReplyFn reply);
  // `last`: of the peer's log, if it is known.
  void AdoptPeer(raft::NodeId peer, std::optional<raft::Index> last = std::nullopt);
  void IntroduceSelf();
  void HelpCandidate(const raft::Message& message);
  void Introduce(const v1::Adopt& adopt);

  // replica_status.cc
  std::vector<std::string> AddressWarnings() const;

  Env env_;
  transport::Transport* transport_ = nullptr;
  const raft::NodeId id_;
  ReplicaLog replica_log_;
  std::unique_ptr<raft::Core> core_;
  ReplicaCounters counters_;
  // The membership as a crash now would leave it.
  uint64_t durable_config_index_ = 0;
  std::set<uint64_t> durably_removed_;
  std::set<uint64_t> durable_voters_;  // none while it is joint
  // Removed by the configuration that this node knows, or told so: it serves no clients any more.
  bool leaving_ = false;
  std::set<raft::NodeId> refused_by_;  // members that called us removed
  MonotonicTime refused_since_{};
  bool refused_by_later_ = false;  // by a member that shows that our configuration is history
  // It has stopped for good.
  bool removed_ = false;

  // Appends.
  size_t appends_under_way_ = 0;
  raft::HardState hard_state_;     // the newest that the core handed out
  bool commit_unwritten_ = false;  // its commit index goes with the next append

  ApplyNotices applied_;

  // Messages.
  CommitNotices notices_;
  std::optional<MonotonicTime> wake_at_;  // ProcessReady will be called then

  // Writes.
  std::deque<Proposal> parked_;          // wait for a leader
  std::deque<WaitingProposal> waiting_;  // for this leader's next batch
  uint64_t waiting_bytes_ = 0;
  // Proposed by this node as leader, not yet applied. In the order of proposing; the indexes are
  // not in order if leadership was lost and won back, and others' entries took their places
  // meanwhile.
  std::deque<TrackedProposal> tracked_;
  bool tracked_in_order_ = true;
  // What was proposed in this term and is not yet committed.
  struct ProposedBatch {
    raft::EntryId last;
    size_t entries;
    MonotonicTime at;
  };
  std::deque<ProposedBatch> proposed_;
  Gathering gathering_;

  // Reads.
  // Context of the round under way or the last one. Begins somewhere else in each process, so that
  // an answer to a former one confirms nothing.
  uint64_t read_round_;
  bool round_under_way_ = false;
  raft::Term round_term_;
  MonotonicTime round_started_;
  MonotonicTime round_retry_at_;
  std::vector<PendingRead> next_reads_;                    // wait for the next round
  std::vector<PendingRead> round_reads_;                   // wait for the round under way
  std::multimap<raft::Index, PendingRead> applied_reads_;  // confirmed; wait for the state machine
  std::atomic<bool> awaits_apply_ = false;                 // there are such; any thread
  MonotonicTime lease_until_{};                            // leader only; see LeaseValid
  raft::Term lease_term_;
  // This process started again: until then it grants no vote (see OnMessages).
  MonotonicTime quiet_until_{};
  raft::Term transfer_term_;  // a transfer was asked for in this term: no lease holds in it

  // Membership.
  std::vector<MembershipCall> parked_changes_;  // wait for a leader
  std::vector<MembershipCall> queued_changes_;  // wait for the change under way
  // Wait for a new member to say who it is.
  std::vector<std::shared_ptr<MembershipCall>> resolving_;
  std::vector<MembershipCall> joint_waiters_;  // applied; wait until the joint state is left
  // The leader has made the change; wait until this member knows of it.
  struct RelayedAnswer {
    v1::ChangeMembershipResponse response;
    MonotonicTime until;
    Callback<v1::ChangeMembershipResponse> done;
  };
  std::vector<RelayedAnswer> relayed_;
  // Passed on to a leader, and remove this member: the answer may never come, because whoever is
  // removed is let in no more.
  std::vector<std::shared_ptr<MembershipCall>> own_removals_;
  std::vector<TransferCall> transfers_;

  // Snapshots.
  bool snapshot_requested_ = false;
  std::string ready_snapshot_dir_;
  MonotonicTime ready_snapshot_used_{};
  std::map<raft::NodeId, MonotonicTime> snapshot_targets_;  // being sent to, since when
  struct Export {
    MonotonicTime deadline;
    Callback<std::pair<std::string, raft::Snapshot>> done;  // empty: answered, the deadline passed
  };
  std::map<std::string, Export> exports_;  // by directory
  std::vector<std::string> retired_dirs_;  // replaced while they were being sent
  // Received and verified; taken by the core in the same step, or dropped.
  std::optional<std::pair<raft::EntryId, std::string>> staged_;
  bool installing_ = false;
  std::deque<AppendJob> held_appends_;  // behind an installation
  // The reset of the log after the last installation, and how many append jobs end with it.
  struct PendingReset {
    raft::EntryId snapshot;
    size_t jobs;
  };
  std::optional<PendingReset> pending_reset_;
  std::vector<std::pair<MonotonicTime, Callback<v1::SnapshotResponse>>> snapshot_waiters_;

  // Log truncation.
  raft::Index flushed_;  // of the state, or more by now
  raft::Index truncated_to_;
  uint64_t full_rounds_ = 0;  // of housekeeping, with a full disk
  bool flush_under_way_ = false;
  bool garbage_under_way_ = false;
  uint64_t garbage_done_for_ = 0;  // compact revision that was collected completely
  // (applied index, bytes applied up to it): finds where log_keep_bytes ends.
  std::deque<std::pair<raft::Index, uint64_t>> applied_sizes_;
  uint64_t applied_bytes_total_ = 0;

  // History compaction: revision at a time. Kept by every member, so that a change of the leader
  // does not begin the measuring of ages anew.
  std::deque<std::pair<MonotonicTime, uint64_t>> revision_samples_;

  // Bootstrap.
  MonotonicTime next_bootstrap_{};
  bool bootstrap_call_under_way_ = false;
  std::map<std::string, v1::IAm> discovered_;
  size_t discover_pending_ = 0;
  std::vector<std::string> join_addresses_;
  bool join_remain_learner_ = false;
  bool joins_by_itself_ = true;  // not because the admin API said so
  size_t next_join_address_ = 0;
  std::string last_bootstrap_log_;                     // why this node is still blank
  std::map<std::string, std::string> bootstrap_told_;  // what was logged of whom
  std::optional<MonotonicTime> others_have_cluster_;   // nodes of the static list, since when
  std::vector<std::pair<MonotonicTime, Callback<v1::JoinResponse>>> join_waiters_;
  std::set<raft::NodeId> adopting_;
  std::set<raft::NodeId> connected_;     // our streams that are up
  std::set<raft::NodeId> lost_;          // that were, and are not up again
  std::set<raft::NodeId> unintroduced_;  // of these, who may not know us and our address
  std::map<raft::NodeId, MonotonicTime> helped_;
  // Members of a configuration newer than our own, as a member that has it told us.
  std::map<raft::NodeId, std::string> introduced_;
  uint64_t introduced_index_ = 0;
  uint64_t ticks_ = 0;
  raft::NodeId last_leader_;
  raft::Term last_term_;
};

}  // namespace raftkv::runtime
