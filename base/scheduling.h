// How the threads of this process share the processors, among themselves and with other programs.
//
// A command passes through half a dozen threads of each member. With Linux's usual policy a thread
// that is woken puts aside the one that runs, often the one that has woken it and has not finished
// its turn: on few processors that is a third of all context switches. Under SCHED_BATCH a thread
// that is woken waits until a processor is free. That is soon where threads of a store run one
// after the other, each for some 50 us; but where other programs compute, it is a slice of several
// milliseconds, at each hand-over. So that is measured: while the processors are crowded, the usual
// policy is used.
//
// Thread-safety: none; the main thread's.
#pragma once

#include "base/clock.h"

namespace raftkv {

// The rule alone.
class CrowdGauge {
 public:
  // Whoever waits longer for a processor waits for somebody who computes.
  static constexpr Duration kLong = std::chrono::milliseconds(1);
  // Parts of the last probes that waited long: from which on it is crowded, and when no more.
  static constexpr double kCrowded = 0.15;
  static constexpr double kRoomy = 0.08;
  // The average goes over about so many probes.
  static constexpr double kProbes = 64;

  // A patient thread had to wait so long for a processor. Returns whether it is crowded.
  bool Probe(Duration waited);

 private:
  double long_part_ = 0;
  bool crowded_ = false;
};

// Sets the policy of all threads of this process.
class WakeupPolicy {
 public:
  // Makes the main thread patient, and those that it starts from now on. Does nothing, now and
  // later, if the process was started with another policy than the usual one, or the kernel
  // refuses.
  WakeupPolicy();
  ~WakeupPolicy();  // the main thread's is the usual one again
  WakeupPolicy(const WakeupPolicy&) = delete;
  WakeupPolicy& operator=(const WakeupPolicy&) = delete;

  // How long the main thread should sleep at a time, to see when it gets a processor.
  Duration period() const;
  // It slept for period(), and `late` longer.
  void Woke(Duration late);

 private:
  const bool active_;
  bool crowded_ = false;
  CrowdGauge gauge_;
};

}  // namespace raftkv
