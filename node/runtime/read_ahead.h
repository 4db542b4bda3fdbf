// ReadAhead: pieces of the log that were read from the disk for the raft thread, which itself never
// waits for the disk: a stalled disk must not silence a leader. Followers that lag further than
// the log's cache reaches are served from here, and so is a state that is far behind the log.
//
// Thread-safety: the raft thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "node/raft/entry.h"

namespace raftkv::runtime {

class ReadAhead {
 public:
  // Several appends to a follower, or jobs of the apply thread.
  static constexpr uint64_t kPieceBytes = 2 << 20;
  // Pieces in memory and, likewise, under way.
  static constexpr size_t kMostPieces = 4;
  // A piece that nobody has asked for is forgotten after so many ticks.
  static constexpr int kForgetAfter = 10;

  // `read`: has entries from an index on, kPieceBytes of them, read somewhere else; Add follows.
  explicit ReadAhead(std::function<void(raft::Index low)> read) : read_(std::move(read)) {}

  // Whether the entry is here. If not, and few reads are under way, it is asked for.
  bool Has(raft::Index index);
  // What is here from an index on; empty if nothing is. Until the next call of anything.
  std::span<const raft::Entry> From(raft::Index index);

  // The answer to `read`; empty if nothing could be read any more.
  void Add(raft::Index low, std::vector<raft::Entry> entries);
  void Tick();

 private:
  struct Piece {
    std::vector<raft::Entry> entries;
    int idle_ticks = 0;
  };

  Piece* Find(raft::Index index);

  const std::function<void(raft::Index low)> read_;
  std::vector<Piece> pieces_;
  std::set<raft::Index> under_way_;
};

}  // namespace raftkv::runtime
