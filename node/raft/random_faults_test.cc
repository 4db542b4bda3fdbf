// Clusters in a network that loses, repeats and reorders messages, whose nodes crash, snapshot,
// change their configuration, read and transfer leadership at random; from a seed. What must never
// happen is checked after each step (paper, figure 3); that something happens, after healing.
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/check.h"
#include "node/raft/confchange.h"
#include "node/raft/describe.h"
#include "node/raft/memory_log.h"
#include "node/raft/test_network.h"

namespace raftkv::raft {
namespace {

class QuietLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return false; }
  void Log(LogLevel, std::string_view) override {}
};

// A state machine that is a hash of everything it applied.
uint64_t Extend(uint64_t state, const Entry& entry) {
  return std::hash<std::string>()(std::to_string(state) + "/" + std::to_string(entry.term.value) +
                                  "/" + std::string(entry.data()));
}

struct Node;

// Makes snapshots on demand: one from before a member joined would be of no use to it.
class NodeLog final : public MemoryLog {
 public:
  explicit NodeLog(const Node& node) : node_(node) {}
  LogResult<Snapshot> snapshot() const override;

 private:
  const Node& node_;
};

struct Node {
  NodeLog log{*this};
  std::unique_ptr<SeededRandom> random;
  std::unique_ptr<Core> core;
  std::deque<StorageAppend> append_work;
  std::deque<StorageApply> apply_work;
  ConfState conf;
  Index applied;
  uint64_t state = 0;
};

LogResult<Snapshot> NodeLog::snapshot() const {
  if (node_.applied <= stored_snapshot().index) return stored_snapshot();
  return Snapshot{node_.applied, *term(node_.applied), node_.conf,
                  Buffer(std::to_string(node_.state))};
}

class FaultyCluster {
 public:
  explicit FaultyCluster(uint64_t seed) : random_(seed) {
    async_ = random_.Uniform(2) == 0;
    pre_vote_ = random_.Uniform(2) == 0;
    check_quorum_ = random_.Uniform(2) == 0;
    step_down_on_removal_ = random_.Uniform(2) == 0;
    ConfState first;
    first.voters = Ids({1, 2, 3});
    for (uint64_t id = 1; id <= kNodes; ++id) {
      Node& node = nodes_[NodeId(id)];
      node.random = std::make_unique<SeededRandom>(seed * kNodes + id);
      // The others are blank: they learn the configuration with the log or a snapshot.
      if (id <= first.voters.size()) {
        CHECK(node.log.InstallSnapshot({Index(1), Term(1), first, Buffer(std::string("0"))}));
      }
      Restart(NodeId(id));
    }
  }

  void RunFaulty(int steps) {
    for (int i = 0; i < steps; ++i) {
      RandomStep();
      CheckSafety();
    }
  }

  // Everything works again: a leader must emerge, and commit something on all members.
  void RunUntilLive() {
    Term proposed_in;  // one entry in each new term
    for (int round = 0; round < 3000; ++round) {
      for (auto& [id, node] : nodes_) {
        node.core->Tick();
        DoAllWork(id);
      }
      while (!network_.empty()) {
        Message m = TakeMessage(0);
        Deliver(std::move(m));
      }
      CheckSafety();
      const NodeId leader = LiveLeader();
      if (leader == kNone) continue;
      Core& core = *nodes_.at(leader).core;
      if (!core.tracker_config().voters.Ids().contains(leader)) {
        core.RequestTransfer(NodeId(1));  // it was removed; its operator would stop it
      }
      if (proposed_in == core.term() && EverybodyHas(leader)) return;
      if (proposed_in != core.term() && core.Propose(Buffer(std::string("live")))) {
        proposed_in = core.term();
      }
    }
    if (OnlyRemovedMembersKnow()) return;
    std::string states;
    for (auto& [id, node] : nodes_) {
      states += std::to_string(id.value) + " " + Describe(node.core->status().soft_state) + " " +
                Describe(node.core->status().hard_state) + " " +
                node.core->tracker_config().ToString() + "\n";
    }
    FAIL() << "no progress after healing\n" << states;
  }

