// Membership: one joint change at a time, promotion of learners.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/kv/commands.h"
#include "node/kv/membership.h"
#include "node/raft/confchange.h"
#include "node/runtime/replica.h"
#include "node/storage/codec.h"

namespace raftkv::runtime {
namespace {

// A learner may become a voter when it is this close to the leader's log: what is missing then
// travels in a few messages.
constexpr uint64_t kCaughtUpEntries = 1000;

// For another change. Shorter than a member waits for the leader's answer (transport::Options).
constexpr Duration kMostPatience = std::chrono::seconds(2);

bool Contains(const std::vector<raft::NodeId>& ids, uint64_t id) {
  return std::find(ids.begin(), ids.end(), raft::NodeId(id)) != ids.end();
}

const v1::Member* FindMember(const v1::ClusterState& cluster, uint64_t id) {
  for (const v1::Member& member : cluster.members()) {
    if (member.id() == id) return &member;
  }
  return nullptr;
}

}  // namespace

void Replica::ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                               Callback<v1::ChangeMembershipResponse> done) {
  if (!serving()) return done(Error(NotServing()));
  Dispatch({std::move(request), deadline, std::move(done)});
}

void Replica::Dispatch(MembershipCall call) {
  const raft::NodeId leader = core_->leader();
  if (leader == id_ && core_->transferee() == raft::kNone) {
    ChangeAsLeader(std::move(call));
  } else if (leader != raft::kNone && leader != id_) {
    // Passed on once only: a leader that hands over because it is to be removed does not live long
    // enough to pass the answer back.
    if (call.from_member) {
      return call.done(Error(Code::kUnavailable, "this member does not lead any more; repeat"));
    }
    PassOn(leader, std::move(call));
  } else {
    parked_changes_.push_back(std::move(call));
  }
}

void Replica::PassOn(raft::NodeId leader, MembershipCall call) {
  v1::PeerCall peer_call;
  *peer_call.mutable_change_membership() = call.request;
  auto shared = std::make_shared<MembershipCall>(std::move(call));
  if (RemovesSelf(*shared)) own_removals_.push_back(shared);
  transport_->Call(leader, std::move(peer_call),
                   [this, shared, leader](Result<v1::PeerReply> reply) {
                     if (!shared->done) return;  // answered as one of own_removals_
                     const bool lost = !reply && reply.error().code() == Code::kUnknownOutcome;
                     if (lost && RemovesSelf(*shared)) return;  // ... as it will be
                     std::erase(own_removals_, shared);
                     OnChangeReply(leader, std::move(*shared), std::move(reply));
                   });
}

bool Replica::RemovesSelf(const MembershipCall& call) const {
  return std::ranges::find(call.request.remove(), id_.value) != call.request.remove().end();
}

// Another member has called this one removed, which it does only when the configuration without it
// is committed, in force (not joint any more) and on its disk. That is what was asked for, except
// for the other steps of the same change: those are in the configuration on the way there, if this
// member has applied it.
void Replica::FinishOwnRemovals() {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  raft::ConfState conf = storage::FromProto(cluster->conf());
  conf.voters_outgoing.clear();
  conf.learners.insert(conf.learners.end(), conf.learners_next.begin(), conf.learners_next.end());
  conf.learners_next.clear();
  conf.auto_leave = false;
  std::erase(conf.voters, id_);  // of a configuration without joint step
  std::erase(conf.learners, id_);
  const auto votes = [&](uint64_t id) { return Contains(conf.voters, id); };
  const auto learns = [&](uint64_t id) { return Contains(conf.learners, id); };
  const auto id = [](const v1::Member& member) { return member.id(); };
  for (const std::shared_ptr<MembershipCall>& call : std::exchange(own_removals_, {})) {
    const v1::ChangeMembershipRequest& request = call->request;
    const bool holds = std::ranges::all_of(request.add_voters(), votes, id) &&
                       std::ranges::all_of(request.promote(), votes) &&
                       std::ranges::all_of(request.add_learners(), learns, id) &&
                       std::ranges::all_of(request.demote(), learns) &&
                       std::ranges::none_of(request.remove(), votes) &&
                       std::ranges::none_of(request.remove(), learns);
    const auto done = std::exchange(call->done, nullptr);
    if (!holds) {
      done(Error(Code::kUnknownOutcome,
                 "this member was removed, but does not know whether the other changes were made "
                 "with it: read /cluster of another member"));
      continue;
    }
    v1::ChangeMembershipResponse response;
    response.set_config_index(cluster->config_index());
    *response.mutable_conf() = storage::ToProto(conf);
    done(std::move(response));
  }
}

