// SimState: a StateStore in memory that can crash, with checkpoints that are names instead of
// directories. A crash goes back to the last flush, which may happen after any batch; a replacement
// that the owner has not confirmed yet may be undone by a crash.
//
// Thread-safety: none.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "node/storage/memory_state.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/sim_space.h"

namespace raftkv::sim {

using Checkpoint = std::shared_ptr<const storage::MemoryState::Contents>;
// By directory.
using Checkpoints = std::map<std::string, Checkpoint>;

class SimState final : public storage::StateStore {
 public:
  SimState(Coverage* coverage, Checkpoints* checkpoints, uint64_t seed)
      : coverage_(coverage), checkpoints_(checkpoints), random_(seed) {}

  // --- The owner's side

  // Without one there is always room.
  void SetSpace(const SimSpace* space) { space_ = space; }
  // What it takes of it: what is flushed.
  uint64_t stored_bytes() const;
  // A write flushes by itself once in so many; 0: never.
  void SetFlushEvery(uint64_t writes) { flush_every_ = writes; }
  // The installation of a snapshot is behind us.
  void Confirm() { before_replace_.reset(); }
  void Crash();
  void Clear();
  // What a copy of the files would hold.
  struct Image {
    storage::MemoryState::Contents contents;
    std::optional<raft::EntryId> installing;
  };
  Image Copy() const { return {state_.Dump(), state_.installing()}; }
  // The process must not run.
  void Load(const Image& image);
  // The next write fails with this, once.
  void FailNext(Status status) { fail_next_ = std::move(status); }

  // --- StateStore

  Result<std::optional<std::string>> Get(std::string_view key) const override {
    return state_.Get(key);
  }
  std::shared_ptr<const storage::StateView> View() const override { return state_.View(); }
  std::unique_ptr<storage::StateBatch> NewBatch() const override { return state_.NewBatch(); }
  Status Write(storage::StateBatch& batch) override;
  Result<std::optional<std::string>> FlushedGet(std::string_view key) const override {
    return state_.FlushedGet(key);
  }
  Status Flush() override;
  Status Resume() override { return stopped_ ? FlushIfRoom() : Status::Ok(); }
  // A flush has found no room; until Resume.
  bool stopped() const { return stopped_; }
  Status Checkpoint(const std::string& dir) override;
  Status Replace(const std::string& dir, raft::EntryId snapshot) override;
  std::optional<raft::EntryId> installing() const override { return state_.installing(); }
  Status FinishInstallation(raft::EntryId snapshot) override {
    return state_.FinishInstallation(snapshot);
  }
  storage::StateStats stats() const override {
    return {.disk_bytes = stored_bytes() * SimSpace::kScale,
            .memtable_bytes = unflushed_bytes_ * SimSpace::kScale};
  }

 private:
  // Ok, or what a store says that a full disk has stopped.
  Status CheckStopped() const;
  Status FlushIfRoom();
  void Flushed();

  Coverage* const coverage_;
  Checkpoints* const checkpoints_;
  SeededRandom random_;
  const SimSpace* space_ = nullptr;
  storage::MemoryState state_;
  uint64_t flush_every_ = 0;
  bool unflushed_ = false;
  uint64_t unflushed_bytes_ = 0;
  bool stopped_ = false;
  Status fail_next_;
  std::optional<storage::MemoryState::Contents> before_replace_;
  std::optional<raft::EntryId> installing_before_replace_;
};

}  // namespace raftkv::sim
