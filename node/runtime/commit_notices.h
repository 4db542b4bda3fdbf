// CommitNotices: when a follower is told that the leader's commit index moved. The core tells it at
// once, by an append without entries; mostly an append with entries follows within a fraction of a
// millisecond and says the same. Such an append without entries waits a moment, unless a client of
// that follower waits for it: with one client this halves the messages of a write, with many the
// next batch carries the commit.
//
// Whatever is held back may be dropped in favour of a later append to the same member: to the core
// that is a lost message (docs/design/write-path.md).
//
// Thread-safety: none; belongs to the replica.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "node/raft/message.h"
#include "node/raft/types.h"

namespace raftkv::runtime {

class CommitNotices {
 public:
  // How long one waits for a better message at most.
  static constexpr Duration kLongestWait = std::chrono::milliseconds(2);

  // Takes what the core wants to send, in order; returns what leaves now, in the same order.
  // Everybody is to know at once what is committed up to `awaited_by_all`: a change of the
  // membership.
  std::vector<raft::Message> Filter(std::vector<raft::Message> messages, raft::Index awaited_by_all,
                                    MonotonicTime now);
  // The notices that have waited long enough.
  std::vector<raft::Message> TakeDue(MonotonicTime now);
  // When TakeDue has something to give at the earliest.
  std::optional<MonotonicTime> next_due() const;

  // A client of `member` waits for the entry at `index`, which this leader has proposed.
  void Await(raft::NodeId member, raft::Index index);
  // Leadership changed: nothing that was held back is of use.
  void Clear();

 private:
  struct Member {
    raft::Index awaited;  // by its clients
    raft::Index told;     // the commit index of the last append that left
    std::optional<raft::Message> held;
    MonotonicTime held_since{};
  };
  std::map<raft::NodeId, Member> members_;
};

}  // namespace raftkv::runtime
