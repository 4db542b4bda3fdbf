#include "node/storage/rocks_log.h"

#include <rocksdb/snapshot.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/mutations.h"
#include "node/storage/fs_util.h"
#include "node/storage/log_db.h"
#include "node/storage/log_record.h"
#include "node/storage/log_tail.h"
#include "node/storage/rocks_util.h"

namespace raftkv::storage {
namespace {

using raft::EntryId;
using raft::HardState;
using raft::Index;
using raft::LogError;
using raft::LogResult;
using raft::Term;

// A batch that has grown beyond this by one large append is not kept for the next.
constexpr size_t kKeptBatchBytes = 1 << 20;
constexpr size_t kScanReadaheadBytes = 1 << 20;

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

bool IsState(const rocksdb::Slice& key) {
  return key.size() == kRecordKeyBytes && key[8] == static_cast<char>(RecordKind::kState);
}

class RocksLog final : public LogStorage {
 public:
  RocksLog(std::string path, const LogOptions& options, std::unique_ptr<LogDb> db)
      : path_(std::move(path)),
        options_(options),
        log_db_(std::move(db)),
        db_(log_db_->db()),
        tail_(options.cache_bytes) {}
  ~RocksLog() override;

  // Reads and verifies all there is. Before anything else.
  Status Recover();

  Status Append(std::span<const LogWrite> writes) override;
  Status Reset(EntryId snapshot, const HardState& hard_state) override;
  Status TruncatePrefix(Index index) override;
  Status GiveBackSpace() override;
  Status Resume() override;

  HardState hard_state() const override;
  Index first_index() const override;
  Index last_index() const override;
  EntryId compacted() const override;
  LogResult<Term> term(Index index) const override;
  Index memory_begin() const override;
  LogResult<std::vector<raft::Entry>> entries(Index low, Index high,
                                              uint64_t max_bytes) const override;
  LogStats stats() const override;

 private:
  // What an Append comes down to, before it is written.
  struct Plan {
    LogState state;
    Index last;
    bool sync = false;
    bool cuts = false;  // replaces entries that readers may see
    bool deletes_state = false;
  };

  Status FindState();
  Status CheckOwner() const;
  Status ScanEntries();
  Status Damaged(const std::string& what) const;

  void PlanWrite(const LogWrite& write, Plan* plan);
  void PutEntry(const raft::Entry& entry);
  void DeleteRange(Index first, Index last);
  // Puts the state under the last index that the log will have. Must be the last of a batch.
  void PutState(LogState state, Index last);
  // kOutOfSpace: nothing was written, and what PutState noted is as before.
  Status WriteBatchDurably();
  Status DropGarbage();
  // Keeps what readers may see readable on disk while it is being replaced.
  void HideNextWrite();
  void ShowWrites();

  Result<std::vector<raft::Entry>> ReadDisk(Index low, Index high,
                                            const std::shared_ptr<rocksdb::ManagedSnapshot>& as_of,
                                            uint64_t* budget) const;
  [[noreturn]] void Fatal(const Status& status) const;

  const std::string path_;
  const LogOptions options_;
  const std::unique_ptr<LogDb> log_db_;
  rocksdb::DB* const db_;

  // Of the append thread alone.
  rocksdb::WriteBatch batch_;
  LogState stored_;  // as in the database; hard_state_ may have a newer commit index
  Index stored_at_;  // the index of the key it is under
  // The same as of the last batch that was written.
  LogState durable_;
  Index durable_at_;
  Status failure_;  // the first error; nothing is written after it

