// PendingChanges: batches of changes in memory, and the last change of each key among them.
//
// A copy shares the bytes and costs a few microseconds; it stays as it is while the original goes
// on.
//
// Thread-safety: none; copies are independent of each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "node/storage/state_store.h"

namespace raftkv::storage {

// One batch: the changes one behind the other in one string.
class PendingBatch final : public StateBatch {
 public:
  void Put(std::string_view key, std::string_view value) override;
  void Delete(std::string_view key) override;
  void Clear() override;
  size_t bytes() const override { return bytes_.size(); }

 private:
  friend class PendingChanges;
  std::string bytes_;
};

class PendingChanges {
 public:
  struct Change {
    std::string_view key;
    std::optional<std::string_view> value;  // nullopt: deleted
  };

  PendingChanges();

  // Takes the batch's changes over; it is empty then.
  void Add(PendingBatch& batch);
  // nullopt: the key was not changed. Valid until Clear, of every copy.
  std::optional<Change> Find(std::string_view key) const;
  // The last change of each key in [lower, upper), in the order of the keys; upper empty: to the
  // end.
  std::vector<Change> Sorted(std::string_view lower = {}, std::string_view upper = {}) const;
  void Clear();

  size_t count() const { return count_; }  // keys that were changed
  size_t bytes() const { return bytes_; }

 private:
  // Of a hash table with linear probing; at: where the key's last change lies, or null.
  struct Slot {
    const char* at = nullptr;
    size_t hash = 0;
  };

  Slot& SlotOf(std::string_view key, size_t hash);
  void Grow();

  std::shared_ptr<std::deque<std::string>> batches_;  // only ever added to: they never move
  std::vector<Slot> slots_;                           // a power of two, at most half full
  size_t count_ = 0;
  size_t bytes_ = 0;
};

}  // namespace raftkv::storage
