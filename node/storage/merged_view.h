// A picture of a store and of changes to it that the store does not have yet.
//
// Thread-safety: as StateView.
#pragma once

#include <memory>

#include "node/storage/pending_changes.h"
#include "node/storage/state_store.h"

namespace raftkv::storage {

// What `beneath` shows with `changes` on top. Shares what `changes` holds.
std::shared_ptr<const StateView> MergeViews(PendingChanges changes,
                                            std::shared_ptr<const StateView> beneath);

}  // namespace raftkv::storage
