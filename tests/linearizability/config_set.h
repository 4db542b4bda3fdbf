// The configurations that a search has been in: which operations have taken effect, and in which
// state that left the object. Compared in full, never by hash alone: a collision would turn into a
// wrong verdict.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/linearizability/budget.h"

namespace raftkv::linearizability {

class ConfigSet {
 public:
  explicit ConfigSet(Budget* budget) : budget_(budget) {}
  ~ConfigSet() { budget_->Forget(accounted_bytes_); }
  ConfigSet(const ConfigSet&) = delete;
  ConfigSet& operator=(const ConfigSet&) = delete;

  // False if an equal one is there. Keys may be of any length.
  bool Insert(std::span<const uint64_t> key);

 private:
  struct Entry {
    uint64_t hash;
    size_t begin;  // in words_
    size_t size;
  };

  bool IsAt(const Entry& entry, uint64_t hash, std::span<const uint64_t> key) const;
  void Grow();

  Budget* const budget_;
  std::vector<uint64_t> words_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // open addressing; 0: free, else the entry's number from 1
  size_t accounted_bytes_ = 0;
};

}  // namespace raftkv::linearizability
