#include "tests/simulation/operator.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "tests/simulation/member_ids.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

using runtime::Bootstrap;

constexpr Duration kRepairEvery = std::chrono::seconds(1);
// Longer than any call or message of a change can be on its way.
constexpr Duration kSettled = std::chrono::seconds(20);

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
  const bool rebuilds = node.disk().rotten() || node.disk().rebuilds();
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
    const bool blank = node->disk().blank() && node->disk().rebuilds() &&
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

}  // namespace raftkv::sim
