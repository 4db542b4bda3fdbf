#include "node/storage/memory_state.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace raftkv::storage {

// A map with the past that somebody can still ask for: each batch is one moment, and views and the
// last flush pin theirs.
class MemoryState::Versions {
 public:
  Versions() = default;
  explicit Versions(Contents contents) {
    while (!contents.empty()) {
      auto item = contents.extract(contents.begin());
      keys_.emplace_hint(keys_.end(), std::move(item.key()), History())
          ->second.emplace_back(0, std::move(item.mapped()));
    }
  }

  std::optional<std::string> Get(std::string_view key, uint64_t moment) const {
    const std::lock_guard lock(mutex_);
    return Lookup(key, moment);
  }
  std::optional<std::string> GetNewest(std::string_view key) const {
    const std::lock_guard lock(mutex_);
    return Lookup(key, now_);
  }
  std::optional<std::string> GetFlushed(std::string_view key) const {
    const std::lock_guard lock(mutex_);
    return Lookup(key, flushed_);
  }

  using Item = std::pair<std::string, std::string>;

  // The first item in [from, upper) (upper empty: no end).
  std::optional<Item> FirstFrom(std::string_view from, std::string_view upper,
                                uint64_t moment) const {
    const std::lock_guard lock(mutex_);
    for (auto it = keys_.lower_bound(from); it != keys_.end(); ++it) {
      if (!upper.empty() && it->first >= upper) return std::nullopt;
      if (const std::string* value = ValueAt(it->second, moment)) return Item(it->first, *value);
    }
    return std::nullopt;
  }

  // The last item in [lower, before) (before empty: no end).
  std::optional<Item> LastBefore(std::string_view before, std::string_view lower,
                                 uint64_t moment) const {
    const std::lock_guard lock(mutex_);
    auto it = before.empty() ? keys_.end() : keys_.lower_bound(before);
    while (it != keys_.begin()) {
      --it;
      if (it->first < lower) return std::nullopt;
      if (const std::string* value = ValueAt(it->second, moment)) return Item(it->first, *value);
    }
    return std::nullopt;
  }

  void Write(const std::vector<std::pair<std::string, std::optional<std::string>>>& changes) {
    const std::lock_guard lock(mutex_);
    const uint64_t moment = now_ + 1;
    for (const auto& [key, value] : changes) {
      History& history = keys_[key];
      if (history.empty() || history.back().first < moment) {
        history.emplace_back(moment, value);
      } else {
        history.back().second = value;
      }
      touched_.insert(key);
    }
    now_ = moment;
  }

  void Flush() {
    const std::lock_guard lock(mutex_);
    flushed_ = now_;
    Prune();
  }

  uint64_t Pin() {
    const std::lock_guard lock(mutex_);
    pins_.insert(now_);
    return now_;
  }

  void Unpin(uint64_t moment) {
    const std::lock_guard lock(mutex_);
    pins_.erase(pins_.find(moment));
  }

  Contents Newest() const {
    const std::lock_guard lock(mutex_);
    return At(now_);
  }
  Contents Flushed() const {
    const std::lock_guard lock(mutex_);
    return At(flushed_);
  }

  uint64_t Bytes() const {
    const std::lock_guard lock(mutex_);
    uint64_t bytes = 0;
    for (const auto& [key, history] : keys_) {
      for (const auto& [moment, value] : history) bytes += key.size() + (value ? value->size() : 0);
    }
    return bytes;
  }

 private:
  // By moment; mostly there is one.
  using Version = std::pair<uint64_t, std::optional<std::string>>;
  using History = std::vector<Version>;

  static const std::string* ValueAt(const History& history, uint64_t moment) {
    auto it = std::ranges::upper_bound(history, moment, {}, &Version::first);
    if (it == history.begin()) return nullptr;
    --it;
    return it->second ? &*it->second : nullptr;
  }

  std::optional<std::string> Lookup(std::string_view key, uint64_t moment) const {
    const auto it = keys_.find(key);
    if (it == keys_.end()) return std::nullopt;
    const std::string* value = ValueAt(it->second, moment);
    return value != nullptr ? std::optional(*value) : std::nullopt;
  }

  Contents At(uint64_t moment) const {
    Contents contents;
    for (const auto& [key, history] : keys_) {
      if (const std::string* value = ValueAt(history, moment)) {
        contents.emplace_hint(contents.end(), key, *value);
      }
    }
    return contents;
  }

  // Drops what neither the newest state, nor the flushed one, nor a view shows.
  void Prune() {
    for (auto touched = touched_.begin(); touched != touched_.end();) {
      const auto key = keys_.find(*touched);
      History& history = key->second;
      auto kept = history.begin();
      for (auto it = history.begin(); it != history.end(); ++it) {
        const auto next = std::next(it);
        if (next != history.end() && !PinnedIn(it->first, next->first)) continue;
        if (kept != it) *kept = std::move(*it);
        ++kept;
      }
      history.erase(kept, history.end());
      const bool single = history.size() == 1;
      if (single && !history.begin()->second) keys_.erase(key);
      touched = single ? touched_.erase(touched) : std::next(touched);
    }
  }

  bool PinnedIn(uint64_t from, uint64_t until) const {
    if (from <= flushed_ && flushed_ < until) return true;
    const auto pin = pins_.lower_bound(from);
    return pin != pins_.end() && *pin < until;
  }