  Index committed() const { return Index(states_.empty() ? 0 : states_.rbegin()->first.value); }
  size_t reads_checked() const { return reads_checked_; }

 private:
  static constexpr uint64_t kNodes = 5;

  uint64_t Uniform(uint64_t n) { return random_.Uniform(n); }
  bool OneIn(uint64_t n) { return Uniform(n) == 0; }
  NodeId AnyNode() { return NodeId(1 + Uniform(kNodes)); }

  void Restart(NodeId id) {
    Node& node = nodes_.at(id);
    const Snapshot snapshot = node.log.stored_snapshot();
    node.append_work.clear();
    node.apply_work.clear();
    node.conf = snapshot.conf;
    node.applied = snapshot.index;
    node.state = snapshot.IsEmpty() ? 0 : std::stoull(std::string(snapshot.data.view()));
    Config config;
    config.id = id;
    config.log = &node.log;
    config.logger = &logger_;
    config.random = node.random.get();
    config.applied = node.applied;
    config.async_storage_writes = async_;
    config.pre_vote = pre_vote_;
    config.check_quorum = check_quorum_;
    config.step_down_on_removal = step_down_on_removal_;
    config.max_bytes_per_append = 100;
    config.max_committed_bytes_per_ready = 200;
    config.max_uncommitted_bytes = 2000;
    config.max_inflight_messages = 4;
    node.core = std::make_unique<Core>(config);
  }

  void RandomStep() {
    const uint64_t kind = Uniform(1000);
    const NodeId id = AnyNode();
    Node& node = nodes_.at(id);
    if (kind < 450) {
      DeliverOne();
    } else if (kind < 650) {
      TakeReady(id);
    } else if (kind < 850) {
      WorkOnce(node, OneIn(2));
    } else if (kind < 920) {
      node.core->Tick();
    } else if (kind < 970) {
      (void)node.core->Propose(Buffer(std::to_string(Uniform(1'000'000))));
    } else if (kind < 980) {
      RequestRead(node);
    } else if (kind < 985) {
      (void)node.core->ProposeConfChange(RandomChange());
    } else if (kind < 988) {
      node.core->RequestTransfer(AnyNode());
    } else if (kind < 990) {
      (void)node.core->RequestForgetLeader();
    } else if (kind < 992) {
      node.core->ReportUnreachable(AnyNode());
    } else if (kind < 997) {
      Compact(node);
    } else {
      Restart(id);
    }
  }

  ConfChange RandomChange() {
    ConfChange change;
    change.transition = static_cast<ConfChangeTransition>(Uniform(3));
    for (uint64_t i = Uniform(4); i > 0; --i) {
      const auto type = static_cast<ConfChangeType>(Uniform(4));
      const NodeId id = AnyNode();
      // The first node stays a voter, so that there always is one.
      if (id == NodeId(1) && type != ConfChangeType::kAddVoter) continue;
      change.steps.push_back({type, id});
    }
    return change;
  }

  void RequestRead(Node& node) {
    const std::string name = std::to_string(++reads_requested_);
    Index newest;
    for (auto& [id, other] : nodes_) newest = std::max(newest, other.core->committed());
    reads_[name] = newest;
    node.core->RequestReadIndex(Buffer(name));
  }

  void Compact(Node& node) {
    if (node.applied <= node.log.first_index() || !node.append_work.empty()) return;
    if (node.applied > node.log.last_index()) return;
    if (!node.log.CreateSnapshot(node.applied, node.conf, Buffer(std::to_string(node.state)))) {
      return;
    }
    node.log.CompactTo(node.applied - Uniform(node.applied - node.log.first_index().Prev()));
  }

  // Without async writes a Ready is one step; with them, its parts wait in queues.
  void TakeReady(NodeId id) {
    Node& node = nodes_.at(id);
    if (!node.core->HasReady()) return;
    Ready ready = node.core->TakeReady();
    for (const ReadState& read : ready.read_states) CheckRead(read);
    if (!async_) {
      Persist(node, ready.entries, ready.hard_state, ready.snapshot);
      Apply(node, ready.committed);
      node.core->Advance();
    }
    for (Message& m : ready.messages) {
      if (auto* append = std::get_if<StorageAppend>(&m.body)) {
        node.append_work.push_back(std::move(*append));
      } else if (auto* apply = std::get_if<StorageApply>(&m.body)) {
        node.apply_work.push_back(std::move(*apply));
      } else {
        network_.push_back(std::move(m));
      }
    }
  }

