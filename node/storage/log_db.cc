#include "node/storage/log_db.h"

#include <rocksdb/compaction_filter.h>
#include <rocksdb/convenience.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "node/storage/bytes.h"
#include "node/storage/fs_util.h"
#include "node/storage/log_record.h"
#include "node/storage/prewritten_wal.h"
#include "node/storage/rocks_util.h"
#include "node/storage/wal_check.h"

namespace raftkv::storage {
namespace {

constexpr size_t kRecycledWals = 2;

// Leaves garbage out of every file that is written. Most entries are truncated before their
// memtable is flushed when the log is kept short, and then never reach a table file at all.
// Skipping (unlike removing) writes no tombstones, so files stay ranges of indexes.
class DropCompacted final : public rocksdb::CompactionFilter {
 public:
  explicit DropCompacted(uint64_t compacted) : compacted_(compacted) {}
  const char* Name() const override { return "raftkv.DropCompacted"; }
  Decision FilterV2(int, const rocksdb::Slice& key, ValueType, const rocksdb::Slice&, std::string*,
                    std::string* skip_until) const override {
    const RecordKey end = KeyOf(raft::Index(compacted_), RecordKind::kEntry);
    if (key.compare({end.data(), end.size()}) >= 0) return Decision::kKeep;
    *skip_until = View(end);
    return Decision::kRemoveAndSkipUntil;
  }

 private:
  const uint64_t compacted_;
};

class DropCompactedFactory final : public rocksdb::CompactionFilterFactory {
 public:
  explicit DropCompactedFactory(std::shared_ptr<std::atomic<uint64_t>> compacted)
      : compacted_(std::move(compacted)) {}
  const char* Name() const override { return "raftkv.DropCompactedFactory"; }
  bool ShouldFilterTableFileCreation(rocksdb::TableFileCreationReason) const override {
    return true;
  }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context&) override {
    return std::make_unique<DropCompacted>(compacted_->load());
  }

 private:
  const std::shared_ptr<std::atomic<uint64_t>> compacted_;
};

// One column family, although two kinds of records live here: with several, RocksDB 7.8.3 crashes
// when it closes a log that is to be recycled while it flushes (DBImpl::SyncClosedLogs closes the
// file that DBImpl::MarkLogsSynced then uses).
rocksdb::DBOptions LogDbOptions(rocksdb::Env* env) {
  rocksdb::DBOptions options = CommonDbOptions(env);
  // A synced write into a file that already has its size and blocks needs no metadata write.
  // RocksDB 7.8 recycles in this recovery mode only; CheckWals has ruled out before that there is
  // anything to skip except a torn tail.
  options.recycle_log_file_num = kRecycledWals;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  // There is one writer.
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  return options;
}

rocksdb::ColumnFamilyOptions LogColumnOptions(const LogOptions& log_options) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = log_options.write_buffer_bytes;
  options.max_write_buffer_number = 3;
  options.compression = rocksdb::kNoCompression;
  options.bottommost_compression = rocksdb::kNoCompression;
  // Files of entries do not overlap: moving them down costs nothing and makes them droppable.
  options.level0_file_num_compaction_trigger = 2;
  options.num_levels = 2;
  options.target_file_size_base = log_options.write_buffer_bytes;
  options.max_bytes_for_level_base = uint64_t{1} << 40;
  rocksdb::BlockBasedTableOptions table;
  // Recent entries come from LogTail; the rest is read once, in order, for a peer that lags.
  table.no_block_cache = true;
  table.block_size = 32 << 10;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// RocksDB makes the next write-ahead log before it removes the last one.
Status CheckWasMade(const std::string& path) {
  ASSIGN_OR_RETURN_STATUS(const std::vector<std::string> names, ListDir(path));
  const auto is_wal = [](const std::string& name) { return name.ends_with(".log"); };
  if (std::ranges::find(names, "CURRENT") != names.end() && std::ranges::any_of(names, is_wal)) {
    return Status::Ok();
  }
  return Status(Code::kCorruption, "the raft log in " + path +
                                       " is gone, or its write-ahead log is: what this member "
                                       "acknowledged and whom it voted for is lost; " +
                                       kRebuildRemedy);
}

}  // namespace

Result<std::string> LogDb::Prepare(const std::string& path, bool create,
                                   const std::shared_ptr<rocksdb::FileSystem>& fs) {
  if (!create) RETURN_UNEXPECTED_IF_ERROR(CheckWasMade(path));
  RETURN_UNEXPECTED_IF_ERROR(MakeDirs(path));
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(fs);
  rocksdb::FileLock* lock = nullptr;
  const rocksdb::Status locked = env->LockFile(path + "/LOCK", &lock);
  if (!locked.ok()) return Error(FromRocksOpen(locked, path));
  const Status has_current = CheckHasCurrent(path);
  Result<std::string> notice =
      has_current.ok() ? CutTornTails(path) : Result<std::string>(Error(has_current));
  (void)env->UnlockFile(lock);
  return notice;
}

Result<std::unique_ptr<LogDb>> LogDb::Open(const std::string& path, const LogOptions& options,
                                           const std::shared_ptr<rocksdb::FileSystem>& fs) {
  std::unique_ptr<LogDb> log(new LogDb);
  log->env_ =
      rocksdb::NewCompositeEnv(PrewriteWals(fs, options.write_buffer_bytes, log->wal_failed_));
  rocksdb::ColumnFamilyOptions column = LogColumnOptions(options);
  column.compaction_filter_factory = std::make_shared<DropCompactedFactory>(log->compacted_);
  rocksdb::Options all(LogDbOptions(log->env_.get()), column);
  all.listeners = {log->recovery_};
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(all, path, &db);
  if (!opened.ok()) return Error(FromRocksOpen(opened, path));
  log->db_.reset(db);
  CHECK(db->GetDBOptions().recycle_log_file_num == kRecycledWals,
        "RocksDB must not switch the recycling of logs off silently");
  return log;
}

void LogDb::SetCompacted(raft::Index index) { compacted_->store(index.value); }

rocksdb::Status LogDb::DeleteGarbageFiles() {
  const RecordKey key = KeyOf(raft::Index(compacted_->load()), RecordKind::kEntry);
  const rocksdb::Slice end(key.data(), key.size());
  return rocksdb::DeleteFilesInRange(db_.get(), db_->DefaultColumnFamily(), nullptr, &end,
                                     /*include_end=*/false);
}

}  // namespace raftkv::storage
