// The few file operations that storage needs, with errors as Status: the path, what was tried and
// what the system said. A full disk or quota is kOutOfSpace, anything else kIoError.
//
// Thread-safety: pure functions; File is for one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace raftkv::storage {

// "cannot <what> <path>: <reason>".
Status ErrnoStatus(std::string_view what, const std::string& path, int error);

// An open file; closed at the end of its life.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  // `flags` as for open(2); new files get mode 0600.
  static Result<File> Open(const std::string& path, int flags);

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  bool is_open() const { return fd_ >= 0; }
  void Close();

  Status WriteAll(std::string_view bytes);
  // Up to `size` bytes at `offset` into `out`; fewer only at the end of the file.
  Status ReadAt(uint64_t offset, size_t size, std::string* out) const;
  Result<uint64_t> Size() const;
  Status Truncate(uint64_t size);
  // fsync: data and size.
  Status Sync();

 private:
  int fd_ = -1;
  std::string path_;
};

// Makes the directory (mode 0700) and its missing parents, and makes the new names durable.
Status MakeDirs(const std::string& path);
// Makes creations, renames and removals in `dir` durable.
Status SyncDir(const std::string& dir);
Status Rename(const std::string& from, const std::string& to);
Result<std::string> ReadFile(const std::string& path);
// Names in `dir` without "." and "..", sorted; empty if it does not exist.
Result<std::vector<std::string>> ListDir(const std::string& dir);
bool Exists(const std::string& path);
// The sizes of the files in `dir`, together; what vanishes meanwhile does not count.
uint64_t DirBytes(const std::string& dir);
// With everything below; fine if it does not exist.
Status RemoveTree(const std::string& path);
// The directory part; "." if there is none.
std::string ParentOf(const std::string& path);

}  // namespace raftkv::storage
