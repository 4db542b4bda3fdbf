#include "tests/faults/sandbox.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "raftkv-faults-";

// The lock lives beside the directory, so that it can be taken before the directory is looked at.
fs::path LockOf(const fs::path& directory) { return directory.string() + ".lock"; }

int TryLock(const fs::path& file) {
  const int fd = open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return -1;
}

void RemoveLeftovers(const fs::path& parent) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix) || !name.ends_with(".lock")) continue;
    const int fd = TryLock(entry.path());
    if (fd < 0) continue;  // that run lives
    const std::string file = entry.path();
    fs::remove_all(file.substr(0, file.size() - std::strlen(".lock")), error);
    fs::remove(entry.path(), error);
    close(fd);
  }
}

// In a network namespace that is new, it is down.
bool SetLoopbackUp() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool ok = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  return ok;
}

// In a plain chroot it is not: there mounts cannot be kept from the rest of the machine.
bool RootIsMounted() {
  struct statx root{};
  return statx(AT_FDCWD, "/", 0, STATX_TYPE, &root) == 0 &&
         (root.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Own network and mounts.
bool EnterNamespaces() {
  if (!RootIsMounted()) return false;
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  if (unshare(CLONE_NEWNET) != 0) return false;
  CHECK(SetLoopbackUp(), "who may make a network may bring its loopback up");
  return true;
}

}  // namespace

Result<Sandbox> Sandbox::Enter() {
  Sandbox sandbox;
  const fs::path parent = fs::temp_directory_path();
  RemoveLeftovers(parent);
  sandbox.isolated_ = geteuid() == 0 && EnterNamespaces();
  sandbox.directory_ = parent / (kPrefix + std::to_string(getpid()));
  sandbox.lock_ = TryLock(LockOf(sandbox.directory_));
  std::error_code error;
  if (sandbox.lock_ >= 0) fs::create_directory(sandbox.directory_, error);
  if (sandbox.lock_ < 0 || error) {
    return Error(Code::kIoError, "cannot make " + sandbox.directory_.string());
  }
  return sandbox;
}

Sandbox::Sandbox(Sandbox&& other) noexcept
    : isolated_(other.isolated_),
      lock_(std::exchange(other.lock_, -1)),
      directory_(std::move(other.directory_)) {}

Sandbox::~Sandbox() {
  if (lock_ < 0) return;
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
  fs::remove(LockOf(directory_), ignored);
  close(lock_);
}

Status Sandbox::MountTmpfs(const fs::path& path, uint64_t bytes) const {
  if (!isolated_) return {Code::kUnavailable, "mounting needs root"};
  std::error_code error;
  fs::create_directories(path, error);
  const std::string options = "size=" + std::to_string(bytes);
  if (mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) == 0) return Status::Ok();
  return {Code::kUnavailable, "tmpfs at " + path.string() + ": " + std::strerror(errno)};
}

void Sandbox::Unmount(const fs::path& path) const { (void)umount2(path.c_str(), MNT_DETACH); }

}  // namespace raftkv::faults
