#include "tests/simulation/network.h"

#include <algorithm>

namespace raftkv::sim {

void Network::HealAll() {
  for (Link& link : links_) {
    link.cuts = 0;
    link.clogged_until = SimTime(0);
  }
  profile_ = {};
}

SimTime Network::LastArrival() const {
  return std::ranges::max(links_, {}, &Link::last_arrival).last_arrival;
}

Duration Network::Delay() {
  return profile_.delay_min +
         Duration(random_.Uniform(static_cast<uint64_t>(profile_.delay_spread.count()) + 1));
}

SimTime Network::ArrivalInOrder(size_t from, size_t to) {
  Link& on = link(from, to);
  const SimTime start = std::max(scheduler_->now(), on.clogged_until);
  on.last_arrival = std::max(on.last_arrival, start + Delay());
  return on.last_arrival;
}

SimTime Network::ArrivalOutOfOrder(size_t from, size_t to) {
  const SimTime start = std::max(scheduler_->now(), link(from, to).clogged_until);
  // Much later than its successors, sometimes.
  const uint64_t factor = random_.Uniform(8) == 0 ? 1000 : 4;
  return start + Delay() * factor;
}

}  // namespace raftkv::sim
