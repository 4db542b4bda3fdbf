#include "node/storage/rocks_state.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "node/storage/fs_util.h"
#include "node/storage/rocks_util.h"
#include "node/storage/space_recovery.h"
#include "node/storage/state_dirs.h"
#include "node/storage/tombstones.h"

namespace raftkv::storage {
namespace {

constexpr size_t kTablePrefixBytes = 1;
constexpr double kBloomBitsPerKey = 10;
constexpr double kMemtableBloomShare = 0.02;
constexpr std::chrono::milliseconds kFlushPoll{1};
constexpr std::chrono::milliseconds kFlushPatience{10'000};

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

rocksdb::CompressionType BestCompression() {
  const std::vector<rocksdb::CompressionType> supported = rocksdb::GetSupportedCompressions();
  const bool lz4 = std::ranges::find(supported, rocksdb::kLZ4Compression) != supported.end();
  return lz4 ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
}

rocksdb::Options StateDbOptions(const StateOptions& state, rocksdb::Env* env) {
  rocksdb::Options options(CommonDbOptions(env), rocksdb::ColumnFamilyOptions());
  // Closing flushes: a node that was stopped in peace replays nothing.
  options.avoid_flush_during_shutdown = false;
  // There is one writer.
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  options.write_buffer_size = state.memtable_bytes;
  options.max_write_buffer_number = 2;
  options.memtable_whole_key_filtering = true;
  options.memtable_prefix_bloom_size_ratio = kMemtableBloomShare;
  // The first byte tells tables apart (state-machine.md). Some grow at their end only: an insertion
  // goes on from the last one of its table. Nothing but the memtable's insertions knows of it.
  options.memtable_insert_with_hint_prefix_extractor.reset(
      rocksdb::NewFixedPrefixTransform(kTablePrefixBytes));
  options.compression = BestCompression();
  options.level_compaction_dynamic_level_bytes = true;
  options.target_file_size_base = 16 << 20;
  options.max_bytes_for_level_base = 64 << 20;
  options.table_properties_collector_factories = {CompactTombstones()};

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(state.block_cache_bytes, /*num_shard_bits=*/2);
  // Whatever is read counts against the one limit.
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey));
  table.optimize_filters_for_memory = true;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// One opened database and its directory. Whoever reads holds a share of it; a database that was
// replaced removes its files when the last reader is gone.
class Generation {
 public:
  static Result<std::shared_ptr<Generation>> Open(const std::string& dir,
                                                  const StateOptions& options,
                                                  std::shared_ptr<rocksdb::Env> env) {
    RETURN_UNEXPECTED_IF_ERROR(MakeDirs(dir));
    RETURN_UNEXPECTED_IF_ERROR(CheckHasCurrent(dir));
    const auto recovery = std::make_shared<SpaceRecovery>();
    rocksdb::Options db_options = StateDbOptions(options, env.get());
    db_options.listeners = {recovery};
    rocksdb::DB* db = nullptr;
    const rocksdb::Status opened = rocksdb::DB::Open(db_options, dir, &db);
    if (!opened.ok()) return Error(FromRocksOpen(opened, dir));
    std::unique_ptr<rocksdb::DB> owned(db);
    if (options.verify) {
      RETURN_UNEXPECTED_IF_ERROR(
          FromRocks(db->VerifyChecksum(), "cannot read the state in " + dir));
    }
    (void)owned.release();
    return std::shared_ptr<Generation>(new Generation(dir, std::move(env), recovery, db));
  }
  ~Generation() {
    db_.reset();
    if (replaced_) (void)RemoveTree(dir_);  // tried again by the next opening
  }

  rocksdb::DB* db() const { return db_.get(); }
  const std::string& dir() const { return dir_; }
  SpaceRecovery& recovery() const { return *recovery_; }
  // What a call that writes has returned.
  Status Done(const rocksdb::Status& returned, const std::string& what) const {
    Status status = FromRocks(returned, "cannot " + what + " the state in " + dir_);
    if (status.code() == Code::kOutOfSpace) recovery_->Refused();
    return status;
  }

  void Replaced() {
    replaced_ = true;
    (void)db_->SetDBOptions({{"avoid_flush_during_shutdown", "true"}});
  }

 private:
  Generation(std::string dir, std::shared_ptr<rocksdb::Env> env,
             std::shared_ptr<SpaceRecovery> recovery, rocksdb::DB* db)
      : dir_(std::move(dir)), env_(std::move(env)), recovery_(std::move(recovery)), db_(db) {}

  const std::string dir_;
  const std::shared_ptr<rocksdb::Env> env_;  // outlives the database
  const std::shared_ptr<SpaceRecovery> recovery_;
  std::unique_ptr<rocksdb::DB> db_;
  bool replaced_ = false;
};

class RocksBatch final : public StateBatch {
 public:
  void Put(std::string_view key, std::string_view value) override {
    (void)batch_.Put(ToSlice(key), ToSlice(value));
  }
  void Delete(std::string_view key) override { (void)batch_.Delete(ToSlice(key)); }
  void Clear() override { batch_.Clear(); }
  size_t bytes() const override { return batch_.GetDataSize(); }
  rocksdb::WriteBatch* get() { return &batch_; }

