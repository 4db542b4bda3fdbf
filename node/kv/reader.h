// Reads of the newest version of a key, and of whatever a view of the state shows.
//
// Thread-safety: pure functions; a view may be read from any thread.
#pragma once

#include <functional>
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

// How a stored key is looked up, in a view or in the store.
using GetBytes = std::function<Result<std::optional<std::string>>(std::string_view stored_key)>;

// The value of a live version; nullopt: the version is not stored.
Result<std::optional<std::string>> ReadValue(const RecordHeader& header, const GetBytes& get);

// The key's newest version; without a view, unless the version goes while it is read.
Result<std::optional<KeyValue>> GetNewest(const storage::StateStore& store,
                                          const HeaderCache& cache, std::string_view key);

// As StateMachine's.
Result<std::optional<KeyValue>> GetAt(const storage::StateView& view, std::string_view key,
                                      uint64_t revision);
Result<RangeResult> ReadRange(const storage::StateView& view, const RangeRequest& request);
Result<StateHash> HashState(const storage::StateView& view);

}  // namespace raftkv::kv