  mutable std::mutex mutex_;
  std::map<std::string, History, std::less<>> keys_;
  std::set<std::string, std::less<>> touched_;  // keys that may have more than one version
  std::multiset<uint64_t> pins_;
  uint64_t now_ = 0;
  uint64_t flushed_ = 0;
};

class MemoryState::Batch final : public StateBatch {
 public:
  void Put(std::string_view key, std::string_view value) override {
    changes.emplace_back(key, std::string(value));
    bytes_ += key.size() + value.size();
  }
  void Delete(std::string_view key) override {
    changes.emplace_back(key, std::nullopt);
    bytes_ += key.size();
  }
  void Clear() override {
    changes.clear();
    bytes_ = 0;
  }
  size_t bytes() const override { return bytes_; }

  std::vector<std::pair<std::string, std::optional<std::string>>> changes;

 private:
  size_t bytes_ = 0;
};

class MemoryState::SnapshotView final : public StateView,
                                        public std::enable_shared_from_this<SnapshotView> {
 public:
  explicit SnapshotView(std::shared_ptr<Versions> versions)
      : versions_(std::move(versions)), moment_(versions_->Pin()) {}
  ~SnapshotView() override { versions_->Unpin(moment_); }

  Result<std::optional<std::string>> Get(std::string_view key) const override {
    return versions_->Get(key, moment_);
  }
  std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                             std::string_view upper) const override;

  const Versions& versions() const { return *versions_; }
  uint64_t moment() const { return moment_; }

 private:
  std::shared_ptr<Versions> versions_;
  uint64_t moment_;
};

class MemoryState::Iterator final : public StateIterator {
 public:
  Iterator(std::shared_ptr<const SnapshotView> view, std::string_view lower, std::string_view upper)
      : view_(std::move(view)), lower_(lower), upper_(upper) {}

  void SeekToFirst() override { Seek(lower_); }
  void SeekToLast() override { SetLastBefore(upper_); }
  void Seek(std::string_view key) override {
    item_ = view_->versions().FirstFrom(std::max(key, std::string_view(lower_)), upper_,
                                        view_->moment());
  }
  void SeekForPrev(std::string_view key) override {
    // The key after `key` in bytewise order.
    std::string after(key);
    after.push_back('\0');
    SetLastBefore(upper_.empty() ? after : std::min(after, upper_));
  }
  bool Valid() const override { return item_.has_value(); }
  void Next() override { Seek(item_->first + '\0'); }
  void Prev() override { SetLastBefore(std::string(item_->first)); }
  std::string_view key() const override { return item_->first; }
  std::string_view value() const override { return item_->second; }
  Status status() const override { return Status::Ok(); }

 private:
  void SetLastBefore(const std::string& before) {
    item_ = view_->versions().LastBefore(before, lower_, view_->moment());
  }

  std::shared_ptr<const SnapshotView> view_;
  const std::string lower_;
  const std::string upper_;
  std::optional<Versions::Item> item_;
};

std::unique_ptr<StateIterator> MemoryState::SnapshotView::NewIterator(
    std::string_view lower, std::string_view upper) const {
  return std::make_unique<Iterator>(shared_from_this(), lower, upper);
}

MemoryState::MemoryState() : versions_(std::make_shared<Versions>()) {}

MemoryState::~MemoryState() = default;

std::shared_ptr<MemoryState::Versions> MemoryState::versions() const {
  const std::lock_guard lock(mutex_);
  return versions_;
}

void MemoryState::SetVersions(std::shared_ptr<Versions> versions) {
  const std::lock_guard lock(mutex_);
  versions_ = std::move(versions);
}

Result<std::optional<std::string>> MemoryState::Get(std::string_view key) const {
  return versions()->GetNewest(key);
}

std::shared_ptr<const StateView> MemoryState::View() const {
  return std::make_shared<SnapshotView>(versions());
}

std::unique_ptr<StateBatch> MemoryState::NewBatch() const { return std::make_unique<Batch>(); }

Status MemoryState::Write(StateBatch& batch) {
  versions()->Write(static_cast<Batch&>(batch).changes);
  return Status::Ok();
}

Result<std::optional<std::string>> MemoryState::FlushedGet(std::string_view key) const {
  return versions()->GetFlushed(key);
}

Status MemoryState::Flush() {
  versions()->Flush();
  return Status::Ok();
}

Status MemoryState::Checkpoint(const std::string& dir) {
  return Status(Code::kFailedPrecondition,
                "the in-memory state store cannot write a checkpoint to " + dir + ": use Dump");
}

Status MemoryState::Replace(const std::string& dir, raft::EntryId) {
  return Status(Code::kFailedPrecondition,
                "the in-memory state store cannot read a checkpoint from " + dir + ": use Install");
}

StateStats MemoryState::stats() const { return {.memtable_bytes = versions()->Bytes()}; }

Status MemoryState::FinishInstallation(raft::EntryId snapshot) {
  if (installing_ == snapshot) installing_.reset();
  return Status::Ok();
}

void MemoryState::LoseUnflushed() { Install(versions()->Flushed(), installing_); }

MemoryState::Contents MemoryState::Dump() const { return versions()->Newest(); }

void MemoryState::Install(Contents contents, std::optional<raft::EntryId> snapshot) {
  installing_ = snapshot;
  SetVersions(std::make_shared<Versions>(std::move(contents)));
}

}  // namespace raftkv::storage