void Replica::OnChangeReply(raft::NodeId asked, MembershipCall call, Result<v1::PeerReply> reply) {
  raftkv::Status status;
  if (!reply) {
    status = reply.error();
  } else if (reply->code() != 0) {
    status = raftkv::Status(static_cast<Code>(reply->code()), reply->message());
  }
  if (status.ok()) return Relay(std::move(call), std::move(*reply->mutable_change_membership()));
  // Refused before anything happened, by a leader that is none any more: its successor is asked.
  if (status.code() == Code::kUnavailable && core_->leader() != asked && !leaving_) {
    parked_changes_.push_back(std::move(call));
    return;
  }
  call.done(Error(status));
}

// Whoever asks this member next, for /cluster or for another change, is to see the one that was
// just made. It is made, however long that takes: the wait is short, and no failure.
void Replica::Relay(MembershipCall call, v1::ChangeMembershipResponse response) {
  const MonotonicTime patience =
      env_.clock->Now() + env_.options->tick * env_.options->election_ticks;
  relayed_.push_back(
      {std::move(response), std::min(call.deadline, patience), std::move(call.done)});
  FinishRelayed();
}

void Replica::FinishRelayed() {
  if (relayed_.empty()) return;
  const MonotonicTime now = env_.clock->Now();
  const uint64_t known = env_.storage.machine->cluster()->config_index();
  std::erase_if(relayed_, [&](RelayedAnswer& answer) {
    if (known < answer.response.config_index() && now < answer.until && !leaving_) return false;
    answer.done(std::move(answer.response));
    return true;
  });
}

void Replica::ChangeAsLeader(MembershipCall call) {
  for (const auto* list : {&call.request.add_learners(), &call.request.add_voters()}) {
    for (const v1::Member& member : *list) {
      if (member.id() == 0) return ResolveAddresses(std::move(call));
    }
  }
  if (WaitsForAnother(call)) {
    queued_changes_.push_back(std::move(call));
    return;
  }
  Result<raft::ConfChange> change = PlanChange(call.request);
  if (!change) return call.done(Error(change.error()));
  const bool leaves = std::any_of(
      change->steps.begin(), change->steps.end(), [this](const raft::ConfChangeStep& step) {
        return step.id == id_ && (step.type == raft::ConfChangeType::kRemove ||
                                  step.type == raft::ConfChangeType::kAddLearner);
      });
  if (leaves) {
    // A leader hands over before it goes, so that nobody waits for an election; its successor makes
    // the change.
    std::set<raft::NodeId> excluded;
    for (const raft::ConfChangeStep& step : change->steps) excluded.insert(step.id);
    const raft::NodeId successor = BestTransferee(excluded);
    if (successor != raft::kNone) {
      log::Info("handing over before leaving the voters", {{"to", log::Hex{successor.value}}});
      StartTransfer(successor);
      parked_changes_.push_back(std::move(call));
      return;
    }
  }
  ProposeChange(std::move(*change), std::move(call));
}

// Members that are added by address alone are asked who they are: their ids are their own choice.
void Replica::ResolveAddresses(MembershipCall call) {
  v1::Member* open = nullptr;
  for (auto* list : {call.request.mutable_add_learners(), call.request.mutable_add_voters()}) {
    for (v1::Member& member : *list) {
      if (member.id() == 0 && open == nullptr) open = &member;
    }
  }
  CHECK(open != nullptr, "called only if an id is missing");
  const std::string address = open->peer_address();
  const raftkv::Status dialable =
      kv::CheckPeerAddress(address, "the peer_address of a new member without id");
  if (!dialable.ok()) return call.done(Error(dialable));
  v1::PeerCall who;
  who.mutable_who_are_you();
  auto shared = std::make_shared<MembershipCall>(std::move(call));
  resolving_.push_back(shared);
  transport_->CallAddress(
      address, std::move(who), [this, shared, open, address](Result<v1::PeerReply> reply) {
        if (std::erase(resolving_, shared) == 0) return;  // answered meanwhile
        if (!reply || reply->code() != 0) {
          return shared->done(Error(
              Code::kUnavailable, "nobody answers at " + address + " (" +
                                      (reply ? reply->message() : reply.error().message()) +
                                      "): start the new node first, with an empty data directory"));
        }
        const v1::IAm& i_am = reply->i_am();
        if (i_am.cluster_id() != 0 &&
            i_am.cluster_id() != env_.storage.dir->identity().cluster_id()) {
          return shared->done(
              Error(Code::kFailedPrecondition,
                    "the node at " + address + " belongs to another cluster already"));
        }
        open->set_id(i_am.member().id());
        if (open->name().empty()) open->set_name(i_am.member().name());
        if (open->client_address().empty()) {
          open->set_client_address(i_am.member().client_address());
        }
        Dispatch(std::move(*shared));
        env_.wake();
      });
}

