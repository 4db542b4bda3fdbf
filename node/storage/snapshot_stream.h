// A snapshot as one stream of bytes: what GET /admin/snapshot/file sends and a saved snapshot file
// holds.
//
//   "RKVSNAP1"                       8 bytes
//   frame: v1::Snapshot              index, term, configuration; its data is a SnapshotManifest
//   frame: v1::SnapshotChunk ...     the files of the manifest, whole and in order
//   frame: v1::SnapshotDone          ok: nothing is missing; else why the sender gave up
//
// A frame is, as on the peer port, a 4-byte little-endian length, a 4-byte little-endian CRC-32C of
// the body, and the body. Without its last frame a stream is known to be cut short.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "raftkv/v1/peer.pb.h"
#include "raftkv/v1/raft.pb.h"

namespace raftkv::storage {

// --- Writing: append these to each other. Thread-safety: pure functions. -------------------------

// Magic and first frame. `snapshot.data` must be the serialized manifest.
std::string SnapshotStreamBegin(const v1::Snapshot& snapshot);
std::string SnapshotStreamFrame(const v1::SnapshotChunk& chunk);
// Last frame. Anything but ok tells the reader why the stream ends early.
std::string SnapshotStreamEnd(const Status& status);

// --- Reading -------------------------------------------------------------------------------------

// Checks a stream as it passes, whatever the pieces it comes in, with memory for one frame. Every
// limit and checksum of the frames and the manifest is enforced: file names without slashes, sizes
// as announced, chunks without holes.
//
// Thread-safety: none.
class SnapshotStreamReader {
 public:
  // Called with each verified chunk; may be null. Its error ends the reading.
  using OnChunk = std::function<Status(const v1::SnapshotChunk&)>;
  explicit SnapshotStreamReader(OnChunk on_chunk = nullptr) : on_chunk_(std::move(on_chunk)) {}

  // The next bytes of the stream. kCorruption says what is wrong, and where; kUnavailable hands on
  // why the sender gave up. After an error the reader takes no more.
  Status Feed(std::string_view bytes);
  // The stream has ended: kCorruption if something is missing.
  Status Finish() const;

  // Valid once the first frame has passed (has_snapshot()).
  bool has_snapshot() const { return stage_ != Stage::kMagic && stage_ != Stage::kSnapshot; }
  const v1::Snapshot& snapshot() const { return snapshot_; }
  const v1::SnapshotManifest& manifest() const { return manifest_; }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  enum class Stage { kMagic, kSnapshot, kChunks, kDone };

  // Consumes one magic, frame or nothing from the front of buffer_; false when more bytes are
  // needed.
  Result<bool> Advance();
  Status OnFrame(std::string_view body);
  Status TakeSnapshot(std::string_view body);
  Status TakeChunk(std::string_view body);
  Status TakeDone(std::string_view body);
  // Checks the current file's checksum and steps over it, and over empty files behind it.
  Status FinishFiles();
  Status Corrupt(const std::string& what) const;

  OnChunk on_chunk_;
  Stage stage_ = Stage::kMagic;
  std::string buffer_;
  uint64_t bytes_read_ = 0;
  v1::Snapshot snapshot_;
  v1::SnapshotManifest manifest_;
  int file_ = 0;         // of the manifest: the one being received
  uint64_t offset_ = 0;  // in it
  uint32_t crc_ = 0;     // of it so far
};

}  // namespace raftkv::storage
