// Files: what the small files of a data directory are kept in, as far as a crash makes a
// difference: the machine's file system, or the simulator's.
//
// Thread-safety: the machine's: any thread, as the system calls.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "node/storage/fs_util.h"

namespace raftkv::storage {

class Files {
 public:
  virtual ~Files() = default;

  // Makes the file or empties it, and writes these bytes. They are durable, a new name is not.
  virtual Status WriteFile(const std::string& path, std::string_view bytes) = 0;
  // Not durable until the directories are synced.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  // With everything below; fine if it does not exist. Not durable.
  virtual Status RemoveTree(const std::string& path) = 0;
  // Makes creations, renames and removals in `dir` durable.
  virtual Status SyncDir(const std::string& dir) = 0;
  // With its missing parents, durably.
  virtual Status MakeDirs(const std::string& path) = 0;

  virtual bool Exists(const std::string& path) = 0;
  virtual Result<std::string> ReadFile(const std::string& path) = 0;
  // Names, sorted; empty if it does not exist.
  virtual Result<std::vector<std::string>> ListDir(const std::string& dir) = 0;
  // Takes DIR/LOCK; held until the file is closed.
  virtual Result<File> Lock(const std::string& dir) = 0;

  // Durably replaces `path` by a file with these bytes. A crash leaves the old or the new file.
  Status ReplaceFile(const std::string& path, std::string_view bytes);
};

// The machine's.
Files& SystemFiles();

}  // namespace raftkv::storage
