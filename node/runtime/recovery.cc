#include "node/runtime/recovery.h"

#include <optional>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/storage/write_behind.h"

namespace raftkv::runtime {
namespace {

const char kRebuild[] =
    ". Remove the data directory and let this member be replaced: remove it from the cluster and "
    "start it again with an empty directory, --start-mode join and --start-peers with the peer "
    "address of another member (docs/operations.md).";

bool Continues(const storage::LogStorage& log, raft::EntryId id) {
  const raft::LogResult<raft::Term> term = log.term(id.index);
  return term.has_value() && *term == id.term;
}

Status Lost(const std::string& dir, const std::string& what) {
  return {Code::kCorruption, dir + ": " + what + kRebuild};
}

std::string Text(raft::EntryId id) {
  return std::to_string(id.index.value) + " of term " + std::to_string(id.term.value);
}

}  // namespace

Status Reconcile(storage::LogStorage* log, storage::StateStore* store,
                 const kv::StateMachine& machine, const std::string& dir) {
  const raft::EntryId applied{machine.applied().term, machine.applied().index};
  const std::optional<raft::EntryId> installing = store->installing();
  if (applied.index < log->compacted().index) {
    return Lost(dir, "the state has applied entry " + Text(applied) +
                         ", but the log begins only after entry " + Text(log->compacted()) +
                         ": entries in between are lost");
  }
  if (!Continues(*log, applied)) {
    if (installing != applied && !MUTATION(start_with_lost_log)) {
      return Lost(dir, "the state has applied entry " + Text(applied) +
                           ", but the log, which ends at index " +
                           std::to_string(log->last_index().value) +
                           ", does not hold it: entries that this member acknowledged, and votes, "
                           "are lost");
    }
    log::Info("the log continues after an installed snapshot",
              {{"applied", applied.index.value}, {"log", log->last_index().value}});
    raft::HardState state = log->hard_state();
    if (state.term < applied.term) {
      // Nobody can have had our vote in that term: votes are durable before they are sent.
      state.term = applied.term;
      state.vote = raft::kNone;
    }
    state.commit = applied.index;
    RETURN_IF_ERROR(log->Reset(applied, state));
  }
  return installing ? store->FinishInstallation(*installing) : Status::Ok();
}

Result<std::unique_ptr<storage::DataDir>> OpenMemberDir(const Options& options,
                                                        storage::Files& files,
                                                        const std::function<uint64_t()>& entropy) {
  ASSIGN_OR_RETURN(auto dir,
                   storage::DataDir::Open(options.data_dir, options.name, files, entropy));
  const v1::Identity& identity = dir->identity();
  if (identity.removed()) {
    return Error(Code::kFailedPrecondition,
                 options.data_dir + ": member " + HexId(identity.member_id()) +
                     " was removed from its cluster and never comes back. To use this machine "
                     "again, start with an empty data directory.");
  }
  RETURN_UNEXPECTED_IF_ERROR(files.RemoveTree(dir->snapshots_path() + "/checkpoints"));
  if (identity.cluster_id() == 0) {
    RETURN_UNEXPECTED_IF_ERROR(files.RemoveTree(dir->log_path()));
    RETURN_UNEXPECTED_IF_ERROR(files.RemoveTree(dir->state_path()));
  }
  return dir;
}

Result<std::unique_ptr<kv::StateMachine>> OpenMachine(const storage::DataDir& dir,
                                                      storage::LogStorage* log,
                                                      storage::StateStore* store) {
  ASSIGN_OR_RETURN(std::unique_ptr<kv::StateMachine> machine, kv::StateMachine::Open(store));
  const uint64_t state_cluster = machine->cluster()->cluster_id();
  if (state_cluster != 0 && state_cluster != dir.identity().cluster_id()) {
    return Error(Code::kFailedPrecondition,
                 dir.path() + ": the state belongs to cluster " + HexId(state_cluster) +
                     ", the identity to " + HexId(dir.identity().cluster_id()) +
                     ": files of two members were mixed. Restore the directory as it was.");
  }
  RETURN_UNEXPECTED_IF_ERROR(Reconcile(log, store, *machine, dir.path()));
  return machine;
}

Result<OpenedStorage> OpenStorage(const Options& options, const storage::LogOptions& log_options,
                                  const storage::WriteBehindOptions& gathering, bool verify) {
  OpenedStorage opened;
  ASSIGN_OR_RETURN(opened.dir, OpenMemberDir(options));
  const v1::Identity& identity = opened.dir->identity();
  // A member's log was made while it was blank: the identity is written last.
  storage::LogOptions member_log = log_options;
  member_log.create = identity.cluster_id() == 0;
  member_log.owner = identity.member_id();
  ASSIGN_OR_RETURN(opened.log, storage::OpenRocksLog(opened.dir->log_path(), member_log));
  storage::StateOptions state_options;
  state_options.memtable_bytes = options.state_memtable_bytes;
  state_options.block_cache_bytes = options.state_cache_bytes;
  state_options.verify = verify;
  ASSIGN_OR_RETURN(auto state, storage::OpenRocksState(opened.dir->state_path(), state_options));
  opened.store = storage::WriteBehind(std::move(state), gathering);
  ASSIGN_OR_RETURN(opened.machine, OpenMachine(*opened.dir, opened.log.get(), opened.store.get()));
  return opened;
}

}  // namespace raftkv::runtime