 private:
  rocksdb::WriteBatch batch_;
};

class RocksView final : public StateView, public std::enable_shared_from_this<RocksView> {
 public:
  explicit RocksView(std::shared_ptr<Generation> generation)
      : generation_(std::move(generation)), snapshot_(generation_->db()->GetSnapshot()) {}
  ~RocksView() override { generation_->db()->ReleaseSnapshot(snapshot_); }

  Result<std::optional<std::string>> Get(std::string_view key) const override;
  std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                             std::string_view upper) const override;

  rocksdb::DB* db() const { return generation_->db(); }
  const std::string& dir() const { return generation_->dir(); }

 private:
  const std::shared_ptr<Generation> generation_;
  const rocksdb::Snapshot* const snapshot_;
};

class RocksIterator final : public StateIterator {
 public:
  // Keeps the view, and with it the database, alive.
  RocksIterator(std::shared_ptr<const RocksView> view, const rocksdb::Snapshot* snapshot,
                std::string_view lower, std::string_view upper)
      : view_(std::move(view)),
        lower_(lower),
        upper_(upper),
        lower_bound_(lower_),
        upper_bound_(upper_) {
    rocksdb::ReadOptions read;
    read.snapshot = snapshot;
    read.iterate_lower_bound = &lower_bound_;
    if (!upper_.empty()) read.iterate_upper_bound = &upper_bound_;
    iterator_.reset(view_->db()->NewIterator(read));
  }

  void SeekToFirst() override { iterator_->SeekToFirst(); }
  void SeekToLast() override { iterator_->SeekToLast(); }
  void Seek(std::string_view key) override { iterator_->Seek(ToSlice(key)); }
  void SeekForPrev(std::string_view key) override { iterator_->SeekForPrev(ToSlice(key)); }
  bool Valid() const override { return iterator_->Valid(); }
  void Next() override { iterator_->Next(); }
  void Prev() override { iterator_->Prev(); }
  std::string_view key() const override { return ToView(iterator_->key()); }
  std::string_view value() const override { return ToView(iterator_->value()); }
  Status status() const override {
    return FromRocks(iterator_->status(), "cannot read the state in " + view_->dir());
  }

