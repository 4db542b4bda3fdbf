// Reflector: keeps a Cache the same as the server's objects, by one list and an endless watch.
//
// List: resourceVersion "0" first, pages of 500. Watch from the list's version with bookmarks, for
// a random 300 to 600 s, then again from the newest version seen: no list. Too old (410) or too new
// a version: list again, what is missing from it is deleted. Failures are repeated after 0.8 s x 2
// .. 30 s with jitter, for ever, one log line for each new trouble.
//
// Thread-safety: Run on one thread; status() from any.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/random.h"
#include "operator/kube/api.h"
#include "operator/kube/backoff.h"
#include "operator/kube/cache.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

struct ReflectorOptions {
  std::string ns;  // empty: every namespace
  std::string label_selector;
  std::string field_selector;
  int64_t page_size = 500;
  Duration watch_min = std::chrono::seconds(300);
  Duration watch_max = std::chrono::seconds(600);
  BackoffOptions backoff;
  Duration resync = std::chrono::hours(10);  // +- 10 %; zero: never
  // What of an object is kept: memory. Unset: all but metadata.managedFields.
  std::function<void(Object&)> transform;
};

struct ReflectorStats {
  uint64_t lists = 0;
  uint64_t watches = 0;
  uint64_t events = 0;
  uint64_t failures = 0;
  std::string last_error;  // empty: the last call went well
};

class Reflector {
 public:
  Reflector(Api* api, Cache* cache, ReflectorOptions options, Timing* timing, uint64_t seed);

  // Until `stop`.
  void Run(std::stop_token stop);
  ReflectorStats stats() const;

 private:
  // What to do after a call.
  enum class Next { kWatch, kList, kListNewest, kStop };

  Next ListAll(std::stop_token stop);
  Next WatchOnce(std::stop_token stop);
  ApiResult<ObjectList> ListPages(const std::string& version, std::stop_token stop);
  Next AfterFailedWatch(const ApiError& error, std::stop_token stop);
  // *full: the cache has no room.
  void OnEvent(WatchEvent event, Status* full);
  void Transform(Object& object) const;
  void ResyncIfDue();
  // Logs, counts and waits.
  void Failed(const char* what, const ApiError& error, std::stop_token stop);
  void Succeeded();

  Api* const api_;
  Cache* const cache_;
  const ReflectorOptions options_;
  Timing* const timing_;
  SeededRandom random_;
  Backoff backoff_;
  std::string version_;  // the newest seen; empty: none
  bool newest_ = false;  // the server does not serve version_: list its newest state
  int malformed_in_a_row_ = 0;
  MonotonicTime next_resync_;

  mutable std::mutex mutex_;
  ReflectorStats stats_;
};

}  // namespace raftkv::kube
