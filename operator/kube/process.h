// What a process around a Manager does: signals, and memory.
#pragma once

#include "base/status.h"

namespace raftkv::kube {

class Manager;

// First thing in main, before any thread: SIGTERM and SIGINT wait for RunUntilSignal, a closed
// connection is no signal, and threads share two arenas of malloc (one each would be most of the
// memory).
void PrepareProcess();

// Manager::Run, and Manager::Stop on the first SIGTERM or SIGINT.
Status RunUntilSignal(Manager& manager);

}  // namespace raftkv::kube
