#include "node/storage/files.h"

#include <fcntl.h>

#include "node/storage/data_dir.h"

namespace raftkv::storage {
namespace {

class MachineFiles final : public Files {
 public:
  Status WriteFile(const std::string& path, std::string_view bytes) override {
    ASSIGN_OR_RETURN_STATUS(File file, File::Open(path, O_WRONLY | O_CREAT | O_TRUNC));
    RETURN_IF_ERROR(file.WriteAll(bytes));
    return file.Sync();
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return storage::Rename(from, to);
  }
  Status RemoveTree(const std::string& path) override { return storage::RemoveTree(path); }
  Status SyncDir(const std::string& dir) override { return storage::SyncDir(dir); }
  Status MakeDirs(const std::string& path) override { return storage::MakeDirs(path); }
  bool Exists(const std::string& path) override { return storage::Exists(path); }
  Result<std::string> ReadFile(const std::string& path) override { return storage::ReadFile(path); }
  Result<std::vector<std::string>> ListDir(const std::string& dir) override {
    return storage::ListDir(dir);
  }
  Result<File> Lock(const std::string& dir) override { return LockDirectory(dir); }
};

}  // namespace

Status Files::ReplaceFile(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  RETURN_IF_ERROR(WriteFile(temporary, bytes));
  RETURN_IF_ERROR(Rename(temporary, path));
  return SyncDir(ParentOf(path));
}

Files& SystemFiles() {
  static MachineFiles files;
  return files;
}

}  // namespace raftkv::storage
