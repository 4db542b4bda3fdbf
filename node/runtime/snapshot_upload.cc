#include "node/runtime/snapshot_upload.h"

#include <filesystem>
#include <system_error>

namespace raftkv::runtime {

Status SnapshotUpload::Begin() {
  reader_.reset();
  sink_.reset();
  received_ = 0;
  std::error_code error;
  std::filesystem::remove_all(dir_, error);
  if (!error) std::filesystem::create_directories(dir_, error);
  if (error) return {Code::kIoError, dir_ + ": " + error.message()};
  reader_.emplace([this](const v1::SnapshotChunk& chunk) { return Write(chunk); });
  return Status::Ok();
}

Status SnapshotUpload::OpenSink() {
  if (sink_ != nullptr) return Status::Ok();
  const v1::SnapshotManifest& manifest = reader_->manifest();
  ASSIGN_OR_RETURN_STATUS(sink_,
                          storage::SnapshotSink::Open(dir_, manifest, manifest.total_bytes()));
  return Status::Ok();
}

Status SnapshotUpload::Write(const v1::SnapshotChunk& chunk) {
  RETURN_IF_ERROR(OpenSink());
  return sink_->Write(chunk);
}

Status SnapshotUpload::Take(uint64_t offset, std::string_view bytes) {
  if (offset == 0) RETURN_IF_ERROR(Begin());
  if (!reader_ || offset != received_) {
    return {Code::kConflict, "the next piece of the snapshot begins at byte " +
                                 std::to_string(reader_ ? received_ : 0) + ", not at byte " +
                                 std::to_string(offset)};
  }
  const Status fed = reader_->Feed(bytes);
  received_ += bytes.size();
  if (!fed.ok()) reader_.reset();
  return fed;
}

Result<std::string> SnapshotUpload::Finish() {
  if (!reader_) return Error(Code::kCorruption, "nothing of it is here");
  RETURN_UNEXPECTED_IF_ERROR(reader_->Finish());
  RETURN_UNEXPECTED_IF_ERROR(OpenSink());
  return sink_->Finish();
}

}  // namespace raftkv::runtime