  void WorkOnce(Node& node, bool append) {
    if (append && !node.append_work.empty()) {
      StorageAppend work = std::move(node.append_work.front());
      node.append_work.pop_front();
      Persist(node, work.entries, work.hard_state, work.snapshot);
      Release(node, std::move(work.responses));
    } else if (!append && !node.apply_work.empty()) {
      StorageApply work = std::move(node.apply_work.front());
      node.apply_work.pop_front();
      Apply(node, work.entries);
      Release(node, std::move(work.responses));
    }
  }

  void DoAllWork(NodeId id) {
    Node& node = nodes_.at(id);
    while (node.core->HasReady() || !node.append_work.empty() || !node.apply_work.empty()) {
      TakeReady(id);
      WorkOnce(node, true);
      WorkOnce(node, false);
    }
  }

  static void Persist(Node& node, const std::vector<Entry>& entries,
                      const std::optional<HardState>& hard_state,
                      const std::optional<Snapshot>& snapshot) {
    if (hard_state) node.log.SetHardState(*hard_state);
    if (snapshot && node.log.InstallSnapshot(*snapshot) && snapshot->index > node.applied) {
      node.conf = snapshot->conf;
      node.applied = snapshot->index;
      node.state = std::stoull(std::string(snapshot->data.view()));
    }
    node.log.Append(entries);
  }

