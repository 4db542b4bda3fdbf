// Changes of the membership: by whom and through whom they are asked for, and in what order.

#include <algorithm>
#include <memory>
#include <utility>

#include "tests/simulation/member_ids.h"
#include "tests/simulation/operator.h"
#include "tests/simulation/refusals.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

constexpr size_t kMaxMembers = 7;

}  // namespace

void Operator::Send(v1::ChangeMembershipRequest request, Random& random, Fate fate) {
  SimNode* node = AnyRunningMember(random);
  if (node != nullptr) SendThrough(node, std::move(request), random, std::move(fate));
}

Operator::Fate Operator::CountRefusal(Path path, bool (*is_for)(const Status&)) const {
  return {.on_answer = [world = world_, path,
                        is_for](const Result<v1::ChangeMembershipResponse>& response) {
    if (!response && is_for(response.error())) world->coverage.Hit(path);
  }};
}

void Operator::SendThrough(SimNode* node, v1::ChangeMembershipRequest request, Random& random,
                           Fate fate) {
  ++under_way_;
  const auto answered = std::make_shared<bool>(false);
  const auto done = [this, answered] {
    if (std::exchange(*answered, true)) return;
    --under_way_;
    last_change_ = world_->scheduler.now();
  };
  world_->scheduler.After(std::chrono::seconds(15), done);
  const Duration limit = std::chrono::milliseconds(1000 + random.Uniform(9000));
  const bool removes_itself = Contains(request.remove(), node->id().value);
  const auto heard = std::make_shared<bool>(false);
  if (removes_itself) own_removals_.push_back({node, node->incarnation(), heard});
  node->OnRaftThread([node, request = std::move(request), limit, done, removes_itself, heard,
                      fate = std::move(fate), world = world_](runtime::Replica& replica) {
    if (fate.on_asked) fate.on_asked();
    const uint64_t told = world->checker.memberships().told();
    const bool led = removes_itself && replica.is_leader();
    const raft::Term term = led ? replica.core()->term() : raft::Term();
    replica.ChangeMembership(
        request, node->Now() + limit, [=](const Result<v1::ChangeMembershipResponse>& response) {
          *heard = true;
          if (fate.on_answer) fate.on_answer(response);
          if (response) {
            Checker& checker = world->checker;
            checker.CheckMembership(
                checker.memberships().OnAnswer(request, told, removes_itself, *response));
            world->coverage.Hit(Path::change_answered);
          }
          if (response && led) {
            world->coverage.Hit(Path::leader_removed_itself);
            // It handed over before if it could; the successor has a term of
            // its own.
            const bool alone = node->replica().core()->term() == term;
            if (alone) world->coverage.Hit(Path::leader_left_alone);
          }
          if (!response && response.error().code() != Code::kUnavailable &&
              response.error().code() != Code::kNotServing) {
            world->coverage.Hit(Path::change_refused);
            if (ForStaleIndex(response.error())) {
              world->coverage.Hit(Path::change_stale_index);
            }
            if (ForOldEpoch(response.error())) {
              world->coverage.Hit(Path::change_old_epoch);
            }
          }
          done();
        });
  });
}

// A member that was asked to remove itself says what has become of that before it ends.
void Operator::CheckAnswered(const SimNode& node) {
  for (const OwnRemoval& removal : own_removals_) {
    if (removal.node != &node || removal.incarnation != node.incarnation() || *removal.answered) {
      continue;
    }
    world_->checker.Fail("membership: member " + node.disk().identity().name() +
                         " was asked to remove itself, and ends without an answer");
  }
}

void Operator::RemoveLeader(Random& random) {
  SimNode* leader = world_->Leader();
  const v1::ClusterState cluster = Newest();
  if (leader == nullptr || leader->paused() || under_way_ > 0 || !LostMembers().empty()) return;
  v1::ChangeMembershipRequest request;
  request.set_force(true);
  request.add_remove(leader->id().value);
  std::set<uint64_t> voters(cluster.conf().voters().begin(), cluster.conf().voters().end());
  if (voters.erase(leader->id().value) == 0) return;
  // A voter that the change names does not take over before it.
  const bool with_all_voters = random.Uniform(2) == 0;
  if (with_all_voters) {
    for (const uint64_t id : std::exchange(voters, {})) request.add_demote(id);
    for (const uint64_t id : cluster.conf().learners()) {
      request.add_promote(id);
      voters.insert(id);
    }
    const std::vector<SimNode*> spares = Spares();
    if (!spares.empty()) {
      *request.add_add_voters() = Describe(*spares.front());
      voters.insert(spares.front()->id().value);
    }
  }
  if (Survives(cluster, voters)) SendThrough(leader, std::move(request), random, Fate());
}

