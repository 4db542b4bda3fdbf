// The real state machine with the checker in front of it.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "node/kv/state_machine.h"
#include "tests/simulation/checker.h"

namespace raftkv::sim {

class ProbedMachine final : public kv::StateMachine {
 public:
  // `on_change` hears of every change of the configuration that was accepted; `in_memory`: whether
  // what is to be applied now touches no disk.
  ProbedMachine(
      const SimLog* log, raft::NodeId node, std::unique_ptr<kv::StateMachine> real,
      Checker* checker, Coverage* coverage, std::function<bool()> in_memory,
      std::function<void(const v1::ClusterState& before, const v1::ClusterState& after)> on_change)
      : log_(log),
        node_(node),
        real_(std::move(real)),
        checker_(checker),
        coverage_(coverage),
        in_memory_(std::move(in_memory)),
        on_change_(std::move(on_change)) {}

  Status InitializeCluster(const v1::ClusterState& initial) override {
    return real_->InitializeCluster(initial);
  }
  Result<std::vector<kv::ApplyResult>> Apply(std::span<const raft::Entry> entries) override;
  std::optional<std::vector<kv::ApplyResult>> ApplyInMemory(
      std::span<const raft::Entry> entries) override;
  Result<bool> CollectGarbage(size_t max_versions) override {
    return real_->CollectGarbage(max_versions);
  }
  void PrepareReplace() override { real_->PrepareReplace(); }
  Status ReloadAfterReplace() override;
  kv::AppliedState applied() const override { return real_->applied(); }
  uint64_t readable_revision() const override { return real_->readable_revision(); }
  Result<raft::Index> FlushedIndex() const override { return real_->FlushedIndex(); }
  std::shared_ptr<const v1::ClusterState> cluster() const override { return real_->cluster(); }
  Result<std::optional<kv::KeyValue>> Get(std::string_view key, uint64_t revision) const override {
    return real_->Get(key, revision);
  }
  Result<kv::RangeResult> Range(const kv::RangeRequest& request) const override {
    return real_->Range(request);
  }
  Result<kv::StateHash> Hash() const override { return real_->Hash(); }
  uint64_t live_keys() const override { return real_->live_keys(); }
  uint64_t stored_versions() const override { return real_->stored_versions(); }

 private:
  void CountChange(const v1::ConfState& before, const v1::ClusterState& after);

  const SimLog* const log_;
  const raft::NodeId node_;
  const std::unique_ptr<kv::StateMachine> real_;
  Checker* const checker_;
  Coverage* const coverage_;
  const std::function<bool()> in_memory_;
  const std::function<void(const v1::ClusterState& before, const v1::ClusterState& after)>
      on_change_;
};

}  // namespace raftkv::sim
