// HeaderCache: the newest headers of live keys in bounded memory, so that writing or reading a key
// seldom has to look for its record in the store.
//
// Exact: a header that it returns is the key's record in the store. So only the writer fills it,
// with what a batch has written; readers find nothing from before the batch is written until the
// cache has followed, because otherwise they could see the batch for one key and not for another.
// Tombstones are never kept: garbage collection drops them from the store.
//
// The records lie in a ring, the oldest is overwritten first, and a header that changes stays where
// it is. An index of small buckets says where a key's record may be; what does not fit into a
// bucket is forgotten. The ring's memory is touched only as it fills.
//
// Thread-safety: Find from any thread; everything else from one thread, the writer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "node/kv/format.h"

namespace raftkv::kv {

class HeaderCache {
 public:
  // Some 100,000 keys of 8 bytes, or 52,000 of 48.
  static constexpr size_t kDefaultBytes = 4 << 20;

  // Size of the ring, less than 4 GiB; the index takes a quarter of it besides.
  explicit HeaderCache(size_t bytes = kDefaultBytes);

  // nullopt: not known here, or a change is under way.
  std::optional<RecordHeader> Find(std::string_view key) const;
  // The writer's own: without a lock, and also while it makes a change.
  std::optional<RecordHeader> FindAsWriter(std::string_view key) const;

  // Around the writing of a batch and the calls that follow it.
  void BeginChange();
  void EndChange();
  // The key's record is now `header`; one that is not live is forgotten.
  void Set(std::string_view key, const RecordHeader& header);
  void Clear();

 private:
  using Slot = uint32_t;  // offset of a record + 1; 0: none
  using Bucket = std::array<Slot, 4>;

  Bucket& BucketOf(std::string_view key) const;
  // Where the index names the key's record, or null.
  Slot* FindSlot(std::string_view key) const;
  std::string_view KeyAt(size_t offset) const;
  Slot Append(std::string_view key);
  void MakeRoom(size_t bytes);
  void DropOldest();

  const size_t capacity_;
  const std::unique_ptr<char[]> ring_;
  mutable std::vector<Bucket> index_;
  // Positions as if the ring were endless.
  uint64_t oldest_ = 0;
  uint64_t end_ = 0;

  mutable std::mutex mutex_;  // readers while they look; the writer as it begins and ends a change
  bool changing_ = false;
};

}  // namespace raftkv::kv
