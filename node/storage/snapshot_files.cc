#include "node/storage/snapshot_files.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>

#include "base/mutations.h"
#include "node/storage/codec.h"
#include "node/storage/data_dir.h"
#include "node/storage/fs_util.h"

namespace raftkv::storage {
namespace {

constexpr std::string_view kReceivedPrefix = "received-";
constexpr int kMaxFiles = 100'000;
constexpr size_t kMaxNameBytes = 255;

// The checksum of the first `bytes` bytes; kCorruption if there are fewer.
Result<uint32_t> ChecksumOf(const std::string& path, uint64_t bytes) {
  ASSIGN_OR_RETURN(const File file, File::Open(path, O_RDONLY));
  uint32_t crc = 0;
  std::string chunk;
  for (uint64_t offset = 0; offset < bytes; offset += chunk.size()) {
    const size_t size = std::min<uint64_t>(kSnapshotChunkBytes, bytes - offset);
    RETURN_UNEXPECTED_IF_ERROR(file.ReadAt(offset, size, &chunk));
    if (chunk.size() != size) return Error(Code::kCorruption, path + " is shorter than it was");
    crc = Crc32c(chunk, crc);
  }
  return crc;
}

Result<uint64_t> SizeOf(const std::string& path) {
  ASSIGN_OR_RETURN(const File file, File::Open(path, O_RDONLY));
  return file.Size();
}

Status CheckManifest(const v1::SnapshotManifest& manifest) {
  const auto wrong = [](const std::string& what) {
    return Status(Code::kInvalidArgument, "snapshot manifest: " + what);
  };
  if (manifest.format() != kDataFormat) {
    return Status(Code::kFailedPrecondition,
                  "snapshot manifest: format " + std::to_string(manifest.format()) +
                      ", this program knows format " + std::to_string(kDataFormat));
  }
  if (manifest.files_size() == 0) return wrong("no files");
  if (manifest.files_size() > kMaxFiles) return wrong("too many files");
  std::set<std::string_view> names;
  uint64_t total = 0;
  for (const v1::SnapshotManifest::File& file : manifest.files()) {
    const std::string& name = file.name();
    if (name.empty() || name.size() > kMaxNameBytes || name.starts_with('.') ||
        name.find('/') != std::string::npos || name.find('\0') != std::string::npos) {
      return wrong("a name that is not a plain file name");
    }
    if (!names.insert(name).second) return wrong("the name " + name + " twice");
    if (file.bytes() > manifest.total_bytes() - total) return wrong("sizes exceed the total");
    total += file.bytes();
  }
  return total == manifest.total_bytes() ? Status::Ok() : wrong("sizes do not make the total");
}

class SourceImpl final : public SnapshotSource {
 public:
  SourceImpl(std::string dir, const v1::SnapshotManifest& manifest,
             const v1::SnapshotResume& resume)
      : dir_(std::move(dir)) {
    const std::set<std::string> have(resume.have().begin(), resume.have().end());
    for (const v1::SnapshotManifest::File& file : manifest.files()) {
      if (have.contains(file.name())) continue;
      const bool partial = file.name() == resume.partial_file();
      const uint64_t offset = partial ? std::min(resume.partial_bytes(), file.bytes()) : 0;
      if (offset < file.bytes()) parts_.push_back({file.name(), offset, file.bytes()});
    }
  }

  Result<bool> Next(v1::SnapshotChunk* chunk) override {
    if (next_ == parts_.size()) return false;
    Part& part = parts_[next_];
    if (!file_.is_open()) {
      ASSIGN_OR_RETURN(file_, File::Open(dir_ + "/" + part.name, O_RDONLY));
    }
    const size_t size = std::min<uint64_t>(kSnapshotChunkBytes, part.bytes - part.offset);
    RETURN_UNEXPECTED_IF_ERROR(file_.ReadAt(part.offset, size, chunk->mutable_data()));
    if (chunk->data().size() != size) {
      return Error(Code::kCorruption, file_.path() + " is shorter than its manifest says");
    }
    chunk->set_file(part.name);
    chunk->set_offset(part.offset);
    part.offset += size;
    if (part.offset == part.bytes) {
      file_.Close();
      ++next_;
    }
    return true;
  }

 private:
  struct Part {
    std::string name;
    uint64_t offset;
    uint64_t bytes;
  };
  const std::string dir_;
  std::vector<Part> parts_;
  size_t next_ = 0;
  File file_;
};

class SinkImpl final : public SnapshotSink {
 public:
  SinkImpl(std::string dir, v1::SnapshotManifest manifest)
      : dir_(std::move(dir)), manifest_(std::move(manifest)) {}

  // Looks at what an earlier transfer left behind; what is not part of this one goes.
  Status Start();
  uint64_t missing_bytes() const { return manifest_.total_bytes() - received_; }

