// How the log database writes entries and its own state (docs/design/storage.md).
//
// A key is an index (8 bytes, big-endian, so that keys sort as indexes) and a kind (1 byte): the
// entry of that index, or a LogState. A LogState is written under the last index of its moment; the
// one with the highest key is the current one. Thus every table file covers a range of indexes and
// nothing else: files do not overlap, move down a level without being rewritten, and go as whole
// files once the log is truncated beyond them.
//
// Every value starts with a CRC-32C that covers its key too, so that a value found under another
// key than its own (a misdirected write) does not pass.
//
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/raft/entry.h"

namespace raftkv::storage {

// Format 1 had no owner; it is read, and gives way with the next state that is written.
inline constexpr uint32_t kLogFormat = 2;

enum class RecordKind : char { kEntry = 0, kState = 1 };

inline constexpr size_t kRecordKeyBytes = 9;
using RecordKey = std::array<char, kRecordKeyBytes>;
RecordKey KeyOf(raft::Index index, RecordKind kind);
inline std::string_view View(const RecordKey& key) { return {key.data(), key.size()}; }

// A key as found on disk; kCorruption if it is none.
struct ParsedKey {
  raft::Index index;
  RecordKind kind;
};
Result<ParsedKey> ParseKey(std::string_view key);

// An entry's value in two parts, so that its payload is not copied on the way: CRC (4 bytes), kind
// (1), term (8), then the payload (a command, or a serialized v1.ConfChange).
inline constexpr size_t kEntryHeaderBytes = 13;
struct EncodedEntry {
  RecordKey key;
  std::array<char, kEntryHeaderBytes> header;
  std::string conf_change;  // owns the payload of a configuration change
  const raft::Entry* entry;

  std::string_view payload() const {
    return entry->IsConfChange() ? std::string_view(conf_change) : entry->data();
  }
};
// `entry` must outlive the result.
EncodedEntry Encode(const raft::Entry& entry);
// kCorruption says what is wrong.
Result<raft::Entry> DecodeEntry(std::string_view key, std::string_view value);

// What the log knows beside its entries.
struct LogState {
  raft::HardState hard_state;
  raft::EntryId compacted;  // the entry before the first one
  uint64_t owner = 0;       // the member's ID; 0: unknown
  bool operator==(const LogState&) const = default;
};

std::string EncodeState(const RecordKey& key, const LogState& state);
// kCorruption, or kFailedPrecondition for a format version that this program does not know.
Result<LogState> DecodeState(std::string_view key, std::string_view value);

}  // namespace raftkv::storage
