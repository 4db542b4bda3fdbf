#include "node/runtime/worker_thread.h"

#include <pthread.h>

#include <utility>

namespace raftkv::runtime {

void WorkerThread::Start(std::string name, std::function<void()> run) {
  thread_ = std::thread([this, name = std::move(name), run = std::move(run)] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    Loop(run);
  });
}

void WorkerThread::Loop(const std::function<void()>& run) {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return woken_ || stop_; });
    if (!woken_) return;
    woken_ = false;
    lock.unlock();
    run();
    lock.lock();
  }
}

void WorkerThread::Wake() {
  {
    std::lock_guard lock(mutex_);
    if (woken_) return;
    woken_ = true;
  }
  wake_.notify_one();
}

void WorkerThread::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

}  // namespace raftkv::runtime
