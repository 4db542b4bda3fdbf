// EventRecorder: events.k8s.io/v1 events that people see in `kubectl describe`.
//
// Record() never blocks and never fails: events wait in a bounded queue for one thread that sends
// them. What repeats becomes a series (one object, counted), what is many-voiced is combined, and
// what is too much is dropped and counted. Nothing depends on an event.
//
//   - the same event again within 6 minutes: its series is patched, at most once in 30 s while it
//     goes on, and once when it has ended
//   - 10 that differ in the note alone within 600 s: combined into one
//   - per object: 25 at once, then 1 in 300 s; of conditions, of which there are few, as many for
//     each reason, so that nothing else keeps one from being told; steps are bounded by themselves
//
// Thread-safety: every method from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "base/random.h"
#include "operator/kube/api.h"
#include "operator/kube/backoff.h"
#include "operator/kube/metrics.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

enum class EventKind {
  kAttempt,    // what was tried and refused, or failed: can come at any rate
  kCondition,  // a state that began
  kStep,       // what was done: each is told
};

struct EventNote {
  bool warning = false;
  std::string reason;  // why, CamelCase: "ScaledUp", "RefusedScaleDown"
  std::string action;  // what was done or tried, CamelCase: "AddLearner"
  std::string note;    // a sentence; cut at 1 KiB
  EventKind kind = EventKind::kAttempt;
};

struct EventOptions {
  std::string controller;  // "raftkv.dev/operator"
  std::string instance;    // the pod's name
  size_t max_queued = 1000;
  size_t max_series = 4096;  // remembered; the least recently used gives way
  Duration similar_window = std::chrono::seconds(600);
  int similar_limit = 10;
  double object_burst = 25;
  double object_per_second = 1.0 / 300;
  Duration series_window = std::chrono::minutes(6);
  Duration series_interval = std::chrono::seconds(30);
};

struct EventStats {
  uint64_t sent = 0;     // created or patched
  uint64_t dropped = 0;  // rate limit, queue full, or refused by the server; counts of series too
};

class EventRecorder {
 public:
  // `metrics`, which counts what is dropped, may be null.
  EventRecorder(Api* api, EventOptions options, Timing* timing, uint64_t seed,
                Metrics* metrics = nullptr);
  // Sends what waits for at most 2 s.
  ~EventRecorder();
  EventRecorder(const EventRecorder&) = delete;
  EventRecorder& operator=(const EventRecorder&) = delete;

  // About `regarding`, which has a name and should have a UID.
  void Record(const Object& regarding, const EventNote& note);
  // Waits until all that was recorded has been handled, but for counts of series that are not due;
  // false after `limit`.
  bool Flush(Duration limit);
  EventStats stats() const;

 private:
  // Events that are the same but for their time.
  struct Series {
    Key event;  // the object on the server; no name: not there yet
    int count = 0;
    bool unsent = false;  // count has grown since it was sent
    MonotonicTime last_seen;
    MonotonicTime last_sent;
    int64_t last_seen_wall = 0;
  };
  // Events that differ in their note alone.
  struct Similar {
    MonotonicTime last_seen;  // of the window's start
    std::set<std::string> notes;
  };
  struct Limit {
    TokenBucket bucket;
    MonotonicTime last_seen;
  };
  struct Waiting {
    std::string series;
    Object event;
  };

  void Run();
  void DropLocked(const Object& regarding, const EventNote& note, const char* why);
  void CountDroppedLocked();
  bool AllowedLocked(const std::string& limit_key, MonotonicTime now);
  std::string CombinedLocked(const std::string& similar_key, const std::string& note,
                             MonotonicTime now);
  Object MakeEventLocked(const Object& regarding, const EventNote& note);
  void CreateEvent(std::unique_lock<std::mutex>& lock);
  // Sends the count of one series that is due; false if none is.
  bool SendDueSeries(std::unique_lock<std::mutex>& lock);
  MonotonicTime NextDueLocked() const;
  bool MayGoOnLocked() const;

  Api* const api_;
  const EventOptions options_;
  Timing* const timing_;
  Metrics* const metrics_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  SeededRandom random_;
  std::deque<Waiting> queue_;
  std::map<std::string, Series> series_;
  std::map<std::string, Similar> similar_;
  std::map<std::string, Limit> limits_;
  EventStats stats_;
  bool busy_ = false;  // there is, or may be, something to send
  bool stopping_ = false;
  std::stop_source stop_;
  std::thread thread_;
};

}  // namespace raftkv::kube