  void Apply(Node& node, const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      if (entry.index <= node.applied) continue;  // overtaken by a snapshot
      ASSERT_EQ(entry.index, node.applied.Next());
      node.applied = entry.index;
      node.state = Extend(node.state, entry);
      // State machine safety: nobody applies anything else at this index.
      const auto [it, first] = states_.try_emplace(entry.index, node.state);
      ASSERT_EQ(it->second, node.state) << "at index " << entry.index.value;
      // A snapshot that the core has already, and that is still being written here, goes further.
      const bool outdated = entry.index < node.core->first_index();
      if (const ConfChange* change = entry.conf_change(); change != nullptr && !outdated) {
        ApplyChange(node, *change);
      }
    }
  }

  // A change that does not fit is refused by the state machine, on every node alike.
  static void ApplyChange(Node& node, const ConfChange& change) {
    Tracker tracker(1, 0);
    const ChangeResult current = Restore(tracker, Index(1), node.conf);
    CHECK(current);
    tracker.config = current->config;
    tracker.progress = current->progress;
    const Changer changer(tracker, Index(1));
    const JointUse joint = EntersJoint(change);
    const ChangeResult result = LeavesJoint(change) ? changer.LeaveJoint()
                                : joint.use ? changer.EnterJoint(joint.auto_leave, change.steps)
                                            : changer.Simple(change.steps);
    if (result) node.conf = node.core->ApplyConfChange(change);
  }

  // To the node itself reliably and in order, to others through the network.
  void Release(Node& node, std::vector<Message> responses) {
    for (Message& m : responses) {
      if (m.to == node.core->id()) {
        (void)node.core->Step(std::move(m));
      } else {
        network_.push_back(std::move(m));
      }
    }
  }

  Message TakeMessage(size_t at) {
    Message m = std::move(network_[at]);
    network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
    return m;
  }

  void DeliverOne() {
    if (network_.empty()) return;
    // Mostly in order; sometimes not; sometimes lost or repeated.
    Message m = TakeMessage(OneIn(4) ? Uniform(network_.size()) : 0);
    if (OneIn(20)) {
      if (m.Is<InstallSnapshot>()) nodes_.at(m.from).core->ReportSnapshot(m.to, true);
      return;
    }
    if (OneIn(20)) network_.push_back(m);
    Deliver(std::move(m));
  }

  // The sender of a snapshot learns that it has arrived; the acknowledgement may still get lost.
  void Deliver(Message m) {
    const NodeId from = m.from;
    const NodeId to = m.to;
    const bool snapshot = m.Is<InstallSnapshot>();
    (void)nodes_.at(to).core->Step(std::move(m));
    if (snapshot) nodes_.at(from).core->ReportSnapshot(to, false);
  }

  void CheckRead(const ReadState& read) {
    const auto it = reads_.find(std::string(read.context.view()));
    ASSERT_NE(it, reads_.end());
    ASSERT_GE(read.index, it->second) << "a stale read";
    ++reads_checked_;
  }

  void CheckSafety() {
    for (auto& [id, node] : nodes_) {
      node.core->CheckInvariants();
      if (node.core->role() != Role::kLeader) continue;
      const auto [it, first] = leaders_.try_emplace(node.core->term(), id);
      ASSERT_EQ(it->second, id) << "two leaders in term " << node.core->term().value;
    }
  }

  // The leader with the newest term.
  NodeId LiveLeader() {
    NodeId leader = kNone;
    Term newest;
    for (auto& [id, node] : nodes_) {
      if (node.core->role() != Role::kLeader || node.core->term() < newest) continue;
      newest = node.core->term();
      leader = id;
    }
    return leader;
  }

  // The one known way to get stuck (see Config::step_down_on_removal): the leader that was removed
  // is gone, and no remaining voter has learned that the change is committed.
  bool OnlyRemovedMembersKnow() {
    const Core* newest = nodes_.begin()->second.core.get();
    for (auto& [id, node] : nodes_) {
      if (node.core->committed() > newest->committed()) newest = node.core.get();
    }
    for (NodeId voter : newest->tracker_config().voters.Ids()) {
      const Core& core = *nodes_.at(voter).core;
      if (core.committed() >= newest->committed() || core.role() == Role::kLeader) return false;
    }
    return true;
  }

  bool EverybodyHas(NodeId leader) {
    const Core& core = *nodes_.at(leader).core;
    if (core.committed() < core.last_index() || core.tracker_config().joint()) {
      // A joint configuration that nobody left is left now.
      if (core.tracker_config().joint()) {
        (void)nodes_.at(leader).core->ProposeConfChange(ConfChange{});
      }
      return false;
    }
    const CoreStatus status = core.status();
    for (const auto& [id, progress] : status.progress) {
      if (nodes_.at(id).applied != core.committed()) return false;
    }
    return true;
  }

  SeededRandom random_;
  QuietLogger logger_;
  bool async_;
  bool pre_vote_;
  bool check_quorum_;
  bool step_down_on_removal_;
  std::map<NodeId, Node> nodes_;
  std::deque<Message> network_;
  std::map<Term, NodeId> leaders_;
  std::map<Index, uint64_t> states_;
  std::map<std::string, Index> reads_;
  uint64_t reads_requested_ = 0;
  size_t reads_checked_ = 0;
};

// RAFTKV_RANDOM_SEEDS=first-last runs others than the usual ones.
std::pair<uint64_t, uint64_t> SeedRange() {
  std::pair<uint64_t, uint64_t> range{1, 40};
  if (const char* text = std::getenv("RAFTKV_RANDOM_SEEDS")) {
    CHECK(std::sscanf(text, "%" SCNu64 "-%" SCNu64, &range.first, &range.second) == 2);
  }
  return range;
}

TEST(RandomFaults, SafeAlwaysLiveAfterHealing) {
  const auto [first, last] = SeedRange();
  constexpr int kSteps = 6000;
  uint64_t committed = 0;
  size_t reads = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    FaultyCluster cluster(seed);
    cluster.RunFaulty(kSteps);
    cluster.RunUntilLive();
    if (HasFatalFailure()) return;
    committed += cluster.committed().value;
    reads += cluster.reads_checked();
  }
  // The faults left room for real work.
  const uint64_t seeds = last - first + 1;
  EXPECT_GT(committed, seeds * 20);
  EXPECT_GT(reads, seeds);
}

}  // namespace
}  // namespace raftkv::raft
