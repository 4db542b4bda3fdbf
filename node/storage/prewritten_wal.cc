#include "node/storage/prewritten_wal.h"

#include <algorithm>
#include <string>

namespace raftkv::storage {
namespace {

constexpr uint64_t kChunkBytes = 256 << 10;

class PrewritingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  PrewritingFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, uint64_t bytes)
      : FileSystemWrapper(base), bytes_(bytes) {}
  const char* Name() const override { return "raftkv.PrewritingFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    if (name.ends_with(".log") && WriteZeros(name, options, debug).ok()) {
      // Opens what is there without cutting it, as for a recycled log.
      return target()->ReuseWritableFile(name, name, options, file, debug);
    }
    return target()->NewWritableFile(name, options, file, debug);
  }

 private:
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
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> PrewriteWals(const std::shared_ptr<rocksdb::FileSystem>& base,
                                                  uint64_t bytes) {
  return std::make_shared<PrewritingFileSystem>(base, bytes);
}

}  // namespace raftkv::storage
