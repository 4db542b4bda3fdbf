// Election: one of several processes holds a coordination.k8s.io Lease and works.
//
// 15 s lease, renewed every 2 s, given up 10 s after the last good renewal was sent, whatever hangs
// meanwhile: one deadline goes over all that a renewal does. Another's lease has expired
// when *we* have not seen it change for its duration by our own monotonic clock: dates in the
// object are for people. A Lease is no fence for other systems; for this process it is: MayWrite()
// is false from the moment when another could have taken the lease, even if this thread was stopped
// in between (RestOptions' fence).
//
// Thread-safety: every method from any thread; Run on one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/random.h"
#include "operator/kube/api.h"
#include "operator/kube/rest_client.h"
#include "operator/kube/timing.h"

namespace raftkv::kube {

struct ElectionOptions {
  Key lease;
  std::string identity;  // unique per process: host name and a random part
  Duration lease_duration = std::chrono::seconds(15);
  Duration renew_deadline = std::chrono::seconds(10);
  Duration retry_period = std::chrono::seconds(2);
  double retry_jitter = 1.2;

  // kInvalidArgument unless lease_duration > renew_deadline > retry_jitter * retry_period > 0 and
  // lease_duration is at least a second.
  Status Check() const;
};

class Election final : public WriteFence {
 public:
  enum class End { kLost, kStopped };

  // `api` must not be fenced by this election.
  Election(Api* api, ElectionOptions options, Timing* timing, uint64_t seed);

  // Waits for the lease, calls `on_elected` once, holds the lease. Returns when it is lost (the
  // process should exit) or after `stop`, with the lease released: call `stop` when all work has
  // ended.
  End Run(const std::function<void()>& on_elected, std::stop_token stop);

  bool IsLeader() const { return leader_.load(); }
  // Until lease_duration after the last successful renewal was sent.
  bool MayWrite() const override;
  // spec.leaseTransitions as we last wrote it: grows with every change of the holder, and so orders
  // their terms of office.
  uint64_t transitions() const { return transitions_.load(); }
  // The next renewal writes at least this: for a Lease that was deleted and made anew, or another
  // one than before, whose count would order its holder before its predecessors.
  void RaiseTransitions(uint64_t transitions) { least_transitions_ = transitions; }
  // Who holds the lease as far as we know; empty: nobody.
  std::string holder() const;

 private:
  struct Seen {
    std::string spec;  // as text: any change is a sign of life
    MonotonicTime at;
  };

  enum class Outcome {
    kHeld,    // ours, just written
    kFailed,  // no answer, or another was faster
    kOthers,  // another holds it
  };

  bool Acquire(std::stop_token stop);
  End Hold(std::stop_token stop);
  // No call goes on beyond `deadline`.
  Outcome TryAcquireOrRenew(MonotonicTime deadline, const std::stop_token& stop);
  Outcome Write(Object lease, const CallLimits& limits);
  CallLimits Until(MonotonicTime deadline, const std::stop_token& stop) const;
  // Of the last good renewal.
  MonotonicTime RenewDeadline() const;
  bool HeldByAnother(const Object& lease);
  // `lease` with us as its holder.
  Object Claim(Object lease, bool renewal) const;
  void Release();
  // The error to give up on; none: somebody else's, or done.
  std::optional<ApiError> ReleaseOnce(MonotonicTime deadline);
  void SetHolder(std::string holder);

  Api* const api_;
  const ElectionOptions options_;
  Timing* const timing_;
  SeededRandom random_;
  std::optional<Seen> seen_;
  std::optional<Object> lease_;  // as we wrote it last, while we lead
  std::atomic<bool> leader_{false};
  std::atomic<uint64_t> transitions_{0};
  std::atomic<uint64_t> least_transitions_{0};
  std::atomic<int64_t> renewed_ns_{INT64_MIN};  // when the last good renewal was sent

  mutable std::mutex mutex_;
  std::string holder_;
};

}  // namespace raftkv::kube
