#include "tests/simulation/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace raftkv::sim {

void Scheduler::At(SimTime time, Event event) {
  CHECK(time >= now_, "nothing happens in the past");
  heap_.push_back({time, sequence_++, std::move(event)});
  std::push_heap(heap_.begin(), heap_.end(), Later);
}

bool Scheduler::RunOne(SimTime end) {
  if (heap_.empty() || heap_.front().time > end) {
    now_ = end;
    return false;
  }
  std::pop_heap(heap_.begin(), heap_.end(), Later);
  Item item = std::move(heap_.back());
  heap_.pop_back();
  now_ = item.time;
  ++events_;
  Trace(static_cast<uint64_t>(now_.count()));
  item.event();
  return true;
}

}  // namespace raftkv::sim
