// Start-up: opening what a data directory holds, and making log and state agree after a crash.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "node/kv/state_machine.h"
#include "node/runtime/options.h"
#include "node/storage/data_dir.h"
#include "node/storage/log_storage.h"
#include "node/storage/state_store.h"

namespace raftkv::runtime {

struct OpenedStorage {
  std::unique_ptr<storage::DataDir> dir;
  std::unique_ptr<storage::LogStorage> log;
  std::unique_ptr<storage::StateStore> store;
  std::unique_ptr<kv::StateMachine> machine;
};

// Opens DIR. Errors name the file and the remedy; nothing is changed by a refusal. A blank node's
// databases are emptied first: whatever is in them was never acknowledged to anyone.
Result<OpenedStorage> OpenStorage(const Options& options, const storage::LogOptions& log_options);

// Makes the log fit the state: a state ahead of the log (crash while a snapshot was installed)
// resets the log after it; a state behind the log's start has lost entries for ever and is
// kCorruption.
Status Reconcile(storage::LogStorage* log, const kv::StateMachine& machine, const std::string& dir);

}  // namespace raftkv::runtime
