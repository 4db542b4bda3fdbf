// The tagged integers of Raft: a term cannot be passed where an index is wanted.
//
// Thread-safety: values.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>

namespace raftkv::raft {

// A 64-bit integer that only mixes with its own kind. Tag::kName is not needed; the tag is the
// type.
template <typename Tag>
struct Tagged {
  uint64_t value = 0;

  constexpr Tagged() = default;
  constexpr explicit Tagged(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Tagged&) const = default;
  constexpr explicit operator bool() const { return value != 0; }
};

// A term: the logical clock of elections (Raft paper, section 5.1). 0 = before the first election.
struct Term : Tagged<Term> {
  using Tagged::Tagged;
  constexpr Term Next() const { return Term(value + 1); }
};

// A position in the log. The first entry has index 1; 0 = nothing.
struct Index : Tagged<Index> {
  using Tagged::Tagged;
  constexpr Index operator+(uint64_t n) const { return Index(value + n); }
  constexpr Index operator-(uint64_t n) const { return Index(value - n); }
  // The number of positions from `other` up to this one; this >= other.
  constexpr uint64_t operator-(Index other) const { return value - other.value; }
  constexpr Index& operator++() {
    ++value;
    return *this;
  }
  constexpr Index Next() const { return Index(value + 1); }
  constexpr Index Prev() const { return Index(value - 1); }
  static constexpr Index Max() { return Index(std::numeric_limits<uint64_t>::max()); }
};

// A member's identity: random, belongs to a data directory, never reused. 0 = none.
struct NodeId : Tagged<NodeId> {
  using Tagged::Tagged;
};

inline constexpr NodeId kNone{};
// Targets and senders of the local storage messages (see message.h); never members.
inline constexpr NodeId kAppendThread{std::numeric_limits<uint64_t>::max()};
inline constexpr NodeId kApplyThread{std::numeric_limits<uint64_t>::max() - 1};

constexpr bool IsLocalTarget(NodeId id) { return id == kAppendThread || id == kApplyThread; }

// (term, index): names one entry of all the logs that ever were (log matching, paper section 5.3).
struct EntryId {
  Term term;
  Index index;
  constexpr bool operator==(const EntryId&) const = default;
};

}  // namespace raftkv::raft

template <>
struct std::hash<raftkv::raft::NodeId> {
  size_t operator()(raftkv::raft::NodeId id) const noexcept {
    return std::hash<uint64_t>{}(id.value);
  }
};
