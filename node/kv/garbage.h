// Garbage collection: frees the versions that compaction has made unreachable, walking the revision
// table from the last compact revision to the next.
//
// Thread-safety: none; the applying thread's.
#pragma once

#include "base/status.h"
#include "node/kv/format.h"
#include "node/storage/state_store.h"

namespace raftkv::kv {

// Handles up to `max_rows` rows of the revision table: their deletions go to `batch`, and `meta`
// and `progress` change accordingly. When it returns, progress->done says whether anything is left.
//
// Of each row up to the compact revision, the version that it ended goes; a tombstone below the
// compact revision goes itself. Tombstones at the compact revision stay (a watch may start there)
// until the next one.
Status CollectGarbage(storage::StateStore& store, size_t max_rows, storage::StateBatch* batch,
                      Meta* meta, GcProgress* progress);

}  // namespace raftkv::kv
