// The network of a simulation: which host reaches which, and when what is sent arrives.
//
// Thread-safety: none.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "base/random.h"
#include "tests/simulation/scheduler.h"

namespace raftkv::sim {

// What the links do to raft messages. Calls and snapshots have streams of their own, which lose
// nothing while they live.
struct LinkProfile {
  uint64_t loss_percent = 0;
  uint64_t duplicate_percent = 0;
  uint64_t reorder_percent = 0;
  Duration delay_min = std::chrono::microseconds(100);
  Duration delay_spread = std::chrono::microseconds(500);
};

class Network {
 public:
  Network(Scheduler* scheduler, size_t hosts, uint64_t seed)
      : scheduler_(scheduler), random_(seed), hosts_(hosts), links_(hosts * hosts) {}

  void SetProfile(const LinkProfile& profile) { profile_ = profile; }
  const LinkProfile& profile() const { return profile_; }

  // Nothing sent from one to the other arrives until healed; cuts add up.
  void Cut(size_t from, size_t to) { ++link(from, to).cuts; }
  void Mend(size_t from, size_t to) {
    if (link(from, to).cuts > 0) --link(from, to).cuts;
  }
  // What is sent before `until` arrives after it.
  void Clog(size_t from, size_t to, SimTime until) { link(from, to).clogged_until = until; }
  // What was sent into a link that was clogged still arrives when it would have, and what is sent
  // now behind it.
  void HealAll();
  // When all that was sent on streams until now is there.
  SimTime LastArrival() const;

  bool Reaches(size_t from, size_t to) const { return links_[from * hosts_ + to].cuts == 0; }
  bool Connects(size_t a, size_t b) const { return Reaches(a, b) && Reaches(b, a); }

  // When something sent now on a stream arrives: after everything sent there before.
  SimTime ArrivalInOrder(size_t from, size_t to);
  // When it arrives if it does not keep to the order.
  SimTime ArrivalOutOfOrder(size_t from, size_t to);

  bool Percent(uint64_t percent) { return percent > 0 && random_.Uniform(100) < percent; }

 private:
  struct Link {
    int cuts = 0;
    SimTime clogged_until{0};
    SimTime last_arrival{0};
  };
  Link& link(size_t from, size_t to) { return links_[from * hosts_ + to]; }
  Duration Delay();

  Scheduler* const scheduler_;
  SeededRandom random_;
  const size_t hosts_;
  LinkProfile profile_;
  std::vector<Link> links_;
};

}  // namespace raftkv::sim
