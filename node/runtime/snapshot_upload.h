// A saved snapshot that comes in pieces: verified as it comes, and laid down as a checkpoint.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/storage/snapshot_files.h"
#include "node/storage/snapshot_stream.h"

namespace raftkv::runtime {

class SnapshotUpload {
 public:
  // What an earlier upload has left in `dir` is removed with the first piece.
  explicit SnapshotUpload(std::string dir) : dir_(std::move(dir)) {}
  // The reader's callback has this address.
  SnapshotUpload(const SnapshotUpload&) = delete;
  SnapshotUpload& operator=(const SnapshotUpload&) = delete;

  // The bytes of the stream (node/storage/snapshot_stream.h) from `offset` on; 0 begins anew.
  // kConflict: it is not the next piece, and nothing has happened; after every other error
  // (kCorruption: what is wrong with the stream) it has to be begun anew.
  Status Take(uint64_t offset, std::string_view bytes);
  // Of the stream, in order.
  uint64_t received() const { return received_; }
  // Nothing is missing, and every checksum matches.
  bool complete() const { return reader_ && reader_->Finish().ok(); }
  // The checkpoint's directory, synced. kCorruption if something is missing.
  Result<std::string> Finish();

 private:
  Status Begin();
  Status Write(const v1::SnapshotChunk& chunk);
  Status OpenSink();

  const std::string dir_;
  uint64_t received_ = 0;
  std::optional<storage::SnapshotStreamReader> reader_;  // nullopt: not begun
  std::unique_ptr<storage::SnapshotSink> sink_;
};

}  // namespace raftkv::runtime
