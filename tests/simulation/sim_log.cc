#include "tests/simulation/sim_log.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/mutations.h"
#include "tests/simulation/sim_wal.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kSmallRecord = 32;  // a hard state, a mark
constexpr uint64_t kMemtable = 1000;   // is flushed when it is larger

uint64_t BytesOf(std::span<const storage::LogWrite> writes) {
  uint64_t bytes = 0;
  for (const storage::LogWrite& write : writes) {
    if (write.hard_state) bytes += kSmallRecord;
    for (const raft::Entry& entry : write.entries) bytes += raft::EntrySize(entry);
  }
  return bytes;
}

}  // namespace

uint64_t SimLog::stored_bytes() const {
  uint64_t bytes = garbage_bytes_;
  for (const raft::Entry& entry : entries_) bytes += raft::EntrySize(entry);
  return bytes;
}

Status SimLog::CheckRoom(uint64_t bytes) const {
  if (!stopped_ && Fits(bytes)) return Status::Ok();
  return {Code::kOutOfSpace, "no space left on the device"};
}

// Writes its file before it removes another.
Status SimLog::Flush() {
  stopped_ = !Fits(memtable_bytes_ / 2);
  RETURN_IF_ERROR(CheckRoom(0));
  memtable_bytes_ = 0;
  garbage_bytes_ = 0;
  return Status::Ok();
}

void SimLog::Synced() {
  // A commit index alone is written without an fsync.
  if (in_flight_.empty() || MUTATION(skip_log_sync)) return;
  in_flight_.clear();
  durable_hard_ = hard_;
}

void SimLog::Crash(Random& random) {
  if (!in_flight_.empty()) {
    coverage_->Hit(Path::crash_in_append);
    const size_t keep = Recover(random);
    if (keep > 0) coverage_->Hit(Path::crash_kept_part);
    while (in_flight_.size() > keep) {
      TakeBack(std::move(in_flight_.back()));
      in_flight_.pop_back();
    }
    in_flight_.clear();
  } else if (hard_.commit != durable_hard_.commit && random.Uniform(2) == 0) {
    coverage_->Hit(Path::crash_lost_commit);
    hard_.commit = durable_hard_.commit;
  }
  durable_hard_ = hard_;
  fail_next_ = Status::Ok();
  deferred_ = false;
  stopped_ = false;
}

size_t SimLog::Recover(Random& random) const {
  const uint64_t hit = in_flight_[random.Uniform(in_flight_.size())].call;
  const auto is_hit = [hit](const Undo& undo) { return undo.call == hit; };
  const auto first = std::ranges::find_if(in_flight_, is_hit);
  const auto end = std::find_if_not(first, in_flight_.end(), is_hit);
  std::vector<size_t> records;
  for (auto it = first; it != end; ++it) records.push_back(it->bytes);
  const bool one_record = random.Uniform(2) == 0;
  if (one_record) records = {std::accumulate(records.begin(), records.end(), size_t{0})};
  const storage::WalVerdict verdict = JudgeTornWal(records, random, coverage_);
  CHECK(verdict.records >= 1, "what is durable is found");
  CHECK(!one_record || !verdict.valid_after_end, "one torn record is no damage");
  const auto before = static_cast<size_t>(first - in_flight_.begin());
  if (!one_record) return before + verdict.records - 1;
  return verdict.records == 1 ? before : static_cast<size_t>(end - in_flight_.begin());
}

void SimLog::TakeBack(Undo undo) {
  hard_ = undo.hard;
  if (undo.reset) {
    compacted_ = undo.compacted;
    entries_ = std::move(undo.whole);
    return;
  }
  while (last_index() > undo.last) entries_.pop_back();
  for (raft::Entry& entry : undo.cut) entries_.push_back(std::move(entry));
}

void SimLog::Clear() {
  compacted_ = {};
  entries_.clear();
  hard_ = {};
  in_flight_.clear();
  durable_hard_ = {};
  memtable_bytes_ = 0;
  garbage_bytes_ = 0;
  stopped_ = false;
}

// What is in flight is left out, as if a crash had lost all of it.
SimLog::Image SimLog::Copy() const {
  SimLog copy(coverage_, observer_);
  copy.compacted_ = compacted_;
  copy.entries_ = entries_;
  copy.hard_ = hard_;
  std::vector<Undo> undos = in_flight_;
  while (!undos.empty()) {
    copy.TakeBack(std::move(undos.back()));
    undos.pop_back();
  }
  return {copy.compacted_, std::move(copy.entries_), copy.hard_};
}

void SimLog::Load(const Image& image) {
  Clear();
  compacted_ = image.compacted;
  entries_ = image.entries;
  hard_ = durable_hard_ = image.hard;
}

raft::Index SimLog::durable_last_index() const {
  // What is in flight may come to nothing; what it cut may be back.
  raft::Index last = last_index();
  for (const Undo& undo : in_flight_) last = std::min(last, undo.last);
  return last;
}

