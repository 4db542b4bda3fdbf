// How long to wait before the next try, and how often a call may be made.
#pragma once

#include "base/clock.h"
#include "base/random.h"

namespace raftkv::kube {

// duration * (1 + uniform[0, factor)).
Duration Jitter(Duration duration, double factor, Random& random);

struct BackoffOptions {
  Duration initial = std::chrono::milliseconds(800);
  double factor = 2;
  Duration cap = std::chrono::seconds(30);         // before jitter
  double jitter = 1;                               // up to twice the delay
  Duration reset_after = std::chrono::minutes(2);  // without a failure: starts again
};

// The delays between attempts at one thing (client-go's reflector: 0.8 s, 1.6 s, ... 30 s).
//
// Thread-safety: none.
class Backoff {
 public:
  explicit Backoff(BackoffOptions options) : options_(options), next_(options.initial) {}
  // The delay after a failure at `now`.
  Duration Next(MonotonicTime now, Random& random);

 private:
  BackoffOptions options_;
  Duration next_;
  MonotonicTime last_ = MonotonicTime::min();
};

// A token bucket: `burst` calls at once, then `per_second` of them.
//
// Thread-safety: none.
class TokenBucket {
 public:
  // per_second <= 0: no limit.
  TokenBucket(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}
  // Takes a token; how long to wait until it may be used (zero: now).
  Duration Reserve(MonotonicTime now);
  // Takes a token if there is one.
  bool TryTake(MonotonicTime now);

 private:
  void Refill(MonotonicTime now);

  double per_second_;
  double burst_;
  double tokens_;  // negative: reserved ahead
  MonotonicTime last_ = MonotonicTime::min();
};

}  // namespace raftkv::kube
