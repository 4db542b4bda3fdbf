#include "node/transport/call_table.h"

#include <utility>

namespace raftkv::transport {
namespace {

constexpr size_t kMaxPending = 1 << 17;

}  // namespace

v1::PeerReply RefusalReply(Code code, std::string message) {
  v1::PeerReply reply;
  reply.set_code(static_cast<uint32_t>(code));
  reply.set_message(std::move(message));
  return reply;
}

void FailCall(std::variant<CallDone, Refused> waiter, const char* why) {
  if (const auto* done = std::get_if<CallDone>(&waiter)) {
    (*done)(Error(Code::kUnavailable, why));
  } else {
    std::get<Refused>(waiter)(RefusalReply(Code::kUnavailable, why));
  }
}

void CallTable::MakeRoom() {
  while (calls_.size() >= kMaxPending) {
    Waiter oldest = std::move(calls_.front().waiter);
    calls_.pop_front();
    ++first_id_;
    Fail(std::move(oldest), true, "too many calls wait for their replies");
  }
}

uint64_t CallTable::Add(uint64_t position, std::variant<CallDone, Refused> waiter,
                        MonotonicTime now) {
  const uint64_t id = first_id_ + calls_.size();
  Pending& call = calls_.emplace_back(Pending{position, now + timeout_, {}});
  if (auto* done = std::get_if<CallDone>(&waiter)) {
    call.waiter = std::move(*done);
  } else {
    call.waiter = std::move(std::get<Refused>(waiter));
  }
  return id;
}

std::variant<CallDone, Refused> CallTable::TakeBack() {
  Waiter waiter = std::move(calls_.back().waiter);
  calls_.pop_back();
  if (auto* done = std::get_if<CallDone>(&waiter)) return std::move(*done);
  return std::move(std::get<Refused>(waiter));
}

void CallTable::OnReply(v1::PeerReply reply) {
  if (reply.id() < first_id_ || reply.id() - first_id_ >= calls_.size()) return;
  const Waiter waiter = std::exchange(calls_[reply.id() - first_id_].waiter, std::monostate());
  DropAnswered();
  if (const auto* done = std::get_if<CallDone>(&waiter)) {
    (*done)(std::move(reply));
  } else if (const auto* refused = std::get_if<Refused>(&waiter)) {
    (*refused)(std::move(reply));
  }
}

void CallTable::OnBroken(uint64_t handed_over) {
  std::deque<Pending> broken = std::exchange(calls_, {});
  first_id_ += broken.size();
  for (Pending& call : broken) {
    Fail(std::move(call.waiter), call.position < handed_over, "the connection to the peer broke");
  }
}

void CallTable::Expire(MonotonicTime now) {
  while (!calls_.empty() && calls_.front().deadline <= now) {
    Waiter waiter = std::move(calls_.front().waiter);
    calls_.pop_front();
    ++first_id_;
    Fail(std::move(waiter), true, "the peer did not reply in time");
  }
}

void CallTable::Fail(Waiter waiter, bool left, const char* why) {
  if (const auto* done = std::get_if<CallDone>(&waiter)) {
    (*done)(Error(left ? Code::kUnknownOutcome : Code::kUnavailable, why));
  } else if (const auto* refused = std::get_if<Refused>(&waiter); refused != nullptr && !left) {
    // Only what surely did not arrive may be called refused.
    (*refused)(RefusalReply(Code::kUnavailable, why));
  }
}

void CallTable::DropAnswered() {
  while (!calls_.empty() && std::holds_alternative<std::monostate>(calls_.front().waiter)) {
    calls_.pop_front();
    ++first_id_;
  }
}

}  // namespace raftkv::transport
