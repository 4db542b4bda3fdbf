#include "node/runtime/recovery.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/hex_id.h"
#include "base/log.h"

namespace raftkv::runtime {
namespace {

Status EmptyDirectory(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (!error) return Status::Ok();
  return {Code::kIoError, "cannot remove " + path + ": " + error.message()};
}

const char kRebuild[] =
    " Remove the data directory and let this member be replaced: remove it from the cluster and "
    "start it again with an empty directory and --join (docs/operations.md).";

}  // namespace

Status Reconcile(storage::LogStorage* log, const kv::StateMachine& machine,
                 const std::string& dir) {
  const kv::AppliedState applied = machine.applied();
  if (applied.index < log->compacted().index) {
    return {Code::kCorruption, dir + ": the state has applied index " +
                                   std::to_string(applied.index.value) +
                                   ", but the log begins only after index " +
                                   std::to_string(log->compacted().index.value) +
                                   ": entries in between are lost." + kRebuild};
  }
  if (applied.index <= log->last_index()) return Status::Ok();
  log::Info("the log continues after an installed snapshot",
            {{"applied", applied.index.value}, {"log", log->last_index().value}});
  raft::HardState state = log->hard_state();
  if (state.term < applied.term) {
    // Nobody can have had our vote in that term: votes are durable before they are sent.
    state.term = applied.term;
    state.vote = raft::kNone;
  }
  state.commit = applied.index;
  return log->Reset({applied.term, applied.index}, state);
}

Result<OpenedStorage> OpenStorage(const Options& options, const storage::LogOptions& log_options) {
  OpenedStorage opened;
  ASSIGN_OR_RETURN(opened.dir, storage::DataDir::Open(options.data_dir, options.name));
  const v1::Identity& identity = opened.dir->identity();
  if (identity.removed()) {
    return Error(Code::kFailedPrecondition,
                 options.data_dir + ": member " + HexId(identity.member_id()) +
                     " was removed from its cluster and never comes back. To use this machine "
                     "again, start with an empty data directory.");
  }
  RETURN_UNEXPECTED_IF_ERROR(EmptyDirectory(opened.dir->snapshots_path() + "/checkpoints"));
  if (identity.cluster_id() == 0) {
    RETURN_UNEXPECTED_IF_ERROR(EmptyDirectory(opened.dir->log_path()));
    RETURN_UNEXPECTED_IF_ERROR(EmptyDirectory(opened.dir->state_path()));
  }
  ASSIGN_OR_RETURN(opened.log, storage::OpenRocksLog(opened.dir->log_path(), log_options));
  storage::StateOptions state_options;
  state_options.memtable_bytes = options.state_memtable_bytes;
  state_options.block_cache_bytes = options.state_cache_bytes;
  ASSIGN_OR_RETURN(opened.store, storage::OpenRocksState(opened.dir->state_path(), state_options));
  ASSIGN_OR_RETURN(opened.machine, kv::StateMachine::Open(opened.store.get()));
  const uint64_t state_cluster = opened.machine->cluster()->cluster_id();
  if (state_cluster != 0 && state_cluster != identity.cluster_id()) {
    return Error(Code::kFailedPrecondition,
                 options.data_dir + ": the state belongs to cluster " + HexId(state_cluster) +
                     ", the identity to " + HexId(identity.cluster_id()) +
                     ": files of two members were mixed. Restore the directory as it was.");
  }
  RETURN_UNEXPECTED_IF_ERROR(Reconcile(opened.log.get(), *opened.machine, options.data_dir));
  return opened;
}

}  // namespace raftkv::runtime
