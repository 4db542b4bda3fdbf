// A group of raft nodes in one thread, without clock or network: every step happens because a
// directive asks for it, and prints what it does.
//
// Behaviour and texts are those of the environment that etcd's interaction tests run in. After each
// step of a node its core checks its invariants.
//
// Thread-safety: none.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "node/raft/core.h"
#include "tests/conformance/applied_log.h"
#include "tests/conformance/output.h"

namespace raftkv::conformance {

struct Node {
  explicit Node(raft::Snapshot initial) : log(std::move(initial)) {}

  AppliedLog log;
  raft::Config config;
  std::unique_ptr<raft::Core> core;
  std::deque<raft::Message> append_work;  // StorageAppend
  std::deque<raft::Message> apply_work;   // StorageApply
};

// Randomized timeouts take their shortest value, so that `tick-election` means an election.
class ShortestTimeouts final : public Random {
 public:
  uint64_t Next() override { return 0; }
};

class InteractionEnv {
 public:
  struct Recipient {
    raft::NodeId id;
    bool drop = false;
  };

  InteractionEnv() = default;
  InteractionEnv(const InteractionEnv&) = delete;
  InteractionEnv& operator=(const InteractionEnv&) = delete;

  Output& output() { return output_; }
  size_t size() const { return nodes_.size(); }
  // 1 <= id <= size(): ids are given in the order of creation.
  Node& node(raft::NodeId id);

  // The settings of a node to which a directive says nothing else: no limits.
  static raft::Config DefaultConfig();
  // Adds `count` nodes whose log starts with `snapshot`, which may be empty.
  Status AddNodes(uint64_t count, const raft::Config& config, raft::Snapshot snapshot);

  // Takes one Ready and does what it says; with asynchronous storage, only queues it.
  Status ProcessReady(raft::NodeId id);
  // One message of the storage threads' queues.
  Status ProcessAppendThread(raft::NodeId id);
  void ProcessApplyThread(raft::NodeId id);
  // Delivers or drops the messages in flight to the recipients; only those of `type` (MsgApp, ...)
  // if it is set. Returns how many there were.
  size_t Deliver(std::optional<std::string_view> type, const std::vector<Recipient>& recipients);
  // All of the above on the nodes `ids`, over and over until nothing is left to do.
  Status Stabilize(const std::vector<raft::NodeId>& ids);

  // Puts the latest applied state of `from` into flight to `to`.
  void SendSnapshot(raft::NodeId from, raft::NodeId to);
  void Tick(raft::NodeId id, int ticks);
  Status Compact(raft::NodeId id, raft::Index last_dropped);
  void PrintLog(raft::NodeId id);
  void PrintStates();

  void CheckAllInvariants() const;

 private:
  static Status Append(Node& node, const std::optional<raft::HardState>& hard_state,
                       const std::vector<raft::Entry>& entries,
                       const std::optional<raft::Snapshot>& snapshot);
  static void Apply(Node& node, const std::vector<raft::Entry>& entries);
  void Send(Node& node, raft::Message message);
  void StepMessage(raft::Message message);
  void ReleaseResponses(std::vector<raft::Message> responses);
  // Takes the messages to `recipient` out of flight.
  std::vector<raft::Message> TakeMessages(std::optional<std::string_view> type,
                                          Recipient recipient);

  // One phase of Stabilize each; whether there was anything to do.
  Result<bool> StabilizeReady(const std::vector<raft::NodeId>& ids);
  bool StabilizeMessages(const std::vector<raft::NodeId>& ids);
  Result<bool> StabilizeAppendThreads(const std::vector<raft::NodeId>& ids);
  bool StabilizeApplyThreads(const std::vector<raft::NodeId>& ids);

  Output output_;
  ShortestTimeouts random_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<raft::Message> in_flight_;
};

}  // namespace raftkv::conformance
