#include "node/runtime/restore.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "base/random.h"
#include "node/kv/format.h"
#include "node/runtime/snapshot_upload.h"

namespace raftkv::runtime {
namespace {

constexpr size_t kPiece = 1 << 20;

// Verifies the whole file and lays its checkpoint down in `dir`; the checkpoint's directory.
Result<std::string> Unpack(const std::string& file, const std::string& dir) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error(Code::kIoError, std::string("cannot open it: ") + std::strerror(errno));
  SnapshotUpload upload(dir);
  std::string piece(kPiece, '\0');
  do {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto count = static_cast<size_t>(in.gcount());
    RETURN_UNEXPECTED_IF_ERROR(
        upload.Take(upload.received(), std::string_view(piece).substr(0, count)));
  } while (in);
  if (in.bad()) return Error(Code::kIoError, std::string("cannot read: ") + std::strerror(errno));
  return upload.Finish();
}

// The membership of the new cluster: this node alone.
v1::ClusterState NewCluster(const Options& options, const v1::ClusterState& old,
                            uint64_t cluster_id, uint64_t member_id, raft::Index applied) {
  v1::ClusterState state;
  state.set_cluster_id(cluster_id);
  state.mutable_conf()->add_voters(member_id);
  state.set_config_index(applied.value);
  v1::Member* self = state.add_members();
  self->set_id(member_id);
  self->set_name(options.name);
  self->set_peer_address(options.peer_advertise);
  self->set_client_address(options.client_advertise);
  *state.mutable_removed_ids() = old.removed_ids();
  for (const v1::Member& member : old.members()) state.add_removed_ids(member.id());
  if (!MUTATION(unsorted_removed_ids)) std::ranges::sort(*state.mutable_removed_ids());
  return state;
}

Status Restore(const Options& options, OpenedStorage* storage) {
  ASSIGN_OR_RETURN_STATUS(const std::string checkpoint,
                          Unpack(options.bootstrap.snapshot, UploadsPath(options)));
  const uint64_t cluster_id = SystemEntropy() | 1;  // never 0
  RETURN_IF_ERROR(FoundCluster(options, checkpoint, cluster_id, storage->parts()));
  log::Info("a new cluster was made from a snapshot",
            {{"file", options.bootstrap.snapshot},
             {"cluster", log::Hex{cluster_id}},
             {"revision", storage->machine->applied().revision},
             {"index", storage->machine->applied().index.value}});
  return Status::Ok();
}

}  // namespace

Status FoundCluster(const Options& options, const std::string& checkpoint, uint64_t cluster_id,
                    const MemberStorage& member) {
  v1::Identity identity = member.dir->identity();
  CHECK(identity.cluster_id() == 0, "only a blank directory is restored into");
  // Nobody resumes this installation: until it has an identity the node is blank, and a blank
  // node's databases are emptied at its start.
  const raft::EntryId unresumed;
  member.machine->PrepareReplace();
  RETURN_IF_ERROR(member.store->Replace(checkpoint, unresumed));
  RETURN_IF_ERROR(member.machine->ReloadAfterReplace());
  const kv::AppliedState applied = member.machine->applied();
  if (applied.index == raft::Index()) return {Code::kCorruption, "it holds no state"};
  const v1::ClusterState cluster = NewCluster(options, *member.machine->cluster(), cluster_id,
                                              identity.member_id(), applied.index);
  const std::unique_ptr<storage::StateBatch> batch = member.store->NewBatch();
  batch->Put(kv::kClusterKey, cluster.SerializeAsString());
  RETURN_IF_ERROR(member.store->Write(*batch));
  RETURN_IF_ERROR(member.store->Flush());
  RETURN_IF_ERROR(member.machine->ReloadAfterReplace());
  RETURN_IF_ERROR(
      member.log->Reset({applied.term, applied.index}, {applied.term, raft::kNone, applied.index}));
  RETURN_IF_ERROR(member.store->FinishInstallation(unresumed));
  identity.set_cluster_id(cluster_id);
  identity.clear_seeds();
  return member.dir->SetIdentity(identity);
}

Status RestoreSnapshot(const Options& options, OpenedStorage* storage) {
  Status status = Restore(options, storage);
  if (status.ok()) return status;
  return {status.code(), "cannot restore the snapshot " + options.bootstrap.snapshot + ": " +
                             status.message() + ". The data directory stays blank."};
}

std::string UploadsPath(const Options& options) { return options.data_dir + "/snapshots/restore"; }

Status NotBlank(const v1::StatusResponse& status) {
  const std::string own = status.cluster_id() == 0
                              ? "is about to join a cluster"
                              : "belongs to cluster " + HexId(status.cluster_id()) + " already";
  return {Code::kFailedPrecondition,
          "this node " + own +
              ": a snapshot is restored only by a blank node that waits (an empty data directory, "
              "--start-mode wait)"};
}

}  // namespace raftkv::runtime
