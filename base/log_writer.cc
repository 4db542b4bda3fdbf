#include "base/log_writer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace raftkv::log {
namespace {

constexpr int kPollMs = 50;

// Up to `limit` bytes, cut behind a line's end where there is one, so that lines of several
// processes on one pipe do not mix.
std::string_view NextPiece(std::string_view bytes, size_t limit) {
  if (bytes.size() <= limit) return bytes;
  const size_t end = bytes.rfind('\n', limit - 1);
  return bytes.substr(0, end == std::string_view::npos ? limit : end + 1);
}

}  // namespace

LogWriter::LogWriter(int fd, size_t max_queued_bytes, DropLine drop_line)
    : max_queued_bytes_(max_queued_bytes), drop_line_(drop_line), fd_(fd) {
  // Signals belong to other threads; a reader that is gone shows as EPIPE, not as SIGPIPE.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogWriter::~LogWriter() {
  {
    std::lock_guard lock(mutex_);
    stop_deadline_ns_ = (Clock::System().Now() + kCloseGrace).time_since_epoch().count();
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void LogWriter::Append(std::string_view line) {
  {
    std::lock_guard lock(mutex_);
    if (queued_.size() + line.size() > max_queued_bytes_) {
      ++dropped_;
      return;
    }
    queued_.append(line);
    ++queued_lines_;
    ++accepted_lines_;
  }
  work_.notify_one();
}

bool LogWriter::Flush(Duration limit) {
  std::unique_lock lock(mutex_);
  const uint64_t target = accepted_lines_;
  const auto done = [&] { return written_lines_ >= target && dropped_reported_ == dropped_; };
  work_.notify_one();
  // system_clock: the thread sanitizer of older compilers does not see waits on the steady clock.
  return idle_.wait_until(lock, std::chrono::system_clock::now() + limit, done);
}

uint64_t LogWriter::lines() const {
  std::lock_guard lock(mutex_);
  return accepted_lines_;
}

uint64_t LogWriter::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

void LogWriter::Run() {
  std::string batch;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock,
               [this] { return stopping_ || !queued_.empty() || dropped_reported_ != dropped_; });
    if (queued_.empty() && dropped_reported_ == dropped_) return;  // stopping, and all written
    batch.clear();
    batch.swap(queued_);
    const uint64_t batch_lines = std::exchange(queued_lines_, 0);
    const uint64_t drops = dropped_ - dropped_reported_;
    const uint64_t dropped_now = dropped_;
    lock.unlock();
    // Lines are dropped when the queue is full: those in the batch came before.
    if (drops > 0) batch += drop_line_(drops);
    const bool written = WriteAll(batch);
    lock.lock();
    written_lines_ += batch_lines;
    dropped_reported_ = dropped_now;
    if (!written) {
      // Not reported: the line about it would share their fate.
      dropped_ += batch_lines;
      dropped_reported_ += batch_lines;
    }
    idle_.notify_all();
    if (GraceOver()) return;
  }
}

bool LogWriter::WriteAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const int fd = fd_.load(std::memory_order_relaxed);
    if (!WaitWritable(fd)) return false;
    // A pipe that polls as writable takes PIPE_BUF bytes without blocking.
    const std::string_view piece = NextPiece(bytes, PIPE_BUF);
    const ssize_t n = ::write(fd, piece.data(), piece.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool LogWriter::WaitWritable(int fd) {
  while (!GraceOver()) {
    pollfd poll_fd{.fd = fd, .events = POLLOUT, .revents = 0};
    const int n = ::poll(&poll_fd, 1, kPollMs);
    if (n > 0) return (poll_fd.revents & POLLOUT) != 0;
    if (n < 0 && errno != EINTR) return false;
    if (fd != fd_.load(std::memory_order_relaxed)) return false;  // another output was set
  }
  return false;
}

bool LogWriter::GraceOver() const {
  return stopping_ && Clock::System().Now().time_since_epoch().count() >= stop_deadline_ns_.load();
}

}  // namespace raftkv::log
