// A new cluster from a saved snapshot (raftkvctl snapshot save), for when a majority of the
// directories is lost: the keys, revisions and history of the file, a new cluster ID, one voter.
//
// Thread-safety: none; before the node's threads start, or on the raft thread of a blank node.
#pragma once

#include <string>

#include "node/runtime/options.h"
#include "node/runtime/recovery.h"
#include "raftkv/v1/admin.pb.h"

namespace raftkv::runtime {

// Fills a blank data directory from options.bootstrap.snapshot. Every checksum of the file is
// verified before anything is taken over. The identity is written last: after a crash in between
// the directory is blank still, and the next start does it again. Members of the old cluster count
// as removed: they are refused, whatever their directories say. Errors name the file.
Status RestoreSnapshot(const Options& options, OpenedStorage* storage);

// The part of it after the file is unpacked: a new cluster with this id, of this node alone, with
// the content of `checkpoint`. The identity is written last.
Status FoundCluster(const Options& options, const std::string& checkpoint, uint64_t cluster_id,
                    const MemberStorage& member);

// Where pieces of a snapshot that a blank node is given are put together.
std::string UploadsPath(const Options& options);
// Why a node with this status takes no snapshot.
Status NotBlank(const v1::StatusResponse& status);

}  // namespace raftkv::runtime
