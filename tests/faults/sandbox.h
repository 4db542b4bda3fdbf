// What a run of the faults leaves behind when it ends, however it ends: nothing.
//
// - Nodes and helpers die with this process (PR_SET_PDEATHSIG, see Process).
// - As root the run has network and mount namespaces of its own. The kernel takes them, with every
//   interface, rule and mount in them, away with their last process.
// - Directories are below TMPDIR/raftkv-faults-PID. A lock file says that the run lives; the next
//   run removes those of runs that do not.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"

namespace raftkv::faults {

class Sandbox {
 public:
  // Before any thread is started. Enters the namespaces if this process may, and removes what dead
  // runs have left.
  static Result<Sandbox> Enter();
  ~Sandbox();
  Sandbox(Sandbox&& other) noexcept;
  Sandbox& operator=(Sandbox&&) = delete;

  // Whether network interfaces, packet filters and mounts can be made without anybody seeing them.
  bool isolated() const { return isolated_; }
  const std::filesystem::path& directory() const { return directory_; }
  // A small file system of its own at `path`. kUnavailable where it cannot be made.
  Status MountTmpfs(const std::filesystem::path& path, uint64_t bytes) const;
  void Unmount(const std::filesystem::path& path) const;

 private:
  Sandbox() = default;

  bool isolated_ = false;
  int lock_ = -1;
  std::filesystem::path directory_;
};

}  // namespace raftkv::faults
