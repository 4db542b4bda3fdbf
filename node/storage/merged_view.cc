#include "node/storage/merged_view.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace raftkv::storage {
namespace {

using Change = PendingChanges::Change;

// Walks both in the order of the keys; of two records of a key the change counts.
class MergedIterator final : public StateIterator {
 public:
  // `owner` keeps the changes alive.
  MergedIterator(std::shared_ptr<const StateView> owner, std::vector<Change> changes,
                 std::unique_ptr<StateIterator> beneath)
      : owner_(std::move(owner)), changes_(std::move(changes)), beneath_(std::move(beneath)) {}

  void SeekToFirst() override {
    beneath_->SeekToFirst();
    next_ = 0;
    SettleForward();
  }
  void SeekToLast() override {
    beneath_->SeekToLast();
    next_ = changes_.size();
    SettleBackward();
  }
  void Seek(std::string_view key) override {
    beneath_->Seek(key);
    next_ = LowerBound(key);
    SettleForward();
  }
  void SeekForPrev(std::string_view key) override {
    beneath_->SeekForPrev(key);
    next_ = LowerBound(key);
    if (next_ < changes_.size() && changes_[next_].key == key) ++next_;
    SettleBackward();
  }
  bool Valid() const override { return at_ != At::kEnd; }
  void Next() override {
    if (!forward_) Seek(std::string(key()));
    Leave();
    SettleForward();
  }
  void Prev() override {
    if (forward_) SeekForPrev(std::string(key()));
    Leave();
    SettleBackward();
  }
  std::string_view key() const override {
    return at_ == At::kChange ? change().key : beneath_->key();
  }
  std::string_view value() const override {
    return at_ == At::kChange ? *change().value : beneath_->value();
  }
  Status status() const override { return beneath_->status(); }

 private:
  enum class At { kEnd, kBeneath, kChange };

  size_t LowerBound(std::string_view key) const {
    return std::ranges::lower_bound(changes_, key, {}, &Change::key) - changes_.begin();
  }
  // The one that comes next in the direction.
  const Change& change() const { return changes_[forward_ ? next_ : next_ - 1]; }
  bool HasChange() const { return forward_ ? next_ < changes_.size() : next_ > 0; }

  void StepBeneath() { forward_ ? beneath_->Next() : beneath_->Prev(); }
  void StepChange() { forward_ ? ++next_ : --next_; }
  // Moves on from the current record, and from one beneath that it hides.
  void Leave() {
    if (at_ == At::kBeneath || hides_) StepBeneath();
    if (at_ == At::kChange) StepChange();
  }

  void SettleForward() {
    forward_ = true;
    Settle();
  }
  void SettleBackward() {
    forward_ = false;
    Settle();
  }
  // Where both sides are, or beyond what is deleted there.
  void Settle() {
    while (true) {
      hides_ = false;
      at_ = At::kEnd;
      if (!beneath_->Valid() && !beneath_->status().ok()) return;
      if (!HasChange()) {
        if (beneath_->Valid()) at_ = At::kBeneath;
        return;
      }
      if (beneath_->Valid()) {
        const int order = beneath_->key().compare(change().key);
        if (order != 0 && (order < 0) == forward_) {
          at_ = At::kBeneath;
          return;
        }
        hides_ = order == 0;
      }
      at_ = At::kChange;
      if (change().value) return;
      Leave();
    }
  }

  const std::shared_ptr<const StateView> owner_;
  const std::vector<Change> changes_;  // sorted
  const std::unique_ptr<StateIterator> beneath_;
  size_t next_ = 0;  // forwards: of the change that comes next; backwards: one behind it
  bool forward_ = true;
  At at_ = At::kEnd;
  bool hides_ = false;  // the change is of the key that beneath_ is at
};

class MergedView final : public StateView, public std::enable_shared_from_this<MergedView> {
 public:
  MergedView(PendingChanges changes, std::shared_ptr<const StateView> beneath)
      : changes_(std::move(changes)), beneath_(std::move(beneath)) {}

  Result<std::optional<std::string>> Get(std::string_view key) const override {
    if (const auto change = changes_.Find(key)) {
      if (!change->value) return std::nullopt;
      return std::string(*change->value);
    }
    return beneath_->Get(key);
  }

  std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                             std::string_view upper) const override {
    return std::make_unique<MergedIterator>(shared_from_this(), changes_.Sorted(lower, upper),
                                            beneath_->NewIterator(lower, upper));
  }

 private:
  const PendingChanges changes_;
  const std::shared_ptr<const StateView> beneath_;
};

}  // namespace

std::shared_ptr<const StateView> MergeViews(PendingChanges changes,
                                            std::shared_ptr<const StateView> beneath) {
  return std::make_shared<MergedView>(std::move(changes), std::move(beneath));
}

}  // namespace raftkv::storage