 private:
  const std::shared_ptr<const RocksView> view_;
  const std::string lower_;
  const std::string upper_;
  const rocksdb::Slice lower_bound_;
  const rocksdb::Slice upper_bound_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

Result<std::optional<std::string>> GetFrom(rocksdb::DB* db, const rocksdb::ReadOptions& read,
                                           std::string_view key, const std::string& dir) {
  rocksdb::PinnableSlice value;  // one copy, from the block or memtable into the result
  const rocksdb::Status status = db->Get(read, db->DefaultColumnFamily(), ToSlice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (status.IsIncomplete()) return Error(Code::kUnavailable, "the key's block is on the disk");
  if (!status.ok()) return Error(FromRocks(status, "cannot read the state in " + dir));
  return value.ToString();
}

Result<std::optional<std::string>> RocksView::Get(std::string_view key) const {
  rocksdb::ReadOptions read;
  read.snapshot = snapshot_;
  return GetFrom(db(), read, key, dir());
}

std::unique_ptr<StateIterator> RocksView::NewIterator(std::string_view lower,
                                                      std::string_view upper) const {
  return std::make_unique<RocksIterator>(shared_from_this(), snapshot_, lower, upper);
}

class RocksState final : public StateStore {
 public:
  RocksState(StateDirs dirs, const StateOptions& options, std::shared_ptr<rocksdb::Env> env,
             std::shared_ptr<Generation> generation)
      : dirs_(std::move(dirs)),
        options_(options),
        env_(std::move(env)),
        current_(std::move(generation)) {}

  Result<std::optional<std::string>> Get(std::string_view key) const override {
    const std::shared_ptr<Generation> current = Current();
    return GetFrom(current->db(), rocksdb::ReadOptions(), key, current->dir());
  }
  Result<std::optional<std::string>> GetFromMemory(std::string_view key) const override;
  std::shared_ptr<const StateView> View() const override {
    return std::make_shared<const RocksView>(Current());
  }
  std::unique_ptr<StateBatch> NewBatch() const override { return std::make_unique<RocksBatch>(); }

  Status Write(StateBatch& batch) override;
  Result<std::optional<std::string>> FlushedGet(std::string_view key) const override;
  Status GiveBackSpace() override;
  Status Resume() override;
  Status Flush() override;
  Status Checkpoint(const std::string& dir) override;
  Status Replace(const std::string& dir, raft::EntryId snapshot) override;
  std::optional<raft::EntryId> installing() const override { return dirs_.installing(); }
  Status FinishInstallation(raft::EntryId snapshot) override {
    return dirs_.FinishInstallation(snapshot);
  }
  StateStats stats() const override;

 private:
  std::shared_ptr<Generation> Current() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }

  StateDirs dirs_;
  const StateOptions options_;
  const std::shared_ptr<rocksdb::Env> env_;
  mutable std::mutex mutex_;  // for copying the pointer, nothing more
  std::shared_ptr<Generation> current_;
};

Status RocksState::Write(StateBatch& batch) {
  const std::shared_ptr<Generation> current = Current();
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  return current->Done(current->db()->Write(options, static_cast<RocksBatch&>(batch).get()),
                       "write");
}

Result<std::optional<std::string>> RocksState::GetFromMemory(std::string_view key) const {
  const std::shared_ptr<Generation> current = Current();
  rocksdb::ReadOptions read;
  read.read_tier = rocksdb::kBlockCacheTier;
  return GetFrom(current->db(), read, key, current->dir());
}

Result<std::optional<std::string>> RocksState::FlushedGet(std::string_view key) const {
  const std::shared_ptr<Generation> current = Current();
  rocksdb::ReadOptions read;
  read.read_tier = rocksdb::kPersistedTier;
  return GetFrom(current->db(), read, key, current->dir());
}

Status RocksState::GiveBackSpace() {
  const std::shared_ptr<Generation> current = Current();
  if (!IsMostlyTombstones(current->db())) return Status::Ok();
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;  // the caller is the writer
  const rocksdb::Status status = current->db()->Flush(options);
  // Writes are stopped until compactions have caught up: they give back space meanwhile.
  if (status.IsTryAgain()) return Status::Ok();
  return current->Done(status, "flush");
}

Status RocksState::Resume() {
  const std::shared_ptr<Generation> current = Current();
  return current->recovery().Resume(current->db());
}

Status RocksState::Flush() {
  const std::shared_ptr<Generation> current = Current();
  rocksdb::FlushOptions options;
  options.allow_write_stall = true;  // the caller is the writer
  RETURN_IF_ERROR(current->Done(current->db()->Flush(options), "flush"));
  // Once RocksDB 7.8 has met a full disk, its Flush no longer waits for the flush that it starts.
  for (auto waited = kFlushPoll; waited < kFlushPatience; waited += kFlushPoll) {
    uint64_t unflushed = 0;
    (void)current->db()->GetIntProperty(rocksdb::DB::Properties::kNumImmutableMemTable, &unflushed);
    if (unflushed == 0) return Status::Ok();
    std::this_thread::sleep_for(kFlushPoll);
  }
  return Status(Code::kOutOfSpace,
                "cannot flush the state in " + current->dir() + ": the disk was full");
}

Status RocksState::Checkpoint(const std::string& dir) {
  RETURN_IF_ERROR(Flush());
  const std::shared_ptr<Generation> current = Current();
  rocksdb::Checkpoint* raw = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(current->db(), &raw);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
  if (status.ok()) status = checkpoint->CreateCheckpoint(dir);
  return FromRocks(status, "cannot make a checkpoint in " + dir);
}

Status RocksState::Replace(const std::string& dir, raft::EntryId snapshot) {
  ASSIGN_OR_RETURN_STATUS(const std::string next, dirs_.Adopt(dir));
  // Opened before anything depends on it: a copy that does not open changes nothing.
  Result<std::shared_ptr<Generation>> opened = Generation::Open(next, options_, env_);
  if (!opened) {
    (void)RemoveTree(next);
    return opened.error();
  }
  RETURN_IF_ERROR(dirs_.Commit(next, snapshot));
  std::shared_ptr<Generation> previous = std::move(*opened);
  {
    const std::lock_guard lock(mutex_);
    std::swap(previous, current_);
  }
  previous->Replaced();
  return Status::Ok();
}

StateStats RocksState::stats() const {
  const std::shared_ptr<Generation> current = Current();
  const auto property = [&current](const std::string& name) {
    uint64_t value = 0;
    (void)current->db()->GetIntProperty(name, &value);
    return value;
  };
  return {DirBytes(current->dir()), property(rocksdb::DB::Properties::kEstimateLiveDataSize),
          property(rocksdb::DB::Properties::kCurSizeAllMemTables),
          property(rocksdb::DB::Properties::kEstimatePendingCompactionBytes),
          property(rocksdb::DB::Properties::kIsWriteStopped) != 0 ||
              property(rocksdb::DB::Properties::kActualDelayedWriteRate) != 0};
}

}  // namespace

Result<std::unique_ptr<StateStore>> OpenRocksStateOn(
    const std::string& path, const StateOptions& options,
    const std::shared_ptr<rocksdb::FileSystem>& file_system) {
  ASSIGN_OR_RETURN(StateDirs dirs, StateDirs::Open(path));
  std::shared_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(file_system);
  ASSIGN_OR_RETURN(std::shared_ptr<Generation> generation,
                   Generation::Open(dirs.current(), options, env));
  return std::make_unique<RocksState>(std::move(dirs), options, std::move(env),
                                      std::move(generation));
}

Result<std::unique_ptr<StateStore>> OpenRocksState(const std::string& path,
                                                   const StateOptions& options) {
  return OpenRocksStateOn(path, options, rocksdb::FileSystem::Default());
}

}  // namespace raftkv::storage