  v1::SnapshotResume Resume() const override;
  Status Write(const v1::SnapshotChunk& chunk) override;
  Result<std::string> Finish() override;

 private:
  const v1::SnapshotManifest::File& file(int i) const { return manifest_.files(i); }
  std::string PathOf(int i) const { return dir_ + "/" + file(i).name(); }
  Status RemoveStrangers();
  Status Inspect(int i);
  Status StartFile();
  Status CompleteFile();
  // The next file that is not whole; files_size() at the end.
  void SkipWhole();

  const std::string dir_;
  const v1::SnapshotManifest manifest_;
  std::vector<bool> whole_;  // complete, verified and synced
  uint64_t received_ = 0;
  int next_ = 0;  // the file that is being received
  uint64_t offset_ = 0;
  uint32_t crc_ = 0;
  File open_;
};

Status SinkImpl::Start() {
  RETURN_IF_ERROR(MakeDirs(dir_));
  RETURN_IF_ERROR(RemoveStrangers());
  whole_.resize(static_cast<size_t>(manifest_.files_size()));
  for (int i = 0; i < manifest_.files_size(); ++i) RETURN_IF_ERROR(Inspect(i));
  SkipWhole();
  return Status::Ok();
}

Status SinkImpl::RemoveStrangers() {
  std::set<std::string> expected;
  for (const v1::SnapshotManifest::File& wanted : manifest_.files()) expected.insert(wanted.name());
  ASSIGN_OR_RETURN_STATUS(const std::vector<std::string> names, ListDir(dir_));
  for (const std::string& name : names) {
    if (!expected.contains(name)) RETURN_IF_ERROR(RemoveTree(dir_ + "/" + name));
  }
  return Status::Ok();
}

// Chunks come in the order of the files, so one file at most is partial: the first that is not
// whole. What lies behind it is from a transfer that we know nothing about.
Status SinkImpl::Inspect(int i) {
  const std::string path = PathOf(i);
  const bool first_missing =
      std::ranges::find(whole_.begin(), whole_.begin() + i, false) == whole_.begin() + i;
  if (!Exists(path)) {
    if (file(i).bytes() > 0) return Status::Ok();
    // No chunk will come for an empty file.
    ASSIGN_OR_RETURN_STATUS(File empty, File::Open(path, O_WRONLY | O_CREAT | O_EXCL));
    RETURN_IF_ERROR(empty.Sync());
  }
  ASSIGN_OR_RETURN_STATUS(const uint64_t size, SizeOf(path));
  if (size <= file(i).bytes()) {
    ASSIGN_OR_RETURN_STATUS(const uint32_t crc, ChecksumOf(path, size));
    if (size == file(i).bytes() && crc == file(i).crc32c()) {
      whole_[static_cast<size_t>(i)] = true;
      received_ += size;
      return Status::Ok();
    }
    if (size < file(i).bytes() && first_missing) {
      offset_ = size;
      crc_ = crc;
      received_ += size;
      return Status::Ok();
    }
  }
  return RemoveTree(path);
}

void SinkImpl::SkipWhole() {
  while (next_ < manifest_.files_size() && whole_[static_cast<size_t>(next_)]) ++next_;
}

v1::SnapshotResume SinkImpl::Resume() const {
  v1::SnapshotResume resume;
  resume.set_accept(true);
  for (int i = 0; i < manifest_.files_size(); ++i) {
    if (whole_[static_cast<size_t>(i)]) resume.add_have(file(i).name());
  }
  if (offset_ > 0) {
    resume.set_partial_file(file(next_).name());
    resume.set_partial_bytes(offset_);
  }
  return resume;
}

Status SinkImpl::Write(const v1::SnapshotChunk& chunk) {
  if (next_ == manifest_.files_size()) {
    return Status(Code::kInvalidArgument, "snapshot chunk: everything is here already");
  }
  const v1::SnapshotManifest::File& expected = file(next_);
  if (chunk.file() != expected.name() || chunk.offset() != offset_) {
    return Status(Code::kInvalidArgument, "snapshot chunk: out of order; expected " +
                                              expected.name() + " at " + std::to_string(offset_));
  }
  if (chunk.data().empty() || chunk.data().size() > kSnapshotChunkBytes ||
      chunk.data().size() > expected.bytes() - offset_) {
    return Status(Code::kInvalidArgument,
                  "snapshot chunk: not 1 byte to 1 MiB, or beyond the end of " + expected.name());
  }
  if (!open_.is_open()) RETURN_IF_ERROR(StartFile());
  RETURN_IF_ERROR(open_.WriteAll(chunk.data()));
  crc_ = Crc32c(chunk.data(), crc_);
  offset_ += chunk.data().size();
  received_ += chunk.data().size();
  return offset_ == expected.bytes() ? CompleteFile() : Status::Ok();
}

Status SinkImpl::StartFile() {
  ASSIGN_OR_RETURN_STATUS(open_, File::Open(PathOf(next_), O_WRONLY | O_CREAT | O_APPEND));
  return Status::Ok();
}

Status SinkImpl::CompleteFile() {
  const uint64_t bytes = std::exchange(offset_, 0);
  if (std::exchange(crc_, 0) != file(next_).crc32c() && !MUTATION(ignore_snapshot_checksum)) {
    open_.Close();
    received_ -= bytes;
    RETURN_IF_ERROR(RemoveTree(PathOf(next_)));  // the next transfer sends it again
    return Status(Code::kCorruption,
                  "snapshot file " + file(next_).name() + " does not match its checksum");
  }
  RETURN_IF_ERROR(open_.Sync());
  open_.Close();
  whole_[static_cast<size_t>(next_)] = true;
  SkipWhole();
  return Status::Ok();
}

Result<std::string> SinkImpl::Finish() {
  if (next_ != manifest_.files_size()) {
    return Error(Code::kInvalidArgument, "snapshot: " + file(next_).name() + " is not complete");
  }
  RETURN_UNEXPECTED_IF_ERROR(SyncDir(dir_));
  return dir_;
}

std::string ReceivedName(uint64_t snapshot_id) {
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(snapshot_id));
  return std::string(kReceivedPrefix) + hex;
}

Status RemoveOtherTransfers(const std::string& dir, const std::string& keep) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<std::string> names, ListDir(dir));
  for (const std::string& name : names) {
    if (name.starts_with(kReceivedPrefix) && name != keep) {
      RETURN_IF_ERROR(RemoveTree(dir + "/" + name));
    }
  }
  return Status::Ok();
}

