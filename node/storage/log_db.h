// LogDb: the log's RocksDB database as RocksLog uses it - its options, and the rule by which
// entries before the compaction point leave the disk.
//
// Thread-safety: as rocksdb::DB; SetCompacted may be called at any time.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/status.h"
#include "node/raft/types.h"
#include "node/storage/log_storage.h"
#include "node/storage/space_recovery.h"

namespace raftkv::storage {

class LogDb {
 public:
  // Makes sure that what RocksDB will read is whole, and cuts torn tails. Must come before Open:
  // RocksDB drops damaged records and then they are forgotten. Returns as CutTornTails. With
  // `create` false, a database that is missing is kCorruption.
  static Result<std::string> Prepare(const std::string& path, bool create,
                                     const std::shared_ptr<rocksdb::FileSystem>& fs);
  static Result<std::unique_ptr<LogDb>> Open(const std::string& path, const LogOptions& options,
                                             const std::shared_ptr<rocksdb::FileSystem>& fs);

  rocksdb::DB* db() const { return db_.get(); }

  // Records before `index` are garbage from now on. Call only when that is durable.
  void SetCompacted(raft::Index index);
  // Removes files that hold nothing but garbage.
  rocksdb::Status DeleteGarbageFiles();
  // Whether a write or a sync of a write-ahead log failed: nothing may be written any more.
  bool wal_failed() const { return wal_failed_->load(); }
  // How it goes on after a full disk, unless a write-ahead log has failed.
  SpaceRecovery* recovery() { return recovery_.get(); }

 private:
  LogDb()
      : compacted_(std::make_shared<std::atomic<uint64_t>>(0)),
        wal_failed_(std::make_shared<std::atomic<bool>>(false)) {}

  std::shared_ptr<std::atomic<uint64_t>> compacted_;  // shared with the compaction filters
  std::shared_ptr<std::atomic<bool>> wal_failed_;     // shared with the files
  const std::shared_ptr<SpaceRecovery> recovery_ = std::make_shared<SpaceRecovery>();
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace raftkv::storage
