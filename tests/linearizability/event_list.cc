#include "tests/linearizability/event_list.h"

#include <algorithm>
#include <tuple>

namespace raftkv::linearizability {

EventList::EventList(std::span<const Interval> intervals, std::span<const size_t> ops)
    : intervals_(intervals), events_(2 * intervals.size()) {
  std::vector<std::tuple<int64_t, bool, size_t>> order;  // time, is an end, operation
  for (const size_t op : ops) {
    order.emplace_back(intervals[op].call, false, op);
    if (intervals[op].end != kNever) {
      order.emplace_back(intervals[op].end, true, op);
      ++ending_;
    }
  }
  std::ranges::sort(order);
  Event* last = &head_;
  for (const auto& [time, is_end, op] : order) {
    Event* event = &events_[2 * op + (is_end ? 1 : 0)];
    *event = {op, !is_end, last, nullptr};
    last->next = event;
    last = event;
  }
}

void EventList::TakeOut(size_t op) {
  for (Event* event : {&events_[2 * op], &events_[2 * op + 1]}) {
    if (event->previous == nullptr) continue;  // has no end
    event->previous->next = event->next;
    if (event->next != nullptr) event->next->previous = event->previous;
  }
  if (intervals_[op].end != kNever) --ending_;
}

void EventList::PutBack(size_t op) {
  for (Event* event : {&events_[2 * op + 1], &events_[2 * op]}) {
    if (event->previous == nullptr) continue;
    event->previous->next = event;
    if (event->next != nullptr) event->next->previous = event;
  }
  if (intervals_[op].end != kNever) ++ending_;
}

int64_t EventList::FirstEnd() const {
  const Event* event = head_.next;
  while (event != nullptr && event->is_call) event = event->next;
  return event == nullptr ? kNever : intervals_[event->op].end;
}

}  // namespace raftkv::linearizability
