// Start-up: opening what a data directory holds, and making log and state agree after a crash.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/status.h"
#include "node/kv/state_machine.h"
#include "node/runtime/member_storage.h"
#include "node/runtime/options.h"
#include "node/storage/data_dir.h"
#include "node/storage/files.h"
#include "node/storage/log_storage.h"
#include "node/storage/state_store.h"
#include "node/storage/write_behind.h"

namespace raftkv::runtime {

struct OpenedStorage {
  std::unique_ptr<storage::DataDir> dir;
  std::unique_ptr<storage::LogStorage> log;
  std::unique_ptr<storage::StateStore> store;
  std::unique_ptr<kv::StateMachine> machine;

  MemberStorage parts() const { return {dir.get(), log.get(), store.get(), machine.get()}; }
};

// Opens DIR. Errors name the file and the remedy; nothing is changed by a refusal. A blank node's
// databases are emptied first: whatever is in them was never acknowledged to anyone. `verify`:
// reads and checks every block of the state too, which may take a while (the log is checked
// always).
Result<OpenedStorage> OpenStorage(const Options& options, const storage::LogOptions& log_options,
                                  const storage::WriteBehindOptions& gathering = {},
                                  bool verify = false);

// What opening DIR is made of, beside the databases. The directory itself, in which a blank node's
// databases are emptied; a removed member's is refused.
Result<std::unique_ptr<storage::DataDir>> OpenMemberDir(
    const Options& options, storage::Files& files = storage::SystemFiles(),
    const std::function<uint64_t()>& entropy = SystemEntropy);
// The state machine of these databases, which agree afterwards.
Result<std::unique_ptr<kv::StateMachine>> OpenMachine(const storage::DataDir& dir,
                                                      storage::LogStorage* log,
                                                      storage::StateStore* store);

// Makes the log fit the state, and finishes an installation that a crash interrupted: if the state
// is the snapshot that `store` says was being installed, and the log does not continue it, the log
// is reset after it. Otherwise only durable entries were ever applied, so a state that its log does
// not continue means that one of them was lost, with votes and acknowledgements: kCorruption.
Status Reconcile(storage::LogStorage* log, storage::StateStore* store,
                 const kv::StateMachine& machine, const std::string& dir);

}  // namespace raftkv::runtime
