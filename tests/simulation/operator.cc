#include "tests/simulation/operator.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "node/kv/format.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

using runtime::Bootstrap;

constexpr Duration kRepairEvery = std::chrono::seconds(1);
// Longer than any call or message of a change can be on its way.
constexpr Duration kSettled = std::chrono::seconds(20);
constexpr size_t kMaxMembers = 7;

template <typename List>
bool Contains(const List& list, uint64_t id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

std::set<uint64_t> MemberIds(const v1::ClusterState& cluster) {
  std::set<uint64_t> ids;
  for (const v1::Member& member : cluster.members()) ids.insert(member.id());
  return ids;
}

}  // namespace

Operator::Operator(World* world, size_t first_members)
    : world_(world), first_members_(first_members), random_(world->random.Next()) {
  for (size_t i = 0; i < first_members_; ++i) {
    first_addresses_.push_back(world_->nodes[i]->address());
  }
  world_->on_removed = [this](SimNode& node) { CheckAnswered(node); };
}

// --- Hosts ---------------------------------------------------------------------------------------

void Operator::Start() {
  for (const auto& node : world_->nodes) {
    if (random_.Uniform(4) == 0) {
      RestartAfter(*node, std::chrono::milliseconds(random_.Uniform(2000)));
    } else {
      Boot(*node);
    }
  }
}

// The first disks have the command line of a new cluster; later ones do not, or the hosts that were
// members once would found another. Where one was moved aside, the command line stays.
void Operator::Boot(SimNode& node) {
  Bootstrap bootstrap;
  const bool rebuilds = node.disk().rotten() || node.disk().rebuild();
  const bool first = node.host() < first_members_;
  if (first && node.formats() == 1 && world_->begun_from != nullptr) {
    bootstrap.mode = Bootstrap::Mode::kRestore;
  } else if (first && world_->begun_from == nullptr && (node.formats() == 1 || rebuilds)) {
    bootstrap.mode = first_members_ == 1 ? Bootstrap::Mode::kSingle : Bootstrap::Mode::kStaticList;
    bootstrap.addresses = first_addresses_;
  } else if (rebuilds) {
    bootstrap.mode = Bootstrap::Mode::kJoin;
    bootstrap.addresses = {world_->nodes[random_.Uniform(world_->nodes.size())]->address()};
  }
  (void)node.Boot(std::move(bootstrap));
}

void Operator::RestartAfter(SimNode& node, Duration delay) {
  world_->scheduler.After(delay, [this, &node] {
    if (!node.running()) Boot(node);
  });
}

void Operator::StartRepairs() {
  world_->scheduler.After(kRepairEvery, [this] {
    Repair();
    StartRepairs();
  });
}

void Operator::Repair() {
  for (const auto& node : world_->nodes) {
    // Somebody finds out that two hosts have one identity.
    if (node->disk().copied() && random_.Uniform(10) == 0) {
      node->Crash();
      node->Format();
    }
    if (node->running()) continue;
    // What was removed or does not open any more is a spare after a while.
    if (Useless(*node) && random_.Uniform(4) == 0) {
      node->Crash();
      node->Format();
      Boot(*node);
    } else if (random_.Uniform(8) == 0) {
      Boot(*node);
    }
  }
  if (under_way_ > 0) return;
  for (const uint64_t lost : LostMembers()) {
    const bool helps = !patient_ && random_.Uniform(40) == 0;
    if (helps || !RebuildsItself(lost)) return ReplaceLost(lost);
  }
}

bool Operator::Useless(const SimNode& node) {
  if (node.disk().identity().removed()) return true;
  // Wiped, it would be lost for good.
  if (!node.disk().rotten() || node.disk().rotten_for_now()) return false;
  const bool hasty = !patient_ && random_.Uniform(20) == 0;
  const bool member = MemberIds(Newest()).contains(node.id().value);
  return hasty || !member || !RebuildsItself(node.id().value);
}

bool Operator::RebuildsItself(uint64_t lost) const {
  const std::set<uint64_t> members = MemberIds(Newest());
  for (const auto& node : world_->nodes) {
    if (node->disk().copied()) continue;
    const bool damaged = node->id().value == lost && node->disk().rotten();
    const bool blank = node->disk().blank() && node->disk().rebuild() &&
                       node->disk().place_of() == lost && !members.contains(node->id().value);
    if (!damaged && !blank) continue;
    if (!node->options().rebuild_damaged) return false;
    if (!node->running() && !node->damaged()) return true;  // soon, perhaps
    return std::ranges::any_of(node->asks_for_place(), [&](const std::string& address) {
      const SimNode* asked = world_->ByAddress(address);
      return asked != nullptr && members.contains(asked->id().value) && Alive(asked->id().value);
    });
  }
  return false;
}

