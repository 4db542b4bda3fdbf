#include "node/runtime/read_ahead.h"

#include <algorithm>
#include <utility>

namespace raftkv::runtime {

ReadAhead::Piece* ReadAhead::Find(raft::Index index) {
  const auto found = std::ranges::find_if(pieces_, [index](const Piece& piece) {
    return piece.entries.front().index <= index && index <= piece.entries.back().index;
  });
  return found == pieces_.end() ? nullptr : &*found;
}

bool ReadAhead::Has(raft::Index index) {
  if (Find(index) != nullptr) return true;
  if (under_way_.size() < kMostPieces && under_way_.insert(index).second) read_(index);
  return false;
}

std::span<const raft::Entry> ReadAhead::From(raft::Index index) {
  Piece* piece = Find(index);
  if (piece == nullptr) return {};
  piece->idle_ticks = 0;
  return std::span(piece->entries).subspan(index - piece->entries.front().index);
}

void ReadAhead::Add(raft::Index low, std::vector<raft::Entry> entries) {
  under_way_.erase(low);
  if (entries.empty()) return;
  if (pieces_.size() == kMostPieces) {
    pieces_.erase(std::ranges::max_element(pieces_, {}, &Piece::idle_ticks));
  }
  pieces_.push_back({.entries = std::move(entries)});
}

void ReadAhead::Tick() {
  std::erase_if(pieces_, [](Piece& piece) { return ++piece.idle_ticks > kForgetAfter; });
}

}  // namespace raftkv::runtime
