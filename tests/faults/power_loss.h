// What a disk holds after the power failed, from the shadow that the preloaded library keeps
// (shim_control.h), and the shim's settings from the outside.
//
// Thread-safety: none; the node must not run.
#pragma once

#include <filesystem>
#include <random>

#include "base/status.h"
#include "tests/faults/shim_control.h"

namespace raftkv::faults {

// Makes the shadow anew: everything in `data` counts as durable. Makes `data` if it is missing.
Status SeedShadow(const std::filesystem::path& data, const std::filesystem::path& shadow);

enum class Loss {
  kAll,   // whatever was not synced is gone
  kSome,  // of writes that were not synced any subset of the sectors is there
};
// Puts what the disk would have in place of `data`, and seeds the shadow with it.
Status LosePower(const std::filesystem::path& data, const std::filesystem::path& shadow, Loss loss,
                 std::mt19937_64& random);

// The control file, mapped.
class ShimFile {
 public:
  explicit ShimFile(const std::filesystem::path& path);
  ~ShimFile();
  ShimFile(const ShimFile&) = delete;
  ShimFile& operator=(const ShimFile&) = delete;
  ShimControl* operator->() { return control_; }

 private:
  ShimControl* control_;
};

}  // namespace raftkv::faults
