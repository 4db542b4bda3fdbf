// The calls and ends of operations in the order of their times, from which operations can be taken
// out and put back in reverse order (Lowe's doubly linked list).
//
// At equal times calls come before ends, so that the operations overlap.
//
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/linearizability/search.h"

namespace raftkv::linearizability {

class EventList {
 public:
  struct Event {
    size_t op = 0;
    bool is_call = false;
    Event* previous = nullptr;
    Event* next = nullptr;  // null: the last one
  };

  // Takes the operations `ops` of `intervals`; those that never end have a call alone.
  EventList(std::span<const Interval> intervals, std::span<const size_t> ops);

  Event* first() { return head_.next; }
  Event* call_of(size_t op) { return &events_[2 * op]; }

  void TakeOut(size_t op);
  void PutBack(size_t op);  // the operation that was taken out last

  // How many operations that end are in the list.
  size_t ending() const { return ending_; }
  // The end of the first operation that ends: whatever has not been called by then comes after it.
  int64_t FirstEnd() const;

 private:
  std::span<const Interval> intervals_;
  std::vector<Event> events_;  // two for each interval: call, end
  Event head_;
  size_t ending_ = 0;
};

}  // namespace raftkv::linearizability
