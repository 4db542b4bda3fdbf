// WorkQueue: keys that wait to be reconciled. A key waits once however often it is added, and no
// two workers ever have the same key: one that is added while it is worked on comes again when it
// is done (client-go's semantics).
//
// Bounded by the number of different keys, which the cache bounds.
//
// Thread-safety: every method from any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "operator/kube/backoff.h"
#include "operator/kube/resource.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

// Told of what happens, under the queue's lock (metrics.h).
class WorkQueueObserver {
 public:
  virtual ~WorkQueueObserver() = default;
  virtual void OnDepth(size_t depth) = 0;
  virtual void OnAdd() = 0;
  virtual void OnRetry() = 0;
  virtual void OnStart(Duration waited) = 0;
  virtual void OnDone(Duration worked) = 0;
};

struct WorkQueueOptions {
  Duration retry_initial = std::chrono::milliseconds(5);  // times 2 with each failure of a key
  Duration retry_cap = std::chrono::seconds(1000);
  double retries_per_second = 10;  // of all keys together, beyond retry_burst; 0: no limit
  double retry_burst = 100;
};

class WorkQueue {
 public:
  static constexpr Duration kLongDelay = std::chrono::seconds(10);

  WorkQueue(WorkQueueOptions options, Timing* timing, WorkQueueObserver* observer = nullptr);

  void Add(const Key& key);
  // Not before `delay` has passed; the earliest of several counts. A delay of kLongDelay or more
  // may take an eighth longer, so that many keys come together: a process that is woken for each of
  // them takes twice the processor's time.
  void AddAfter(const Key& key, Duration delay);
  // After a failure: 5 ms x 2^(failures so far), at most 1000 s.
  void AddRateLimited(const Key& key);
  // Success: the key's failures are forgotten.
  void Forget(const Key& key);
  int Failures(const Key& key) const;

  // The next key; the caller must call Done. nullopt after Shutdown, when nothing is left.
  std::optional<Key> Get();
  void Done(const Key& key);

  // What waits is dropped and no Get waits any more.
  void Shutdown();
  // Waits until every key that was handed out is done; false if `limit` comes first.
  bool AwaitIdle(Duration limit);

  size_t depth() const;
  // For the gauges of unfinished work: seconds since the start of what is worked on.
  std::vector<Duration> Running() const;

 private:
  void AddLocked(const Key& key);
  void AddAfterLocked(const Key& key, Duration delay);
  // Moves what is due to the queue; when the next is due.
  MonotonicTime PromoteDueLocked(MonotonicTime now);

  const WorkQueueOptions options_;
  Timing* const timing_;
  WorkQueueObserver* const observer_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Key> queue_;
  std::map<Key, MonotonicTime> dirty_;       // in queue_, or to be when done; since when
  std::map<Key, MonotonicTime> processing_;  // handed out; since when
  std::map<Key, MonotonicTime> delayed_;
  std::set<std::pair<MonotonicTime, Key>> due_;  // delayed_ by time
  std::map<Key, int> failures_;
  TokenBucket bucket_;
  bool shutdown_ = false;
};

}  // namespace raftkv::kube