bool Replica::ChangeUnderWay() const {
  const bool pending = core_->pending_conf_index() > core_->applied();
  return env_.storage.machine->cluster()->conf().voters_outgoing_size() > 0 ||
         (pending && !MUTATION(change_while_one_is_pending));
}

// Who names the configuration that the decision rests on has to decide anew, and is told at once.
// Nobody else has to care that a learner is promoted at this moment. The wait is short, so that a
// member that passed the call on has its answer.
bool Replica::WaitsForAnother(MembershipCall& call) const {
  if (call.request.expected_config_index() != 0 || !ChangeUnderWay()) return false;
  const MonotonicTime now = env_.clock->Now();
  if (!call.patience) {
    const Duration election = env_.options->tick * env_.options->election_ticks;
    call.patience = std::min(call.deadline, now + std::min(election, kMostPatience));
  }
  return now < *call.patience;
}

void Replica::RetryQueued() {
  for (MembershipCall& call : std::exchange(queued_changes_, {})) Dispatch(std::move(call));
}

// Checks the request against the configuration in force and turns it into steps. The state machine
// checks again when the entry is applied: only that decides.
Result<raft::ConfChange> Replica::PlanChange(const v1::ChangeMembershipRequest& request) const {
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  const raft::ConfState conf = storage::FromProto(cluster->conf());
  if (request.expected_config_index() != 0 &&
      request.expected_config_index() != cluster->config_index()) {
    return Error(Code::kConflict, "the configuration has changed: its index is " +
                                      std::to_string(cluster->config_index()) + ", not " +
                                      std::to_string(request.expected_config_index()) +
                                      "; read /cluster and decide anew");
  }
  if (ChangeUnderWay()) {
    return Error(Code::kConflict,
                 "another configuration change is under way; wait until it is done, read /cluster "
                 "and decide anew");
  }
  raft::ConfChange change;
  v1::MembershipChange context;
  context.set_expected_config_index(request.expected_config_index());
  context.set_epoch(request.epoch());
  const auto add = [&](raft::ConfChangeType type, uint64_t id) {
    change.steps.push_back({type, raft::NodeId(id)});
  };
  for (const auto* list : {&request.add_learners(), &request.add_voters()}) {
    for (const v1::Member& member : *list) {
      if (FindMember(*cluster, member.id()) == nullptr) continue;
      return Error(Code::kConflict,
                   HexId(member.id()) + " is a member already: promote, demote or update it");
    }
  }
  for (const v1::Member& member : request.add_learners()) {
    add(raft::ConfChangeType::kAddLearner, member.id());
    *context.add_members() = member;
  }
  for (const v1::Member& member : request.add_voters()) {
    if (!request.force() && !CaughtUp(raft::NodeId(member.id()))) {
      return Error(Code::kFailedPrecondition,
                   "a new voter has to catch up as a learner first: use add_learners, then promote "
                   "(or force, which risks the quorum)");
    }
    add(raft::ConfChangeType::kAddVoter, member.id());
    *context.add_members() = member;
  }
  for (const uint64_t id : request.promote()) {
    if (!Contains(conf.learners, id)) {
      return Error(Code::kFailedPrecondition, HexId(id) + " is not a learner");
    }
    if (!request.force() && !CaughtUp(raft::NodeId(id))) {
      return Error(Code::kFailedPrecondition,
                   "learner " + HexId(id) +
                       " has not caught up with the leader yet; repeat later, or use force");
    }
    add(raft::ConfChangeType::kAddVoter, id);
  }
  for (const uint64_t id : request.demote()) {
    if (!Contains(conf.voters, id)) {
      return Error(Code::kFailedPrecondition, HexId(id) + " is not a voter");
    }
    add(raft::ConfChangeType::kAddLearner, id);
  }
  for (const uint64_t id : request.remove()) {
    if (FindMember(*cluster, id) == nullptr) {
      return Error(Code::kNotFound, HexId(id) + " is not a member");
    }
    add(raft::ConfChangeType::kRemove, id);
  }
  for (const v1::Member& member : request.update()) {
    if (FindMember(*cluster, member.id()) == nullptr) {
      return Error(Code::kNotFound, HexId(member.id()) + " is not a member");
    }
    add(raft::ConfChangeType::kUpdate, member.id());
    v1::Member& updated = *context.add_members();
    updated = *FindMember(*cluster, member.id());
    updated.MergeFrom(member);  // what is left out stays
  }
  if (change.steps.empty()) {
    return Error(Code::kInvalidArgument,
                 "the request changes nothing: name members to add, promote, demote or remove");
  }
  context.set_origin(id_.value);
  change.context = Buffer(context.SerializeAsString());
  return change;
}

