// A file system for RocksDB that fails on demand, for tests.
#pragma once

#include <pthread.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace raftkv::storage {

// What calls return instead of what they should, while it is not ok.
class Fault {
 public:
  Fault& operator=(rocksdb::IOStatus status) {
    const std::lock_guard lock(mutex_);
    status_ = std::move(status);
    return *this;
  }
  rocksdb::IOStatus status() const {
    const std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  mutable std::mutex mutex_;
  rocksdb::IOStatus status_;
};

// Fails writes or syncs of files with one extension on demand.
class FaultyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultyFileSystem(std::string extension)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), extension_(std::move(extension)) {}
  const char* Name() const override { return "FaultyFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    return Wrap(name, target()->NewWritableFile(name, options, file, debug), file);
  }
  rocksdb::IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    return Wrap(name, target()->ReuseWritableFile(name, old_name, options, file, debug), file);
  }

  Fault on_append;
  Fault on_sync;
  // Whose writes wait meanwhile.
  enum class Hold { kNobody, kCompactions, kAll };
  std::atomic<Hold> hold = Hold::kNobody;
  std::atomic<int> syncs = 0;

 private:
  class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    FaultyFile(std::unique_ptr<rocksdb::FSWritableFile> file, FaultyFileSystem* faults)
        : FSWritableFileOwnerWrapper(std::move(file)), faults_(faults) {}
    using FSWritableFileOwnerWrapper::Append;
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      while (faults_->hold == Hold::kAll ||
             (faults_->hold == Hold::kCompactions && IsCompacting())) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      if (rocksdb::IOStatus fault = faults_->on_append.status(); !fault.ok()) return fault;
      return FSWritableFileOwnerWrapper::Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
      ++faults_->syncs;
      if (rocksdb::IOStatus fault = faults_->on_sync.status(); !fault.ok()) return fault;
      return FSWritableFileOwnerWrapper::Sync(options, debug);
    }

   private:
    // By the name of RocksDB's pool of low priority.
    static bool IsCompacting() {
      char name[16] = {};
      pthread_getname_np(pthread_self(), name, sizeof(name));
      return std::string_view(name).starts_with("rocksdb:low");
    }

    FaultyFileSystem* const faults_;
  };

  rocksdb::IOStatus Wrap(const std::string& name, rocksdb::IOStatus status,
                         std::unique_ptr<rocksdb::FSWritableFile>* file) {
    if (status.ok() && name.ends_with(extension_)) {
      *file = std::make_unique<FaultyFile>(std::move(*file), this);
    }
    return status;
  }

  const std::string extension_;
};

}  // namespace raftkv::storage
