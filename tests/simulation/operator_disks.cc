// Disks: what is saved of them, taken away, copied, put back as it was, and cannot be read.

#include <algorithm>
#include <memory>
#include <utility>

#include "node/kv/format.h"
#include "tests/simulation/member_ids.h"
#include "tests/simulation/operator.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {

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
  host.Crash();
  host.FormatAs(*original.kept_copy());
  Boot(host);
  if (!host.running()) return;
  world_->coverage.Hit(Path::disk_copied);
  if (older) world_->coverage.Hit(Path::copy_of_old_disk);
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

void Operator::StartWithOtherFormat(Random& random) {
  std::vector<SimNode*> candidates;
  for (const auto& node : world_->nodes) {
    // Nothing is lost by that: whatever it holds comes back.
    const bool member = node->running() && !node->disk().blank() && !node->disk().copied();
    if (member) candidates.push_back(node.get());
  }
  if (candidates.empty()) return;
  SimNode* node = candidates[random.Uniform(candidates.size())];
  node->Crash();
  constexpr uint32_t kFormats[] = {1, 2, kv::kStateFormat + 1};
  (void)node->disk().WriteInFormat(kFormats[random.Uniform(std::size(kFormats))]);
  RestartAfter(*node, std::chrono::milliseconds(random.Uniform(500)));
  const bool replaced = random.Uniform(4) > 0;
  world_->scheduler.After(
      std::chrono::milliseconds(1000 + random.Uniform(20'000)), [=, this, id = node->id()] {
        if (node->id() != id || node->disk().format() != SimDisk::Format::kOther) return;
        if (!replaced || patient_ || node->disk().rotten() || !CanLose(id.value)) {
          return WriteInOwnFormat(*node);
        }
        world_->coverage.Hit(Path::other_format_replaced);
        node->Format();
        RestartAfter(*node, std::chrono::milliseconds(random_.Uniform(500)));
      });
}

void Operator::WriteInOwnFormat(SimNode& node) {
  node.disk().WriteInOwnFormat();
  RestartAfter(node, std::chrono::milliseconds(random_.Uniform(500)));
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
    if (random.Uniform(4) == 0) victim->disk().LoseMembers();
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
  // How many voters' disks really rot; all of them before any is mended.
  const auto rotten = std::make_shared<size_t>(0);
  const size_t minority = static_cast<size_t>(cluster.conf().voters_size()) / 2;
  const auto lasts = std::chrono::milliseconds(1000 + random.Uniform(20'000));
  for (SimNode* node : members) {
    if (random.Uniform(3) == 0) continue;
    const bool voter = Contains(cluster.conf().voters(), node->id().value);
    const auto delay = std::chrono::milliseconds(random.Uniform(400));
    const auto down = std::chrono::milliseconds(random.Uniform(400));
    world_->scheduler.After(delay, [=, this, id = node->id()] {
      if (patient_ || node->id() != id || node->disk().identity().removed()) return;
      node->Crash();
      node->disk().RotForNow(world_->scheduler.now());
      if (voter && ++*rotten == minority + 1) world_->coverage.Hit(Path::majority_rotten);
      RestartAfter(*node, down);
      world_->scheduler.After(lasts, [this, node] { Mend(*node); });
    });
  }
}

void Operator::Mend(SimNode& node) {
  if (!node.disk().rotten_for_now()) return;
  node.Crash();
  node.disk().Mend();
  RestartAfter(node, std::chrono::milliseconds(random_.Uniform(500)));
}

}  // namespace raftkv::sim
