// How a client's write becomes a proposal: the same for the threads of a node and in the simulator.
//
// Thread-safety: any thread, as the guard and the table.
#pragma once

#include <cstdint>
#include <optional>

#include "node/runtime/replica.h"
#include "node/runtime/space_guard.h"
#include "node/runtime/waiters.h"

namespace raftkv::runtime {

// Makes `command` the member's own request with this id, and adds whoever waits for it to the
// table. Nothing: it cannot be, and `done` has been told why.
std::optional<Proposal> PrepareWrite(v1::Command command, uint64_t member_id, uint64_t request_id,
                                     MonotonicTime deadline, WriteCallback done, SpaceGuard& space,
                                     WaiterTable& waiters);

}  // namespace raftkv::runtime
