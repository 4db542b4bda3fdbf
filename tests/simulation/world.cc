#include "tests/simulation/world.h"

#include "tests/simulation/sim_node.h"

namespace raftkv::sim {

World::World(uint64_t seed, size_t hosts)
    : random(seed), checker(&coverage), network(&scheduler, hosts, random.Next()) {}

World::~World() = default;

SimNode* World::ByAddress(const std::string& address) const {
  for (const auto& node : nodes) {
    if (node->address() == address) return node.get();
  }
  return nullptr;
}

SimNode* World::ById(raft::NodeId id) const {
  for (const auto& node : nodes) {
    if (node->id() == id && !node->disk().copied()) return node.get();
  }
  return nullptr;
}

SimNode* World::Leader() const {
  SimNode* leader = nullptr;
  for (const auto& node : nodes) {
    if (!node->leads()) continue;
    if (leader == nullptr || node->replica().core()->term() > leader->replica().core()->term()) {
      leader = node.get();
    }
  }
  return leader;
}

}  // namespace raftkv::sim
