// A host whose disk is damaged, from the start that finds it to the member that takes its place.

#include <algorithm>
#include <utility>

#include "node/runtime/rebuild.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {

void SimNode::StartDamaged() {
  world_->coverage.Hit(Path::disk_rotten);
  runtime::DamagedMember::Env env;
  env.options = &options_;
  env.clock = &clock_;
  env.set_aside = [this] { return SetAside(); };
  env.on_set_aside = [this] { starts_again_ = true; };
  env.on_waiting = [this](const std::string&, const std::string&) {
    world_->coverage.Hit(Path::replacement_refused);
  };
  damaged_ = std::make_unique<runtime::DamagedMember>(
      runtime::ReadDamagedMember(options_, disk_->files()), std::move(env));
  if (!damaged_->asks()) world_->coverage.Hit(Path::damage_only_told);
  damaged_->Start(this);
  ScheduleTick();
}

Status SimNode::SetAside() {
  const v1::MemberNote given_up = damaged_->note();
  RETURN_IF_ERROR(runtime::SetAside(options_, given_up, disk_->files()));
  MovedAside(given_up.member_id());
  return Status::Ok();
}

// What the disk held is another's now.
void SimNode::MovedAside(uint64_t member) {
  world_->coverage.Hit(Path::member_set_aside);
  const bool rebuilds = options_.rebuild_damaged;
  Format(disk_->shared_files());
  disk_->BeginInPlaceOf(member);
  options_.rebuild_damaged = rebuilds;
}

std::vector<std::string> SimNode::asks_for_place() const {
  if (damaged_) return runtime::WhomToAsk(options_, damaged_->note());
  return options_.replaces ? options_.replaces->ask : std::vector<std::string>();
}

// The change that removes a damaged member has the new one of its host.
void SimNode::CountRebuilt(const v1::ClusterState& before, const v1::ClusterState& after) {
  for (const auto& node : world_->nodes) {
    const uint64_t old = node->disk().place_of();
    if (old == 0 || !std::ranges::binary_search(after.removed_ids(), old) ||
        std::ranges::binary_search(before.removed_ids(), old)) {
      continue;
    }
    const bool placed = std::ranges::any_of(
        after.members(), [&](const v1::Member& member) { return member.id() == node->id().value; });
    if (placed && world_->rebuilt.insert(old).second) world_->coverage.Hit(Path::member_rebuilt);
  }
  // Of the others somebody else has taken care.
  for (const uint64_t id : after.removed_ids()) {
    const bool replaced = world_->checker.lost(raft::NodeId(id)) &&
                          !std::ranges::binary_search(before.removed_ids(), id) &&
                          !world_->rebuilt.contains(id);
    if (replaced && world_->replaced.insert(id).second) {
      world_->coverage.Hit(Path::member_replaced);
    }
  }
}

}  // namespace raftkv::sim
