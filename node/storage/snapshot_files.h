// The files of a snapshot: describing a checkpoint directory, reading it in chunks, and putting the
// chunks together again on the other side.
//
// Thread-safety: one thread for each instance; different instances are independent.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::storage {

inline constexpr size_t kSnapshotChunkBytes = 1 << 20;

// Lists the files of the checkpoint in `dir` with sizes and checksums (reads all of them).
Result<v1::SnapshotManifest> DescribeCheckpoint(const std::string& dir, uint64_t cluster_id,
                                                uint64_t snapshot_id);

// Reads the files of a manifest as chunks, starting where the receiver's SnapshotResume says.
class SnapshotSource {
 public:
  static Result<std::unique_ptr<SnapshotSource>> Open(const std::string& dir,
                                                      const v1::SnapshotManifest& manifest,
                                                      const v1::SnapshotResume& resume);
  virtual ~SnapshotSource() = default;
  // The next chunk; false at the end. Empty files have none.
  virtual Result<bool> Next(v1::SnapshotChunk* chunk) = 0;
};

// Receives the chunks of a manifest into DIR/received-<snapshot_id>/; keeps partial transfers so
// that a repeated offer resumes. Every limit of the manifest is enforced: names without slashes,
// sizes as announced, checksums before completion.
class SnapshotSink {
 public:
  // `dir` is DataDir::snapshots_path(). Partial transfers of other snapshot ids are removed.
  // Refuses manifests above max_bytes, or with more bytes than the file system has free.
  static Result<std::unique_ptr<SnapshotSink>> Open(const std::string& dir,
                                                    const v1::SnapshotManifest& manifest,
                                                    uint64_t max_bytes);
  virtual ~SnapshotSink() = default;
  virtual v1::SnapshotResume Resume() const = 0;
  virtual Status Write(const v1::SnapshotChunk& chunk) = 0;
  // All files complete, verified and synced: returns their directory, ready for
  // StateStore::Replace.
  virtual Result<std::string> Finish() = 0;
};

}  // namespace raftkv::storage
