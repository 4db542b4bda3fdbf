// MemoryState: a StateStore without a disk, for tests and the simulator. A crash takes it back to
// the last Flush; whole contents can be taken out and put in, where a real store has checkpoints.
//
// Thread-safety: as StateStore; LoseUnflushed and Install count as writes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "node/storage/state_store.h"

namespace raftkv::storage {

class MemoryState final : public StateStore {
 public:
  using Contents = std::map<std::string, std::string, std::less<>>;

  MemoryState();
  ~MemoryState() override;

  Result<std::optional<std::string>> Get(std::string_view key) const override;
  Result<std::optional<std::string>> GetFromMemory(std::string_view key) const override {
    return Get(key);
  }
  std::shared_ptr<const StateView> View() const override;
  std::unique_ptr<StateBatch> NewBatch() const override;
  Status Write(StateBatch& batch) override;
  Result<std::optional<std::string>> FlushedGet(std::string_view key) const override;
  Status Flush() override;
  // There is no directory: both return kFailedPrecondition. See Dump and Install.
  Status Checkpoint(const std::string& dir) override;
  Status Replace(const std::string& dir, raft::EntryId snapshot) override;
  std::optional<raft::EntryId> installing() const override { return installing_; }
  Status FinishInstallation(raft::EntryId snapshot) override;
  StateStats stats() const override;

  // A crash: everything written after the last Flush is gone. Views stay as they are.
  void LoseUnflushed();

  // Everything written so far, and its counterpart: takes `contents`, at once durable, in the place
  // of the current state; what the contents are a snapshot of is what is being installed then.
  Contents Dump() const;
  void Install(Contents contents, std::optional<raft::EntryId> snapshot = std::nullopt);

 private:
  class Versions;
  class Batch;
  class Iterator;
  class SnapshotView;

  std::shared_ptr<Versions> versions() const;
  void SetVersions(std::shared_ptr<Versions> versions);

  mutable std::mutex mutex_;  // guards the pointer
  std::shared_ptr<Versions> versions_;
  std::optional<raft::EntryId> installing_;
};

}  // namespace raftkv::storage
