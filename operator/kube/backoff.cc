#include "operator/kube/backoff.h"

#include <algorithm>

namespace raftkv::kube {
namespace {

double UniformUnit(Random& random) { return static_cast<double>(random.Next() >> 11) * 0x1.0p-53; }

Duration Scale(Duration duration, double factor) {
  return Duration(static_cast<int64_t>(static_cast<double>(duration.count()) * factor));
}

}  // namespace

Duration Jitter(Duration duration, double factor, Random& random) {
  return duration + Scale(duration, factor * UniformUnit(random));
}

Duration Backoff::Next(MonotonicTime now, Random& random) {
  if (last_ != MonotonicTime::min() && now - last_ > options_.reset_after) {
    next_ = options_.initial;
  }
  last_ = now;
  Duration delay = std::min(next_, options_.cap);
  next_ = std::min(Scale(next_, options_.factor), options_.cap);
  return Jitter(delay, options_.jitter, random);
}

void TokenBucket::Refill(MonotonicTime now) {
  if (last_ != MonotonicTime::min() && now > last_) {
    double seconds = std::chrono::duration<double>(now - last_).count();
    tokens_ = std::min(burst_, tokens_ + seconds * per_second_);
  }
  last_ = now;
}

Duration TokenBucket::Reserve(MonotonicTime now) {
  if (per_second_ <= 0) return Duration::zero();
  Refill(now);
  tokens_ -= 1;
  if (tokens_ >= 0) return Duration::zero();
  return Duration(static_cast<int64_t>(-tokens_ / per_second_ * 1e9));
}

bool TokenBucket::TryTake(MonotonicTime now) {
  if (per_second_ <= 0) return true;
  Refill(now);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

}  // namespace raftkv::kube
