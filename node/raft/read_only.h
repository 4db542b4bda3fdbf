// ReadOnly: the reads that wait for a round of heartbeats to confirm that this leader still was the
// leader when they arrived (thesis, section 6.4). Reads are numbered in the order of arrival; a
// heartbeat carries the number of the latest, a response confirms all up to the number it echoes,
// and a read is answered once a quorum has confirmed it.
//
// A number can confirm only reads that arrived before the heartbeat left, whatever the network
// duplicates or delays; names given by clients cannot promise that.
//
// Thread-safety: none; owned by the leader.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "node/raft/quorum.h"
#include "node/raft/types.h"

namespace raftkv::raft {

// A read and who asked for it: a member, or kNone for the owner of this core.
struct ReadRequest {
  NodeId from;
  Buffer context;
};

class ReadOnly final : public AckedIndexer {
 public:
  struct Confirmed {
    ReadRequest request;
    Index index;
  };

  // `committed`: the leader's commit index on arrival, which the read must see applied.
  void Add(Index committed, ReadRequest request);

  // The number that confirms everything that waits; 0 if nothing does.
  uint64_t Pending() const { return waiting_.empty() ? 0 : Issued(); }
  // How many have ever been added.
  uint64_t Issued() const { return confirmed_ + waiting_.size(); }
  size_t waiting() const { return waiting_.size(); }

  // `voter` has confirmed everything up to `counter`. Older numbers than known change nothing;
  // numbers that were never issued are ignored.
  void Ack(NodeId voter, uint64_t counter);
  // The reads that the quorum of `voters` now confirms, in the order of arrival.
  std::vector<Confirmed> TakeConfirmed(const JointConfig& voters);

  std::optional<Index> AckedIndex(NodeId voter) const override;

 private:
  std::deque<Confirmed> waiting_;
  uint64_t confirmed_ = 0;
  std::map<NodeId, uint64_t> acks_;
};

// The number as heartbeats carry it: 8 bytes, little-endian; empty for 0.
Buffer EncodeReadCounter(uint64_t counter);
// 0 for anything that EncodeReadCounter does not make.
uint64_t DecodeReadCounter(std::string_view bytes);

}  // namespace raftkv::raft
