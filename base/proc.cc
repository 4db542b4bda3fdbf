#include "base/proc.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace raftkv {
namespace {

// Fields of /proc/[pid]/stat behind the command name, which may hold spaces; numbered as in
// proc(5), where the first of them is field 3.
Result<std::vector<std::string>> ReadStatFields() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  size_t name_end = text.rfind(')');
  std::vector<std::string> fields;
  if (name_end != text.npos) {
    std::istringstream rest(text.substr(name_end + 1));
    for (std::string field; rest >> field;) fields.push_back(field);
  }
  if (fields.size() < 22) return Error(Code::kIoError, "cannot read /proc/self/stat");
  return fields;
}

// Seconds since the epoch at which the machine started.
Result<double> ReadBootTime() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return Error(Code::kIoError, "cannot read the boot time in /proc/stat");
}

Result<uint64_t> CountOpenFds() {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/proc/self/fd"), closedir);
  if (!dir) return Error(Code::kIoError, "cannot read /proc/self/fd");
  uint64_t count = 0;
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count - 1;  // without the directory itself
}

uint64_t Limit(__rlimit_resource which) {
  rlimit limit{};
  getrlimit(which, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

}  // namespace

Result<ProcessStats> ReadProcessStats() {
  ASSIGN_OR_RETURN(std::vector<std::string> fields, ReadStatFields());
  auto field = [&fields](size_t number) { return std::stoull(fields[number - 3]); };
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  ProcessStats stats;
  ASSIGN_OR_RETURN(double boot_time, ReadBootTime());
  stats.cpu_seconds = static_cast<double>(field(14) + field(15)) / ticks;
  stats.threads = field(20);
  stats.start_time_seconds = boot_time + static_cast<double>(field(22)) / ticks;
  stats.virtual_bytes = field(23);
  stats.resident_bytes = field(24) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  ASSIGN_OR_RETURN(stats.open_fds, CountOpenFds());
  stats.max_virtual_bytes = Limit(RLIMIT_AS);
  stats.max_fds = MaxFds();
  return stats;
}

uint64_t MaxFds() { return Limit(RLIMIT_NOFILE); }

}  // namespace raftkv
