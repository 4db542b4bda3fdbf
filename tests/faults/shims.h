// The preloaded library (shim.cc) under the nodes of a run.
//
// Thread-safety: none.
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "tests/faults/bed.h"
#include "tests/faults/power_loss.h"
#include "tests/faults/shim_control.h"

namespace raftkv::faults {

// What a disk below node `i` would have if the power failed.
inline std::filesystem::path ShadowOf(const Bed& bed, size_t i) {
  return bed.directory(i) / "shadow";
}

// The shim's settings, one file for each node.
class Shims {
 public:
  explicit Shims(Bed& bed);
  ShimControl* operator[](size_t i) { return files_[i]->operator->(); }
  // Starts every node anew under the shim, one after the other.
  Status Attach(bool shadow);
  void Reset();

 private:
  Bed* const bed_;
  std::vector<std::unique_ptr<ShimFile>> files_;
};

}  // namespace raftkv::faults