void Replica::ProposeChange(raft::ConfChange change, MembershipCall call) {
  const uint64_t request_id = env_.next_request_id();
  v1::MembershipChange context;
  if (!context.ParseFromArray(change.context.view().data(),
                              static_cast<int>(change.context.size()))) {
    return call.done(Error(Code::kInvalidArgument, "names and addresses must be UTF-8 text"));
  }
  context.set_request_id(request_id);
  change.context = Buffer(context.SerializeAsString());

  auto shared = std::make_shared<MembershipCall>(std::move(call));
  // Answered on the apply thread, or by the expiry on this one; handled on this one.
  MembershipCallback answer = [this, shared,
                               post = env_.post](Result<kv::MembershipResult> result) {
    post([this, shared, result = std::move(result)]() mutable {
      OnChangeApplied(std::move(*shared), std::move(result));
    });
  };
  Waiter waiter{shared->deadline, change.context.size(), std::move(answer)};
  const raftkv::Status added = env_.waiters->Add(request_id, waiter);
  if (!added.ok()) return shared->done(Error(added));
  log::Info("configuration change proposed", {{"steps", raft::Describe(change.steps)}});
  if (!core_->ProposeConfChange(std::move(change))) {
    FailWaiter(request_id,
               raftkv::Status(Code::kUnavailable, "this member does not lead any more"));
    return;
  }
  Track({core_->term(), core_->last_index()}, request_id);
}

void Replica::OnChangeApplied(MembershipCall call, Result<kv::MembershipResult> result) {
  if (!result) return call.done(Error(result.error()));
  if (!result->status.ok()) return call.done(Error(result->status));
  joint_waiters_.push_back(std::move(call));
  FinishJointWaiters();
}

// A change is done when the joint configuration has been left, and a crash would not bring it back:
// only then do removed members no longer count.
void Replica::FinishJointWaiters() {
  if (joint_waiters_.empty()) return;
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  if (cluster->conf().voters_outgoing_size() > 0) return;
  if (durable_config_index_ < cluster->config_index()) return;
  v1::ChangeMembershipResponse response;
  response.set_config_index(cluster->config_index());
  *response.mutable_conf() = cluster->conf();
  for (MembershipCall& call : std::exchange(joint_waiters_, {})) call.done(response);
}

void Replica::ExpireMembershipCalls() {
  const MonotonicTime now = env_.clock->Now();
  FinishRelayed();
  RetryQueued();
  std::erase_if(own_removals_, [&](const std::shared_ptr<MembershipCall>& call) {
    if (call->deadline > now) return false;
    std::exchange(call->done, nullptr)(
        Error(Code::kUnknownOutcome,
              "the removal of this member was passed on to the leader, and its answer did not come "
              "in time: it may or may not happen; watch /cluster"));
    return true;
  });
  std::erase_if(resolving_, [&](const std::shared_ptr<MembershipCall>& call) {
    if (call->deadline > now) return false;
    call->done(Error(Code::kUnavailable,
                     "a new member did not say in time who it is: see that it runs and can be "
                     "reached; the change was not proposed"));
    return true;
  });
  std::erase_if(parked_changes_, [&](MembershipCall& call) {
    if (call.deadline > now) return false;
    call.done(Error(Code::kUnavailable,
                    "no leader took the change within the time given; it was not proposed"));
    return true;
  });
  std::erase_if(joint_waiters_, [&](MembershipCall& call) {
    if (call.deadline > now) return false;
    call.done(Error(Code::kUnknownOutcome,
                    "the change is committed, but the joint configuration was not left in time: a "
                    "majority of the new members does not answer; watch /cluster"));
    return true;
  });
}

bool Replica::CaughtUp(raft::NodeId id) const {
  const raft::CoreStatus status = core_->status();
  const auto it = status.progress.find(id);
  if (it == status.progress.end()) return false;
  const raft::Progress& progress = it->second;
  return progress.state == raft::ProgressState::kReplicate && progress.recently_active &&
         progress.match + kCaughtUpEntries >= core_->last_index();
}

void Replica::PromoteCaughtUpLearners() {
  if (!is_leader() || core_->pending_conf_index() > core_->applied()) return;
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
  if (cluster->conf().voters_outgoing_size() > 0) return;
  for (const uint64_t id : cluster->conf().learners()) {
    const v1::Member* member = FindMember(*cluster, id);
    if (member == nullptr || !member->auto_promote() || !CaughtUp(raft::NodeId(id))) continue;
    v1::ChangeMembershipRequest request;
    request.set_expected_config_index(cluster->config_index());
    request.add_promote(id);
    const MonotonicTime deadline = env_.clock->Now() + std::chrono::seconds(10);
    Dispatch({std::move(request), deadline, [id](Result<v1::ChangeMembershipResponse> response) {
                if (!response) {
                  log::Warning("a learner could not be promoted; it is tried again",
                               {{"member", log::Hex{id}}, {"reason", response.error().message()}});
                }
              }});
    return;  // one change at a time
  }
}

}  // namespace raftkv::runtime
