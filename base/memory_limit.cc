#include "base/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

namespace raftkv {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
constexpr char kMount[] = "/sys/fs/cgroup";

// The number at the beginning; kUnlimited for "max", or if there is none.
uint64_t ReadBytes(const std::string& file) {
  std::ifstream in(file);
  std::string word;
  if (!(in >> word)) return kUnlimited;
  uint64_t bytes = kUnlimited;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bytes);
  return error == std::errc() && end == word.data() + word.size() ? bytes : kUnlimited;
}

// Of a group and all above it. In a container the path may be that of the host, which is not
// there; the container's own group is then the mount itself.
uint64_t LeastOf(const std::string& mount, std::string group, const std::string& file) {
  uint64_t least = kUnlimited;
  while (true) {
    least = std::min(least, ReadBytes(mount + group + "/" + file));
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

uint64_t OfControlGroup(const std::string& root) {
  uint64_t least = kUnlimited;
  std::ifstream groups(root + "/proc/self/cgroup");
  // Each line: HIERARCHY:CONTROLLERS:/PATH; the one of version 2 names no controllers.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    const std::string mount = root + kMount;
    if (controllers == ",,") {
      least = std::min(least, LeastOf(mount, path, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, LeastOf(mount + "/memory", path, "memory.limit_in_bytes"));
    }
  }
  return least;
}

uint64_t OfMachine(const std::string& root) {
  std::ifstream info(root + "/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kilobytes = 0;
    if (words >> name >> kilobytes && name == "MemTotal:") return kilobytes << 10;
  }
  return kUnlimited;
}

}  // namespace

uint64_t MemoryLimit(const std::string& root) {
  return std::min(OfMachine(root), OfControlGroup(root));
}

}  // namespace raftkv