void Operator::Change(Random& random) {
  if (under_way_ > 0 || !LostMembers().empty()) return;
  if (auto request = DrawChange(random)) Send(std::move(*request), random);
}

void Operator::ChangeAtOnce(Random& random) {
  if (under_way_ > 0 || !LostMembers().empty()) return;
  const auto asked = std::make_shared<size_t>(0);
  const Fate fate{.on_asked = [world = world_, asked] {
    if (++*asked == 2) world->coverage.Hit(Path::changes_at_once);
  }};
  const uint64_t count = 2 + random.Uniform(2);
  for (uint64_t i = 0; i < count; ++i) {
    if (auto request = DrawChange(random)) Send(std::move(*request), random, fate);
  }
}

// Often none. Or who asks takes over from whoever made the last change with an epoch, or is that
// one again, or one that was taken over from before.
void Operator::DrawEpoch(uint64_t newest, v1::ChangeMembershipRequest* request) const {
  constexpr uint64_t kStep = 2;
  const uint64_t chance = world_->scheduler.hash() % 8;
  if (chance < 3) request->set_epoch(newest + kStep);
  if (chance == 3) request->set_epoch(newest);
  if (chance > 5 && newest > 0) request->set_epoch(newest - 1);
}

std::optional<v1::ChangeMembershipRequest> Operator::DrawChange(Random& random) const {
  const v1::ClusterState cluster = Newest();
  if (cluster.members().empty()) return std::nullopt;
  v1::ChangeMembershipRequest request;
  if (random.Uniform(4) > 0) request.set_expected_config_index(cluster.config_index());
  request.set_force(random.Uniform(2) == 0);
  DrawEpoch(cluster.epoch(), &request);
  std::set<uint64_t> voters(cluster.conf().voters().begin(), cluster.conf().voters().end());
  // Small changes are the most frequent, but every mixture is possible.
  constexpr uint64_t kEagerness[] = {1, 1, 2, 2, 3, 3, 5, 6};
  const uint64_t eagerness = kEagerness[random.Uniform(std::size(kEagerness))];
  const auto chosen = [&] { return random.Uniform(6) < eagerness; };
  for (const uint64_t id : cluster.conf().voters()) {
    if (!chosen()) continue;
    voters.erase(id);
    if (random.Uniform(2) == 0) {
      request.add_demote(id);
    } else {
      request.add_remove(id);
    }
  }
  for (const uint64_t id : cluster.conf().learners()) {
    if (!chosen()) continue;
    if (random.Uniform(4) > 0) {
      request.add_promote(id);
      voters.insert(id);
    } else {
      request.add_remove(id);
    }
  }
  size_t members = static_cast<size_t>(cluster.members_size());
  for (SimNode* spare : Spares()) {
    if (members >= kMaxMembers || !chosen()) continue;
    ++members;
    if (random.Uniform(3) == 0) {
      *request.add_add_voters() = Describe(*spare);
      request.set_force(true);
      voters.insert(spare->id().value);
    } else {
      v1::Member& learner = *request.add_add_learners();
      learner = Describe(*spare);
      learner.set_auto_promote(random.Uniform(2) == 0);
      // By address alone: the leader asks who listens there.
      if (random.Uniform(4) == 0) learner.set_id(0);
    }
  }
  if (voters.empty() || !Survives(cluster, voters)) return std::nullopt;
  return request;
}

