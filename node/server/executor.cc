#include "node/server/executor.h"

#include <exception>
#include <system_error>

#include "base/log.h"

namespace raftkv::server {

Executor::Executor(size_t max_threads, size_t max_queue)
    : max_threads_(max_threads), max_queue_(max_queue) {}

Executor::~Executor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Executor::Submit(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (stopping_ || queue_.size() >= max_queue_) return false;
  queue_.push_back(std::move(task));
  if (idle_ < queue_.size() && threads_.size() < max_threads_) {
    try {
      threads_.emplace_back([this] { Run(); });
    } catch (const std::system_error&) {
      // The process gets no more of them: those that are there do it, if there are any.
      if (threads_.empty()) {
        queue_.pop_back();
        return false;
      }
    }
  }
  wake_.notify_one();
  return true;
}

void Executor::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (queue_.empty()) return;
    std::function<void()> task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    try {
      task();
    } catch (const std::exception& exception) {
      log::Error("a request handler threw; this is a bug", {{"exception", exception.what()}});
    }
    task = nullptr;
    lock.lock();
  }
}

}  // namespace raftkv::server
