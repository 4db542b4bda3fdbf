#include "node/storage/fs_util.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/mutations.h"

namespace raftkv::storage {

namespace fs = std::filesystem;

Status ErrnoStatus(std::string_view what, const std::string& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  return Status(
      full ? Code::kOutOfSpace : Code::kIoError,
      "cannot " + std::string(what) + " " + path + ": " + std::generic_category().message(error));
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() { Close(); }

Result<File> File::Open(const std::string& path, int flags) {
  File file;
  file.fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (file.fd_ < 0) return Error(ErrnoStatus("open", path, errno));
  file.path_ = path;
  return file;
}

void File::Close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Status File::WriteAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("write", path_, errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Status::Ok();
}

Status File::ReadAt(uint64_t offset, size_t size, std::string* out) const {
  out->resize(size);
  size_t done = 0;
  while (done < size) {
    const ssize_t n =
        ::pread(fd_, out->data() + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("read", path_, errno);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  out->resize(done);
  return Status::Ok();
}

Result<uint64_t> File::Size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return Error(ErrnoStatus("stat", path_, errno));
  return static_cast<uint64_t>(info.st_size);
}

Status File::Truncate(uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return ErrnoStatus("cut", path_, errno);
  return Status::Ok();
}

Status File::Sync() {
  if (::fsync(fd_) != 0) return ErrnoStatus("sync", path_, errno);
  return Status::Ok();
}

Status MakeDirs(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return SyncDir(ParentOf(path));
  int error = errno;
  if (error == ENOENT && ParentOf(path) != path) {
    RETURN_IF_ERROR(MakeDirs(ParentOf(path)));
    if (::mkdir(path.c_str(), 0700) == 0) return SyncDir(ParentOf(path));
    error = errno;
  }
  if (error == EEXIST && fs::is_directory(path)) return Status::Ok();
  return ErrnoStatus("make the directory", path, error == EEXIST ? ENOTDIR : error);
}

Status SyncDir(const std::string& dir) {
  if (MUTATION(skip_directory_sync)) return Status::Ok();
  ASSIGN_OR_RETURN_STATUS(File file, File::Open(dir, O_RDONLY | O_DIRECTORY));
  return file.Sync();
}

Status Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus("rename to " + to, from, errno);
  return Status::Ok();
}

Result<std::string> ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(File file, File::Open(path, O_RDONLY));
  ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  std::string bytes;
  RETURN_UNEXPECTED_IF_ERROR(file.ReadAt(0, size, &bytes));
  return bytes;
}

Result<std::vector<std::string>> ListDir(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error && error.value() != ENOENT) return Error(ErrnoStatus("list", dir, error.value()));
  std::ranges::sort(names);
  return names;
}

bool Exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

uint64_t DirBytes(const std::string& dir) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(dir, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    std::error_code gone;
    const uint64_t size = it->file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return ErrnoStatus("remove", path, error.value());
  return Status::Ok();
}

std::string ParentOf(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  const size_t slash = last == std::string::npos ? std::string::npos : path.rfind('/', last);
  if (slash == std::string::npos) return path.starts_with('/') ? "/" : ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace raftkv::storage
