#include "tests/faults/cpu_quota.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;

constexpr int kPeriodUs = 100'000;

bool HasWord(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  for (std::string one; std::getline(words, one, ',');) {
    if (one == word) return true;
  }
  return false;
}

fs::path Under(const fs::path& root, const std::string& path) {
  return root / fs::path(path).relative_path();
}

Status WriteLine(const fs::path& file, const std::string& line) {
  std::ofstream stream(file);
  stream << line << std::flush;
  if (stream) return Status::Ok();
  return {Code::kUnavailable, "cannot write to " + file.string() + ": " + std::strerror(errno)};
}

}  // namespace

CpuGroup FindCpuGroup(const fs::path& root) {
  std::ifstream groups(root / "proc/self/cgroup");
  CpuGroup v2;
  for (std::string group; std::getline(groups, group);) {
    // NUMBER:CONTROLLERS:PATH
    const size_t first = group.find(':');
    const size_t second = group.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = group.substr(first + 1, second - first - 1);
    std::ifstream mounts(root / "proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
      std::istringstream words(line);
      std::string device;
      std::string mount;
      std::string type;
      std::string options;
      words >> device >> mount >> type >> options;
      const fs::path path = Under(root, mount) / fs::path(group.substr(second + 1)).relative_path();
      if (type == "cgroup" && HasWord(controllers, "cpu") && HasWord(options, "cpu")) {
        return {path, false};
      }
      std::ifstream available(path / "cgroup.controllers");
      std::string names;
      std::getline(available, names);
      std::ranges::replace(names, ' ', ',');
      if (type == "cgroup2" && controllers.empty() && HasWord(names, "cpu")) v2 = {path, true};
    }
  }
  return v2;
}

Result<std::unique_ptr<CpuQuota>> CpuQuota::Make(const std::string& name) {
  const CpuGroup own = FindCpuGroup();
  if (own.path.empty()) return Error(Code::kUnavailable, "no cpu controller");
  const fs::path path = own.path / name;
  std::error_code error;
  if (!fs::create_directory(path, error)) {
    return Error(Code::kUnavailable, "cannot make a group: " + error.message());
  }
  // It outlives this process by a moment, whatever ends that, or all of its process group.
  const std::string wait =
      "exec setsid sh -c 'trap \"\" INT TERM HUP; cat; for i in $(seq 600); do rmdir \"$0\" "
      "2>/dev/null && exit; sleep 0.1; done' '" +
      path.string() + "'";
  FILE* const remover = popen(wait.c_str(), "we");
  std::unique_ptr<CpuQuota> quota(new CpuQuota(path, own.is_v2, remover));
  if (own.is_v2) {
    RETURN_UNEXPECTED_IF_ERROR(WriteLine(own.path / "cgroup.subtree_control", "+cpu"));
  }
  RETURN_UNEXPECTED_IF_ERROR(quota->Set(0));
  return quota;
}

CpuQuota::~CpuQuota() {
  if (remover_ != nullptr) (void)pclose(remover_);
}

Status CpuQuota::Add(pid_t pid) { return WriteLine(path_ / "cgroup.procs", std::to_string(pid)); }

Status CpuQuota::Set(int percent) {
  const std::string quota = std::to_string(kPeriodUs / 100 * percent);
  const std::string period = std::to_string(kPeriodUs);
  if (is_v2_) return WriteLine(path_ / "cpu.max", (percent > 0 ? quota : "max") + " " + period);
  RETURN_IF_ERROR(WriteLine(path_ / "cpu.cfs_period_us", period));
  return WriteLine(path_ / "cpu.cfs_quota_us", percent > 0 ? quota : "-1");
}

uint64_t CpuQuota::throttled() const {
  std::ifstream stat(path_ / "cpu.stat");
  std::string name;
  uint64_t number = 0;
  while (stat >> name >> number) {
    if (name == "nr_throttled") return number;
  }
  return 0;
}

}  // namespace raftkv::faults
