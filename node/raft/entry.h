// Log entries, configuration changes, hard state and snapshot metadata: what the core stores and
// sends, without any encoding (proto/ has the stored and wire forms; node/storage/codec.h
// converts).
//
// Thread-safety: values; entries share immutable payloads.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "base/buffer.h"
#include "node/raft/types.h"

namespace raftkv::raft {

enum class ConfChangeType : uint8_t { kAddVoter, kRemove, kUpdate, kAddLearner };

struct ConfChangeStep {
  ConfChangeType type = ConfChangeType::kAddVoter;
  NodeId id;
  bool operator==(const ConfChangeStep&) const = default;
};

// How a change passes through the joint configuration (Raft thesis, section 4.3).
enum class ConfChangeTransition : uint8_t {
  kAuto,           // one step: directly; several: as kJointImplicit
  kJointImplicit,  // joint; the leader leaves it by itself once the joint configuration is applied
  kJointExplicit,  // joint until a change without steps is proposed
};

// A membership change as proposed. Takes effect when its entry is applied.
struct ConfChange {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeStep> steps;  // empty: leave the joint configuration
  Buffer context;                     // for the state machine; opaque to the core
  // One change at a time, as the first version of etcd's protocol wrote it: exactly one step.
  bool single = false;

  bool operator==(const ConfChange&) const = default;
};

// The payload of an entry: bytes for the state machine (empty: the no-op of a new leader), or a
// configuration change (never null).
using Payload = std::variant<Buffer, std::shared_ptr<const ConfChange>>;

struct Entry {
  Term term;
  Index index;
  Payload payload;

  EntryId id() const { return {term, index}; }
  bool IsConfChange() const { return payload.index() == 1; }
  // The bytes of a normal entry; empty for a configuration change.
  std::string_view data() const {
    const auto* buffer = std::get_if<Buffer>(&payload);
    return buffer != nullptr ? buffer->view() : std::string_view();
  }
  // Null for a normal entry.
  const ConfChange* conf_change() const {
    const auto* change = std::get_if<std::shared_ptr<const ConfChange>>(&payload);
    return change != nullptr ? change->get() : nullptr;
  }
};

// By value: configuration changes are compared, not their addresses.
inline bool operator==(const Entry& a, const Entry& b) {
  if (a.id() != b.id() || a.payload.index() != b.payload.index()) return false;
  if (const ConfChange* change = a.conf_change()) return *change == *b.conf_change();
  return a.data() == b.data();
}

// What an entry costs beside its payload (term, index, kind, length), and a configuration change
// and each step of it: near enough to the stored form, and the same on every machine.
inline constexpr uint64_t kEntryOverheadBytes = 16;
inline constexpr uint64_t kConfChangeBytes = 8;
inline constexpr uint64_t kConfChangeStepBytes = 12;

// The bytes that count against Config::max_uncommitted_bytes. 0 for the no-op of a new leader and
// for the automatic departure from a joint configuration, so that neither can ever be refused.
inline uint64_t PayloadSize(const Entry& entry) {
  const ConfChange* change = entry.conf_change();
  if (change == nullptr) return entry.data().size();
  if (change->steps.empty() && change->context.empty() &&
      change->transition == ConfChangeTransition::kAuto) {
    return 0;
  }
  return kConfChangeBytes + change->steps.size() * kConfChangeStepBytes + change->context.size();
}

inline uint64_t PayloadSize(const std::vector<Entry>& entries) {
  uint64_t size = 0;
  for (const Entry& entry : entries) size += PayloadSize(entry);
  return size;
}

// The bytes that count against the limits of messages and Readys.
inline uint64_t EntrySize(const Entry& entry) { return kEntryOverheadBytes + PayloadSize(entry); }

inline uint64_t EntrySize(const std::vector<Entry>& entries) {
  return kEntryOverheadBytes * entries.size() + PayloadSize(entries);
}

// What must be durable before a vote or an append is acknowledged (paper, figure 2).
struct HardState {
  Term term;
  NodeId vote;
  Index commit;

  bool operator==(const HardState&) const = default;
  bool IsEmpty() const { return *this == HardState(); }
};

// The members, as stored with snapshots and returned after each applied configuration change. All
// lists are sorted. Joint if voters_outgoing is not empty.
struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners_next;  // voters of the outgoing half that become learners on leaving
  bool auto_leave = false;

  bool operator==(const ConfState&) const = default;
};

// A snapshot: the state as of `index`. `data` is opaque to the core (the runtime keeps a manifest
// there; the files travel on a stream of their own).
struct Snapshot {
  Index index;
  Term term;
  ConfState conf;
  Buffer data;

  EntryId id() const { return {term, index}; }
  bool IsEmpty() const { return index == Index(); }
  bool operator==(const Snapshot&) const = default;
};

}  // namespace raftkv::raft