Status SimLog::Append(std::span<const storage::LogWrite> writes) {
  const uint64_t bytes = BytesOf(writes);
  RETURN_IF_ERROR(CheckRoom(bytes));
  if (memtable_bytes_ + bytes > kMemtable) RETURN_IF_ERROR(Flush());
  RETURN_IF_ERROR(CheckRoom(bytes));
  memtable_bytes_ += bytes;
  ++calls_;
  for (const storage::LogWrite& write : writes) Write(write);
  if (!fail_next_.ok()) return std::exchange(fail_next_, Status::Ok());
  if (!deferred_) Synced();
  return Status::Ok();
}

void SimLog::Write(const storage::LogWrite& write) {
  const bool must_sync =
      !write.entries.empty() || (write.hard_state && (write.hard_state->term != hard_.term ||
                                                      write.hard_state->vote != hard_.vote));
  if (must_sync || write.sync) {
    in_flight_.push_back({.hard = hard_,
                          .last = last_index(),
                          .call = calls_,
                          .bytes = BytesOf(std::span(&write, 1)),
                          .cut = {},
                          .compacted = {},
                          .whole = {}});
  }
  if (write.hard_state) {
    hard_ = *write.hard_state;
    garbage_bytes_ += kSmallRecord;
  }
  if (write.entries.empty()) return;
  const raft::Index first = write.entries.front().index;
  CHECK(first > compacted_.index && first <= last_index().Next(), "appends leave no gap");
  if (first <= last_index()) {
    coverage_->Hit(Path::conflicting_suffix);
    Undo& undo = in_flight_.back();
    undo.last = first.Prev();
    const auto from = entries_.begin() + static_cast<ptrdiff_t>(first - first_index());
    undo.cut.assign(from, entries_.end());
    for (const raft::Entry& entry : undo.cut) garbage_bytes_ += raft::EntrySize(entry);
    entries_.erase(from, entries_.end());
  }
  for (const raft::Entry& entry : write.entries) {
    CHECK(entry.index == last_index().Next(), "the entries of a write are consecutive");
    observer_->OnLogged(*this, node_, entry, entries_.empty() ? compacted_ : entries_.back().id());
    entries_.push_back(entry);
  }
}

Status SimLog::Reset(raft::EntryId snapshot, const raft::HardState& hard_state) {
  RETURN_IF_ERROR(CheckRoom(kSmallRecord));
  coverage_->Hit(Path::log_reset);
  if (last_index() > snapshot.index) coverage_->Hit(Path::snapshot_over_log);
  in_flight_.push_back({.hard = hard_,
                        .last = last_index(),
                        .call = ++calls_,
                        .bytes = kSmallRecord,
                        .cut = {},
                        .reset = true,
                        .compacted = compacted_,
                        .whole = std::exchange(entries_, {})});
  for (const raft::Entry& entry : in_flight_.back().whole) {
    garbage_bytes_ += raft::EntrySize(entry);
  }
  compacted_ = snapshot;
  hard_ = hard_state;
  if (!fail_next_.ok()) return std::exchange(fail_next_, Status::Ok());
  if (!deferred_) Synced();
  return Status::Ok();
}

// Whether this is durable makes no difference that anybody could see: what is dropped is below the
// flushed applied index.
Status SimLog::TruncatePrefix(raft::Index index) {
  if (index < first_index()) return Status::Ok();
  CHECK(index <= last_index(), "a log is not truncated beyond its end");
  RETURN_IF_ERROR(CheckRoom(kSmallRecord));
  coverage_->Hit(Path::log_truncated);
  const auto end = entries_.begin() + static_cast<ptrdiff_t>(index - compacted_.index);
  compacted_ = std::prev(end)->id();
  for (auto it = entries_.begin(); it != end; ++it) garbage_bytes_ += raft::EntrySize(*it);
  entries_.erase(entries_.begin(), end);
  return Status::Ok();
}

Status SimLog::GiveBackSpace() {
  RETURN_IF_ERROR(CheckRoom(0));
  const bool gives_back = garbage_bytes_ > 0;
  RETURN_IF_ERROR(Flush());
  if (gives_back) coverage_->Hit(Path::log_gave_back);
  return Status::Ok();
}

Status SimLog::Resume() { return stopped_ ? Flush() : Status::Ok(); }

raft::LogResult<raft::Term> SimLog::term(raft::Index index) const {
  if (index < compacted_.index) return std::unexpected(raft::LogError::kCompacted);
  if (index == compacted_.index) return compacted_.term;
  if (index > last_index()) return std::unexpected(raft::LogError::kUnavailable);
  return entries_[index - first_index()].term;
}

raft::LogResult<std::vector<raft::Entry>> SimLog::entries(raft::Index low, raft::Index high,
                                                          uint64_t max_bytes) const {
  if (low < first_index()) return std::unexpected(raft::LogError::kCompacted);
  if (high > last_index().Next()) return std::unexpected(raft::LogError::kUnavailable);
  std::vector<raft::Entry> out;
  uint64_t bytes = 0;
  for (raft::Index i = low; i < high; ++i) {
    const raft::Entry& entry = entries_[i - first_index()];
    bytes += raft::EntrySize(entry);
    if (!out.empty() && bytes > max_bytes) break;
    out.push_back(entry);
  }
  return out;
}

}  // namespace raftkv::sim
