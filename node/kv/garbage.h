// Garbage collection: frees the versions that compaction has made unreachable, walking the revision
// table from the last compact revision to the next.
//
// Thread-safety: none; the apply thread's.
#pragma once

#include "base/status.h"
#include "node/kv/format.h"
#include "node/storage/state_store.h"

namespace raftkv::kv {

// Handles up to `max_rows` rows of the revision table: their deletions go to `batch`, and `meta`
// and `progress` change accordingly. When it returns, progress->done says whether anything is left.
//
// Of the rows below the compact revision, each goes together with the version that it ended; a
// tombstone goes too. Rows at the compact revision itself stay, and tombstones with them (a watch
// may start there); only the versions that they ended go.
Status CollectGarbage(storage::StateStore& store, size_t max_rows, storage::StateBatch* batch,
                      Meta* meta, GcProgress* progress);

}  // namespace raftkv::kv
