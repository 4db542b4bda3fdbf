#include "node/runtime/waiters.h"

#include <utility>

#include "base/check.h"

namespace raftkv::runtime {

void Waiter::Fail(const Status& status) {
  std::visit([&](auto& callback) { callback(Error(status)); }, done);
}

Status WaiterTable::Add(uint64_t request_id, Waiter& waiter) {
  std::lock_guard lock(mutex_);
  if (waiters_.size() >= max_count_) {
    return Status(Code::kResourceExhausted,
                  "too many requests wait for this node already; repeat later");
  }
  // One large value may always pass, or it could never.
  if (!waiters_.empty() && bytes_ + waiter.bytes > max_bytes_) {
    return Status(Code::kResourceExhausted,
                  "too many bytes wait to be written on this node already; repeat later");
  }
  bytes_ += waiter.bytes;
  const bool inserted = waiters_.emplace(request_id, std::move(waiter)).second;
  CHECK(inserted, "request ids must be unique");
  return Status::Ok();
}

std::optional<WaiterTable::Wanted> WaiterTable::Find(uint64_t request_id) const {
  std::lock_guard lock(mutex_);
  const auto it = waiters_.find(request_id);
  if (it == waiters_.end()) return std::nullopt;
  return Wanted{it->second.command, it->second.deadline};
}

std::optional<Waiter> WaiterTable::Take(uint64_t request_id) {
  std::lock_guard lock(mutex_);
  const auto it = waiters_.find(request_id);
  if (it == waiters_.end()) return std::nullopt;
  Waiter waiter = std::move(it->second);
  waiters_.erase(it);
  bytes_ -= waiter.bytes;
  return waiter;
}

std::vector<Waiter> WaiterTable::TakeExpired(MonotonicTime now) {
  std::vector<Waiter> expired;
  std::lock_guard lock(mutex_);
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (it->second.deadline > now) {
      ++it;
      continue;
    }
    bytes_ -= it->second.bytes;
    expired.push_back(std::move(it->second));
    it = waiters_.erase(it);
  }
  return expired;
}

std::vector<Waiter> WaiterTable::TakeAll() { return TakeExpired(MonotonicTime::max()); }

void WaiterTable::Complete(uint64_t member, std::vector<kv::ApplyResult>& results) {
  std::vector<std::pair<Waiter, kv::ApplyResult*>> answers;
  {
    std::lock_guard lock(mutex_);
    if (waiters_.empty()) return;
    for (kv::ApplyResult& result : results) {
      if (result.origin != member) continue;
      const auto it = waiters_.find(result.request_id);
      if (it == waiters_.end()) continue;
      bytes_ -= it->second.bytes;
      answers.emplace_back(std::move(it->second), &result);
      waiters_.erase(it);
    }
  }
  for (auto& [waiter, result] : answers) {
    if (auto* write = std::get_if<WriteCallback>(&waiter.done)) {
      CHECK(result->command.has_value(), "a write waits for a command entry");
      (*write)(std::move(*result->command));
    } else {
      CHECK(result->membership.has_value(), "a membership call waits for its own entry");
      std::get<MembershipCallback>(waiter.done)(std::move(*result->membership));
    }
  }
}

uint64_t WaiterTable::count() const {
  std::lock_guard lock(mutex_);
  return waiters_.size();
}

}  // namespace raftkv::runtime
