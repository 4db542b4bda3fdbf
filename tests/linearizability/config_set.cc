#include "tests/linearizability/config_set.h"

#include <algorithm>

#include "base/check.h"

namespace raftkv::linearizability {
namespace {

uint64_t Mix(uint64_t x) {  // the finalizer of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Hash(std::span<const uint64_t> key) {
  uint64_t hash = key.size();
  for (const uint64_t word : key) hash = Mix(hash + word + 0x9e3779b97f4a7c15);
  return hash;
}

}  // namespace

bool ConfigSet::IsAt(const Entry& entry, uint64_t hash, std::span<const uint64_t> key) const {
  return entry.hash == hash && entry.size == key.size() &&
         std::equal(key.begin(), key.end(), words_.begin() + static_cast<ptrdiff_t>(entry.begin));
}

void ConfigSet::Grow() {
  slots_.assign(std::max<size_t>(64, slots_.size() * 2), 0);
  for (size_t number = 1; number <= entries_.size(); ++number) {
    size_t slot = entries_[number - 1].hash & (slots_.size() - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<uint32_t>(number);
  }
}

bool ConfigSet::Insert(std::span<const uint64_t> key) {
  if (2 * (entries_.size() + 1) > slots_.size()) Grow();
  const uint64_t hash = Hash(key);
  size_t slot = hash & (slots_.size() - 1);
  for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    if (IsAt(entries_[slots_[slot] - 1], hash, key)) return false;
  }
  CHECK(entries_.size() < UINT32_MAX, "the memory limit lets more configurations through");
  entries_.push_back({hash, words_.size(), key.size()});
  words_.insert(words_.end(), key.begin(), key.end());
  slots_[slot] = static_cast<uint32_t>(entries_.size());
  const size_t bytes = words_.capacity() * sizeof(uint64_t) + entries_.capacity() * sizeof(Entry) +
                       slots_.capacity() * sizeof(uint32_t);
  budget_->Remember(bytes - accounted_bytes_);
  accounted_bytes_ = bytes;
  return true;
}

}  // namespace raftkv::linearizability
