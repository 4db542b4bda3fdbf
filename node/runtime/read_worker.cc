#include <utility>

#include "node/runtime/workers.h"

namespace raftkv::runtime {

void ReadWorker::Submit(raft::Index low, uint64_t max_bytes) {
  const std::lock_guard lock(mutex_);
  queue_.push_back({low, max_bytes});
}

bool ReadWorker::HasWork() const {
  const std::lock_guard lock(mutex_);
  return !queue_.empty();
}

void ReadWorker::RunOnce() {
  std::vector<Job> jobs;
  {
    const std::lock_guard lock(mutex_);
    jobs = std::exchange(queue_, {});
  }
  for (const Job& job : jobs) {
    // The log may have been cut below `low` since it was asked for.
    const raft::Index end = log_->last_index().Next();
    done_(job.low, job.low < end ? log_->entries(job.low, end, job.max_bytes)
                                 : std::unexpected(raft::LogError::kUnavailable));
  }
}

}  // namespace raftkv::runtime
