#include "node/kv/header_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "base/check.h"

namespace raftkv::kv {
namespace {

// What stands before a key in the ring: the header of a live key, in few bytes.
struct Prefix {
  uint64_t main = 0;
  uint32_t create_age = 0;  // main - create
  uint32_t jump_age = 0;    // main - jump.main; 0: no jump
  uint32_t version = 0;
  uint16_t sub = 0;
  uint16_t jump_sub = 0;
  uint8_t steps = 0;
  RecordKind kind = RecordKind::kNone;
  uint16_t key_bytes = 0;
};

// Instead of a size: nothing follows up to the ring's end.
constexpr uint16_t kPadding = std::numeric_limits<uint16_t>::max();
constexpr size_t kMinBytes = 1024;

// Nearly all; others are looked up in the store.
bool Fits(std::string_view key, const RecordHeader& header) {
  constexpr uint64_t kMax16 = std::numeric_limits<uint16_t>::max();
  constexpr uint64_t kMax32 = std::numeric_limits<uint32_t>::max();
  static_assert(kJump <= std::numeric_limits<uint8_t>::max());
  return header.live() && key.size() < kPadding && header.version <= kMax32 &&
         header.mod.main - header.create <= kMax32 &&
         (header.jump == Revision() || header.mod.main - header.jump.main <= kMax32) &&
         header.mod.sub <= kMax16 && header.jump.sub <= kMax16;
}

}  // namespace

HeaderCache::HeaderCache(size_t bytes)
    : capacity_(std::max(bytes, kMinBytes)),
      ring_(std::make_unique_for_overwrite<char[]>(capacity_)),
      index_(std::bit_ceil(capacity_ / 64)) {
  CHECK(capacity_ < std::numeric_limits<Slot>::max());
}

std::optional<RecordHeader> HeaderCache::Find(std::string_view key) const {
  const std::lock_guard lock(mutex_);
  if (changing_) return std::nullopt;
  return FindAsWriter(key);
}

std::optional<RecordHeader> HeaderCache::FindAsWriter(std::string_view key) const {
  const Slot* slot = FindSlot(key);
  if (slot == nullptr) return std::nullopt;
  Prefix prefix;
  std::memcpy(&prefix, &ring_[*slot - 1], sizeof(prefix));
  RecordHeader header{.kind = prefix.kind,
                      .mod = {prefix.main, prefix.sub},
                      .create = prefix.main - prefix.create_age,
                      .version = prefix.version,
                      .steps = prefix.steps};
  if (prefix.jump_age != 0) header.jump = {prefix.main - prefix.jump_age, prefix.jump_sub};
  return header;
}

void HeaderCache::BeginChange() {
  const std::lock_guard lock(mutex_);
  changing_ = true;
}

void HeaderCache::EndChange() {
  const std::lock_guard lock(mutex_);
  changing_ = false;
}

void HeaderCache::Set(std::string_view key, const RecordHeader& header) {
  Slot* slot = FindSlot(key);
  if (!Fits(key, header)) {
    if (slot != nullptr) *slot = 0;
    return;
  }
  if (slot == nullptr) {
    // A few records must not push out all others.
    if (sizeof(Prefix) + key.size() > capacity_ / 16) return;
    const Slot appended = Append(key);
    Bucket& bucket = BucketOf(key);
    const auto free = std::ranges::find(bucket, Slot{0});
    slot = free != bucket.end() ? &*free : &bucket[end_ % bucket.size()];
    *slot = appended;
  }
  const bool jumps = header.jump != Revision();
  const Prefix prefix{
      .main = header.mod.main,
      .create_age = static_cast<uint32_t>(header.mod.main - header.create),
      .jump_age = jumps ? static_cast<uint32_t>(header.mod.main - header.jump.main) : 0,
      .version = static_cast<uint32_t>(header.version),
      .sub = static_cast<uint16_t>(header.mod.sub),
      .jump_sub = static_cast<uint16_t>(header.jump.sub),
      .steps = static_cast<uint8_t>(header.steps),
      .kind = header.kind,
      .key_bytes = static_cast<uint16_t>(key.size())};
  std::memcpy(&ring_[*slot - 1], &prefix, sizeof(prefix));
}

void HeaderCache::Clear() {
  std::ranges::fill(index_, Bucket{});
  oldest_ = end_ = 0;
}

HeaderCache::Bucket& HeaderCache::BucketOf(std::string_view key) const {
  return index_[std::hash<std::string_view>{}(key) & (index_.size() - 1)];
}

HeaderCache::Slot* HeaderCache::FindSlot(std::string_view key) const {
  for (Slot& slot : BucketOf(key)) {
    if (slot != 0 && KeyAt(slot - 1) == key) return &slot;
  }
  return nullptr;
}

std::string_view HeaderCache::KeyAt(size_t offset) const {
  uint16_t size = 0;
  std::memcpy(&size, &ring_[offset + offsetof(Prefix, key_bytes)], sizeof(size));
  return {&ring_[offset + sizeof(Prefix)], size};
}

HeaderCache::Slot HeaderCache::Append(std::string_view key) {
  const size_t left = capacity_ - end_ % capacity_;
  const size_t bytes = sizeof(Prefix) + key.size();
  if (left < bytes) {
    MakeRoom(left);
    if (left >= sizeof(Prefix)) {
      const Prefix padding{.key_bytes = kPadding};
      std::memcpy(&ring_[end_ % capacity_], &padding, sizeof(padding));
    }
    end_ += left;
  }
  MakeRoom(bytes);
  const size_t offset = end_ % capacity_;
  const Prefix prefix{.key_bytes = static_cast<uint16_t>(key.size())};
  std::memcpy(&ring_[offset], &prefix, sizeof(prefix));
  std::memcpy(&ring_[offset + sizeof(prefix)], key.data(), key.size());
  end_ += bytes;
  return static_cast<Slot>(offset + 1);
}

void HeaderCache::MakeRoom(size_t bytes) {
  while (end_ + bytes - oldest_ > capacity_) DropOldest();
}

void HeaderCache::DropOldest() {
  const size_t offset = oldest_ % capacity_;
  const size_t left = capacity_ - offset;
  Prefix prefix;
  if (left >= sizeof(prefix)) std::memcpy(&prefix, &ring_[offset], sizeof(prefix));
  if (left < sizeof(prefix) || prefix.key_bytes == kPadding) {
    oldest_ += left;
    return;
  }
  // The index may have forgotten the record before; then no slot names it.
  std::ranges::replace(BucketOf(KeyAt(offset)), static_cast<Slot>(offset + 1), Slot{0});
  oldest_ += sizeof(prefix) + prefix.key_bytes;
}

}  // namespace raftkv::kv
