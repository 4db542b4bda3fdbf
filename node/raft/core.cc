#include "node/raft/core.h"

#include <algorithm>

#include "base/check.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {
namespace {

Config WithDefaults(Config config) {
  const Status valid = config.Validate();
  CHECK(valid.ok(), valid.message());
  if (config.max_uncommitted_bytes == 0) config.max_uncommitted_bytes = kNoLimit;
  if (config.max_committed_bytes_per_ready == 0) {
    // At least one entry at a time, as for appends.
    config.max_committed_bytes_per_ready = std::max<uint64_t>(config.max_bytes_per_append, 1);
  }
  return config;
}

// The voters, as "1,2,3".
std::string Join(const std::vector<NodeId>& ids) {
  std::string out;
  for (NodeId id : ids) out += (out.empty() ? "" : ",") + Hex(id);
  return out;
}

}  // namespace

std::string_view Describe(StepError error) {
  switch (error) {
    case StepError::kProposalDropped:
      return "raft proposal dropped";
    case StepError::kLocalMessage:
      return "raft: cannot step raft local message";
    case StepError::kPeerNotFound:
      return "raft: cannot step as peer not found";
  }
  return {};
}

Core::Impl::Impl(const Config& config)
    : config_(WithDefaults(config)),
      report_(*config.logger),
      log_(*config.log, report_, config_.max_committed_bytes_per_ready),
      tracker_(config.max_inflight_messages, config.max_inflight_bytes) {
  const LogReader::InitialState initial = config.log->initial_state();
  const EntryId last = log_.LastId();
  RestoreConfig(initial.conf_state);
  if (const HardState& hard = initial.hard_state; !hard.IsEmpty()) {
    CHECK(log_.committed() <= hard.commit && hard.commit <= last.index,
          Text(id(), " state.commit ", hard.commit, " is out of range [", log_.committed(), ", ",
               last.index, "]"));
    log_.RestoreCommitted(hard.commit);
    term_ = hard.term;
    vote_ = hard.vote;
  }
  if (config.applied) log_.AppliedTo(config.applied, 0);
  BecomeFollower(term_, kNone);
  previous_soft_ = soft_state();
  previous_hard_ = hard_state();
  report_.Info("newRaft ", id(), " [peers: [", Join(tracker_.VoterIds()), "], term: ", term_,
               ", commit: ", log_.committed(), ", applied: ", log_.applied(),
               ", lastindex: ", last.index, ", lastterm: ", last.term, "]");
}

NodeId Core::Impl::leader() const {
  if (const auto* follower = std::get_if<Follower>(&role_)) return follower->leader;
  return as_leader() != nullptr ? id() : kNone;
}

Core::Core(const Config& config) : impl_(std::make_unique<Impl>(config)) {}
Core::~Core() = default;

void Core::Tick(bool leader_lost) { impl_->Tick(leader_lost); }

StepResult Core::Step(Message message) { return impl_->StepChecked(std::move(message)); }

StepResult Core::Propose(Buffer data) {
  std::vector<Buffer> batch;
  batch.push_back(std::move(data));
  return Propose(std::move(batch));
}

StepResult Core::Propose(std::vector<Buffer> batch) {
  raft::Propose propose;
  propose.entries.reserve(batch.size());
  for (Buffer& data : batch) propose.entries.push_back({Term(), Index(), std::move(data)});
  return impl_->Step({.from = id(), .to = kNone, .term = {}, .body = std::move(propose)});
}

StepResult Core::ProposeConfChange(ConfChange change) {
  raft::Propose propose;
  propose.entries.resize(1);
  propose.entries.front().payload = std::make_shared<const ConfChange>(std::move(change));
  return impl_->Step({.body = std::move(propose)});
}

ConfState Core::ApplyConfChange(const ConfChange& change) { return impl_->ApplyConfChange(change); }

StepResult Core::StartCampaign() { return impl_->Step({.body = Campaign{}}); }

void Core::RequestReadIndex(Buffer context) {
  (void)impl_->Step({.body = ReadIndex{std::move(context)}});
}

void Core::RequestTransfer(NodeId transferee) {
  (void)impl_->Step({.from = transferee, .to = kNone, .term = {}, .body = TransferLeader{}});
}

StepResult Core::RequestForgetLeader() { return impl_->Step({.body = ForgetLeader{}}); }

void Core::LearnCommitted(EntryId entry) { impl_->LearnCommitted(entry); }

void Core::EntriesRead() { impl_->EntriesRead(); }

void Core::ReportUnreachable(NodeId peer) {
  (void)impl_->Step({.from = peer, .to = kNone, .term = {}, .body = Unreachable{}});
}

void Core::ReportSnapshot(NodeId peer, bool failed) {
  (void)impl_->Step({.from = peer, .to = kNone, .term = {}, .body = SnapshotStatus{failed}});
}

bool Core::HasReady() const { return impl_->HasReady(); }
Ready Core::TakeReady() { return impl_->TakeReady(); }
void Core::Advance() { impl_->Advance(); }

CoreStatus Core::status() const {
  CoreStatus status;
  status.id = id();
  status.hard_state = impl_->hard_state();
  status.soft_state = impl_->soft_state();
  status.applied = applied();
  status.transferee = transferee();
  status.config = tracker_config();
  if (role() == Role::kLeader) status.progress = impl_->tracker().progress;
  return status;
}

NodeId Core::id() const { return impl_->id(); }
Term Core::term() const { return impl_->term(); }
Role Core::role() const { return impl_->role(); }
NodeId Core::leader() const { return impl_->leader(); }
NodeId Core::transferee() const {
  const Leader* leader = impl_->as_leader();
  return leader != nullptr ? leader->transferee : kNone;
}
Index Core::committed() const { return impl_->log().committed(); }
Index Core::applied() const { return impl_->log().applied(); }
Index Core::first_index() const { return impl_->log().first_index(); }
Index Core::last_index() const { return impl_->log().last_index(); }
bool Core::is_learner() const { return impl_->is_learner(); }
const TrackerConfig& Core::tracker_config() const { return impl_->tracker().config; }
Index Core::pending_conf_index() const {
  const Leader* leader = impl_->as_leader();
  return leader != nullptr ? leader->pending_conf_index : Index();
}

void Core::SetRandomizedElectionTimeout(int ticks) {
  impl_->set_randomized_election_timeout(ticks);
}
void Core::CheckInvariants() const { impl_->CheckInvariants(); }

}  // namespace raftkv::raft
