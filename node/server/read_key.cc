#include "node/server/read_key.h"

#include <algorithm>
#include <utility>

namespace raftkv::server {

Result<ReadKeyResult> ReadKey(const kv::StateMachine& state, std::string_view key,
                              uint64_t revision) {
  if (revision != 0) {
    ASSIGN_OR_RETURN(std::optional<kv::KeyValue> item, state.Get(key, revision));
    return ReadKeyResult{std::move(item), revision};
  }
  for (;;) {
    const uint64_t before = state.readable_revision();
    ASSIGN_OR_RETURN(std::optional<kv::KeyValue> newest, state.Get(key, 0));
    if (newest) {
      // It cannot have changed between the two, or it would carry the later revision.
      const uint64_t held = std::max(before, newest->mod_revision);
      return ReadKeyResult{std::move(newest), held};
    }
    // What removed it may be later than `before`, and does not show in the answer.
    Result<std::optional<kv::KeyValue>> then = state.Get(key, before);
    if (then) return ReadKeyResult{*std::move(then), before};
    const bool compacted = then.error().code() == Code::kConflict;
    if (!compacted) return Error(then.error());
  }
}

}  // namespace raftkv::server
