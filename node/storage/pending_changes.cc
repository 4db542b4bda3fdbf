#include "node/storage/pending_changes.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "base/check.h"
#include "node/storage/bytes.h"

namespace raftkv::storage {
namespace {

constexpr size_t kMinSlots = 64;
constexpr size_t kKeptSlots = 16 << 10;

// Before the key and value of each change.
struct Sizes {
  uint32_t key = 0;
  uint32_t value = 0;
};
constexpr uint32_t kDeleted = std::numeric_limits<uint32_t>::max();

size_t Hash(std::string_view key) { return std::hash<std::string_view>{}(key); }

Sizes SizesAt(const char* at) {
  Sizes sizes;
  std::memcpy(&sizes, at, sizeof(sizes));
  return sizes;
}

std::string_view KeyAt(const char* at) { return {at + sizeof(Sizes), SizesAt(at).key}; }

PendingChanges::Change ChangeAt(const char* at) {
  const Sizes sizes = SizesAt(at);
  const char* const key = at + sizeof(Sizes);
  if (sizes.value == kDeleted) return {{key, sizes.key}, std::nullopt};
  return {{key, sizes.key}, std::string_view(key + sizes.key, sizes.value)};
}

const char* Next(const char* at) {
  const Sizes sizes = SizesAt(at);
  return at + sizeof(sizes) + sizes.key + (sizes.value == kDeleted ? 0 : sizes.value);
}

void Append(std::string_view key, std::string_view value, uint32_t value_size, std::string* out) {
  CHECK(key.size() < kDeleted && value.size() < kDeleted);
  const Sizes sizes{static_cast<uint32_t>(key.size()), value_size};
  out->append(reinterpret_cast<const char*>(&sizes), sizeof(sizes));
  out->append(key);
  out->append(value);
}

// A change with the first bytes of its key as numbers that sort as they do: few comparisons need
// more of it.
struct Headed {
  uint64_t first;
  uint64_t second;
  const char* at;
};

Headed WithHead(const char* at) {
  const std::string_view key = KeyAt(at);
  std::array<char, 16> head{};
  std::memcpy(head.data(), key.data(), std::min(key.size(), head.size()));
  return {GetBigEndian64(head.data()), GetBigEndian64(head.data() + 8), at};
}

bool Before(const Headed& a, const Headed& b) {
  if (a.first != b.first) return a.first < b.first;
  if (a.second != b.second) return a.second < b.second;
  return KeyAt(a.at) < KeyAt(b.at);
}

}  // namespace

void PendingBatch::Put(std::string_view key, std::string_view value) {
  Append(key, value, static_cast<uint32_t>(value.size()), &bytes_);
}

void PendingBatch::Delete(std::string_view key) { Append(key, {}, kDeleted, &bytes_); }

void PendingBatch::Clear() { bytes_.clear(); }

PendingChanges::PendingChanges()
    : batches_(std::make_shared<std::deque<std::string>>()), slots_(kMinSlots) {}

void PendingChanges::Add(PendingBatch& batch) {
  if (batch.bytes_.empty()) return;
  const std::string& bytes = batches_->emplace_back(std::exchange(batch.bytes_, {}));
  bytes_ += bytes.size();
  const char* const end = bytes.data() + bytes.size();
  for (const char* at = bytes.data(); at != end; at = Next(at)) {
    const std::string_view key = KeyAt(at);
    const size_t hash = Hash(key);
    Slot& slot = SlotOf(key, hash);
    const bool is_new = slot.at == nullptr;
    slot = {at, hash};
    if (is_new && 2 * ++count_ > slots_.size()) Grow();
  }
}

PendingChanges::Slot& PendingChanges::SlotOf(std::string_view key, size_t hash) {
  size_t i = hash & (slots_.size() - 1);
  while (slots_[i].at != nullptr && (slots_[i].hash != hash || KeyAt(slots_[i].at) != key)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  return slots_[i];
}

void PendingChanges::Grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
  for (const Slot& slot : old) {
    if (slot.at != nullptr) SlotOf(KeyAt(slot.at), slot.hash) = slot;
  }
}

std::optional<PendingChanges::Change> PendingChanges::Find(std::string_view key) const {
  const Slot& slot = const_cast<PendingChanges*>(this)->SlotOf(key, Hash(key));
  if (slot.at == nullptr) return std::nullopt;
  return ChangeAt(slot.at);
}

std::vector<PendingChanges::Change> PendingChanges::Sorted(std::string_view lower,
                                                           std::string_view upper) const {
  std::vector<Headed> order;
  for (const Slot& slot : slots_) {
    if (slot.at == nullptr) continue;
    const std::string_view key = KeyAt(slot.at);
    if (key >= lower && (upper.empty() || key < upper)) order.push_back(WithHead(slot.at));
  }
  std::ranges::sort(order, Before);
  std::vector<Change> sorted;
  sorted.reserve(order.size());
  for (const Headed& headed : order) sorted.push_back(ChangeAt(headed.at));
  return sorted;
}

void PendingChanges::Clear() {
  batches_ = std::make_shared<std::deque<std::string>>();  // copies may hold the others
  if (slots_.size() > kKeptSlots) slots_ = std::vector<Slot>(kMinSlots);
  std::ranges::fill(slots_, Slot{});
  count_ = bytes_ = 0;
}

}  // namespace raftkv::storage
