#include "node/runtime/replica.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/fault_points.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"

namespace raftkv::runtime {
namespace {

// Housekeeping (log truncation, promotion, retired files) runs every so many ticks.
constexpr uint64_t kHousekeepingTicks = 5;

}  // namespace

Replica::Replica(Env env)
    : env_(std::move(env)),
      id_(env_.storage.dir->identity().member_id()),
      replica_log_(
          env_.storage.log, env_.storage.machine, [this] { RequestSnapshot(); },
          [this](raft::Index low) { env_.ports->SubmitRead(low, ReadAhead::kPieceBytes); }),
      applied_(env_.options->max_apply_bytes),
      read_round_(env_.next_request_id()) {}

Replica::~Replica() = default;

void Replica::Start(transport::Transport* transport) {
  transport_ = transport;
  const v1::Identity& identity = env_.storage.dir->identity();
  transport_->SetIdentity({identity.cluster_id(), id_, identity.name()});
  if (identity.cluster_id() != 0) {
    KeepQuietAfterRestart();
    StartCore();
  } else {
    log::Info("this node is blank: it waits to be initialized or to join",
              {{"member", log::Hex{id_.value}}, {"data", env_.storage.dir->path()}});
  }
}

void Replica::StartCore() {
  const Options& options = *env_.options;
  raft::Config config;
  config.id = id_;
  config.election_ticks = options.election_ticks;
  config.heartbeat_ticks = options.heartbeat_ticks;
  config.log = &replica_log_;
  config.logger = env_.logger;
  config.random = env_.random;
  config.applied = env_.storage.machine->applied().index;
  config.async_storage_writes = true;
  config.max_bytes_per_append = options.max_append_bytes;
  config.max_committed_bytes_per_ready = options.max_apply_bytes;
  config.max_uncommitted_bytes = options.max_uncommitted_bytes;
  config.max_inflight_messages = options.max_inflight_appends;
  config.max_inflight_bytes = options.max_inflight_append_bytes;
  config.check_quorum = options.check_quorum;
  config.pre_vote = options.pre_vote;
  // Followers forward by calls of their own (replica_writes.cc), which can be refused.
  config.disable_proposal_forwarding = true;
  config.step_down_on_removal = true;
  core_ = std::make_unique<raft::Core>(config);
  last_term_ = core_->term();
  hard_state_ = env_.storage.log->hard_state();
  truncated_to_ = env_.storage.log->first_index().Prev();
  garbage_done_for_ = 0;
  // The one time that it is read here.
  if (const Result<raft::Index> flushed = env_.storage.machine->FlushedIndex()) flushed_ = *flushed;
  NoteDurableMembership();
  PublishPeers();
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  log::Info("member started", {{"member", log::Hex{id_.value}},
                               {"cluster", log::Hex{env_.storage.dir->identity().cluster_id()}},
                               {"applied", config.applied.value},
                               {"last", core_->last_index().value},
                               {"members", cluster->members_size()}});
  for (const std::string& warning : AddressWarnings()) log::Warning(warning);
  // The only voter need not wait for a leader that cannot exist.
  if (IsOnlyVoter()) {
    (void)core_->StartCampaign();
  }
  CheckRemoved();
}

bool Replica::IsOnlyVoter() const {
  const v1::ConfState& conf = env_.storage.machine->cluster()->conf();
  return conf.voters_size() == 1 && conf.voters_outgoing_size() == 0 && conf.voters(0) == id_.value;
}

void Replica::PublishPeers() {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  std::map<raft::NodeId, std::string> peers;
  const auto add = [&](const v1::Member& member) {
    if (member.id() != 0 && member.id() != id_.value) {
      peers[raft::NodeId(member.id())] = member.peer_address();
    }
  };
  for (const v1::Member& member : cluster->members()) add(member);
  if (cluster->members().empty()) {
    for (const v1::Member& member : env_.storage.dir->identity().seeds()) add(member);
  }
  if (introduced_index_ > cluster->config_index()) {
    for (const auto& [id, address] : introduced_) {
      const auto& removed = cluster->removed_ids();
      const bool gone = std::find(removed.begin(), removed.end(), id.value) != removed.end();
      if (!gone && id != id_) peers[id] = address;
    }
  }
  transport_->SetPeers(peers);
}

void Replica::OnTick() {
  ++ticks_;
  // Whoever waits is answered by the deadline, whatever has become of this node.
  ExpireReads();
  ExpireMembershipCalls();
  ExpireSnapshotCalls();
  ExpireJoins();
  if (removed_) return;
  if (core_ == nullptr) {
    BootstrapTick();
    return;
  }
  core_->Tick(lost_.contains(core_->leader()));
  replica_log_.read_ahead().Tick();
  if (env_.storage.machine->cluster()->conf().voters().empty()) BootstrapTick();
  ExpireParked();
  FinishTransfers();
  for (Waiter& waiter : env_.waiters->TakeExpired(env_.clock->Now())) {
    waiter.Fail(raftkv::Status(
        Code::kUnknownOutcome,
        "the write was proposed but not seen to commit in time: it may or may not happen; read the "
        "key, or repeat it with a condition"));
  }
  if (ticks_ % kHousekeepingTicks == 0) {
    PromoteCaughtUpLearners();
    TruncateLog();
    HandOverWhileFull();
    IntroduceSelf();
    RetireReadySnapshot();
    SampleRevision();
    ProposeCompaction();
  }
}

void Replica::ProcessReady() {
  TakeApplied();
  if (core_ == nullptr || removed_) return;
  NoteCommitted();
  ProposeWaiting();
  if (!round_under_way_ && !next_reads_.empty()) StartReadRound();
  while (core_->HasReady()) {
    raft::Ready ready = core_->TakeReady();
    if (ready.soft_state) HandleLeaderChange();
    SendMessages(std::move(ready.messages));
    for (const raft::ReadState& state : ready.read_states) OnReadState(state);
    if (!round_under_way_ && !next_reads_.empty()) StartReadRound();
  }
  NoteCommitted();
  SendToPeers(notices_.TakeDue(env_.clock->Now()));
  if (const auto due = notices_.next_due()) WakeAt(*due);
  ReleaseReads();
}

// Messages to peers leave first, so that the network and the disk work at the same time (thesis,
// section 10.2.1).
void Replica::SendMessages(std::vector<raft::Message> messages) {
  std::vector<raft::Message> out;
  std::vector<raft::Message> local;
  for (raft::Message& message : messages) {
    if (message.to == raft::kAppendThread || message.to == raft::kApplyThread) {
      local.push_back(std::move(message));
    } else if (message.Is<raft::InstallSnapshot>()) {
      SendSnapshotMessage(std::move(message));
    } else {
      out.push_back(std::move(message));
    }
  }
  SendToPeers(notices_.Filter(std::move(out), core_->pending_conf_index(), env_.clock->Now()));
  for (raft::Message& message : local) {
    if (auto* append = std::get_if<raft::StorageAppend>(&message.body)) {
      SubmitAppend(std::move(*append));
    } else {
      auto& apply = std::get<raft::StorageApply>(message.body);
      env_.ports->SubmitApply(ApplyEntries{std::move(apply.entries), std::move(apply.responses)});
    }
  }
}

void Replica::SubmitAppend(raft::StorageAppend work) {
  if (NothingToWrite(work)) {
    if (work.hard_state) {
      hard_state_ = *work.hard_state;
      commit_unwritten_ = true;
    }
    return Deliver(std::move(work.responses));
  }
  if (work.hard_state) {
    hard_state_ = *work.hard_state;
  } else if (commit_unwritten_) {
    work.hard_state = hard_state_;
  }
  commit_unwritten_ = false;
  AppendJob job{std::move(work), std::nullopt};
  if (job.work.snapshot) InstallSnapshot(&job);
  HandOutAppend(std::move(job));
}

// A commit index that moved alone need not be durable, and with no write under way, what the
// responses rest on is: neither has to visit the append thread.
bool Replica::NothingToWrite(const raft::StorageAppend& work) const {
  const bool only_commit = !work.hard_state || (work.hard_state->term == hard_state_.term &&
                                                work.hard_state->vote == hard_state_.vote);
  return only_commit && work.entries.empty() && !work.snapshot &&
         (MUTATION(answer_past_the_disk) || appends_under_way_ == 0) && !installing_;
}

void Replica::HandOutAppend(AppendJob job) {
  if (installing_) return held_appends_.push_back(std::move(job));
  ++appends_under_way_;
  env_.ports->SubmitAppend(std::move(job));
}

void Replica::OnAppendDone(size_t jobs, std::vector<raft::Message> responses) {
  CHECK(jobs <= appends_under_way_, "only what was handed out comes back");
  appends_under_way_ -= jobs;
  if (pending_reset_) {
    pending_reset_->jobs -= std::min(jobs, pending_reset_->jobs);
    if (pending_reset_->jobs == 0) {
      env_.ports->SubmitApply(FinishInstallation{pending_reset_->snapshot});
      pending_reset_.reset();
    }
  }
  if (core_ != nullptr) Deliver(std::move(responses));
}

void Replica::Deliver(std::vector<raft::Message> responses) {
  std::vector<raft::Message> out;
  for (raft::Message& response : responses) {
    if (response.to == id_) {
      // Stale responses are dropped by the core's own term rules.
      (void)core_->Step(std::move(response));
    } else {
      out.push_back(std::move(response));
    }
  }
  SendToPeers(std::move(out));
}

// With its tombstone written a member says nothing more, whatever waited for a slow or full disk
// until then: a vote among others.
void Replica::SendToPeers(std::vector<raft::Message> messages) {
  if (messages.empty() || (removed_ && !MUTATION(speak_after_tombstone))) return;
  FAULT_POINT(send_before);
  transport_->Send(std::move(messages));
  FAULT_POINT(send_after);
}

// ProcessReady looks again at what was put off until then.
void Replica::WakeAt(MonotonicTime at) {
  if (wake_at_ && *wake_at_ <= at) return;
  wake_at_ = at;
  env_.post_after(at - env_.clock->Now(), [this, at] {
    if (wake_at_ == at) wake_at_.reset();
  });
}

void Replica::OnLogRead(raft::Index low, raft::LogResult<std::vector<raft::Entry>> entries) {
  replica_log_.read_ahead().Add(low, std::move(entries).value_or(std::vector<raft::Entry>()));
  if (core_ != nullptr) core_->EntriesRead();
}

void Replica::TellApplied(ApplyDone done) {
  if (applied_.Add(std::move(done), awaits_apply_.load())) env_.post([this] { TakeApplied(); });
}

void Replica::TakeApplied() {
  for (ApplyDone& done : applied_.Take()) OnApplyDone(std::move(done));
}

void Replica::OnApplyDone(ApplyDone done) {
  garbage_under_way_ = garbage_under_way_ && !done.garbage_collected;
  if (done.garbage_collected && !done.more_garbage) garbage_done_for_ = done.compact_revision;
  if (done.flushed) {
    flush_under_way_ = false;
    flushed_ = std::max(flushed_, *done.flushed);
  }
  if (done.replaced) flushed_ = std::max(flushed_, done.replaced->index);
  if (done.checkpoint || done.checkpoint_error) OnCheckpoint(done);
  if (core_ == nullptr) return;
  if (done.replaced) OnReplaced(*done.replaced);
  ApplyConfChanges(done);
  if (MUTATION(apply_done_lost) && done.applied_bytes > 400) done.responses.clear();
  for (raft::Message& response : done.responses) (void)core_->Step(std::move(response));
  if (done.applied_bytes > 0) {
    applied_bytes_total_ += done.applied_bytes;
    const raft::Index applied = core_->applied();
    // Coarse steps are enough to find where log_keep_bytes ends.
    if (applied_sizes_.empty() || applied_bytes_total_ - applied_sizes_.back().second > 256 << 10) {
      applied_sizes_.emplace_back(applied, applied_bytes_total_);
    }
  }
  ResolveOverwritten();
  ReleaseReads();
  if (done.flushed || done.replaced) NoteDurableMembership();
  if (!done.accepted_changes.empty()) {
    // Others are told that they are removed, and go, only when a crash cannot make us forget it:
    // with an older configuration we might need their votes (the commit index alone is not synced).
    env_.ports->SubmitApply(FlushState{});
  }
  if (!done.memberships.empty()) {
    FinishJointWaiters();
    FinishRelayed();
    CheckRemoved();
    RetryQueued();
  }
}

void Replica::NoteDurableMembership() {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  if (!MUTATION(refuse_before_durable) && flushed_.value < cluster->config_index()) return;
  durable_config_index_ = cluster->config_index();
  const auto& removed = cluster->removed_ids();
  durably_removed_ = std::set<uint64_t>(removed.begin(), removed.end());
  const v1::ConfState& conf = cluster->conf();
  durable_voters_.clear();
  if (conf.voters_outgoing().empty())
    durable_voters_.insert(conf.voters().begin(), conf.voters().end());
  // Before the streams of those who are removed are closed: one of them may wait for the answer.
  FinishJointWaiters();
  // Whoever talks to us still is asked who it is once more.
  PublishPeers();
}

void Replica::ApplyConfChanges(const ApplyDone& done) {
  if (done.accepted_changes.empty() && !done.replaced) return;
  size_t next = 0;
  for (const kv::MembershipResult& membership : done.memberships) {
    if (!membership.status.ok()) continue;
    CHECK(next < done.accepted_changes.size(), "an accepted change has its steps");
    const raft::ConfChange& change = *done.accepted_changes[next++];
    // The core has taken over a later configuration from a snapshot meanwhile.
    if (raft::Index(membership.config_index) < core_->first_index()) continue;
    FAULT_POINT(configuration_before);
    const raft::ConfState conf = core_->ApplyConfChange(change);
    FAULT_POINT(configuration_after);
    CHECK(conf == membership.conf, "core and state machine agree on the configuration");
    log::Info("configuration applied", {{"index", membership.config_index},
                                        {"voters", conf.voters.size()},
                                        {"learners", conf.learners.size()},
                                        {"joint", !conf.voters_outgoing.empty()}});
  }
  PublishPeers();
}

void Replica::HandleLeaderChange() {
  const raft::NodeId leader = core_->leader();
  if (leader == last_leader_ && core_->term() == last_term_) return;
  if (leader != last_leader_ && leader != raft::kNone) {
    counters_.leader_changes.fetch_add(1, std::memory_order_relaxed);
    log::Info("leader elected", {{"leader", log::Hex{leader.value}},
                                 {"term", core_->term().value},
                                 {"self", leader == id_}});
  } else if (leader == raft::kNone && last_leader_ != raft::kNone) {
    log::Warning("no leader: writes and linearizable reads wait",
                 {{"term", core_->term().value}, {"last leader", log::Hex{last_leader_.value}}});
  }
  last_leader_ = leader;
  last_term_ = core_->term();
  lease_until_ = MonotonicTime{};
  notices_.Clear();
  FinishTransfers();
  helped_.clear();
  // Members that came up while this one was not yet known to them have to know their leader.
  if (leader == id_ && !MUTATION(introduce_once)) unintroduced_ = connected_;
  if (leader != id_) ReturnWaiting();
  if (leader == raft::kNone) return;
  // A round that asked the old leader may never be answered.
  if (round_under_way_) round_retry_at_ = env_.clock->Now();
  FlushParked();
}

void Replica::AbandonCalls(const raftkv::Status& status) {
  FailAllReads(status);
  for (MembershipCall& call : std::exchange(parked_changes_, {})) call.done(Error(status));
  for (MembershipCall& call : std::exchange(queued_changes_, {})) call.done(Error(status));
  for (const auto& call : std::exchange(resolving_, {})) call->done(Error(status));
  for (MembershipCall& call : std::exchange(joint_waiters_, {})) {
    call.done(Error(Code::kUnknownOutcome, "this node stopped before the change was complete"));
  }
  for (RelayedAnswer& answer : std::exchange(relayed_, {})) answer.done(std::move(answer.response));
  for (const std::shared_ptr<MembershipCall>& call : std::exchange(own_removals_, {})) {
    std::exchange(call->done, nullptr)(
        Error(Code::kUnknownOutcome, "this node stopped before it knew the outcome of the change"));
  }
  for (TransferCall& call : std::exchange(transfers_, {})) call.done(Error(status));
  for (auto& [deadline, done] : std::exchange(snapshot_waiters_, {})) done(Error(status));
  for (auto& [dir, waiting] : exports_) {
    if (waiting.done) std::exchange(waiting.done, nullptr)(Error(status));
  }
  AnswerJoins(Error(status));
}

}  // namespace raftkv::runtime
