// Executor: a few threads for requests that would hold up an event loop (ranges, metrics, streams).
//
// Thread-safety: any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace raftkv::server {

class Executor {
 public:
  // Threads start when there is work for them, up to `max_threads`; at most `max_queue` tasks wait.
  Executor(size_t max_threads, size_t max_queue);
  // Runs what waits, then ends the threads.
  ~Executor();

  // False if too much waits already: the task was not taken.
  [[nodiscard]] bool Submit(std::function<void()> task);

 private:
  void Run();

  const size_t max_threads_;
  const size_t max_queue_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace raftkv::server
