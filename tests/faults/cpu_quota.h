// A bound on the processor time of some processes, by the kernel's cpu controller, of either
// version of cgroups. Its group goes when this does; also when this process is killed, with the
// last process in it.
//
// Thread-safety: none.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"

namespace raftkv::faults {

// Where this process's group is, in the hierarchy that has the cpu controller, and of which
// version.
struct CpuGroup {
  std::filesystem::path path;  // empty: there is none
  bool is_v2 = false;
};
// `root`: of the file system, so that a test can have one of its own.
CpuGroup FindCpuGroup(const std::filesystem::path& root = "/");

class CpuQuota {
 public:
  // kUnavailable where no group can be made below that of this process.
  static Result<std::unique_ptr<CpuQuota>> Make(const std::string& name);
  ~CpuQuota();
  CpuQuota(const CpuQuota&) = delete;
  CpuQuota& operator=(const CpuQuota&) = delete;

  Status Add(pid_t pid);
  // Percent of one processor; 0: no bound.
  Status Set(int percent);
  // How often its processes had to wait for more time.
  uint64_t throttled() const;

 private:
  CpuQuota(std::filesystem::path path, bool is_v2, FILE* remover)
      : path_(std::move(path)), is_v2_(is_v2), remover_(remover) {}

  const std::filesystem::path path_;
  const bool is_v2_;
  FILE* const remover_;  // removes the group when this end is closed and nobody is in it
};

}  // namespace raftkv::faults
