#include "node/runtime/replica.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/fault_points.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/storage/codec.h"

namespace raftkv::runtime {
namespace {

// Housekeeping (log truncation, promotion, retired files) runs every so many ticks.
constexpr uint64_t kHousekeepingTicks = 5;
// A leader whose disk is full hands over in its second round of housekeeping, and tries again after
// so many: a transfer has ended by then.
constexpr uint64_t kHandOverRounds = 10;
// The state is flushed that often while the disk lacks space, so that the log can be cut.
constexpr uint64_t kFlushAfterIfShort = 1 << 20;
// And of the tail that is kept for slow followers this share stays.
constexpr uint64_t kKeptShareIfShort = 16;
// A removed member that not enough others have called removed stops this long after the first did.
constexpr Duration kLeaveAnyway = std::chrono::seconds(30);

}  // namespace

Replica::Replica(Env env)
    : env_(std::move(env)),
      id_(env_.data_dir->identity().member_id()),
      replica_log_(env_.log, env_.machine, [this] { RequestSnapshot(); }),
      read_round_(env_.next_request_id()) {}

Replica::~Replica() = default;

void Replica::Start(transport::Transport* transport) {
  transport_ = transport;
  const v1::Identity& identity = env_.data_dir->identity();
  transport_->SetIdentity({identity.cluster_id(), id_, identity.name()});
  if (identity.cluster_id() != 0) {
    KeepQuietAfterRestart();
    StartCore();
  } else {
    log::Info("this node is blank: it waits to be initialized or to join",
              {{"member", log::Hex{id_.value}}, {"data", env_.data_dir->path()}});
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
  config.applied = env_.machine->applied().index;
  config.async_storage_writes = true;
  config.max_bytes_per_append = options.max_append_bytes;
  config.max_committed_bytes_per_ready = options.max_apply_bytes;
  config.max_uncommitted_bytes = options.max_uncommitted_bytes;
  config.max_inflight_messages = options.max_inflight_appends;
  config.check_quorum = options.check_quorum;
  config.pre_vote = options.pre_vote;
  // Followers forward by calls of their own (replica_writes.cc), which can be refused.
  config.disable_proposal_forwarding = true;
  config.step_down_on_removal = true;
  core_ = std::make_unique<raft::Core>(config);
  last_term_ = core_->term();
  hard_state_ = env_.log->hard_state();
  truncated_to_ = env_.log->first_index().Prev();
  garbage_done_for_ = 0;
  NoteDurableMembership();
  PublishPeers();
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  log::Info("member started", {{"member", log::Hex{id_.value}},
                               {"cluster", log::Hex{env_.data_dir->identity().cluster_id()}},
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
  const v1::ConfState& conf = env_.machine->cluster()->conf();
  return conf.voters_size() == 1 && conf.voters_outgoing_size() == 0 && conf.voters(0) == id_.value;
}

void Replica::PublishPeers() {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  std::map<raft::NodeId, std::string> peers;
  const auto add = [&](const v1::Member& member) {
    if (member.id() != 0 && member.id() != id_.value) {
      peers[raft::NodeId(member.id())] = member.peer_address();
    }
  };
  for (const v1::Member& member : cluster->members()) add(member);
  if (cluster->members().empty()) {
    for (const v1::Member& member : env_.data_dir->identity().seeds()) add(member);
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
  core_->Tick();
  if (env_.machine->cluster()->conf().voters().empty()) BootstrapTick();
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
  if (core_ == nullptr || removed_) return;
  MeasureCommits();
  ProposeWaiting();
  if (!round_under_way_ && !next_reads_.empty()) StartReadRound();
  while (core_->HasReady()) {
    raft::Ready ready = core_->TakeReady();
    if (ready.soft_state) HandleLeaderChange();
    SendMessages(std::move(ready.messages));
    for (const raft::ReadState& state : ready.read_states) OnReadState(state);
    if (!round_under_way_ && !next_reads_.empty()) StartReadRound();
  }
  MeasureCommits();
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
  SendToPeers(notices_.Filter(std::move(out), env_.clock->Now()));
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

void Replica::SendToPeers(std::vector<raft::Message> messages) {
  if (messages.empty()) return;
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

void Replica::OnApplyDone(ApplyDone done) {
  garbage_under_way_ = garbage_under_way_ && !done.garbage_collected;
  if (done.garbage_collected && !done.more_garbage) garbage_done_for_ = done.compact_revision;
  if (done.flushed) flush_under_way_ = false;
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
    CheckRemoved();
  }
}

void Replica::NoteDurableMembership() {
  const Result<raft::Index> flushed = env_.machine->FlushedIndex();
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  if (!flushed) return;
  if (!MUTATION(refuse_before_durable) && flushed->value < cluster->config_index()) return;
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

// --- The end of this member ----------------------------------------------------------------------

void Replica::CheckRemoved() {
  if (core_ == nullptr || leaving_) return;
  const std::shared_ptr<const v1::ClusterState> cluster = env_.machine->cluster();
  const auto& removed = cluster->removed_ids();
  if (std::find(removed.begin(), removed.end(), id_.value) != removed.end()) BeginLeaving();
}

// Those who stay may not know yet that the change is committed, and need our vote as long as they
// go by the old configuration: if everyone left at once they might never elect a leader again. So a
// removed member only serves its clients no more, and stays until a majority calls it removed.
void Replica::BeginLeaving() {
  if (std::exchange(leaving_, true)) return;
  if (MUTATION(leave_at_once)) BecomeRemoved();
  log::Warning("the cluster removed this member: it stops when a majority knows",
               {{"member", log::Hex{id_.value}}});
  for (Waiter& waiter : env_.waiters->TakeAll()) {
    waiter.Fail(raftkv::Status(Code::kUnknownOutcome,
                               "this member was removed from its cluster while the write was under "
                               "way: it may or may not have happened"));
  }
  parked_.clear();
  tracked_.clear();
  FailAllReads(NotServing());
}

void Replica::OnRefusedAsRemoved(raft::NodeId by, const v1::HelloReply& reply) {
  const MonotonicTime now = env_.clock->Now();
  if (refused_by_.empty()) refused_since_ = now;
  refused_by_.insert(by);
  BeginLeaving();
  FinishOwnRemovals();
  const auto majority = [this](const raft::MajorityConfig& voters) {
    size_t refused = 0;
    size_t others = 0;
    for (const raft::NodeId voter : voters.ids()) {
      if (voter == id_) continue;
      ++others;
      refused += refused_by_.contains(voter) ? 1 : 0;
    }
    return others == 0 || refused > others / 2;
  };
  const raft::JointConfig& voters = core_->tracker_config().voters;
  const auto& removed = env_.machine->cluster()->removed_ids();
  const bool knows = std::find(removed.begin(), removed.end(), id_.value) != removed.end();
  // Voters go when the joint configuration is left, learners when it is entered: nobody needs them.
  const bool was_learner = knows && !voters.outgoing.empty();
  // In a joint configuration too: those who stay are the incoming half.
  const bool enough = majority(voters.incoming);
  // Those whom we know as voters may be gone themselves: the wait ends after a while, unless this
  // member knows who stays and is refused by nobody else. Until a majority of those who stay knows,
  // they are in the joint configuration and need the old half. Voters of a later configuration
  // prove that they know.
  const raft::TrackerConfig& config = core_->tracker_config();
  const bool known = voters.incoming.contains(by) || voters.outgoing.contains(by) ||
                     config.learners.contains(by) ||
                     std::ranges::find(removed, by.value) != removed.end();
  if (reply.voter() ? !voters.incoming.contains(by) : !known) refused_by_later_ = true;
  const bool knows_who_stays = knows || (config.joint() && !voters.incoming.contains(id_));
  // Some of those whom we know as staying may have gone since. Whoever decides now is told: if a
  // majority of these have the removal on their disks, they can elect one of theirs, whatever the
  // others still believe. Those who came after our configuration know it without being asked.
  size_t told = 0;
  for (const uint64_t voter : reply.voters()) {
    const raft::NodeId id(voter);
    const bool came_later = !voters.Ids().contains(id) && !config.learners.contains(id);
    told += refused_by_.contains(id) || (knows_who_stays && came_later) ? 1 : 0;
  }
  const bool told_enough =
      !MUTATION(ask_only_old_voters) && told > static_cast<size_t>(reply.voters_size()) / 2;
  const bool long_enough = now - refused_since_ >= kLeaveAnyway;
  const bool wait_ends = long_enough && (!knows_who_stays || refused_by_later_);
  if (was_learner || enough || told_enough || wait_ends) BecomeRemoved();
}

void Replica::BecomeRemoved() {
  if (std::exchange(removed_, true)) return;
  log::Warning("this member was removed from its cluster: it stops for good",
               {{"member", log::Hex{id_.value}},
                {"remedy", "to use this machine again, start with an empty data directory"}});
  v1::Identity identity = env_.data_dir->identity();
  identity.set_removed(true);
  const raftkv::Status status = env_.data_dir->SetIdentity(identity);
  if (!status.ok()) {
    log::Error("the tombstone could not be written; other members still refuse this one",
               {{"error", status.ToString()}});
  }
  AbandonCalls({Code::kUnavailable, "this member was removed from its cluster; ask another one"});
  env_.on_removed();
}

void Replica::AbandonCalls(const raftkv::Status& status) {
  FailAllReads(status);
  for (MembershipCall& call : std::exchange(parked_changes_, {})) call.done(Error(status));
  for (MembershipCall& call : std::exchange(joint_waiters_, {})) {
    call.done(Error(Code::kUnknownOutcome, "this node stopped before the change was complete"));
  }
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

// --- Log truncation, flushes, garbage and history ------------------------------------------------

void Replica::TruncateLog() {
  if (installing_) return;
  const Result<raft::Index> flushed = env_.machine->FlushedIndex();
  if (!flushed) {
    env_.fatal(flushed.error());
    return;
  }
  const Options& options = *env_.options;
  const raft::Index applied = core_->applied();
  const raft::Index durable =
      MUTATION(truncate_to_unflushed) ? applied : std::min(*flushed, applied);
  // What is kept for those who lag a little goes before the disk is full; who lags gets a snapshot.
  const bool is_short = env_.space_is_short && env_.space_is_short();
  const bool waits = env_.waits_for_space && env_.waits_for_space();
  const uint64_t share = is_short ? kKeptShareIfShort : 1;
  const uint64_t keep_bytes = options.log_keep_bytes / share;
  const uint64_t keep_entries = options.log_keep_entries / share;
  uint64_t durable_bytes = 0;  // applied bytes up to `durable`
  raft::Index keep_from;
  for (const auto& [index, bytes] : applied_sizes_) {
    if (index <= durable) durable_bytes = bytes;
    if (bytes + keep_bytes < applied_bytes_total_) keep_from = index;
  }
  if (applied.value > keep_entries) keep_from = std::max(keep_from, applied - keep_entries);
  if (waits) keep_from = applied;
  raft::Index target = std::min(durable, keep_from);
  if (!snapshot_targets_.empty() && replica_log_.ready_snapshot()) {
    target = std::min(target, replica_log_.ready_snapshot()->index);
  }
  // Single entries are not worth a write, unless the disk lacks their space.
  if (target.value >= truncated_to_.value + (waits ? 1 : 100)) {
    truncated_to_ = target;
    env_.ports->SubmitTruncate(target);
    while (applied_sizes_.size() > 1 && applied_sizes_.front().first < target) {
      applied_sizes_.pop_front();
    }
  }
  const uint64_t flush_after = is_short ? std::min(kFlushAfterIfShort, options.flush_after_bytes)
                                        : options.flush_after_bytes;
  if (!flush_under_way_ && applied_bytes_total_ - durable_bytes > flush_after &&
      durable < applied) {
    flush_under_way_ = true;
    env_.ports->SubmitApply(FlushState{});
  }
  const uint64_t compacted = env_.machine->applied().compact_revision;
  if (!garbage_under_way_ && compacted > garbage_done_for_) {
    garbage_under_way_ = true;
    env_.ports->SubmitApply(CollectGarbage{});
  }
}

// A leader that cannot write cannot answer writes either, although the others carry them out. Nor
// can it be elected again before there is space.
void Replica::HandOverWhileFull() {
  const bool waits = env_.waits_for_space && env_.waits_for_space();
  full_rounds_ = waits ? full_rounds_ + 1 : 0;
  if (full_rounds_ % kHandOverRounds == 2) HandOver("the disk is full");
}

void Replica::SampleRevision() {
  const Duration keep = env_.options->compact_keep_age;
  if (keep <= Duration::zero()) return;
  const MonotonicTime now = env_.clock->Now();
  // Old enough, and so is the next: of no use any more.
  while (revision_samples_.size() > 1 && now - revision_samples_[1].first >= keep) {
    revision_samples_.pop_front();
  }
  // However long the age is, some thousand samples measure it well enough.
  const Duration step = std::max<Duration>(std::chrono::seconds(1), keep / 1000);
  if (revision_samples_.empty() || now - revision_samples_.back().first >= step) {
    revision_samples_.emplace_back(now, env_.machine->applied().revision);
  }
}

// The leader alone decides how much history to keep, so that every replica forgets the same.
void Replica::ProposeCompaction() {
  if (!is_leader()) return;
  const Options& options = *env_.options;
  const kv::AppliedState applied = env_.machine->applied();
  uint64_t target = applied.revision;
  if (options.compact_keep_age > Duration::zero()) {
    const bool old_enough =
        !revision_samples_.empty() &&
        env_.clock->Now() - revision_samples_.front().first >= options.compact_keep_age;
    target = old_enough ? revision_samples_.front().second : 0;
  }
  if (options.compact_keep_revisions > 0) {
    const uint64_t keep = options.compact_keep_revisions;
    target = std::min(target, applied.revision > keep ? applied.revision - keep : 0);
  }
  if (options.compact_keep_age <= Duration::zero() && options.compact_keep_revisions == 0) return;
  // In steps of a tenth: a compaction is a log entry and a walk over the history.
  const uint64_t step = std::max<uint64_t>(options.compact_keep_revisions / 10, 1000);
  if (target < applied.compact_revision + step) return;
  v1::Command command;
  command.set_version(kv::kCommandVersion);
  command.mutable_compact()->set_revision(target);
  (void)core_->Propose(Buffer(command.SerializeAsString()));
}

}  // namespace raftkv::runtime