  mutable std::mutex mutex_;  // guards what follows; never held over I/O
  LogTail tail_;
  HardState hard_state_;
  // Set while a write replaces entries: what readers on disk see meanwhile.
  std::shared_ptr<rocksdb::ManagedSnapshot> before_write_;
  uint64_t cuts_ = 0;  // how often before_write_ was set
};

RocksLog::~RocksLog() {
  if (failure_.ok() && stored_.hard_state != hard_state_) {
    batch_.Clear();
    PutState({hard_state_, stored_.compacted}, tail_.last());
    // Only a commit index: losing it costs nothing but a message of the leader.
    (void)WriteBatchDurably();
  }
}

// --- Opening -------------------------------------------------------------------------------------

Status RocksLog::Damaged(const std::string& what) const {
  return Status(Code::kCorruption,
                "the raft log in " + path_ + " is damaged: " + what + "; " + kRebuildRemedy);
}

Status RocksLog::Recover() {
  // Not left to the scan below: RocksDB before 8.3 ends an iteration silently at a damaged first
  // block of a file.
  RETURN_IF_ERROR(FromRocks(db_->VerifyChecksum(), "cannot read the raft log in " + path_));
  RETURN_IF_ERROR(FindState());
  const std::lock_guard lock(mutex_);
  hard_state_ = stored_.hard_state;
  tail_.Reset(stored_.compacted);
  RETURN_IF_ERROR(ScanEntries());
  if (hard_state_.commit > tail_.last()) {
    return Damaged("it ends at entry " + std::to_string(tail_.last().value) +
                   ", but entries up to " + std::to_string(hard_state_.commit.value) +
                   " were committed");
  }
  log_db_->SetCompacted(stored_.compacted.index);
  return Status::Ok();
}

// The last state in the order of keys; a new log gets its first.
Status RocksLog::FindState() {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
  it->SeekToLast();
  const bool empty = !it->Valid();
  for (; it->Valid(); it->Prev()) {
    const Result<ParsedKey> key = ParseKey(ToView(it->key()));
    if (!key) return Damaged(key.error().message());
    if (key->kind != RecordKind::kState) continue;
    const Result<LogState> state = DecodeState(ToView(it->key()), ToView(it->value()));
    if (!state && state.error().code() == Code::kFailedPrecondition) {
      return Status(Code::kFailedPrecondition, "cannot read the raft log in " + path_ + ": " +
                                                   state.error().message() +
                                                   ". Start the version that wrote it");
    }
    if (!state) return Damaged(state.error().message());
    stored_ = durable_ = *state;
    stored_at_ = durable_at_ = key->index;
    return CheckOwner();
  }
  RETURN_IF_ERROR(FromRocks(it->status(), "cannot read the raft log in " + path_));
  if (!empty || !options_.create) return Damaged("its state is missing");
  PutState({}, Index(0));
  return WriteBatchDurably();
}

Status RocksLog::CheckOwner() const {
  // A log of format 1 does not say whose it is.
  if (options_.owner == 0 || stored_.owner == 0 || stored_.owner == options_.owner) {
    return Status::Ok();
  }
  return {Code::kFailedPrecondition, path_ + " is the log of member " + HexId(stored_.owner) +
                                         ", not of member " + HexId(options_.owner) +
                                         ": files of two members were mixed. Restore the "
                                         "directory as it was"};
}

// Every entry once: so that damage is found now, by this member, and not when a peer needs it.
Status RocksLog::ScanEntries() {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = kScanReadaheadBytes;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  const RecordKey first = KeyOf(tail_.first(), RecordKind::kEntry);
  for (it->Seek(ToSlice(View(first))); it->Valid(); it->Next()) {
    if (IsState(it->key())) continue;
    const Result<raft::Entry> entry = DecodeEntry(ToView(it->key()), ToView(it->value()));
    if (!entry) return Damaged(entry.error().message());
    const Index expected = tail_.last().Next();
    if (entry->index != expected) {
      return Damaged("entry " + std::to_string(expected.value) + " is missing before entry " +
                     std::to_string(entry->index.value));
    }
    if (entry->term < *tail_.term(tail_.last())) {
      return Damaged("the term falls at entry " + std::to_string(expected.value));
    }
    tail_.Append(*entry);
    (void)tail_.Evict();
  }
  return FromRocks(it->status(), "cannot read the raft log in " + path_);
}

// --- Writing -------------------------------------------------------------------------------------

void RocksLog::PutEntry(const raft::Entry& entry) {
  const EncodedEntry encoded = Encode(entry);
  const rocksdb::Slice key = ToSlice(View(encoded.key));
  const rocksdb::Slice value[] = {{encoded.header.data(), encoded.header.size()},
                                  ToSlice(encoded.payload())};
  batch_.Put(rocksdb::SliceParts(&key, 1), rocksdb::SliceParts(value, 2));
}

// Entries and states of these indexes.
void RocksLog::DeleteRange(Index first, Index last) {
  const RecordKey begin = KeyOf(first, RecordKind::kEntry);
  const RecordKey end = KeyOf(last.Next(), RecordKind::kEntry);
  batch_.DeleteRange(ToSlice(View(begin)), ToSlice(View(end)));
}

void RocksLog::PutState(LogState state, Index last) {
  if (options_.owner != 0) state.owner = options_.owner;
  const RecordKey key = KeyOf(last, RecordKind::kState);
  batch_.Put(ToSlice(View(key)), EncodeState(key, state));
  stored_ = state;
  stored_at_ = last;
}

void RocksLog::PlanWrite(const LogWrite& write, Plan* plan) {
  if (write.hard_state) {
    const HardState& next = *write.hard_state;
    const HardState& before = plan->state.hard_state;
    plan->sync = plan->sync || write.sync || next.term != before.term || next.vote != before.vote;
    plan->state.hard_state = next;
  }
  if (write.entries.empty()) return;
  const Index first = write.entries.front().index;
  const Index last = write.entries.back().index;
  CHECK(first >= tail_.first() && first <= plan->last.Next(), "an append continues the log");
  if (first <= plan->last) plan->cuts = true;
  if (last < plan->last) {
    DeleteRange(last.Next(), plan->last);
    plan->deletes_state = plan->deletes_state || stored_at_ > last;
  }
  Index expected = first;
  for (const raft::Entry& entry : write.entries) {
    CHECK(entry.index == expected, "an append has no gaps");
    PutEntry(entry);
    ++expected;
  }
  plan->last = last;
  plan->sync = true;
}

Status RocksLog::Append(std::span<const LogWrite> writes) {
  RETURN_IF_ERROR(failure_);
  batch_.Clear();
  Plan plan{{hard_state_, stored_.compacted}, tail_.last()};
  for (const LogWrite& write : writes) PlanWrite(write, &plan);
  if (!plan.sync) {
    const std::lock_guard lock(mutex_);
    hard_state_ = plan.state.hard_state;
    return Status::Ok();
  }
  if (plan.state != stored_ || plan.deletes_state) PutState(plan.state, plan.last);
  if (batch_.Count() > 0) {
    if (plan.cuts) HideNextWrite();
    if (Status status = WriteBatchDurably(); !status.ok()) {
      ShowWrites();
      return status;
    }
  }

  // Destroyed after the lock is released.
  std::vector<raft::Entry> evicted;
  std::shared_ptr<rocksdb::ManagedSnapshot> released;
  const std::lock_guard lock(mutex_);
  for (const LogWrite& write : writes) {
    if (write.entries.empty()) continue;
    tail_.CutFrom(write.entries.front().index);
    for (const raft::Entry& entry : write.entries) tail_.Append(entry);
  }
  hard_state_ = plan.state.hard_state;
  released = std::move(before_write_);
  evicted = tail_.Evict();
  return Status::Ok();
}

Status RocksLog::WriteBatchDurably() {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  rocksdb::Status status = db_->Write(rocksdb::WriteOptions(), &batch_);
  const Clock::time_point written = Clock::now();
  // Apart from the write only to be measured apart from it.
  if (status.ok() && !MUTATION(skip_log_sync)) status = db_->SyncWAL();
  if (!status.ok()) {
    Status error = FromRocks(status, "cannot write the raft log in " + path_);
    // The database refuses writes while its own work in the background lacks space, before it has
    // touched anything.
    if (error.code() == Code::kOutOfSpace && !log_db_->wal_failed()) {
      log_db_->recovery()->Refused();
      stored_ = durable_;
      stored_at_ = durable_at_;
      return error;
    }
    return failure_ = std::move(error);
  }
  durable_ = stored_;
  durable_at_ = stored_at_;
  if (options_.on_append) options_.on_append(written - start, Clock::now() - written);
  if (batch_.GetDataSize() > kKeptBatchBytes) batch_ = rocksdb::WriteBatch();
  return Status::Ok();
}

void RocksLog::HideNextWrite() {
  auto snapshot = std::make_shared<rocksdb::ManagedSnapshot>(db_);
  const std::lock_guard lock(mutex_);
  before_write_ = std::move(snapshot);
  ++cuts_;
}

void RocksLog::ShowWrites() {
  std::shared_ptr<rocksdb::ManagedSnapshot> released;  // after the lock
  const std::lock_guard lock(mutex_);
  released = std::move(before_write_);
}

Status RocksLog::Reset(EntryId snapshot, const HardState& hard_state) {
  RETURN_IF_ERROR(failure_);
  CHECK(snapshot.index >= tail_.compacted().index, "a log never starts earlier than it did");
  batch_.Clear();
  if (tail_.last() > snapshot.index) DeleteRange(snapshot.index.Next(), tail_.last());
  PutState({hard_state, snapshot}, snapshot.index);
  HideNextWrite();
  if (Status status = WriteBatchDurably(); !status.ok()) {
    ShowWrites();
    return status;
  }
  {
    const std::lock_guard lock(mutex_);
    tail_.Reset(snapshot);
    hard_state_ = hard_state;
    before_write_.reset();
  }
  return DropGarbage();
}

Status RocksLog::TruncatePrefix(Index index) {
  RETURN_IF_ERROR(failure_);
  if (index <= tail_.compacted().index) return Status::Ok();
  const LogResult<Term> term = tail_.term(index);
  CHECK(term.has_value(), "only entries that are there can be dropped");
  batch_.Clear();
  PutState({hard_state_, {*term, index}}, tail_.last());
  RETURN_IF_ERROR(WriteBatchDurably());
  {
    const std::lock_guard lock(mutex_);
    tail_.CompactTo(index);
  }
  return DropGarbage();
}

Status RocksLog::DropGarbage() {
  log_db_->SetCompacted(tail_.compacted().index);
  Status status = FromRocks(log_db_->DeleteGarbageFiles(), "cannot drop old files of " + path_);
  // They go with the next truncation.
  if (status.code() == Code::kOutOfSpace) return Status::Ok();
  if (!status.ok()) failure_ = status;
  return status;
}

// What is garbage by now does not get into the file that is written, and the write-ahead logs go
// with the memtable.
Status RocksLog::GiveBackSpace() {
  RETURN_IF_ERROR(failure_);
  Status flushed = FromRocks(db_->Flush(rocksdb::FlushOptions()), "cannot flush " + path_);
  if (flushed.code() == Code::kOutOfSpace) return flushed;
  if (!flushed.ok()) return failure_ = flushed;
  return DropGarbage();
}

Status RocksLog::Resume() {
  // What is in such a file, nobody can tell: nothing may be written behind it.
  if (log_db_->wal_failed()) return {Code::kIoError, "the write-ahead log of " + path_ + " failed"};
  return log_db_->recovery()->Resume(db_);
}

// --- Reading -------------------------------------------------------------------------------------

HardState RocksLog::hard_state() const {
  const std::lock_guard lock(mutex_);
  return hard_state_;
}

Index RocksLog::first_index() const {
  const std::lock_guard lock(mutex_);
  return tail_.first();
}

Index RocksLog::last_index() const {
  const std::lock_guard lock(mutex_);
  return tail_.last();
}

EntryId RocksLog::compacted() const {
  const std::lock_guard lock(mutex_);
  return tail_.compacted();
}

LogResult<Term> RocksLog::term(Index index) const {
  const std::lock_guard lock(mutex_);
  return tail_.term(index);
}

Index RocksLog::memory_begin() const {
  const std::lock_guard lock(mutex_);
  return tail_.cache_begin();
}

LogResult<std::vector<raft::Entry>> RocksLog::entries(Index low, Index high,
                                                      uint64_t max_bytes) const {
  CHECK(low <= high);
  for (;;) {
    std::vector<raft::Entry> cached;
    uint64_t budget = max_bytes;
    Index disk_end;  // [low, disk_end) is not in memory
    std::shared_ptr<rocksdb::ManagedSnapshot> as_of;
    uint64_t cuts;
    {
      const std::lock_guard lock(mutex_);
      if (low < tail_.first()) return std::unexpected(LogError::kCompacted);
      if (high > tail_.last().Next()) return std::unexpected(LogError::kUnavailable);
      disk_end = std::clamp(tail_.cache_begin(), low, high);
      as_of = before_write_;
      cuts = cuts_;
      if (disk_end < high) tail_.Read(disk_end, high, &budget, &cached);
    }
    if (disk_end == low) return cached;

    budget = max_bytes;
    Result<std::vector<raft::Entry>> out = ReadDisk(low, disk_end, as_of, &budget);
    {
      const std::lock_guard lock(mutex_);
      if (low < tail_.first()) return std::unexpected(LogError::kCompacted);
      if (cuts != cuts_) continue;  // may have read what is not finished yet
    }
    if (!out) Fatal(out.error());
    for (raft::Entry& entry : cached) {
      const uint64_t size = EntrySize(entry);
      if (size > budget) break;
      budget -= size;
      out->push_back(std::move(entry));
    }
    return std::move(*out);
  }
}

// Entries [low, high) or as many as *budget allows (it is 0 then).
Result<std::vector<raft::Entry>> RocksLog::ReadDisk(
    Index low, Index high, const std::shared_ptr<rocksdb::ManagedSnapshot>& as_of,
    uint64_t* budget) const {
  const RecordKey begin = KeyOf(low, RecordKind::kEntry);
  const RecordKey end = KeyOf(high, RecordKind::kEntry);
  const rocksdb::Slice upper = ToSlice(View(end));
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.iterate_upper_bound = &upper;
  read.snapshot = as_of != nullptr ? as_of->snapshot() : nullptr;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  std::vector<raft::Entry> out;
  Index next = low;
  for (it->Seek(ToSlice(View(begin))); it->Valid(); it->Next()) {
    if (IsState(it->key())) continue;
    Result<raft::Entry> entry = DecodeEntry(ToView(it->key()), ToView(it->value()));
    if (!entry) return Error(Damaged(entry.error().message()));
    if (entry->index != next) break;
    const uint64_t size = EntrySize(*entry);
    if (size > *budget && !out.empty()) {
      *budget = 0;
      return out;
    }
    *budget -= std::min(*budget, size);
    out.push_back(std::move(*entry));
    ++next;
  }
  if (!it->status().ok()) {
    return Error(FromRocks(it->status(), "cannot read the raft log in " + path_));
  }
  if (next < high) return Error(Damaged("entry " + std::to_string(next.value) + " is missing"));
  return out;
}

void RocksLog::Fatal(const Status& status) const {
  if (options_.on_fatal != nullptr) options_.on_fatal(status);
  CheckFailed("the raft log is readable", status.message());
}

LogStats RocksLog::stats() const {
  LogStats stats;
  stats.bytes = DirBytes(path_);
  (void)db_->GetIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &stats.memtable_bytes);
  const std::lock_guard lock(mutex_);
  stats.cached_entries = tail_.cached_entries();
  stats.cached_bytes = tail_.cached_bytes();
  return stats;
}

}  // namespace

Result<std::unique_ptr<LogStorage>> OpenRocksLogOn(
    const std::string& path, const LogOptions& options,
    const std::shared_ptr<rocksdb::FileSystem>& file_system) {
  ASSIGN_OR_RETURN(const std::string notice, LogDb::Prepare(path, options.create, file_system));
  ASSIGN_OR_RETURN(std::unique_ptr<LogDb> db, LogDb::Open(path, options, file_system));
  auto log = std::make_unique<RocksLog>(path, options, std::move(db));
  RETURN_UNEXPECTED_IF_ERROR(log->Recover());
  if (!notice.empty() && options.on_notice) options.on_notice(notice);
  return log;
}

Result<std::unique_ptr<LogStorage>> OpenRocksLog(const std::string& path,
                                                 const LogOptions& options) {
  return OpenRocksLogOn(path, options, rocksdb::FileSystem::Default());
}

}  // namespace raftkv::storage
