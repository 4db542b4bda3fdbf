// Reads of the newest version of a key, and of whatever a view of the state shows.
//
// Thread-safety: pure functions; a view may be read from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/kv/format.h"
#include "node/kv/header_cache.h"
#include "node/kv/state_machine.h"
#include "node/storage/state_store.h"

namespace raftkv::kv {

// The counters that belong to the view; those of an empty store if there are none.
Result<Meta> ReadMeta(const storage::StateView& view);

// The key's newest version; without a view, unless the version goes while it is read.
Result<std::optional<KeyValue>> GetNewest(const storage::StateStore& store,
                                          const HeaderCache& cache, std::string_view key);

// As StateMachine's.
Result<std::optional<KeyValue>> GetAt(const storage::StateView& view, std::string_view key,
                                      uint64_t revision);
Result<RangeResult> ReadRange(const storage::StateView& view, const RangeRequest& request);
Result<StateHash> HashState(const storage::StateView& view);

}  // namespace raftkv::kv
