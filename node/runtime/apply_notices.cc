#include "node/runtime/apply_notices.h"

#include <algorithm>
#include <utility>

#include "base/mutations.h"

namespace raftkv::runtime {

ApplyNotices::ApplyNotices(uint64_t max_apply_bytes)
    : most_bytes_(std::min(max_apply_bytes / 4, kMostBytes)) {}

bool ApplyNotices::Add(ApplyDone done, bool read_waits) {
  const bool awaited = done.applied_bytes == 0 || !done.memberships.empty() || read_waits;
  std::lock_guard lock(mutex_);
  bytes_ += done.applied_bytes;
  const auto place = MUTATION(notice_overtakes) && awaited ? notices_.begin() : notices_.end();
  notices_.insert(place, std::move(done));
  const bool many = bytes_ >= most_bytes_ || notices_.size() >= kMostJobs;
  return (awaited || many) && !std::exchange(woken_, true);
}

std::vector<ApplyDone> ApplyNotices::Take() {
  std::lock_guard lock(mutex_);
  bytes_ = 0;
  woken_ = false;
  return std::exchange(notices_, {});
}

}  // namespace raftkv::runtime
