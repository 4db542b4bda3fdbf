#include "node/transport/file_thread.h"

namespace raftkv::transport {

// Not by the first task: a process that gets no more threads by then would end in the middle of
// its work, a leader that is to send a snapshot first.
FileThread::FileThread(asio::io_context& io) : io_(io), thread_([this] { Loop(); }) {}

void FileThread::Run(Task work, Task then) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  tasks_.emplace_back(std::move(work), std::move(then));
  wake_.notify_one();
}

void FileThread::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  tasks_.clear();
}

void FileThread::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_) return;
    auto [work, then] = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    work();
    // What the task holds may own sockets: it goes back to the io thread before it is destroyed.
    asio::post(io_, [done_work = std::move(work), next = std::move(then)] {
      if (next) next();
    });
    lock.lock();
  }
}

}  // namespace raftkv::transport
