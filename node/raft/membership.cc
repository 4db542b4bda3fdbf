// Configuration changes (thesis, chapter 4): vetted when proposed, in force when applied, one at a
// time.
#include <algorithm>

#include "base/check.h"
#include "base/mutations.h"
#include "node/raft/confchange.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {
namespace {

ConfState Sorted(ConfState conf) {
  for (auto* ids : {&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next}) {
    std::ranges::sort(*ids);
  }
  return conf;
}

}  // namespace

// The checks go by the active configuration, which may not be the latest one in the log; they are
// there to catch mistakes early.
std::string Core::Impl::RefusalOf(const ConfChange& change, Index pending) const {
  if (!MUTATION(change_while_one_is_pending) && pending > log_.applied()) {
    return Text("possible unapplied conf change at index ", pending, " (applied to ",
                log_.applied(), ")");
  }
  const bool joint = tracker_.config.joint();
  const bool wants_to_leave = change.steps.empty();
  if (joint && !wants_to_leave) return "must transition out of joint config first";
  if (!joint && wants_to_leave) return "not in joint state; refusing empty conf change";
  return {};
}

// Replaces the changes that may not be proposed by empty entries. Returns what
// Leader::pending_conf_index becomes if the entries are appended.
Index Core::Impl::VetConfChanges(const Leader& leader, std::vector<Entry>& entries) {
  Index pending = leader.pending_conf_index;
  for (size_t i = 0; i < entries.size(); ++i) {
    const ConfChange* change = entries[i].conf_change();
    if (change == nullptr) continue;
    const std::string refusal = RefusalOf(*change, pending);
    if (refusal.empty() || config_.disable_conf_change_validation) {
      pending = log_.last_index() + (i + 1);
      continue;
    }
    report_.Info(id(), " ignoring conf change ", Describe(*change), " at config ", tracker_.config,
                 ": ", refusal);
    entries[i] = Entry{};
  }
  return pending;
}

ConfState Core::Impl::ApplyConfChange(const ConfChange& change) {
  const Changer changer(tracker_, log_.last_index());
  ChangeResult changed = [&] {
    if (LeavesJoint(change)) return changer.LeaveJoint();
    const JointUse joint = EntersJoint(change);
    return joint.use ? changer.EnterJoint(joint.auto_leave, change.steps)
                     : changer.Simple(change.steps);
  }();
  CHECK(changed, changed.error());
  return SwitchTo(std::move(*changed));
}

ConfState Core::Impl::SwitchTo(ChangedConfig changed) {
  tracker_.config = std::move(changed.config);
  tracker_.progress = std::move(changed.progress);
  report_.Info(id(), " switched to configuration ", tracker_.config);
  ConfState conf = tracker_.config.ToConfState();

  const Progress* self = tracker_.Find(id());
  is_learner_ = self != nullptr && self->is_learner;
  auto* leader = std::get_if<Leader>(&role_);
  if (leader == nullptr) return conf;
  if (self == nullptr || is_learner_) {
    // Removed or demoted. Without the option it leads on, without counting itself (paper, section
    // 6), until it is stopped.
    if (config_.step_down_on_removal) BecomeFollower(term_, kNone);
    return conf;
  }
  if (conf.voters.empty()) return conf;

  // A smaller quorum may have committed more, and confirmed more reads.
  AnswerConfirmedReads(*leader);
  if (MaybeCommit()) {
    ReleasePostponedReads(*leader);
    BroadcastAppend();
  } else {
    // New members need not wait for the next heartbeat.
    SendWhatIsLacking();
  }
  const JointConfig& voters = tracker_.config.voters;
  if (!voters.incoming.contains(leader->transferee) &&
      !voters.outgoing.contains(leader->transferee)) {
    leader->transferee = kNone;
  }
  return conf;
}

// From a stored configuration. tracker_ is empty.
void Core::Impl::RestoreConfig(const ConfState& conf) {
  ChangeResult restored = raft::Restore(tracker_, log_.last_index(), conf);
  CHECK(restored, Text("unable to restore config ", Describe(conf), ": ",
                       restored ? std::string() : restored.error()));
  const ConfState result = SwitchTo(std::move(*restored));
  CHECK(
      Sorted(conf) == Sorted(result),
      Text("ConfStates not equivalent after sorting: ", Describe(conf), " and ", Describe(result)));
}

// Proposes the departure from a joint configuration that asks for it, as soon as it is in force.
// Refused while leadership is being transferred; then the next applied entry, or the next leader,
// tries again.
void Core::Impl::MaybeLeaveJoint() {
  const auto* leader = as_leader();
  if (leader == nullptr || !tracker_.config.auto_leave ||
      log_.applied() < leader->pending_conf_index) {
    return;
  }
  raft::Propose leave;
  leave.entries.resize(1);
  leave.entries.front().payload = std::make_shared<const ConfChange>();
  if (StepResult result = Step({.body = std::move(leave)}); !result) {
    report_.Debug("not initiating automatic transition out of joint configuration ",
                  tracker_.config, ": ", raft::Describe(result.error()));
  } else {
    report_.Info("initiating automatic transition out of joint configuration ", tracker_.config);
  }
}

}  // namespace raftkv::raft
