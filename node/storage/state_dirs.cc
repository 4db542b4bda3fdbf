#include "node/storage/state_dirs.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "node/storage/fs_util.h"
#include "node/storage/rocks_util.h"

namespace raftkv::storage {
namespace {

constexpr std::string_view kPrefix = "db-";

std::string NameOf(uint64_t number) { return std::string(kPrefix) + std::to_string(number); }

std::optional<uint64_t> NumberOf(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) return std::nullopt;
  return number;
}

Result<std::string> ReadActive(const std::string& file) {
  ASSIGN_OR_RETURN(std::string line, ReadFile(file));
  if (!line.ends_with('\n') || !NumberOf(std::string_view(line).substr(0, line.size() - 1))) {
    return Error(Code::kCorruption, file + " is damaged; " + kRebuildRemedy);
  }
  line.pop_back();
  return line;
}

// The first name is written before its database is made: databases without ACTIVE are never new.
Result<std::string> MakeActive(const std::string& path, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!NumberOf(name)) continue;
    return Error(Code::kCorruption, "the file " + path + "/ACTIVE is missing, but " + name +
                                        " is there; " + kRebuildRemedy);
  }
  RETURN_UNEXPECTED_IF_ERROR(ReplaceFile(path + "/ACTIVE", NameOf(1) + "\n"));
  return NameOf(1);
}

}  // namespace

Result<StateDirs> StateDirs::Open(const std::string& path) {
  RETURN_UNEXPECTED_IF_ERROR(MakeDirs(path));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDir(path));
  const std::string file = path + "/ACTIVE";
  ASSIGN_OR_RETURN(const std::string active,
                   Exists(file) ? ReadActive(file) : MakeActive(path, names));
  const uint64_t number = *NumberOf(active);
  if (number > 1 && std::ranges::find(names, active) == names.end()) {
    return Error(Code::kCorruption,
                 "the directory " + path + "/" + active + " is missing; " + kRebuildRemedy);
  }
  for (const std::string& name : names) {
    if (NumberOf(name) && name != active) {
      RETURN_UNEXPECTED_IF_ERROR(RemoveTree(path + "/" + name));
    }
  }
  return StateDirs(path, active, number);
}

Result<std::string> StateDirs::Adopt(const std::string& dir) {
  std::string next = path_ + "/" + NameOf(++last_number_);
  RETURN_UNEXPECTED_IF_ERROR(Rename(dir, next));
  RETURN_UNEXPECTED_IF_ERROR(SyncDir(path_));
  RETURN_UNEXPECTED_IF_ERROR(SyncDir(ParentOf(dir)));
  return next;
}

Status StateDirs::Commit(const std::string& dir) {
  const std::string name = dir.substr(path_.size() + 1);
  RETURN_IF_ERROR(ReplaceFile(path_ + "/ACTIVE", name + "\n"));
  current_ = name;
  return Status::Ok();
}

}  // namespace raftkv::storage
