// A checkpoint of the state as the byte stream of GET /admin/snapshot/file.
//
// Thread-safety: one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "node/raft/entry.h"

namespace raftkv::runtime {

// The next piece of the stream; empty at the end.
using SnapshotPieces = std::function<Result<std::string>()>;

// Reads and checksums the checkpoint in `dir` (slow), then gives its bytes. `release` is called
// when the stream is no longer used, whether it was read to the end or not, and on an error.
Result<SnapshotPieces> OpenExport(const std::string& dir, const raft::Snapshot& snapshot,
                                  uint64_t cluster_id, std::function<void()> release);

}  // namespace raftkv::runtime
