#include "base/scheduling.h"

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "base/log.h"

namespace raftkv {
namespace {

constexpr Duration kPeriod = std::chrono::milliseconds(50);
constexpr Duration kNoProbes = std::chrono::hours(1);

bool SetPolicy(pid_t thread, int policy) {
  const sched_param none{};
  return sched_setscheduler(thread, policy, &none) == 0;
}

// The main thread stays patient: it is the probe.
void SetPolicyOfOthers(int policy) {
  const std::unique_ptr<DIR, int (*)(DIR*)> threads(opendir("/proc/self/task"), closedir);
  if (threads == nullptr) return;
  while (const dirent* entry = readdir(threads.get())) {
    const pid_t thread = std::atoi(entry->d_name);
    if (thread > 0 && thread != getpid()) SetPolicy(thread, policy);
  }
}

}  // namespace

bool CrowdGauge::Probe(Duration waited) {
  long_part_ += ((waited > kLong ? 1 : 0) - long_part_) / kProbes;
  crowded_ = long_part_ > (crowded_ ? kRoomy : kCrowded);
  return crowded_;
}

WakeupPolicy::WakeupPolicy()
    : active_(sched_getscheduler(0) == SCHED_OTHER && SetPolicy(0, SCHED_BATCH)) {}

WakeupPolicy::~WakeupPolicy() {
  if (active_) SetPolicy(0, SCHED_OTHER);
}

Duration WakeupPolicy::period() const { return active_ ? kPeriod : kNoProbes; }

void WakeupPolicy::Woke(Duration late) {
  if (!active_) return;
  const bool crowded = gauge_.Probe(late);
  if (crowded == crowded_) return;
  crowded_ = crowded;
  log::Debug(crowded ? "other programs keep the processors busy: threads do not wait for them"
                     : "processors are free: threads that are woken wait for one");
  SetPolicyOfOthers(crowded ? SCHED_OTHER : SCHED_BATCH);
}

}  // namespace raftkv
