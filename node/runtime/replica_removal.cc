// The end of a member: removed by its cluster, it stays until those who go on know.

#include <algorithm>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

// A removed member that not enough others have called removed stops this long after the first did.
constexpr Duration kLeaveAnyway = std::chrono::seconds(30);

}  // namespace

void Replica::CheckRemoved() {
  if (core_ == nullptr || leaving_) return;
  const std::shared_ptr<const v1::ClusterState> cluster = env_.storage.machine->cluster();
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
  const auto& removed = env_.storage.machine->cluster()->removed_ids();
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
  v1::Identity identity = env_.storage.dir->identity();
  identity.set_removed(true);
  const raftkv::Status status = env_.storage.dir->SetIdentity(identity);
  if (!status.ok()) {
    log::Error("the tombstone could not be written; other members still refuse this one",
               {{"error", status.ToString()}});
  }
  AbandonCalls(NotServing());
  env_.on_removed();
}

}  // namespace raftkv::runtime
