#include "operator/kube/election.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "operator/kube/backoff.h"

namespace raftkv::kube {
namespace {

constexpr int64_t kMaxLeaseSeconds = 3600;  // of another's lease: nobody means more

int64_t Seconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

}  // namespace

Status ElectionOptions::Check() const {
  double longest_retry = static_cast<double>(retry_period.count()) * retry_jitter;
  bool ok = lease_duration > renew_deadline && retry_period > Duration::zero() &&
            static_cast<double>(renew_deadline.count()) > longest_retry && retry_jitter >= 1 &&
            lease_duration >= std::chrono::seconds(1);
  if (!ok) {
    return {Code::kInvalidArgument,
            "leader election needs lease duration > renew deadline > 1.2 x retry period > 0, and a "
            "lease duration of a second or more"};
  }
  if (lease.name.empty() || lease.ns.empty() || identity.empty()) {
    return {Code::kInvalidArgument,
            "leader election needs a lease's namespace and name, and an "
            "identity of this process"};
  }
  return Status::Ok();
}

Election::Election(Api* api, ElectionOptions options, Timing* timing, uint64_t seed)
    : api_(api), options_(std::move(options)), timing_(timing), random_(seed) {
  Status checked = options_.Check();
  CHECK(checked.ok(), checked.message());
}

Election::End Election::Run(const std::function<void()>& on_elected, std::stop_token stop) {
  if (!Acquire(stop)) return End::kStopped;
  log::Info("elected", {{"lease", options_.lease.ToString()}, {"identity", options_.identity}});
  on_elected();
  End end = Hold(stop);
  leader_ = false;
  if (end == End::kStopped) Release();
  return end;
}

bool Election::Acquire(std::stop_token stop) {
  while (!stop.stop_requested()) {
    MonotonicTime deadline = timing_->Now() + options_.renew_deadline;
    if (TryAcquireOrRenew(deadline, stop) == Outcome::kHeld) return true;
    timing_->Sleep(Jitter(options_.retry_period, options_.retry_jitter, random_), stop);
  }
  return false;
}

Election::End Election::Hold(std::stop_token stop) {
  while (timing_->Sleep(std::min(options_.retry_period, RenewDeadline() - timing_->Now()), stop)) {
    MonotonicTime deadline = RenewDeadline();
    Outcome outcome =
        timing_->Now() < deadline ? TryAcquireOrRenew(deadline, stop) : Outcome::kFailed;
    if (outcome == Outcome::kHeld) continue;
    bool too_late = timing_->Now() >= deadline;
    if (outcome == Outcome::kFailed && !too_late) continue;
    log::Error("lease lost, this process must end",
               {{"lease", options_.lease.ToString()},
                {"holder", holder()},
                {"reason", too_late ? "not renewed in time" : "another took it"}});
    return End::kLost;
  }
  return End::kStopped;
}

MonotonicTime Election::RenewDeadline() const {
  return MonotonicTime(Duration(renewed_ns_.load())) + options_.renew_deadline;
}

CallLimits Election::Until(MonotonicTime deadline, const std::stop_token& stop) const {
  return {.timeout = std::max(deadline - timing_->Now(), Duration::zero()), .stop = stop};
}

bool Election::MayWrite() const {
  if (!leader_) return false;
  int64_t now = timing_->Now().time_since_epoch().count();
  return now < renewed_ns_.load() + options_.lease_duration.count();
}

std::string Election::holder() const {
  std::lock_guard lock(mutex_);
  return holder_;
}

void Election::SetHolder(std::string holder) {
  std::lock_guard lock(mutex_);
  if (holder_ != holder) {
    log::Info("lease holder", {{"lease", options_.lease.ToString()}, {"holder", holder}});
  }
  holder_ = std::move(holder);
}

Election::Outcome Election::TryAcquireOrRenew(MonotonicTime deadline, const std::stop_token& stop) {
  // Nobody should have written since we did: no read needed.
  if (leader_ && lease_) {
    Outcome outcome = Write(Claim(*lease_, true), Until(deadline, stop));
    if (outcome == Outcome::kHeld || timing_->Now() >= deadline) return outcome;
  }
  auto live = api_->Get(resources::kLeases, options_.lease, Until(deadline, stop));
  if (!live && !live.error().Is(Reason::kNotFound)) {
    if (!live.error().Is(Reason::kStopped)) {
      log::Warning("cannot read the lease", {{"error", live.error().ToString()}});
    }
    return Outcome::kFailed;
  }
  if (!live) {
    return Write(Claim(Object(resources::kLeases, options_.lease), false), Until(deadline, stop));
  }
  if (HeldByAnother(*live)) return Outcome::kOthers;
  bool ours = live->String("/spec/holderIdentity") == options_.identity;
  return Write(Claim(std::move(*live), ours), Until(deadline, stop));
}

bool Election::HeldByAnother(const Object& lease) {
  MonotonicTime now = timing_->Now();
  std::string holder(lease.String("/spec/holderIdentity"));
  // Any write by the holder is a sign of life, whatever its clock says.
  std::string spec = lease.At("/spec").dump() + std::string(lease.resource_version());
  if (!seen_ || seen_->spec != spec) seen_ = {.spec = std::move(spec), .at = now};
  SetHolder(holder);
  if (holder.empty() || holder == options_.identity) return false;
  int64_t seconds = std::clamp<int64_t>(
      lease.Int("/spec/leaseDurationSeconds").value_or(Seconds(options_.lease_duration)), 1,
      kMaxLeaseSeconds);
  return now - seen_->at < std::chrono::seconds(seconds);
}

Object Election::Claim(Object lease, bool renewal) const {
  std::string now = FormatMicroTime(timing_->WallMicros());
  bool is_new = lease.resource_version().empty();
  int64_t transitions = lease.Int("/spec/leaseTransitions").value_or(0);
  lease.Set("/spec/holderIdentity", options_.identity);
  lease.Set("/spec/leaseDurationSeconds", Seconds(options_.lease_duration));
  lease.Set("/spec/renewTime", now);
  if (!renewal) {
    lease.Set("/spec/acquireTime", now);
    lease.Set("/spec/leaseTransitions", is_new ? 0 : transitions + 1);
  } else if (auto least = static_cast<int64_t>(least_transitions_.load()); transitions < least) {
    lease.Set("/spec/leaseTransitions", least);
  }
  return lease;
}

Election::Outcome Election::Write(Object lease, const CallLimits& limits) {
  MonotonicTime sent = timing_->Now();
  bool is_new = lease.resource_version().empty();
  auto written = is_new ? api_->Create(resources::kLeases, lease, limits)
                        : api_->Update(resources::kLeases, lease, {}, limits);
  if (!written) {
    lease_.reset();
    if (!written.error().Is(Reason::kStopped)) {
      log::Warning("cannot write the lease", {{"error", written.error().ToString()}});
    }
    return Outcome::kFailed;
  }
  lease_ = std::move(*written);
  transitions_ = static_cast<uint64_t>(lease_->Int("/spec/leaseTransitions").value_or(0));
  renewed_ns_ = sent.time_since_epoch().count();
  leader_ = true;
  SetHolder(options_.identity);
  return Outcome::kHeld;
}

void Election::Release() {
  MonotonicTime deadline = timing_->Now() + options_.renew_deadline / 2;
  auto failed = ReleaseOnce(deadline);
  // A renewal that was cut short may arrive after all, and first.
  if (failed && failed->Is(Reason::kConflict)) failed = ReleaseOnce(deadline);
  if (failed) {
    log::Warning("lease not released, it will expire", {{"error", failed->ToString()}});
  }
}

std::optional<ApiError> Election::ReleaseOnce(MonotonicTime deadline) {
  if (!lease_) {
    auto live = api_->Get(resources::kLeases, options_.lease, Until(deadline, {}));
    if (!live) return live.error();
    if (live->String("/spec/holderIdentity") != options_.identity) return std::nullopt;
    lease_ = std::move(*live);
  }
  std::string now = FormatMicroTime(timing_->WallMicros());
  Object lease = *std::exchange(lease_, std::nullopt);
  lease.Set("/spec/holderIdentity", "");
  lease.Set("/spec/leaseDurationSeconds", 1);
  lease.Set("/spec/renewTime", now);
  lease.Set("/spec/acquireTime", now);
  auto released = api_->Update(resources::kLeases, lease, {}, Until(deadline, {}));
  if (!released) return released.error();
  log::Info("lease released", {{"lease", options_.lease.ToString()}});
  SetHolder("");
  return std::nullopt;
}

}  // namespace raftkv::kube
