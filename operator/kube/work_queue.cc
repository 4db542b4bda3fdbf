#include "operator/kube/work_queue.h"

#include <algorithm>

#include "base/check.h"

namespace raftkv::kube {

WorkQueue::WorkQueue(WorkQueueOptions options, Timing* timing, WorkQueueObserver* observer)
    : options_(options),
      timing_(timing),
      observer_(observer),
      bucket_(options.retries_per_second, options.retry_burst) {}

void WorkQueue::AddLocked(const Key& key) {
  if (shutdown_) return;
  if (auto delayed = delayed_.find(key); delayed != delayed_.end()) {
    due_.erase({delayed->second, key});
    delayed_.erase(delayed);
  }
  if (!dirty_.emplace(key, timing_->Now()).second) return;
  if (observer_ != nullptr) observer_->OnAdd();
  if (processing_.contains(key)) return;  // Done() queues it
  queue_.push_back(key);
  if (observer_ != nullptr) observer_->OnDepth(queue_.size());
  wake_.notify_one();
}

void WorkQueue::Add(const Key& key) {
  std::lock_guard lock(mutex_);
  AddLocked(key);
}

void WorkQueue::AddAfterLocked(const Key& key, Duration delay) {
  if (shutdown_) return;
  if (delay <= Duration::zero()) return AddLocked(key);
  MonotonicTime due = SaturatingAdd(timing_->Now(), delay);
  auto [delayed, is_new] = delayed_.emplace(key, due);
  if (!is_new) {
    if (delayed->second <= due) return;
    due_.erase({delayed->second, key});
    delayed->second = due;
  }
  due_.emplace(due, key);
  // Whoever waits may have to wait shorter.
  wake_.notify_one();
}

void WorkQueue::AddAfter(const Key& key, Duration delay) {
  std::lock_guard lock(mutex_);
  if (delay >= kLongDelay) {
    const MonotonicTime now = timing_->Now();
    const Duration step = delay / 8;
    const Duration past = SaturatingAdd(now, delay).time_since_epoch() % step;
    if (past > Duration::zero()) delay += step - past;
  }
  AddAfterLocked(key, delay);
}

void WorkQueue::AddRateLimited(const Key& key) {
  std::lock_guard lock(mutex_);
  if (shutdown_) return;
  int failures = failures_[key]++;
  Duration delay = options_.retry_initial;
  for (int i = 0; i < failures && delay < options_.retry_cap; ++i) delay *= 2;
  delay = std::min(delay, options_.retry_cap);
  delay = std::max(delay, bucket_.Reserve(timing_->Now()));
  if (observer_ != nullptr) observer_->OnRetry();
  AddAfterLocked(key, delay);
}

void WorkQueue::Forget(const Key& key) {
  std::lock_guard lock(mutex_);
  failures_.erase(key);
}

int WorkQueue::Failures(const Key& key) const {
  std::lock_guard lock(mutex_);
  auto found = failures_.find(key);
  return found == failures_.end() ? 0 : found->second;
}

MonotonicTime WorkQueue::PromoteDueLocked(MonotonicTime now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    Key key = due_.begin()->second;
    AddLocked(key);  // takes it out of due_
  }
  return due_.empty() ? MonotonicTime::max() : due_.begin()->first;
}

std::optional<Key> WorkQueue::Get() {
  std::unique_lock lock(mutex_);
  while (true) {
    MonotonicTime next = PromoteDueLocked(timing_->Now());
    if (shutdown_) return std::nullopt;
    if (!queue_.empty()) break;
    timing_->WaitUntil(lock, wake_, next);
  }
  Key key = std::move(queue_.front());
  queue_.pop_front();
  auto dirty = dirty_.find(key);
  CHECK(dirty != dirty_.end());
  MonotonicTime now = timing_->Now();
  if (observer_ != nullptr) {
    observer_->OnDepth(queue_.size());
    observer_->OnStart(now - dirty->second);
  }
  dirty_.erase(dirty);
  processing_.emplace(key, now);
  // One wake-up may stand for several keys.
  if (!queue_.empty()) wake_.notify_one();
  return key;
}

void WorkQueue::Done(const Key& key) {
  std::lock_guard lock(mutex_);
  auto running = processing_.find(key);
  CHECK(running != processing_.end(), "Done for a key that was not handed out");
  if (observer_ != nullptr) observer_->OnDone(timing_->Now() - running->second);
  processing_.erase(running);
  if (!shutdown_ && dirty_.contains(key)) {
    queue_.push_back(key);
    if (observer_ != nullptr) observer_->OnDepth(queue_.size());
  }
  wake_.notify_all();
}

void WorkQueue::Shutdown() {
  std::lock_guard lock(mutex_);
  shutdown_ = true;
  queue_.clear();
  dirty_.clear();
  delayed_.clear();
  due_.clear();
  if (observer_ != nullptr) observer_->OnDepth(0);
  wake_.notify_all();
}

bool WorkQueue::AwaitIdle(Duration limit) {
  std::unique_lock lock(mutex_);
  MonotonicTime deadline = SaturatingAdd(timing_->Now(), limit);
  while (!processing_.empty() && timing_->Now() < deadline) {
    timing_->WaitUntil(lock, wake_, deadline);
  }
  return processing_.empty();
}

size_t WorkQueue::depth() const {
  std::lock_guard lock(mutex_);
  return queue_.size();
}

std::vector<Duration> WorkQueue::Running() const {
  std::lock_guard lock(mutex_);
  MonotonicTime now = timing_->Now();
  std::vector<Duration> out;
  for (const auto& [key, since] : processing_) out.push_back(now - since);
  return out;
}

}  // namespace raftkv::kube
