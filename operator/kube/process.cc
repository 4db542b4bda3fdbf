#include "operator/kube/process.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/check.h"
#include "operator/kube/manager.h"

namespace raftkv::kube {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

void PrepareProcess() {
  const sigset_t signals = StopSignals();
  CHECK(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  signal(SIGPIPE, SIG_IGN);
  mallopt(M_ARENA_MAX, 2);
}

Status RunUntilSignal(Manager& manager) {
  std::thread stopper([&manager] {
    const sigset_t signals = StopSignals();
    constexpr timespec kPause{.tv_sec = 60};
    // What lists and reconciles leave in holes of the heap goes back to the kernel meanwhile: a few
    // milliseconds a minute.
    while (sigtimedwait(&signals, nullptr, &kPause) < 0) malloc_trim(0);
    manager.Stop();
  });
  Status ended = manager.Run();
  kill(getpid(), SIGTERM);  // wakes the stopper if Run ended by itself
  stopper.join();
  return ended;
}

}  // namespace raftkv::kube
