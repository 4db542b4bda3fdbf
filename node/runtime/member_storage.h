// What a member keeps on disk, opened, as it is handed to those who work on it.
#pragma once

#include "node/kv/state_machine.h"
#include "node/storage/data_dir.h"
#include "node/storage/log_storage.h"
#include "node/storage/state_store.h"

namespace raftkv::runtime {

// Of one data directory, whose owner (OpenedStorage) outlives whoever has these.
struct MemberStorage {
  storage::DataDir* dir = nullptr;
  storage::LogStorage* log = nullptr;
  storage::StateStore* store = nullptr;
  kv::StateMachine* machine = nullptr;
};

}  // namespace raftkv::runtime
