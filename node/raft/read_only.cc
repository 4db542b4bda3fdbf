#include "node/raft/read_only.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/mutations.h"

namespace raftkv::raft {
namespace {

constexpr size_t kCounterBytes = 8;

}  // namespace

void ReadOnly::Add(Index committed, ReadRequest request) {
  waiting_.push_back({std::move(request), committed});
}

void ReadOnly::Ack(NodeId voter, uint64_t counter) {
  if (counter == 0 || counter > Issued()) return;
  uint64_t& acked = acks_[voter];
  acked = MUTATION(any_ack_confirms_reads) ? Issued() : std::max(acked, counter);
}

std::vector<ReadOnly::Confirmed> ReadOnly::TakeConfirmed(const JointConfig& voters) {
  // Without voters everything counts as committed; there is no quorum that could have confirmed.
  const uint64_t confirmed = std::min(voters.CommittedIndex(*this).value, Issued());
  std::vector<Confirmed> taken;
  for (; confirmed_ < confirmed; ++confirmed_) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return taken;
}

std::optional<Index> ReadOnly::AckedIndex(NodeId voter) const {
  const auto it = acks_.find(voter);
  if (it == acks_.end()) return std::nullopt;
  return Index(it->second);
}

Buffer EncodeReadCounter(uint64_t counter) {
  if (counter == 0) return {};
  std::string bytes(kCounterBytes, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(counter & 0xff);
    counter >>= 8;
  }
  return Buffer(std::move(bytes));
}

uint64_t DecodeReadCounter(std::string_view bytes) {
  if (bytes.size() != kCounterBytes) return 0;
  uint64_t counter = 0;
  for (size_t i = kCounterBytes; i-- > 0;) {
    counter = counter << 8 | static_cast<uint8_t>(bytes[i]);
  }
  return counter;
}

}  // namespace raftkv::raft
