// Preloaded into a node (LD_PRELOAD): power loss, syncs that fail or are slow, writes that fail or
// are cut in two, a full disk, clocks that jump, no more threads. See shim_control.h.
//
// For power loss every write is remembered until its file is synced; the sync copies these ranges
// to the shadow. SIGKILL then is a power cut: whoever restores the directory from the shadow
// (power_loss.h) has what the disk had. The model is strict: a new or renamed file is lost unless
// its directory was synced too.

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/faults/shim_control.h"

namespace raftkv::faults {
namespace {

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

#define NEXT(name)                                           \
  ([] {                                                      \
    static const auto next_ = Next<decltype(::name)>(#name); \
    return next_;                                            \
  }())

ShimControl* Control() {
  static ShimControl* const control = []() -> ShimControl* {
    static ShimControl none;
    const char* path = std::getenv(kShimControl);
    const int fd = path == nullptr ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return &none;
    void* map = mmap(nullptr, sizeof(ShimControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return map == MAP_FAILED ? &none : static_cast<ShimControl*>(map);
  }();
  return control;
}

const char* Shadow() {
  static const char* const shadow = std::getenv(kShimShadow);
  return shadow;
}

struct Range {
  off_t begin;
  off_t end;
};

// Never destroyed: files are written until the very end of the process.
std::mutex& Mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}
std::map<std::string, std::vector<Range>>& Dirty() {
  static auto* const dirty = new std::map<std::string, std::vector<Range>>;
  return *dirty;
}

struct Identity {
  std::string key;
  mode_t mode = 0;
  off_t size = 0;
};

std::optional<Identity> Identify(int directory, const char* name, int flags) {
  struct statx info{};
  if (statx(directory, name, flags, STATX_BASIC_STATS | STATX_BTIME, &info) != 0) return {};
  return Identity{std::to_string(info.stx_ino) + "-" + std::to_string(info.stx_btime.tv_sec) + "-" +
                      std::to_string(info.stx_btime.tv_nsec),
                  info.stx_mode, static_cast<off_t>(info.stx_size)};
}

std::optional<Identity> IdentifyFd(int fd) { return Identify(fd, "", AT_EMPTY_PATH); }

void Wrote(int fd, off_t begin, ssize_t bytes) {
  if (Shadow() == nullptr || bytes <= 0) return;
  const int saved = errno;
  const std::optional<Identity> file = IdentifyFd(fd);
  if (file && S_ISREG(file->mode)) {
    const off_t end = begin + bytes;
    const std::lock_guard lock(Mutex());
    std::vector<Range>& ranges = Dirty()[file->key];
    if (!ranges.empty() && ranges.back().end == begin) {
      ranges.back().end = end;
    } else {
      ranges.push_back({begin, end});
    }
  }
  errno = saved;
}

void CopyRange(int from, int to, Range range) {
  std::vector<char> buffer(size_t{256} << 10);
  while (range.begin < range.end) {
    const size_t most = std::min(buffer.size(), static_cast<size_t>(range.end - range.begin));
    const ssize_t n = pread(from, buffer.data(), most, range.begin);
    if (n <= 0) return;
    (void)!NEXT(pwrite)(to, buffer.data(), static_cast<size_t>(n), range.begin);
    range.begin += n;
  }
}

void SyncFile(int fd, const Identity& file) {
  std::vector<Range> ranges = std::move(Dirty()[file.key]);
  Dirty().erase(file.key);
  const std::string path = std::string(Shadow()) + "/inodes/" + file.key;
  const bool known = access(path.c_str(), F_OK) == 0;
  if (!known) ranges = {{0, file.size}};
  const std::string own = "/proc/self/fd/" + std::to_string(fd);
  const int from = open(own.c_str(), O_RDONLY | O_CLOEXEC);
  const int to = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  for (const Range& range : ranges) CopyRange(from, to, range);
  (void)!NEXT(ftruncate)(to, file.size);
  close(from);
  close(to);
}

void SyncDirectory(int fd, const Identity& directory) {
  const std::string own = "/proc/self/fd/" + std::to_string(fd);
  DIR* entries = opendir(own.c_str());
  if (entries == nullptr) return;
  std::string lines;
  while (const dirent* entry = readdir(entries)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::optional<Identity> child =
        Identify(dirfd(entries), name.c_str(), AT_SYMLINK_NOFOLLOW);
    if (!child) continue;
    lines += (S_ISDIR(child->mode) ? "d " : "f ") + child->key + " " + name + "\n";
  }
  closedir(entries);
  const std::string path = std::string(Shadow()) + "/dirs/" + directory.key;
  const std::string draft = path + ".new";
  const int to = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  (void)!NEXT(write)(to, lines.data(), lines.size());
  close(to);
  (void)NEXT(rename)(draft.c_str(), path.c_str());
}

// Whether this is the n-th time, or a later one; 0: never.
bool Reached(std::atomic<int32_t>& after) {
  int left = after;
  while (left > 1 && !after.compare_exchange_weak(left, left - 1)) {
  }
  return left == 1;
}

// Of an open file of this process; empty: none has this number.
std::string NameOf(int fd) {
  char path[4096];
  const ssize_t size =
      readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof(path));
  const std::string whole(path, size > 0 ? static_cast<size_t>(size) : 0);
  return whole.substr(whole.rfind('/') + 1);
}

bool IsDataFile(int fd) {
  if (fd <= STDERR_FILENO) return false;
  const std::optional<Identity> file = IdentifyFd(fd);
  return file && S_ISREG(file->mode) && NameOf(fd) != "LOG";
}

bool WriteFails(int fd) {
  const int saved = errno;
  const bool fails =
      Control()->fail_write_after > 0 && IsDataFile(fd) && Reached(Control()->fail_write_after);
  errno = fails ? EIO : saved;
  if (fails) Control()->writes_failed.fetch_add(1);
  return fails;
}

// How much of a write is to reach the file before the process dies; 0: all, and it lives.
size_t CutAt(int fd, size_t size) {
  const int saved = errno;
  const bool cuts = Control()->cut_write_after > 0 && size > 1 && IsDataFile(fd) &&
                    NameOf(fd).ends_with(".log") && Reached(Control()->cut_write_after);
  errno = saved;
  if (!cuts) return 0;
  const size_t part = size * static_cast<size_t>(Control()->cut_permille) / 1000;
  return std::clamp<size_t>(part, 1, size - 1);
}

[[noreturn]] void Die() {
  (void)kill(getpid(), SIGKILL);
  for (;;) pause();
}

int Sync(int fd, int (*next)(int)) {
  ShimControl* const control = Control();
  control->syncs.fetch_add(1);
  const int delay = control->sync_delay_ms;
  if (delay > 0) usleep(static_cast<useconds_t>(delay) * 1000);
  if (Reached(control->fail_sync_after)) {
    control->syncs_failed.fetch_add(1);
    errno = EIO;
    return -1;
  }
  if (Shadow() == nullptr) return next(fd);
  const std::optional<Identity> file = IdentifyFd(fd);
  if (!file) return next(fd);
  const std::lock_guard lock(Mutex());
  if (S_ISREG(file->mode)) SyncFile(fd, *file);
  if (S_ISDIR(file->mode)) SyncDirectory(fd, *file);
  return 0;
}

bool Refuses(int fd) {
  if (WriteFails(fd)) return true;
  if (Control()->no_space == 0 || fd <= STDERR_FILENO) return false;
  const std::optional<Identity> file = IdentifyFd(fd);
  if (!file || !S_ISREG(file->mode)) return false;
  Control()->writes_refused.fetch_add(1);
  errno = ENOSPC;
  return true;
}

ssize_t WriteAt(int fd, const void* bytes, size_t size, off_t offset) {
  if (Refuses(fd)) return -1;
  if (const size_t part = CutAt(fd, size)) {
    (void)!NEXT(pwrite)(fd, bytes, part, offset);
    Die();
  }
  const ssize_t n = NEXT(pwrite)(fd, bytes, size, offset);
  Wrote(fd, offset, n);
  return n;
}

// A write moved the file's offset to behind itself.
void WroteBehind(int fd, ssize_t n) {
  if (fd <= STDERR_FILENO || n <= 0 || Shadow() == nullptr) return;
  const int saved = errno;
  const off_t end = lseek(fd, 0, SEEK_CUR);
  errno = saved;
  if (end >= n) Wrote(fd, end - n, n);
}

timespec Shifted(timespec time, int64_t by_ms) {
  time.tv_sec += by_ms / 1000;
  time.tv_nsec += by_ms % 1000 * 1'000'000;
  if (time.tv_nsec >= 1'000'000'000) {
    time.tv_nsec -= 1'000'000'000;
    ++time.tv_sec;
  } else if (time.tv_nsec < 0) {
    time.tv_nsec += 1'000'000'000;
    --time.tv_sec;
  }
  return time;
}

int64_t Nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// What the monotonic clock shows while it stands still; 0: it goes on. `now`: what it would show.
int64_t Frozen(const timespec& now) {
  std::atomic<int64_t>& frozen = Control()->monotonic_frozen_ns;
  int64_t at = frozen;
  if (at >= 0) return at;
  const int64_t own = Nanoseconds(now);
  return frozen.compare_exchange_strong(at, own) ? own : at;
}

void FillUp(unsigned long& available, unsigned long& free) {
  if (Control()->no_space != 0) available = free = 0;
}

}  // namespace
}  // namespace raftkv::faults

using raftkv::faults::Control;
using raftkv::faults::Refuses;

extern "C" {

int fsync(int fd) { return raftkv::faults::Sync(fd, raftkv::faults::Next<int(int)>("fsync")); }
int fdatasync(int fd) {
  return raftkv::faults::Sync(fd, raftkv::faults::Next<int(int)>("fdatasync"));
}

ssize_t write(int fd, const void* bytes, size_t size) {
  if (Refuses(fd)) return -1;
  static const auto next = raftkv::faults::Next<ssize_t(int, const void*, size_t)>("write");
  if (const size_t part = raftkv::faults::CutAt(fd, size)) {
    (void)!next(fd, bytes, part);
    raftkv::faults::Die();
  }
  const ssize_t n = next(fd, bytes, size);
  raftkv::faults::WroteBehind(fd, n);
  return n;
}

ssize_t writev(int fd, const iovec* parts, int count) {
  if (Refuses(fd)) return -1;
  static const auto next = raftkv::faults::Next<ssize_t(int, const iovec*, int)>("writev");
  const ssize_t n = next(fd, parts, count);
  raftkv::faults::WroteBehind(fd, n);
  return n;
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return raftkv::faults::WriteAt(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return raftkv::faults::WriteAt(fd, bytes, size, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  if (Refuses(fd)) return -1;
  static const auto next = raftkv::faults::Next<int(int, int, off_t, off_t)>("fallocate");
  return next(fd, mode, offset, size);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  return fallocate(fd, mode, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  if (Refuses(fd)) return ENOSPC;
  static const auto next = raftkv::faults::Next<int(int, off_t, off_t)>("posix_fallocate");
  return next(fd, offset, size);
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
  return posix_fallocate(fd, offset, size);
}

int statvfs(const char* path, struct statvfs* info) {
  static const auto next = raftkv::faults::Next<int(const char*, struct statvfs*)>("statvfs");
  const int result = next(path, info);
  if (result == 0) raftkv::faults::FillUp(info->f_bavail, info->f_bfree);
  return result;
}
int statvfs64(const char* path, struct statvfs64* info) {
  static const auto next = raftkv::faults::Next<int(const char*, struct statvfs64*)>("statvfs64");
  const int result = next(path, info);
  if (result == 0) raftkv::faults::FillUp(info->f_bavail, info->f_bfree);
  return result;
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static const auto next = raftkv::faults::Next<int(clockid_t, timespec*)>("clock_gettime");
  const int result = next(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    time->tv_sec += Control()->clock_offset_ms / 1000;
  }
  if (result == 0 && clock == CLOCK_MONOTONIC) {
    *time = raftkv::faults::Shifted(*time, Control()->monotonic_ahead_ms);
    if (const int64_t frozen = raftkv::faults::Frozen(*time); frozen > 0) {
      *time = {static_cast<time_t>(frozen / 1'000'000'000), frozen % 1'000'000'000};
    }
  }
  return result;
}

// The deadline is by our clock, the kernel waits by its own.
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* deadline) {
  static const auto next =
      raftkv::faults::Next<int(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*)>(
          "pthread_cond_clockwait");
  const int64_t ahead = clock == CLOCK_MONOTONIC ? Control()->monotonic_ahead_ms.load() : 0;
  if (clock == CLOCK_MONOTONIC && Control()->monotonic_frozen_ns != 0) {
    timespec now{};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (raftkv::faults::Nanoseconds(*deadline) <= raftkv::faults::Nanoseconds(now)) {
      return ETIMEDOUT;
    }
    Control()->waits_frozen.fetch_add(1);
    // Now and then it wakes up for no reason, and finds that it is no later; or that it is.
    static const auto real = raftkv::faults::Next<int(clockid_t, timespec*)>("clock_gettime");
    (void)real(CLOCK_MONOTONIC, &now);
    const timespec soon = raftkv::faults::Shifted(now, 20);
    (void)next(condition, mutex, clock, &soon);
    return 0;
  }
  if (ahead == 0) return next(condition, mutex, clock, deadline);
  Control()->waits_shifted.fetch_add(1);
  const timespec own = raftkv::faults::Shifted(*deadline, -ahead);
  return next(condition, mutex, clock, &own);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) {
  static const auto next =
      raftkv::faults::Next<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>(
          "pthread_create");
  if (Control()->no_threads != 0) {
    Control()->threads_refused.fetch_add(1);
    return EAGAIN;
  }
  return next(thread, attributes, run, argument);
}

int gettimeofday(timeval* time, void* zone) noexcept {
  static const auto next = raftkv::faults::Next<int(timeval*, void*)>("gettimeofday");
  const int result = next(time, zone);
  if (result == 0) time->tv_sec += Control()->clock_offset_ms / 1000;
  return result;
}

time_t time(time_t* out) noexcept {
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