// --- What is known -------------------------------------------------------------------------------

v1::ClusterState Operator::Newest() const {
  v1::ClusterState newest;
  for (const auto& node : world_->nodes) {
    if (!node->running() || node->disk().copied()) continue;
    const auto cluster = node->machine().cluster();
    if (cluster->config_index() > newest.config_index()) newest = *cluster;
  }
  return newest;
}

bool Operator::Alive(uint64_t id) const {
  const SimNode* node = world_->ById(raft::NodeId(id));
  if (node == nullptr || node->disk().rotten() || node->disk().identity().removed()) return false;
  // With a part of another time it may turn out not to start.
  return node->disk().old_part() == SimDisk::OldPart::kNone;
}

std::vector<uint64_t> Operator::LostMembers() const {
  std::vector<uint64_t> lost;
  for (const uint64_t id : MemberIds(Newest())) {
    if (!Alive(id)) lost.push_back(id);
  }
  return lost;
}

std::vector<SimNode*> Operator::Spares() const {
  const std::set<uint64_t> members = MemberIds(Newest());
  std::vector<SimNode*> spares;
  for (const auto& node : world_->nodes) {
    // It may have its place any moment.
    const uint64_t place = node->disk().place_of();
    if (node->running() && node->disk().blank() && !members.contains(node->id().value) &&
        !members.contains(place)) {
      spares.push_back(node.get());
    }
  }
  return spares;
}

SimNode* Operator::AnyRunningMember(Random& random) const {
  std::vector<SimNode*> running;
  for (const auto& node : world_->nodes) {
    if (node->running() && !node->disk().blank() && !node->paused()) running.push_back(node.get());
  }
  return running.empty() ? nullptr : running[random.Uniform(running.size())];
}

v1::Member Operator::Describe(const SimNode& node) const {
  v1::Member member;
  member.set_id(node.id().value);
  member.set_name(node.disk().identity().name());
  member.set_peer_address(node.address());
  return member;
}

// A majority of these voters, and of those in force, lives.
bool Operator::Survives(const v1::ClusterState& cluster, const std::set<uint64_t>& voters) const {
  const auto majority_lives = [this](const auto& ids) {
    size_t alive = 0;
    for (const uint64_t id : ids) alive += Alive(id) ? 1 : 0;
    return alive > static_cast<size_t>(ids.size()) / 2;
  };
  return !voters.empty() && majority_lives(voters) && majority_lives(cluster.conf().voters());
}

// Whether a configuration other than the newest known one may be in force already, or soon.
bool Operator::ChangePending() const {
  const v1::ClusterState newest = Newest();
  if (under_way_ > 0 || world_->scheduler.now() - last_change_ < kSettled) return true;
  if (newest.members().empty() || !newest.conf().voters_outgoing().empty()) return true;
  for (const auto& node : world_->nodes) {
    for (const raft::Entry& entry : node->disk().log().all()) {
      if (entry.index > raft::Index(newest.config_index()) && entry.IsConfChange()) return true;
    }
  }
  return false;
}

bool Operator::CanLose(uint64_t id) const {
  if (ChangePending()) return false;
  const v1::ClusterState newest = Newest();
  // A lost learner may still be promoted by a leader that does not know.
  std::set<uint64_t> voters(newest.conf().voters().begin(), newest.conf().voters().end());
  for (const uint64_t member : MemberIds(newest)) {
    if (member == id || !Alive(member)) voters.insert(member);
  }
  // Who has not heard of its membership yet can do nothing for it.
  for (const uint64_t member : MemberIds(newest)) {
    if (Alive(member) && world_->ById(raft::NodeId(member))->disk().blank()) return false;
  }
  size_t alive = 0;
  for (const uint64_t voter : voters) alive += voter != id && Alive(voter) ? 1 : 0;
  return alive > voters.size() / 2;
}

// --- Changes -------------------------------------------------------------------------------------

void Operator::Send(v1::ChangeMembershipRequest request, Random& random) {
  SimNode* node = AnyRunningMember(random);
  if (node != nullptr) SendThrough(node, std::move(request), random);
}

