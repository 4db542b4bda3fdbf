// Waiters: the requests of this node that wait for their entry to be applied. The apply thread
// answers them by itself: a result does not have to pass through the raft thread.
//
// Thread-safety: every method may be called from any thread; callbacks run without a lock held.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/buffer.h"
#include "base/clock.h"
#include "node/kv/state_machine.h"
#include "node/runtime/node.h"

namespace raftkv::runtime {

using MembershipCallback = Callback<kv::MembershipResult>;

// One request: answered exactly once, by whoever takes it out of the table.
struct Waiter {
  MonotonicTime deadline;
  uint64_t bytes = 0;
  std::variant<WriteCallback, MembershipCallback> done;
  Buffer command;  // of a write: what is proposed again when the leader refuses it

  void Fail(const Status& status);
};

class WaiterTable {
 public:
  // Bounds of what may wait at the same time.
  WaiterTable(uint64_t max_count, uint64_t max_bytes)
      : max_count_(max_count), max_bytes_(max_bytes) {}

  // Takes `waiter` over if ok; kResourceExhausted when full, and `waiter` stays the caller's. Ids
  // are unique for the lifetime of the process.
  Status Add(uint64_t request_id, Waiter& waiter);
  // What a write wants, if nobody has answered it yet.
  struct Wanted {
    Buffer command;
    MonotonicTime deadline;
  };
  std::optional<Wanted> Find(uint64_t request_id) const;
  // Whoever gets the waiter answers it; nullopt if somebody else did.
  std::optional<Waiter> Take(uint64_t request_id);
  std::vector<Waiter> TakeExpired(MonotonicTime now);
  std::vector<Waiter> TakeAll();

  // Answers everyone whose entry is among `results` (entries that `member` proposed).
  void Complete(uint64_t member, std::vector<kv::ApplyResult>& results);

  uint64_t count() const;

 private:
  const uint64_t max_count_;
  const uint64_t max_bytes_;
  mutable std::mutex mutex_;
  uint64_t bytes_ = 0;
  std::unordered_map<uint64_t, Waiter> waiters_;
};

}  // namespace raftkv::runtime
