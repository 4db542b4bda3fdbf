// CallTable: the calls to one peer that wait for a reply.
//
// Thread-safety: io thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <variant>

#include "base/clock.h"
#include "base/status.h"
#include "raftkv/v1/peer.pb.h"

namespace raftkv::transport {

using CallDone = std::function<void(Result<v1::PeerReply>)>;
using Refused = std::function<void(v1::PeerReply)>;

class CallTable {
 public:
  // All calls have the same timeout, so that they run out in the order they were made.
  explicit CallTable(Duration timeout) : timeout_(timeout) {}

  // The table is bounded: while it is full, what is oldest gives way (as if its time had run out).
  void MakeRoom();
  // Remembers a call whose bytes start at `position` of the stream; returns its id.
  uint64_t Add(uint64_t position, std::variant<CallDone, Refused> waiter, MonotonicTime now);
  // Undoes the Add just made: returns the waiter.
  std::variant<CallDone, Refused> TakeBack();
  // Hands a reply to whoever waits; unknown ids (too late) are ignored.
  void OnReply(v1::PeerReply reply);
  // The connection broke; bytes from `handed_over` on have surely not left.
  void OnBroken(uint64_t handed_over);
  void Expire(MonotonicTime now);
  // When the oldest call runs out. Not empty() only.
  MonotonicTime next_deadline() const { return calls_.front().deadline; }
  bool empty() const { return calls_.empty(); }
  // Forgets all; nobody is called.
  void Clear() { calls_.clear(); }

 private:
  struct Pending {
    uint64_t position;
    MonotonicTime deadline;
    std::variant<std::monostate, CallDone, Refused> waiter;  // monostate: answered
  };
  using Waiter = decltype(Pending::waiter);

  static void Fail(Waiter waiter, bool left, const char* why);
  void DropAnswered();

  const Duration timeout_;
  uint64_t first_id_ = 1;  // of calls_.front()
  std::deque<Pending> calls_;
};

// Answers a call that did not leave.
void FailCall(std::variant<CallDone, Refused> waiter, const char* why);
// A reply that says why not.
v1::PeerReply RefusalReply(Code code, std::string message);

}  // namespace raftkv::transport
