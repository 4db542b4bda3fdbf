// A thread that sleeps until it is woken, then works until there is nothing left.
//
// Thread-safety: Wake from any thread; Start and Stop from the owner's.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace raftkv::runtime {

class WorkerThread {
 public:
  // `run` is called once after each Wake (several wakes may be one call).
  void Start(std::string name, std::function<void()> run);
  void Wake();
  // Runs what was woken for, then ends the thread.
  void Stop();
  ~WorkerThread() { Stop(); }

 private:
  void Loop(const std::function<void()>& run);

  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace raftkv::runtime
