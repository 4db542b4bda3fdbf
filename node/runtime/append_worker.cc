#include <utility>

#include "base/check.h"
#include "base/fault_points.h"
#include "base/mutations.h"
#include "node/runtime/workers.h"

namespace raftkv::runtime {
namespace {

// One group commit takes so much and the job that goes beyond it: what waits for a small disk is to
// fit on it.
constexpr uint64_t kGroupBytes = 2 << 20;

uint64_t BytesOf(const raft::StorageAppend& work) {
  uint64_t bytes = 0;
  for (const raft::Entry& entry : work.entries) bytes += entry.data().size();
  return bytes;
}

}  // namespace

void AppendWorker::Submit(AppendJob job) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(job));
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  has_work_.store(true, std::memory_order_release);
}

void AppendWorker::SubmitTruncate(raft::Index index) {
  std::lock_guard lock(mutex_);
  truncate_to_ = std::max(truncate_to_, index);
  has_work_.store(true, std::memory_order_release);
}

void AppendWorker::RunOnce() {
  std::vector<AppendJob> jobs;
  {
    std::lock_guard lock(mutex_);
    jobs.swap(queue_);
    has_work_.store(false, std::memory_order_release);
  }
  if (gave_up_ && !MUTATION(go_on_after_giving_up)) return;
  // A reset is a write of its own; what stands before it goes first.
  size_t first = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (bytes > kGroupBytes) {
      if (!Commit(jobs, first, i)) return;
      first = i;
      bytes = 0;
    }
    bytes += BytesOf(jobs[i].work);
    if (!jobs[i].reset_to) continue;
    if (!Commit(jobs, first, i)) return;
    const raft::HardState state = jobs[i].work.hard_state.value_or(log_->hard_state());
    FAULT_POINT(log_reset_before);
    if (!WriteWithRoom(0, [&] { return log_->Reset(*jobs[i].reset_to, state); })) return;
    FAULT_POINT(log_reset_after);
    first = i;
  }
  if (!Commit(jobs, first, jobs.size())) return;
  if (const Status status = Truncate(); !status.ok()) sink_.fatal(status);
}

// Up to where it was asked for last. A disk that is too full even for that gets it the next time.
Status AppendWorker::Truncate() {
  raft::Index index;
  {
    std::lock_guard lock(mutex_);
    index = std::exchange(truncate_to_, raft::Index());
  }
  if (index < log_->first_index()) return Status::Ok();
  FAULT_POINT(truncate_before);
  Status status = log_->TruncatePrefix(index);
  FAULT_POINT(truncate_after);
  holds_garbage_ = holds_garbage_ || status.ok();
  if (status.code() != Code::kOutOfSpace || !sink_.await_room) return status;
  std::lock_guard lock(mutex_);
  truncate_to_ = std::max(truncate_to_, index);
  return Status::Ok();
}

void AppendWorker::Tidy() {
  if (log_->Resume().code() == Code::kOutOfSpace) return;
  Status status = Truncate();
  if (status.ok() && holds_garbage_) {
    status = log_->GiveBackSpace();
    if (status.code() == Code::kOutOfSpace) return;
    holds_garbage_ = false;
  }
  if (!status.ok()) sink_.fatal(status);
}

bool AppendWorker::WriteWithRoom(uint64_t bytes, const std::function<Status()>& write) {
  Status status = Status::Ok();
  do {
    // Nothing has been said of what is to be written, so it can wait.
    const bool failed = !status.ok();
    if (sink_.await_room && !sink_.await_room(bytes, failed, [this] { Tidy(); })) {
      gave_up_ = true;
      return false;
    }
    status = write();
    if (MUTATION(acknowledge_without_room) && status.code() == Code::kOutOfSpace) return true;
  } while (sink_.await_room && status.code() == Code::kOutOfSpace);
  if (!status.ok()) sink_.fatal(status);
  return status.ok();
}

bool AppendWorker::Commit(std::vector<AppendJob>& jobs, size_t first, size_t last) {
  if (first == last) return true;
  std::vector<storage::LogWrite> writes;
  writes.reserve(last - first);
  std::vector<raft::Message> responses;
  size_t entries = 0;
  uint64_t bytes = 0;
  raft::HardState hard_state = log_->hard_state();
  for (size_t i = first; i < last; ++i) {
    raft::StorageAppend& work = jobs[i].work;
    entries += work.entries.size();
    bytes += BytesOf(work);
    // A commit index that moved alone need not be durable. Responses may rest on earlier entries,
    // but those were synced by the job that brought them.
    const bool sync =
        !work.entries.empty() || (work.hard_state && (work.hard_state->term != hard_state.term ||
                                                      work.hard_state->vote != hard_state.vote));
    if (work.hard_state) hard_state = *work.hard_state;
    if (!work.entries.empty() || work.hard_state) {
      writes.push_back({std::move(work.entries), work.hard_state, sync});
    }
    for (raft::Message& response : work.responses) responses.push_back(std::move(response));
  }
  if (!writes.empty()) {
    FAULT_POINT(save_before);
    if (!WriteWithRoom(bytes, [&] { return log_->Append(writes); })) return false;
    FAULT_POINT(save_after);
  }
  if (sink_.on_batch) sink_.on_batch(last - first, entries);
  unfinished_.fetch_sub(last - first, std::memory_order_relaxed);
  sink_.done(last - first, std::move(responses));
  return true;
}

}  // namespace raftkv::runtime
