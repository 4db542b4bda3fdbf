// What the kernel knows of this process: the numbers of Prometheus' standard process_ metrics.
//
// Thread-safety: any thread; reads files below /proc/self.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace raftkv {

struct ProcessStats {
  double cpu_seconds = 0;         // user and system
  double start_time_seconds = 0;  // since the epoch
  uint64_t virtual_bytes = 0;
  uint64_t resident_bytes = 0;
  uint64_t max_virtual_bytes = 0;  // RLIMIT_AS; UINT64_MAX: unlimited
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;  // RLIMIT_NOFILE
  uint64_t threads = 0;
};

// kIoError names the file that cannot be read or understood.
Result<ProcessStats> ReadProcessStats();

// How many files this process may open.
uint64_t MaxFds();

}  // namespace raftkv
