// SimThread: a thread for work that sleeps in the middle. It and the simulation take turns: while
// one runs, the other waits for it. So there is one order of everything, and it comes from the
// seed.
//
// Thread-safety: Sleep from within the work; all else from the simulation's thread.
#pragma once

#include <exception>
#include <functional>
#include <semaphore>
#include <thread>

#include "base/clock.h"

namespace raftkv::sim {

class SimThread {
 public:
  SimThread() = default;
  SimThread(const SimThread&) = delete;
  SimThread& operator=(const SimThread&) = delete;
  ~SimThread() { Cancel(); }

  // Runs `work` until it ends or sleeps: true if it has ended. Throws what the work throws.
  bool Run(std::function<void()> work);
  // The work goes on where it sleeps; the same.
  bool Resume();
  // Ends the work where it sleeps, if it does.
  void Cancel();

  bool asleep() const { return thread_.joinable(); }
  // For how long it wants to sleep.
  Duration sleeps_for() const { return sleeps_for_; }

  void Sleep(Duration duration);

 private:
  struct Cancelled {};

  bool ended_ = false;
  bool cancelled_ = false;
  Duration sleeps_for_{0};
  std::exception_ptr thrown_;
  std::binary_semaphore to_work_{0};
  std::binary_semaphore to_owner_{0};
  std::thread thread_;
};

}  // namespace raftkv::sim