void Operator::SendThrough(SimNode* node, v1::ChangeMembershipRequest request, Random& random) {
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
                      world = world_](runtime::Replica& replica) {
    const bool led = removes_itself && replica.is_leader();
    const raft::Term term = led ? replica.core()->term() : raft::Term();
    replica.ChangeMembership(request, node->Now() + limit,
                             [=](const Result<v1::ChangeMembershipResponse>& response) {
                               *heard = true;
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
                                 if (response.error().code() == Code::kConflict) {
                                   world->coverage.Hit(Path::change_stale_index);
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
  if (Survives(cluster, voters)) SendThrough(leader, std::move(request), random);
}

void Operator::Change(Random& random) {
  if (under_way_ > 0 || !LostMembers().empty()) return;
  if (auto request = DrawChange(random)) Send(std::move(*request), random);
}

void Operator::ChangeAtOnce(Random& random) {
  if (under_way_ > 0 || !LostMembers().empty()) return;
  world_->coverage.Hit(Path::changes_at_once);
  const uint64_t count = 2 + random.Uniform(2);
  for (uint64_t i = 0; i < count; ++i) {
    if (auto request = DrawChange(random)) Send(std::move(*request), random);
  }
}

std::optional<v1::ChangeMembershipRequest> Operator::DrawChange(Random& random) const {
  const v1::ClusterState cluster = Newest();
  if (cluster.members().empty()) return std::nullopt;
  v1::ChangeMembershipRequest request;
  if (random.Uniform(4) > 0) request.set_expected_config_index(cluster.config_index());
  request.set_force(random.Uniform(2) == 0);
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
  world_->coverage.Hit(Path::member_replaced);
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
  world_->coverage.Hit(Path::removed_id_refused);
  Send(std::move(request), random);
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
  world_->coverage.Hit(Path::used_id_refused);
  Send(std::move(request), random);
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

void Operator::TakeBackup(Random& random) {
  SimNode* node = AnyRunningMember(random);
  if (node == nullptr || node->disk().copied()) return;
  if (node->disk().blank()) return;
  node->KeepCopy();
  const SimDisk::Image& image = *node->kept_copy();
  // What the checker knows is the newest state, not that of whoever lags behind.
  if (image.applied.index != world_->checker.last_decided()) return;
  world_->coverage.Hit(Path::backup_taken);
  world_->backup = Backup{
      .contents = std::make_shared<const storage::MemoryState::Contents>(image.state.contents),
      .applied = image.applied,
      .model = world_->checker.model()};
}

void Operator::KeepCopies(Random& random) {
  for (const auto& node : world_->nodes) {
    const bool member = node->running() && !node->disk().blank() && !node->disk().copied();
    if (member && random.Uniform(2) == 0) node->KeepCopy();
  }
}

bool Operator::HasCopy(uint64_t id) const {
  return std::ranges::any_of(world_->nodes, [id](const auto& node) {
    return node->disk().copied() && node->id().value == id;
  });
}

// A copy that hears nobody can do nothing, unless it needs nobody: then it is a cluster of its own,
// which no store could prevent.
void Operator::StartCopy(Random& random) {
  const auto needs_others = [](const SimDisk::Image& image, const v1::ClusterState& cluster) {
    for (const raft::Entry& entry : image.log.entries) {
      if (entry.index > image.config_index && entry.IsConfChange()) return false;
    }
    return cluster.conf().voters_size() > 1 && cluster.conf().voters_outgoing_size() != 1 &&
           !image.state.installing;
  };
  const std::vector<SimNode*> spares = Spares();
  // A change under way may need one of them.
  if (spares.size() < 2 || ChangePending()) return;
  std::vector<SimNode*> candidates;
  const bool older = random.Uniform(2) == 0;
  for (const auto& node : world_->nodes) {
    if (!node->running() || node->disk().blank() || node->disk().copied()) continue;
    if (HasCopy(node->id().value)) continue;
    if (!older) node->KeepCopy();
    const auto& image = node->kept_copy();
    if (!image || image->identity.member_id() != node->id().value) continue;
    v1::ClusterState cluster;
    const auto stored = image->state.contents.find(kv::kClusterKey);
    if (stored == image->state.contents.end() || !cluster.ParseFromString(stored->second)) continue;
    if (needs_others(*image, cluster)) candidates.push_back(node.get());
  }
  if (candidates.empty()) return;
  const SimNode& original = *candidates[random.Uniform(candidates.size())];
  SimNode& host = *spares[random.Uniform(spares.size())];
  world_->coverage.Hit(Path::disk_copied);
  if (older) world_->coverage.Hit(Path::copy_of_old_disk);
  host.Crash();
  host.FormatAs(*original.kept_copy());
  Boot(host);
}

// Who lacks no promise by that goes on; who does must not start. Whether it does is told by Boot.
void Operator::PutBackOldPart(Random& random) {
  std::vector<std::pair<SimNode*, bool>> candidates;
  for (const auto& node : world_->nodes) {
    if (!node->running() || node->disk().copied() || !CanLose(node->id().value)) continue;
    const auto& image = node->kept_copy();
    if (!image || image->identity.member_id() != node->id().value || image->state.installing ||
        node->disk().state().installing()) {
      continue;
    }
    // An older configuration would break what others were told; entries alone come again.
    const auto config = raft::Index(node->machine().cluster()->config_index());
    if (image->config_index == config) {
      candidates.emplace_back(node.get(), false);
      // The rarer case counts more.
      const bool gap = image->applied.index < node->disk().log().compacted().index;
      if (gap) candidates.insert(candidates.end(), 9, candidates.back());
    }
    const Result<raft::Index> flushed = node->machine().FlushedIndex();
    if (flushed && image->log.last_index() < *flushed) candidates.emplace_back(node.get(), true);
  }
  if (candidates.empty()) return;
  const auto [node, log] = candidates[random.Uniform(candidates.size())];
  node->Crash();
  if (log) {
    node->disk().LoadOldLog(*node->kept_copy());
  } else {
    node->disk().LoadOldState(*node->kept_copy());
  }
  RestartAfter(*node, std::chrono::milliseconds(random.Uniform(2000)));
}

bool Operator::Lose(Random& random, bool rot) {
  const v1::ClusterState cluster = Newest();
  std::vector<SimNode*> candidates;
  for (const auto& node : world_->nodes) {
    const uint64_t id = node->id().value;
    if (!node->disk().copied() && MemberIds(cluster).contains(id) && CanLose(id)) {
      candidates.push_back(node.get());
    }
  }
  if (candidates.empty()) return false;
  SimNode* victim = candidates[random.Uniform(candidates.size())];
  victim->Crash();
  if (rot) {
    // Found when it is started (StartDamaged).
    victim->disk().Rot(world_->scheduler.now());
    if (random.Uniform(4) == 0) victim->disk().RotIdentity();
    if (random.Uniform(4) == 0) victim->disk().members().reset();
    RestartAfter(*victim, std::chrono::milliseconds(random.Uniform(5000)));
    return true;
  }
  world_->coverage.Hit(Path::disk_wiped);
  victim->Format();
  RestartAfter(*victim, std::chrono::milliseconds(random.Uniform(5000)));
  return true;
}

// Nobody may conclude from this that a majority is lost, and nobody is given up who is needed:
// later all of them can be read again, unless they were replaced.
void Operator::RotSome(Random& random) {
  if (ChangePending() || !LostMembers().empty()) return;
  const v1::ClusterState cluster = Newest();
  std::vector<SimNode*> members;
  for (const uint64_t id : MemberIds(cluster)) {
    SimNode* node = world_->ById(raft::NodeId(id));
    if (node->disk().blank()) return;
    members.push_back(node);
  }
  size_t voters = 0;
  const auto lasts = std::chrono::milliseconds(1000 + random.Uniform(20'000));
  for (SimNode* node : members) {
    if (random.Uniform(3) == 0) continue;
    voters += Contains(cluster.conf().voters(), node->id().value) ? 1 : 0;
    const auto delay = std::chrono::milliseconds(random.Uniform(400));
    const auto down = std::chrono::milliseconds(random.Uniform(400));
    world_->scheduler.After(delay, [this, node, down, id = node->id(), lasts] {
      if (patient_ || node->id() != id || node->disk().identity().removed()) return;
      node->Crash();
      node->disk().RotForNow(world_->scheduler.now());
      RestartAfter(*node, down);
      world_->scheduler.After(lasts, [this, node] { Mend(*node); });
    });
  }
  if (voters > static_cast<size_t>(cluster.conf().voters_size()) / 2) {
    world_->coverage.Hit(Path::majority_rotten);
  }
}

void Operator::Mend(SimNode& node) {
  if (!node.disk().rotten_for_now()) return;
  node.Crash();
  node.disk().Mend();
  RestartAfter(node, std::chrono::milliseconds(random_.Uniform(500)));
}

}  // namespace raftkv::sim