void Operator::ReplaceLost(uint64_t lost) {
  const v1::ClusterState cluster = Newest();
  v1::ChangeMembershipRequest request;
  request.set_expected_config_index(cluster.config_index());
  request.add_remove(lost);
  std::set<uint64_t> voters(cluster.conf().voters().begin(), cluster.conf().voters().end());
  const bool was_voter = voters.erase(lost) > 0;
  const std::vector<SimNode*> spares = Spares();
  if (was_voter && !spares.empty() && random_.Uniform(4) > 0) {
    const SimNode& spare = *spares[random_.Uniform(spares.size())];
    *request.add_add_voters() = Describe(spare);
    request.set_force(true);
    voters.insert(spare.id().value);
  }
  if (!Survives(cluster, voters)) return;
  Send(std::move(request), random_);
}

void Operator::AskForRemovedId(Random& random) {
  const v1::ClusterState cluster = Newest();
  if (under_way_ > 0 || cluster.removed_ids().empty() || !LostMembers().empty()) return;
  v1::ChangeMembershipRequest request;
  v1::Member& member = *request.add_add_learners();
  const auto& ids = cluster.removed_ids();
  member.set_id(ids[static_cast<int>(random.Uniform(static_cast<uint64_t>(ids.size())))]);
  member.set_name("again");
  member.set_peer_address("again:1");
  Send(std::move(request), random, CountRefusal(Path::removed_id_refused, ForRemovedId));
}

void Operator::AskForUsedId(Random& random) {
  const v1::ClusterState cluster = Newest();
  if (under_way_ > 0 || cluster.members().empty() || !LostMembers().empty()) return;
  v1::ChangeMembershipRequest request;
  const std::vector<SimNode*> spares = Spares();
  if (spares.size() > 1 && random.Uniform(2) == 0) {
    *request.add_add_learners() = Describe(*spares[0]);
    v1::Member& second = *request.add_add_learners();
    second = Describe(*spares[1]);
    second.set_id(spares[0]->id().value);
  } else {
    v1::Member& member = *request.add_add_learners();
    member = cluster.members(
        static_cast<int>(random.Uniform(static_cast<uint64_t>(cluster.members_size()))));
    member.set_name("twice");
    member.set_peer_address("twice:1");
  }
  Send(std::move(request), random, CountRefusal(Path::used_id_refused, ForUsedId));
}

void Operator::Join(Random& random) {
  const std::vector<SimNode*> spares = Spares();
  const v1::ClusterState cluster = Newest();
  if (spares.empty() || !LostMembers().empty() ||
      static_cast<size_t>(cluster.members_size()) >= kMaxMembers) {
    return;
  }
  SimNode* spare = spares[random.Uniform(spares.size())];
  v1::JoinRequest request;
  for (const v1::Member& member : cluster.members())
    request.add_peer_addresses(member.peer_address());
  if (request.peer_addresses().empty()) return;
  request.set_remain_learner(random.Uniform(2) == 0);
  last_change_ = world_->scheduler.now();
  spare->OnRaftThread([spare, request, world = world_, self = this](runtime::Replica& replica) {
    replica.Join(request, spare->Now() + std::chrono::seconds(10),
                 [world, self](const Result<v1::JoinResponse>& response) {
                   self->last_change_ = world->scheduler.now();
                   if (response) world->coverage.Hit(Path::node_joined);
                 });
  });
}

void Operator::Transfer(Random& random) {
  SimNode* node = AnyRunningMember(random);
  const v1::ClusterState cluster = Newest();
  if (node == nullptr || cluster.members().empty()) return;
  v1::TransferLeadershipRequest request;
  const auto& voters = cluster.conf().voters();
  if (random.Uniform(3) > 0 && !voters.empty()) {
    request.set_to(voters[static_cast<int>(random.Uniform(static_cast<uint64_t>(voters.size())))]);
  }
  node->OnRaftThread([node, request, world = world_](runtime::Replica& replica) {
    replica.TransferLeadership(
        request, node->Now() + std::chrono::seconds(5),
        [world](const Result<v1::TransferLeadershipResponse>& response) {
          world->coverage.Hit(response ? Path::transfer_done : Path::transfer_failed);
        });
  });
}

void Operator::TakeSnapshot(Random& random) {
  SimNode* node = AnyRunningMember(random);
  if (node == nullptr) return;
  node->OnRaftThread([node](runtime::Replica& replica) {
    replica.TakeSnapshot(node->Now() + std::chrono::seconds(5),
                         [](const Result<v1::SnapshotResponse>&) {});
  });
}

}  // namespace raftkv::sim
