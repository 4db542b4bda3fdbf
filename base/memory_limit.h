// How much memory this process may use before the kernel ends it.
//
// Thread-safety: any thread; reads files below /proc and /sys/fs/cgroup.
#pragma once

#include <cstdint>
#include <string>

namespace raftkv {

// Bytes: the machine's memory, or the least limit of this process's control group and those above
// it (memory.max of version 2, memory.limit_in_bytes of version 1), if that is less. What cannot be
// read limits nothing. `root`: where the file system is, for tests.
uint64_t MemoryLimit(const std::string& root = "");

}  // namespace raftkv
