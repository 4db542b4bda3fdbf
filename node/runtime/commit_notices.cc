#include "node/runtime/commit_notices.h"

#include <algorithm>
#include <utility>

namespace raftkv::runtime {

std::vector<raft::Message> CommitNotices::Filter(std::vector<raft::Message> messages,
                                                 raft::Index awaited_by_all, MonotonicTime now) {
  std::vector<raft::Message> out;
  out.reserve(messages.size());
  for (raft::Message& message : messages) {
    if (message.Is<raft::AppendEntries>()) {
      const auto& append = message.As<raft::AppendEntries>();
      Member& member = members_[message.to];
      if (append.entries.empty()) {
        if (!member.held) member.held_since = now;
        member.held = std::move(message);
        continue;
      }
      member.held.reset();
      member.told = append.commit;
    } else if (message.Is<raft::ReadIndexResponse>()) {
      // Its reads wait for what the notice says is committed.
      if (const auto it = members_.find(message.to); it != members_.end()) {
        it->second.awaited =
            std::max(it->second.awaited, message.As<raft::ReadIndexResponse>().index);
      }
    }
    out.push_back(std::move(message));
  }
  for (auto& [id, member] : members_) {
    if (!member.held || std::max(member.awaited, awaited_by_all) <= member.told) continue;
    member.told = member.held->As<raft::AppendEntries>().commit;
    out.push_back(std::move(*std::exchange(member.held, std::nullopt)));
  }
  return out;
}

std::vector<raft::Message> CommitNotices::TakeDue(MonotonicTime now) {
  std::vector<raft::Message> due;
  for (auto& [id, member] : members_) {
    if (!member.held || now - member.held_since < kLongestWait) continue;
    member.told = member.held->As<raft::AppendEntries>().commit;
    due.push_back(std::move(*std::exchange(member.held, std::nullopt)));
  }
  return due;
}

std::optional<MonotonicTime> CommitNotices::next_due() const {
  std::optional<MonotonicTime> next;
  for (const auto& [id, member] : members_) {
    if (!member.held) continue;
    const MonotonicTime due = member.held_since + kLongestWait;
    if (!next || due < *next) next = due;
  }
  return next;
}

void CommitNotices::Await(raft::NodeId member, raft::Index index) {
  Member& entry = members_[member];
  entry.awaited = std::max(entry.awaited, index);
}

void CommitNotices::Clear() { members_.clear(); }

}  // namespace raftkv::runtime