Result<uint64_t> FreeBytes(const std::string& dir) {
  struct statvfs info;
  if (::statvfs(dir.c_str(), &info) != 0) return Error(ErrnoStatus("stat", dir, errno));
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace

Result<v1::SnapshotManifest> DescribeCheckpoint(const std::string& dir, uint64_t cluster_id,
                                                uint64_t snapshot_id) {
  v1::SnapshotManifest manifest;
  manifest.set_cluster_id(cluster_id);
  manifest.set_snapshot_id(snapshot_id);
  manifest.set_format(kDataFormat);
  uint64_t total = 0;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDir(dir));
  if (names.empty()) return Error(Code::kNotFound, "there is no checkpoint in " + dir);
  for (const std::string& name : names) {
    const std::string path = dir + "/" + name;
    ASSIGN_OR_RETURN(const uint64_t bytes, SizeOf(path));
    ASSIGN_OR_RETURN(const uint32_t crc, ChecksumOf(path, bytes));
    v1::SnapshotManifest::File* file = manifest.add_files();
    file->set_name(name);
    file->set_bytes(bytes);
    file->set_crc32c(crc);
    total += bytes;
  }
  manifest.set_total_bytes(total);
  return manifest;
}

Result<std::unique_ptr<SnapshotSource>> SnapshotSource::Open(const std::string& dir,
                                                             const v1::SnapshotManifest& manifest,
                                                             const v1::SnapshotResume& resume) {
  RETURN_UNEXPECTED_IF_ERROR(CheckManifest(manifest));
  return std::make_unique<SourceImpl>(dir, manifest, resume);
}

Result<std::unique_ptr<SnapshotSink>> SnapshotSink::Open(const std::string& dir,
                                                         const v1::SnapshotManifest& manifest,
                                                         uint64_t max_bytes) {
  RETURN_UNEXPECTED_IF_ERROR(CheckManifest(manifest));
  if (manifest.total_bytes() > max_bytes) {
    return Error(Code::kOutOfSpace, "the snapshot has " + std::to_string(manifest.total_bytes()) +
                                        " bytes, the limit is " + std::to_string(max_bytes));
  }
  const std::string name = ReceivedName(manifest.snapshot_id());
  RETURN_UNEXPECTED_IF_ERROR(RemoveOtherTransfers(dir, name));
  auto sink = std::make_unique<SinkImpl>(dir + "/" + name, manifest);
  RETURN_UNEXPECTED_IF_ERROR(sink->Start());
  ASSIGN_OR_RETURN(const uint64_t free, FreeBytes(dir));
  if (sink->missing_bytes() > free) {
    return Error(Code::kOutOfSpace, "the snapshot needs " + std::to_string(sink->missing_bytes()) +
                                        " more bytes in " + dir + ", " + std::to_string(free) +
                                        " are free");
  }
  return sink;
}

}  // namespace raftkv::storage
