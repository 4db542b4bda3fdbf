#include "node/storage/state_dirs.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "base/check.h"
#include "node/storage/files.h"
#include "node/storage/fs_util.h"
#include "node/storage/rocks_util.h"

namespace raftkv::storage {
namespace {

constexpr std::string_view kPrefix = "db-";
constexpr std::string_view kInstalling = "installing ";

std::string NameOf(uint64_t number) { return std::string(kPrefix) + std::to_string(number); }

std::optional<uint64_t> NumberOf(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) return std::nullopt;
  return number;
}

// A decimal number and what ends it, taken off the front of *text.
std::optional<uint64_t> TakeNumber(std::string_view* text, char end) {
  uint64_t number = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), number);
  if (parsed.ec != std::errc() || parsed.ptr == text->data() + text->size() || *parsed.ptr != end) {
    return std::nullopt;
  }
  text->remove_prefix(static_cast<size_t>(parsed.ptr - text->data()) + 1);
  return number;
}

}  // namespace

std::string StateDirs::Active::name() const { return NameOf(number); }

std::string StateDirs::Active::Text() const {
  std::string text = name() + "\n";
  if (installing) {
    text += std::string(kInstalling) + std::to_string(installing->index.value) + " " +
            std::to_string(installing->term.value) + "\n";
  }
  return text;
}

Result<StateDirs::Active> StateDirs::Read(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file));
  const auto damaged = [&file] {
    return Error(Code::kCorruption, file + " is damaged; " + kRebuildRemedy);
  };
  std::string_view text = bytes;
  if (!text.starts_with(kPrefix)) return damaged();
  text.remove_prefix(kPrefix.size());
  const std::optional<uint64_t> number = TakeNumber(&text, '\n');
  if (!number) return damaged();
  if (text.empty()) return Active{*number, std::nullopt};
  if (!text.starts_with(kInstalling)) return damaged();
  text.remove_prefix(kInstalling.size());
  const std::optional<uint64_t> index = TakeNumber(&text, ' ');
  const std::optional<uint64_t> term = index ? TakeNumber(&text, '\n') : std::nullopt;
  if (!term || !text.empty()) return damaged();
  return Active{*number, raft::EntryId{raft::Term(*term), raft::Index(*index)}};
}

// The first name is written before its database is made: databases without ACTIVE are never new.
Result<StateDirs::Active> StateDirs::Make(const std::string& path,
                                          const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!NumberOf(name)) continue;
    return Error(Code::kCorruption, "the file " + path + "/ACTIVE is missing, but " + name +
                                        " is there; " + kRebuildRemedy);
  }
  Active active;
  RETURN_UNEXPECTED_IF_ERROR(SystemFiles().ReplaceFile(path + "/ACTIVE", active.Text()));
  return active;
}

Result<StateDirs> StateDirs::Open(const std::string& path) {
  RETURN_UNEXPECTED_IF_ERROR(MakeDirs(path));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDir(path));
  const std::string file = path + "/ACTIVE";
  ASSIGN_OR_RETURN(const Active active, Exists(file) ? Read(file) : Make(path, names));
  if (active.number > 1 && std::ranges::find(names, active.name()) == names.end()) {
    return Error(Code::kCorruption,
                 "the directory " + path + "/" + active.name() + " is missing; " + kRebuildRemedy);
  }
  for (const std::string& name : names) {
    if (NumberOf(name) && name != active.name()) {
      RETURN_UNEXPECTED_IF_ERROR(RemoveTree(path + "/" + name));
    }
  }
  return StateDirs(path, active);
}

Result<std::string> StateDirs::Adopt(const std::string& dir) {
  std::string next = path_ + "/" + NameOf(++last_number_);
  RETURN_UNEXPECTED_IF_ERROR(Rename(dir, next));
  RETURN_UNEXPECTED_IF_ERROR(SyncDir(path_));
  RETURN_UNEXPECTED_IF_ERROR(SyncDir(ParentOf(dir)));
  return next;
}

Status StateDirs::Commit(const std::string& dir, raft::EntryId snapshot) {
  const std::optional<uint64_t> number = NumberOf(dir.substr(path_.size() + 1));
  CHECK(number.has_value(), "only what Adopt returned is committed");
  const Active active{*number, snapshot};
  RETURN_IF_ERROR(SystemFiles().ReplaceFile(path_ + "/ACTIVE", active.Text()));
  current_ = active.name();
  installing_ = snapshot;
  return Status::Ok();
}

Status StateDirs::FinishInstallation(raft::EntryId snapshot) {
  if (installing_ != snapshot) return Status::Ok();
  RETURN_IF_ERROR(SystemFiles().ReplaceFile(path_ + "/ACTIVE", current_ + "\n"));
  installing_.reset();
  return Status::Ok();
}

}  // namespace raftkv::storage
