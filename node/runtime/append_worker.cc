#include <utility>

#include "base/check.h"
#include "base/fault_points.h"
#include "node/runtime/workers.h"

namespace raftkv::runtime {

void AppendWorker::Submit(AppendJob job) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(job));
  has_work_.store(true, std::memory_order_release);
}

void AppendWorker::SubmitTruncate(raft::Index index) {
  std::lock_guard lock(mutex_);
  truncate_to_ = std::max(truncate_to_, index);
  has_work_.store(true, std::memory_order_release);
}

void AppendWorker::RunOnce() {
  std::vector<AppendJob> jobs;
  raft::Index truncate_to;
  {
    std::lock_guard lock(mutex_);
    jobs.swap(queue_);
    truncate_to = std::exchange(truncate_to_, raft::Index());
    has_work_.store(false, std::memory_order_release);
  }
  // A reset is a write of its own; what stands before it goes first.
  size_t first = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (!jobs[i].reset_to) continue;
    Commit(jobs, first, i);
    const raft::HardState state = jobs[i].work.hard_state.value_or(log_->hard_state());
    FAULT_POINT(log_reset_before);
    const Status status = log_->Reset(*jobs[i].reset_to, state);
    if (!status.ok()) return sink_.fatal(status);
    FAULT_POINT(log_reset_after);
    first = i;
  }
  Commit(jobs, first, jobs.size());
  if (truncate_to >= log_->first_index()) {
    FAULT_POINT(truncate_before);
    const Status status = log_->TruncatePrefix(truncate_to);
    if (!status.ok()) return sink_.fatal(status);
    FAULT_POINT(truncate_after);
  }
}

void AppendWorker::Commit(std::vector<AppendJob>& jobs, size_t first, size_t last) {
  if (first == last) return;
  std::vector<storage::LogWrite> writes;
  writes.reserve(last - first);
  std::vector<raft::Message> responses;
  size_t entries = 0;
  uint64_t bytes = 0;
  raft::HardState hard_state = log_->hard_state();
  for (size_t i = first; i < last; ++i) {
    raft::StorageAppend& work = jobs[i].work;
    entries += work.entries.size();
    for (const raft::Entry& entry : work.entries) bytes += entry.data().size();
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
    // Nothing has been said of these entries yet, so they can wait; a write that fails cannot be
    // taken back.
    if (sink_.await_room && !sink_.await_room(bytes)) return;
    FAULT_POINT(save_before);
    const Status status = log_->Append(writes);
    if (!status.ok()) return sink_.fatal(status);
    FAULT_POINT(save_after);
  }
  if (sink_.on_batch) sink_.on_batch(last - first, entries);
  sink_.done(last - first, std::move(responses));
}

}  // namespace raftkv::runtime
