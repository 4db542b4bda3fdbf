#include "tests/simulation/liveness.h"

#include "base/hex_id.h"
#include "node/raft/describe.h"
#include "tests/simulation/clients.h"
#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

// In the history: none of the clients.
constexpr size_t kAsker = 1'000'000;

}  // namespace

std::string Liveness::Missing() const {
  const SimNode* leader = world_->Leader();
  if (leader == nullptr) return "there is no leader";
  const auto cluster = leader->machine().cluster();
  if (!cluster->conf().voters_outgoing().empty()) return "the configuration is joint";
  if (!operator_->LostMembers().empty()) return "a lost member has not been replaced";
  const raft::Index committed = leader->replica().core()->committed();
  const raft::Term term = leader->replica().core()->term();
  if (committed != leader->replica().core()->last_index())
    return "the leader's log is not committed";
  std::set<uint64_t> members;
  for (const v1::Member& member : cluster->members()) {
    members.insert(member.id());
    const std::string name = member.name() + " (" + HexId(member.id()) + ")";
    const SimNode* node = world_->ById(raft::NodeId(member.id()));
    if (node == nullptr || !node->running()) return "member " + name + " does not run";
    const raft::Core* core = node->replica().core();
    if (core == nullptr) return "member " + name + " is blank";
    if (core->term() != term || core->leader() != leader->id()) {
      return "member " + name + " does not follow the leader";
    }
    if (node->machine().applied().index != committed) {
      return "member " + name + " has applied " +
             std::to_string(node->machine().applied().index.value) + " of " +
             std::to_string(committed.value);
    }
  }
  for (const auto& node : world_->nodes) {
    if (!node->running() || node->disk().blank() || members.contains(node->id().value)) continue;
    // One that was away may know nobody who could tell it that it was removed.
    bool could_hear = false;
    for (const v1::Member& known : node->machine().cluster()->members()) {
      could_hear = could_hear || (members.contains(known.id()) && known.id() != node->id().value);
    }
    if (could_hear) {
      return "node " + node->disk().identity().name() + " runs, but is no member";
    }
  }
  return "";
}

std::string Liveness::Describe() const {
  constexpr const char* kRoles[] = {"follower", "candidate", "leader", "pre-candidate"};
  std::string out;
  for (const auto& node : world_->nodes) {
    const v1::Identity& identity = node->disk().identity();
    out += identity.name() + " (" + HexId(node->id().value) + ")";
    if (identity.removed()) out += " removed";
    if (node->disk().blank()) out += " blank";
    if (node->disk().rotten()) out += " rotten";
    if (!node->running()) {
      out += " does not run\n";
      continue;
    }
    if (const raft::Core* core = node->replica().core()) {
      out += std::string(" ") + kRoles[static_cast<int>(core->role())] + " term " +
             std::to_string(core->term().value) + " leader " + HexId(core->leader().value) +
             " commit " + std::to_string(core->committed().value) + " applied " +
             std::to_string(core->applied().value) + " log " +
             std::to_string(core->first_index().value) + "-" +
             std::to_string(core->last_index().value);
      const v1::ClusterState& cluster = *node->machine().cluster();
      out += " config " + std::to_string(cluster.config_index()) + ": voters";
      for (const uint64_t id : cluster.conf().voters()) out += " " + HexId(id);
      for (const uint64_t id : cluster.conf().voters_outgoing()) out += " outgoing " + HexId(id);
      for (const uint64_t id : cluster.conf().learners()) out += " learner " + HexId(id);
      for (const auto& [id, progress] : core->status().progress) {
        out += "\n    " + HexId(id.value) + " " + std::string(raft::Describe(progress.state)) +
               " match " + std::to_string(progress.match.value) + " next " +
               std::to_string(progress.next.value) + " pending snapshot " +
               std::to_string(progress.pending_snapshot.value);
      }
    }
    out += '\n';
  }
  return out;
}

void Liveness::AskEveryMember() {
  const v1::ClusterState cluster = operator_->Newest();
  for (const v1::Member& member : cluster.members()) {
    SimNode* node = world_->ById(raft::NodeId(member.id()));
    if (node == nullptr || !node->running()) continue;
    waiting_.insert(node->disk().identity().name());
    Ask(node);
  }
}

void Liveness::Ask(SimNode* node) {
  Operation operation;
  operation.client = kAsker;
  operation.kind = Operation::Kind::kPut;
  operation.key = "alive-" + node->disk().identity().name();
  operation.value = "yes";
  const size_t number = history_->Begin(operation);
  node->Request([this, node, number, command = Clients::CommandFor(operation)] {
    const auto written = [this, node, number](const Result<kv::CommandResult>& put) {
      history_->EndWrite(number, put);
      if (put && put->status.ok()) ReadBack(node, put->revision);
    };
    const uint64_t request = node->Write(command, std::chrono::seconds(5), written);
    history_->SetRequest(number, node->id().value, request);
  });
}

void Liveness::ReadBack(SimNode* node, uint64_t revision) {
  const auto read = [this, node, revision](const Status& status) {
    if (!status.ok()) return;
    const std::string& name = node->disk().identity().name();
    if (node->machine().applied().revision < revision) {
      world_->checker.Fail("liveness: " + name + " does not read its own write");
    }
    waiting_.erase(name);
  };
  world_->scheduler.After(Duration(0), [node, read] {
    if (!node->running()) return;
    node->Request([node, read] {
      node->Read(runtime::Consistency::kLinearizable, std::chrono::seconds(5), read);
    });
  });
}

void Liveness::Expect(const std::vector<SimNode*>& with_room) {
  waiting_.clear();
  for (const SimNode* node : with_room) waiting_.insert(node->options().name);
}

// Of a key that never was: nothing changes, but the log grows.
void Liveness::AskToDelete() {
  for (const auto& node : world_->nodes) {
    if (!node->running() || node->disk().blank()) continue;
    node->Request([this, node = node.get()] {
      v1::Command command;
      command.mutable_delete_()->set_key("nobody");
      (void)node->Write(command, std::chrono::seconds(5),
                        [this, name = node->options().name](const auto& deleted) {
                          if (deleted) waiting_.erase(name);
                        });
    });
  }
}

std::string Liveness::MissingThough() const {
  const SimNode* leader = world_->Leader();
  if (leader == nullptr) return "there is no leader, though a majority has room";
  if (leader->waits_for_space()) return "a leader that waits for space keeps the lead";
  return waiting_.empty() ? "" : *waiting_.begin() + " has room, but does not carry out a delete";
}

std::string Liveness::Unanswered() const {
  return waiting_.empty() ? "" : *waiting_.begin() + " does not carry out a write and a read";
}

void Liveness::CompareStates() const {
  for (const auto& node : world_->nodes) {
    if (!node->running() || node->disk().blank()) continue;
    const Result<kv::StateHash> hash = node->machine().Hash();
    if (!hash) {
      world_->checker.Fail("the state of " + node->disk().identity().name() +
                           " cannot be read: " + hash.error().ToString());
      return;
    }
    world_->checker.OnStateHash(node->id(), *hash);
  }
}

}  // namespace raftkv::sim
