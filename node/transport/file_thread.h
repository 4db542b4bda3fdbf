// FileThread: where snapshot files are read and written, one task after another, so that a slow
// disk never holds up the io thread.
//
// Thread-safety: Run and Stop on the io thread.
#pragma once

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace raftkv::transport {

class FileThread {
 public:
  using Task = std::function<void()>;

  explicit FileThread(asio::io_context& io);
  ~FileThread() { Stop(); }

  // Runs `work` on the thread, then `then` on the io thread (unless stopped in between). The number
  // of waiting tasks is bounded by their owners: each transfer has a fixed number under way.
  void Run(Task work, Task then);
  // Waits for the task under way; the others are destroyed without having run.
  void Stop();

 private:
  void Loop();

  asio::io_context& io_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<Task, Task>> tasks_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace raftkv::transport
