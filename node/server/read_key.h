// Reads one key together with the revision that the answer holds for.
//
// Thread-safety: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "node/kv/state_machine.h"

namespace raftkv::server {

struct ReadKeyResult {
  std::optional<kv::KeyValue> item;  // nullopt: no such key
  uint64_t revision = 0;             // of the store: the key was in this state at it
};

// As of `revision`; 0: as of some moment after the call. Errors as of StateMachine::Get.
Result<ReadKeyResult> ReadKey(const kv::StateMachine& state, std::string_view key,
                              uint64_t revision);

}  // namespace raftkv::server
