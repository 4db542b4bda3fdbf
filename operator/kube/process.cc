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
    int number = 0;
    sigwait(&signals, &number);
    manager.Stop();
  });
  Status ended = manager.Run();
  kill(getpid(), SIGTERM);  // wakes the stopper if Run ended by itself
  stopper.join();
  return ended;
}

}  // namespace raftkv::kube
