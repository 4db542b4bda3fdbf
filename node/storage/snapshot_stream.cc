#include "node/storage/snapshot_stream.h"

#include <utility>

#include "base/check.h"
#include "node/storage/codec.h"

namespace raftkv::storage {
namespace {

constexpr std::string_view kMagic = "RKVSNAP1";
constexpr size_t kFrameHeaderBytes = 8;
// A chunk is at most 1 MiB; a manifest of 10,000 files is about as long.
constexpr size_t kMaxFrameBytes = 4 << 20;

void AppendFixed32(std::string* out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

uint32_t ReadFixed32(const char* bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

std::string Frame(const google::protobuf::MessageLite& message) {
  std::string body = message.SerializeAsString();
  CHECK(body.size() <= kMaxFrameBytes, "a snapshot frame is too large");
  std::string out;
  out.reserve(body.size() + kFrameHeaderBytes);
  AppendFixed32(&out, static_cast<uint32_t>(body.size()));
  AppendFixed32(&out, Crc32c(body));
  return out + body;
}

template <typename Message>
bool Parse(std::string_view bytes, Message* out) {
  return out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

std::string SnapshotStreamBegin(const v1::Snapshot& snapshot) {
  return std::string(kMagic) + Frame(snapshot);
}

std::string SnapshotStreamFrame(const v1::SnapshotChunk& chunk) { return Frame(chunk); }

std::string SnapshotStreamEnd(const Status& status) {
  v1::SnapshotDone done;
  done.set_ok(status.ok());
  done.set_message(status.message());
  return Frame(done);
}

Status SnapshotStreamReader::Corrupt(const std::string& what) const {
  return Status(Code::kCorruption,
                "the snapshot is damaged near byte " + std::to_string(bytes_read_) + ": " + what);
}

Status SnapshotStreamReader::Feed(std::string_view bytes) {
  buffer_.append(bytes);
  while (true) {
    ASSIGN_OR_RETURN_STATUS(bool advanced, Advance());
    if (!advanced) return Status::Ok();
  }
}

Result<bool> SnapshotStreamReader::Advance() {
  if (stage_ == Stage::kDone) {
    if (!buffer_.empty()) return Error(Corrupt("bytes after its end"));
    return false;
  }
  if (stage_ == Stage::kMagic) {
    if (buffer_.size() < kMagic.size()) return false;
    if (!buffer_.starts_with(kMagic))
      return Error(Code::kCorruption, "this is not a raftkv snapshot (it does not begin with " +
                                          std::string(kMagic) + ")");
    buffer_.erase(0, kMagic.size());
    bytes_read_ += kMagic.size();
    stage_ = Stage::kSnapshot;
    return true;
  }
  if (buffer_.size() < kFrameHeaderBytes) return false;
  size_t length = ReadFixed32(buffer_.data());
  if (length > kMaxFrameBytes)
    return Error(Corrupt("a frame of " + std::to_string(length) + " bytes"));
  if (buffer_.size() < kFrameHeaderBytes + length) return false;
  std::string_view body = std::string_view(buffer_).substr(kFrameHeaderBytes, length);
  if (Crc32c(body) != ReadFixed32(buffer_.data() + 4))
    return Error(Corrupt("the checksum of a frame does not match"));
  RETURN_UNEXPECTED_IF_ERROR(OnFrame(body));
  buffer_.erase(0, kFrameHeaderBytes + length);
  bytes_read_ += kFrameHeaderBytes + length;
  return true;
}

Status SnapshotStreamReader::OnFrame(std::string_view body) {
  if (stage_ == Stage::kSnapshot) return TakeSnapshot(body);
  // A chunk begins with its file's name (field 1 with a length), the end does not.
  bool is_chunk = !body.empty() && body.front() == '\x0a';
  return is_chunk ? TakeChunk(body) : TakeDone(body);
}

Status SnapshotStreamReader::TakeSnapshot(std::string_view body) {
  if (!Parse(body, &snapshot_) || !Parse(snapshot_.data(), &manifest_))
    return Corrupt("its description cannot be read");
  uint64_t total = 0;
  for (const auto& file : manifest_.files()) {
    if (!IsPlainFileName(file.name())) return Corrupt("a file name with a path");
    total += file.bytes();
  }
  if (total != manifest_.total_bytes()) return Corrupt("its files do not add up to its size");
  stage_ = Stage::kChunks;
  return FinishFiles();
}

Status SnapshotStreamReader::FinishFiles() {
  while (file_ < manifest_.files_size() && offset_ == manifest_.files(file_).bytes()) {
    const auto& file = manifest_.files(file_);
    if (crc_ != file.crc32c()) return Corrupt("the checksum of " + file.name() + " does not match");
    ++file_;
    offset_ = 0;
    crc_ = 0;
  }
  return Status::Ok();
}

Status SnapshotStreamReader::TakeChunk(std::string_view body) {
  v1::SnapshotChunk chunk;
  if (!Parse(body, &chunk)) return Corrupt("a chunk cannot be read");
  if (file_ == manifest_.files_size()) return Corrupt("more files than announced");
  const auto& file = manifest_.files(file_);
  if (chunk.file() != file.name() || chunk.offset() != offset_)
    return Corrupt("a part of " + file.name() + " is missing");
  if (chunk.data().empty() || chunk.data().size() > file.bytes() - offset_)
    return Corrupt(file.name() + " is not as long as announced");
  crc_ = Crc32c(chunk.data(), crc_);
  offset_ += chunk.data().size();
  if (on_chunk_) RETURN_IF_ERROR(on_chunk_(chunk));
  return FinishFiles();
}

Status SnapshotStreamReader::TakeDone(std::string_view body) {
  v1::SnapshotDone done;
  if (!Parse(body, &done)) return Corrupt("its end cannot be read");
  if (!done.ok())
    return Status(Code::kUnavailable, "the node could not finish the snapshot: " + done.message());
  if (file_ != manifest_.files_size())
    return Corrupt("it ends before " + manifest_.files(file_).name() + " is complete");
  stage_ = Stage::kDone;
  return Status::Ok();
}

Status SnapshotStreamReader::Finish() const {
  if (stage_ != Stage::kDone) return Corrupt("it is cut short");
  return Status::Ok();
}

}  // namespace raftkv::storage
