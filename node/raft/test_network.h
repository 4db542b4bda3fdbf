// For the tests of the core: a core with a log in memory and its owner's chores, and a network of
// such nodes without time of its own. Invariants are checked after every step.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "node/raft/core.h"
#include "node/raft/logger.h"
#include "node/raft/memory_log.h"
#include "node/raft/message.h"

namespace raftkv::raft {

// Keeps the lines, to be searched.
class RecordingLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return true; }
  void Log(LogLevel, std::string_view text) override { lines_.emplace_back(text); }
  bool Contains(std::string_view part) const;

 private:
  std::vector<std::string> lines_;
};

std::vector<NodeId> Ids(std::initializer_list<uint64_t> ids);
// The entries at first, first + 1, ... with these terms and empty payloads.
std::vector<Entry> EntriesWithTerms(Index first, const std::vector<uint64_t>& terms);
// Terms of entries.
std::vector<uint64_t> TermsOf(const std::vector<Entry>& entries);

struct TestNodeOptions {
  uint64_t id = 1;
  std::vector<NodeId> voters = Ids({1, 2, 3});
  std::vector<NodeId> learners = {};
  // The terms of the entries 1, 2, ... that are in the log from the start.
  std::vector<uint64_t> log = {};
  HardState hard_state = {};
  uint64_t seed = 1;
  std::function<void(Config&)> tweak = {};  // election_ticks 10, heartbeat_ticks 1 unless changed
};

class TestNode {
 public:
  explicit TestNode(const TestNodeOptions& options);

  Core* operator->() { return core_.get(); }
  const Core* operator->() const { return core_.get(); }
  Core& core() { return *core_; }
  MemoryLog& log() { return log_; }
  RecordingLogger& logger() { return logger_; }
  // Everything applied so far, and confirmed reads.
  std::vector<Entry>& applied() { return applied_; }
  std::vector<ReadState>& reads() { return reads_; }
  // The payloads applied so far, without the empty ones.
  std::vector<std::string> AppliedData() const;
  // The whole log, stable and not.
  std::vector<Entry> AllEntries();

  StepResult Step(uint64_t from, uint64_t term, MessageBody body);
  StepResult Step(Message message);
  StepResult Propose(std::string data);
  void Tick(int count = 1);

  // Does the owner's work until there is none, and returns what is to be sent to others.
  std::vector<Message> Drain();
  // One Ready: persisted, applied, advanced. For async nodes: both storage threads do their work.
  std::vector<Message> HandleReady();

  // Campaigns and wins with the votes of all voters; returns what it sends then.
  std::vector<Message> BecomeLeader();
  // Follows `leader` at `term`.
  void BecomeFollower(uint64_t term, uint64_t leader);
  // Restarts from the stable log; with `tweak`, with other settings.
  void Restart(const std::function<void(Config&)>& tweak = {});
  // Makes a snapshot of the applied state and drops the log up to it.
  void SnapshotAndCompact();

 private:
  void Persist(const std::vector<Entry>& entries, const std::optional<HardState>& hard_state,
               const std::optional<Snapshot>& snapshot);
  void Apply(const std::vector<Entry>& entries);
  // Steps what is addressed to the node itself, adds the rest to `out`.
  void Route(std::vector<Message> messages, std::vector<Message>& out);

  RecordingLogger logger_;
  SeededRandom random_;
  MemoryLog log_;
  Config config_;
  ConfState conf_state_;
  std::unique_ptr<Core> core_;
  std::vector<Entry> applied_;
  std::vector<ReadState> reads_;
};

// Nodes 1..n, all voters, that deliver everything at once unless told otherwise.
class TestNetwork {
 public:
  explicit TestNetwork(size_t size, std::function<void(Config&)> tweak = {});
  // Takes the place of the node with the same id, or joins.
  void Add(const TestNodeOptions& options);

  TestNode& operator[](uint64_t id) { return *nodes_.at(NodeId(id)); }

  // Delivers until nothing is under way.
  void Settle();
  // Node `id` campaigns, and everything settles.
  void Campaign(uint64_t id);
  void Propose(uint64_t id, std::string data);
  // One tick on each node, in order, settling after each.
  void Tick(int count = 1);
  // Sends a message from outside, and settles.
  void Send(uint64_t to, uint64_t from, uint64_t term, MessageBody body);

  // Both directions.
  void Cut(uint64_t a, uint64_t b);
  void Isolate(uint64_t id);
  // Ends all cuts and the filter.
  void Heal();
  // Only messages for which it returns true are delivered.
  std::function<bool(const Message&)> filter;

 private:
  bool Delivers(const Message& m) const;

  std::map<NodeId, std::unique_ptr<TestNode>> nodes_;
  std::set<std::pair<NodeId, NodeId>> cut_;
};

// The messages of one kind.
template <typename Body>
std::vector<Message> Only(const std::vector<Message>& messages) {
  std::vector<Message> out;
  for (const Message& m : messages) {
    if (m.Is<Body>()) out.push_back(m);
  }
  return out;
}

}  // namespace raftkv::raft
