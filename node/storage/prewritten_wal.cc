#include "node/storage/prewritten_wal.h"

#include <algorithm>
#include <string>
#include <utility>

namespace raftkv::storage {
namespace {

constexpr uint64_t kChunkBytes = 256 << 10;

// Remembers whether anything that was to go into the file failed.
class WatchedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WatchedFile(std::unique_ptr<rocksdb::FSWritableFile> file,
              std::shared_ptr<std::atomic<bool>> failed)
      : FSWritableFileOwnerWrapper(std::move(file)), failed_(std::move(failed)) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& verification,
                           rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Append(data, options, verification, debug));
  }
  rocksdb::IOStatus Flush(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }
  rocksdb::IOStatus RangeSync(uint64_t offset, uint64_t bytes, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }

 private:
  rocksdb::IOStatus Note(rocksdb::IOStatus status) {
    if (!status.ok()) failed_->store(true);
    return status;
  }

  const std::shared_ptr<std::atomic<bool>> failed_;
};

class PrewritingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  PrewritingFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, uint64_t bytes,
                       std::shared_ptr<std::atomic<bool>> failed)
      : FileSystemWrapper(base), bytes_(bytes), failed_(std::move(failed)) {}
  const char* Name() const override { return "raftkv.PrewritingFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    if (name.ends_with(".log") && WriteZeros(name, options, debug).ok()) {
      // Opens what is there without cutting it, as for a recycled log.
      return Watch(name, target()->ReuseWritableFile(name, name, options, file, debug), file);
    }
    return Watch(name, target()->NewWritableFile(name, options, file, debug), file);
  }
  rocksdb::IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    return Watch(name, target()->ReuseWritableFile(name, old_name, options, file, debug), file);
  }

 private:
  rocksdb::IOStatus Watch(const std::string& name, rocksdb::IOStatus status,
                          std::unique_ptr<rocksdb::FSWritableFile>* file) const {
    if (status.ok() && name.ends_with(".log")) {
      *file = std::make_unique<WatchedFile>(std::move(*file), failed_);
    }
    return status;
  }

  rocksdb::IOStatus WriteZeros(const std::string& name, const rocksdb::FileOptions& options,
                               rocksdb::IODebugContext* debug) const {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = target()->NewWritableFile(name, options, &file, debug);
    const std::string zeros(std::min(bytes_, kChunkBytes), '\0');
    for (uint64_t done = 0; status.ok() && done < bytes_; done += zeros.size()) {
      const uint64_t size = std::min<uint64_t>(zeros.size(), bytes_ - done);
      status = file->Append(rocksdb::Slice(zeros.data(), size), rocksdb::IOOptions(), debug);
    }
    if (status.ok()) status = file->Fsync(rocksdb::IOOptions(), debug);
    if (file != nullptr) {
      const rocksdb::IOStatus closed = file->Close(rocksdb::IOOptions(), debug);
      if (status.ok()) status = closed;
    }
    return status;
  }

  const uint64_t bytes_;
  const std::shared_ptr<std::atomic<bool>> failed_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> PrewriteWals(const std::shared_ptr<rocksdb::FileSystem>& base,
                                                  uint64_t bytes,
                                                  std::shared_ptr<std::atomic<bool>> failed) {
  return std::make_shared<PrewritingFileSystem>(base, bytes, std::move(failed));
}

}  // namespace raftkv::storage
