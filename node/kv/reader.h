// Reads of the versions that a view of the state shows.
//
// Thread-safety: pure functions; a view may be read from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/kv/format.h"
#include "node/kv/state_machine.h"
#include "node/storage/state_store.h"

namespace raftkv::kv {

// The counters that belong to the view; those of an empty store if there are none.
Result<Meta> ReadMeta(const storage::StateView& view);

// A stored record as a key's newest version; nullopt for a tombstone.
Result<std::optional<KeyValue>> ToKeyValue(std::string_view key, std::string&& record);

// As StateMachine's, for a revision that is not 0.
Result<std::optional<KeyValue>> GetAt(const storage::StateView& view, std::string_view key,
                                      uint64_t revision);
Result<RangeResult> ReadRange(const storage::StateView& view, const RangeRequest& request);
Result<StateHash> HashState(const storage::StateView& view);

}  // namespace raftkv::kv
