// LogWriter: the queue and the thread behind base/log.h.
//
// Thread-safety: every method may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"

namespace raftkv::log {

class LogWriter {
 public:
  // Renders the line that tells of dropped lines.
  using DropLine = std::string (*)(uint64_t dropped);

  LogWriter(int fd, size_t max_queued_bytes, DropLine drop_line);
  // Writes what is queued for at most kCloseGrace, then gives up.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Queues a line that ends in '\n'; never blocks on the descriptor.
  void Append(std::string_view line);
  bool Flush(Duration limit);
  void SetOutput(int fd) { fd_.store(fd, std::memory_order_relaxed); }

  uint64_t lines() const;
  uint64_t dropped() const;

  static constexpr Duration kCloseGrace = std::chrono::milliseconds(200);

 private:
  void Run();
  // False: not written before the writer had to stop, or the descriptor is broken.
  bool WriteAll(std::string_view bytes);
  bool WaitWritable(int fd);
  bool GraceOver() const;

  const size_t max_queued_bytes_;
  const DropLine drop_line_;
  std::atomic<int> fd_;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> stop_deadline_ns_{0};

  mutable std::mutex mutex_;
  std::condition_variable work_;  // the queue is not empty, or stopping
  std::condition_variable idle_;  // a batch has been written
  std::string queued_;            // lines that wait
  uint64_t queued_lines_ = 0;
  uint64_t accepted_lines_ = 0;
  uint64_t written_lines_ = 0;  // includes those given up
  uint64_t dropped_ = 0;
  uint64_t dropped_reported_ = 0;

  std::thread thread_;
};

}  // namespace raftkv::log
