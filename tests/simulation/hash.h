// Hashes of what a simulation sees: to compare, not to keep.
//
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace raftkv::sim {

inline uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15;
  return hash ^ (hash >> 32);
}

inline uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = bytes.size();
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t n = std::min(bytes.size(), sizeof(word));
    std::copy_n(bytes.data(), n, reinterpret_cast<char*>(&word));
    hash = Mix(hash, word);
    bytes.remove_prefix(n);
  }
  return hash;
}

}  // namespace raftkv::sim
