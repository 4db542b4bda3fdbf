#include "node/storage/write_behind.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/storage/merged_view.h"
#include "node/storage/pending_changes.h"

namespace raftkv::storage {
namespace {

// Where the gathered changes become too many even for a writer in a hurry.
constexpr size_t kUrgent = 4;

class WriteBehindState final : public StateStore {
 public:
  WriteBehindState(StateStore* beneath, std::unique_ptr<StateStore> owned,
                   const WriteBehindOptions& options)
      : owned_(std::move(owned)), beneath_(*beneath), options_(options) {}
  // What was stopped in peace has nothing to replay; after an error the log has it.
  ~WriteBehindState() override {
    const std::lock_guard writing(write_mutex_);
    (void)WritePending();
  }

  Result<std::optional<std::string>> Get(std::string_view key) const override {
    // Not, or no longer, gathered: what is taken out of there is beneath before.
    if (auto gathered = Gathered(key)) return *std::move(gathered);
    return beneath_.Get(key);
  }
  Result<std::optional<std::string>> GetFromMemory(std::string_view key) const override {
    if (auto gathered = Gathered(key)) return *std::move(gathered);
    return beneath_.GetFromMemory(key);
  }

  std::shared_ptr<const StateView> View() const override {
    if (!gathered_.load(std::memory_order_acquire)) return beneath_.View();
    // Together: what is gathered is beneath before it is taken out of here.
    const std::lock_guard lock(mutex_);
    if (pending_.count() == 0) return beneath_.View();
    return MergeViews(pending_, beneath_.View());
  }

  std::unique_ptr<StateBatch> NewBatch() const override { return std::make_unique<PendingBatch>(); }

  Status Write(StateBatch& batch) override {
    const std::lock_guard writing(write_mutex_);
    if (IsWorthWriting(kUrgent)) RETURN_IF_ERROR(WritePending());
    Gather(batch);
    return Status::Ok();
  }

  Status WriteToMemory(StateBatch& batch) override {
    const std::unique_lock writing(write_mutex_, std::try_to_lock);
    if (!writing || IsWorthWriting(1)) return {Code::kUnavailable, "much is to be written first"};
    Gather(batch);
    return Status::Ok();
  }

  Status CatchUp() override {
    const std::lock_guard writing(write_mutex_);
    return IsWorthWriting(1) ? WritePending() : Status::Ok();
  }

  Status GiveBackSpace() override {
    RETURN_IF_ERROR(WriteAll());
    return beneath_.GiveBackSpace();
  }

  Status Resume() override { return beneath_.Resume(); }

  Result<std::optional<std::string>> FlushedGet(std::string_view key) const override {
    return beneath_.FlushedGet(key);
  }

  Status Flush() override {
    RETURN_IF_ERROR(WriteAll());
    return beneath_.Flush();
  }
  Status Checkpoint(const std::string& dir) override {
    RETURN_IF_ERROR(WriteAll());
    return beneath_.Checkpoint(dir);
  }
  Status Replace(const std::string& dir, raft::EntryId snapshot) override {
    // Nothing of the old state may hide the new one.
    RETURN_IF_ERROR(WriteAll());
    return beneath_.Replace(dir, snapshot);
  }
  std::optional<raft::EntryId> installing() const override { return beneath_.installing(); }
  Status FinishInstallation(raft::EntryId snapshot) override {
    return beneath_.FinishInstallation(snapshot);
  }

  StateStats stats() const override {
    StateStats stats = beneath_.stats();
    const std::lock_guard lock(mutex_);
    stats.memtable_bytes += pending_.bytes();
    return stats;
  }

 private:
  // nullopt: the key is not among what is gathered.
  std::optional<std::optional<std::string>> Gathered(std::string_view key) const {
    if (!gathered_.load(std::memory_order_acquire)) return std::nullopt;
    const std::lock_guard lock(mutex_);
    const auto change = pending_.Find(key);
    if (!change) return std::nullopt;
    return change->value ? std::optional<std::string>(*change->value) : std::nullopt;
  }

  // With write_mutex_.
  void Gather(StateBatch& batch) {
    const std::lock_guard lock(mutex_);
    pending_.Add(static_cast<PendingBatch&>(batch));
    gathered_.store(pending_.count() > 0, std::memory_order_release);
  }

  // Of what was gathered, so many times the amount at which it is.
  bool IsWorthWriting(size_t times) const {
    return pending_.count() >= times * options_.changes ||
           pending_.bytes() >= times * options_.bytes;
  }

  Status WriteAll() {
    const std::lock_guard writing(write_mutex_);
    return WritePending();
  }

  // With write_mutex_. After an error everything is still there.
  Status WritePending() {
    if (pending_.count() == 0) return Status::Ok();
    const std::unique_ptr<StateBatch> batch = beneath_.NewBatch();
    for (const PendingChanges::Change& change : pending_.Sorted()) {
      if (change.value) {
        batch->Put(change.key, *change.value);
      } else {
        batch->Delete(change.key);
      }
    }
    RETURN_IF_ERROR(WriteBeneath(*batch));
    const std::lock_guard lock(mutex_);
    pending_.Clear();
    gathered_.store(false, std::memory_order_release);
    return Status::Ok();
  }

  Status WriteBeneath(StateBatch& batch) {
    if (!options_.on_write) return beneath_.Write(batch);
    const auto start = std::chrono::steady_clock::now();
    const Status status = beneath_.Write(batch);
    options_.on_write(std::chrono::steady_clock::now() - start);
    return status;
  }

  const std::unique_ptr<StateStore> owned_;
  StateStore& beneath_;
  const WriteBehindOptions options_;
  // Held by whoever changes pending_ or writes beneath.
  std::mutex write_mutex_;
  // Held to look at pending_ (no longer than that takes), and besides write_mutex_ to change it.
  mutable std::mutex mutex_;
  PendingChanges pending_;
  std::atomic<bool> gathered_{false};  // pending_ has changes
};

}  // namespace

std::unique_ptr<StateStore> WriteBehind(std::unique_ptr<StateStore> beneath,
                                        const WriteBehindOptions& options) {
  StateStore* const store = beneath.get();
  return std::make_unique<WriteBehindState>(store, std::move(beneath), options);
}

std::unique_ptr<StateStore> WriteBehind(StateStore* beneath, const WriteBehindOptions& options) {
  return std::make_unique<WriteBehindState>(beneath, nullptr, options);
}

}  // namespace raftkv::storage
