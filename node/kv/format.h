// How the state machine lays its tables into the StateStore (docs/design/state-machine.md).
//
//   c <key>           -> header   the newest version of each key, or its tombstone
//   r <main> <sub>    -> row      the version that a revision made, and which one it ended
//   v <main> <sub>    -> value    of such a version, if it is too large for its row
//   m f | a | c | g   -> format, Meta, ClusterState, GcProgress
//
// Integers in keys are big-endian; in values LEB128 varints or big-endian. Append* functions add to
// `out`; Parse* functions return nullopt for bytes that no version of this code wrote.
//
// Thread-safety: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/raft/types.h"

namespace raftkv::kv {

inline constexpr uint32_t kStateFormat = 3;

inline constexpr char kCurrentTable = 'c';
inline constexpr char kMetaTable = 'm';
inline constexpr char kRevisionTable = 'r';
inline constexpr char kValueTable = 'v';

inline constexpr std::string_view kFormatKey = "mf";
inline constexpr std::string_view kMetaKey = "ma";
inline constexpr std::string_view kClusterKey = "mc";
inline constexpr std::string_view kGarbageKey = "mg";

// The first key after a table.
std::string TableEnd(char table);

// For kCorruption: what to do about stored bytes that no version of this code wrote.
Status Unreadable(std::string_view what);

// main: of the command; sub: of the change within it.
struct Revision {
  uint64_t main = 0;
  uint32_t sub = 0;
  constexpr auto operator<=>(const Revision&) const = default;
};

enum class RecordKind : uint8_t { kNone = 0, kValue = 1, kTombstone = 2, kLargeValue = 3 };

constexpr bool IsLive(RecordKind kind) {
  return kind == RecordKind::kValue || kind == RecordKind::kLargeValue;
}

// Values of so many bytes are in their rows, so that a put is two insertions; larger ones are not,
// so that whoever walks the rows need not read them.
inline constexpr size_t kMaxRowValueBytes = 1024;

// A key's versions are a chain, from the newest back to the oldest that is stored. Each kJump-th
// names the last such one before it too, so that a version far back is found in few steps.
inline constexpr uint32_t kJump = 128;

struct RecordHeader {
  RecordKind kind = RecordKind::kNone;
  Revision mod;
  uint64_t create = 0;   // main revision; 0 for tombstones
  uint64_t version = 0;  // 0 for tombstones
  // The last version of this key before this one that names another in its row; {}: there is none.
  Revision jump;
  uint32_t steps = 0;  // back to `jump`, or to before the first version; 1 to kJump

  bool exists() const { return kind != RecordKind::kNone; }
  bool live() const { return IsLive(kind); }
  bool operator==(const RecordHeader&) const = default;
};

// The place in the chain of the version after `last`: its jump and steps.
void SetPlaceAfter(const RecordHeader& last, RecordHeader* next);

void AppendHeader(const RecordHeader& header, std::string* out);
std::optional<RecordHeader> ParseHeader(std::string_view bytes);

// A version in the revision table, whose key there says when it was made (`mod`).
struct Row {
  RecordKind kind = RecordKind::kNone;
  Revision mod;
  uint64_t create = 0;   // as RecordHeader's
  uint64_t version = 0;  // as RecordHeader's
  // The version that this one ended, which may be collected by now; kNone: there was none.
  RecordKind previous_kind = RecordKind::kNone;
  Revision previous;
  Revision jump;  // as RecordHeader's, in each kJump-th version; else {}
  std::string_view key;
  std::string_view value;  // kValue
};

// `last` is what the version with this header has ended. The value is not set.
Row MakeRow(const RecordHeader& header, const RecordHeader& last, std::string_view key);
// What the row's version would be in `c`, but for its place in the chain.
RecordHeader HeaderOf(const Row& row);

void AppendRow(const Row& row, std::string* out);
std::optional<Row> ParseRow(Revision mod, std::string_view bytes);

void AppendCurrentKey(std::string_view key, std::string* out);
void AppendRevisionKey(Revision revision, std::string* out);
std::optional<Revision> ParseRevisionKey(std::string_view bytes);
// Of the value that was put at `revision`.
void AppendValueKey(Revision revision, std::string* out);

// The counters of the state: one value, so that each batch replaces it whole.
struct Meta {
  raft::Index index;
  raft::Term term;
  uint64_t revision = 1;
  uint64_t compact_revision = 0;
  uint64_t live_keys = 0;
  uint64_t stored_versions = 0;  // rows in `r`; differs between replicas
  bool operator==(const Meta&) const = default;
};

std::string EncodeMeta(const Meta& meta);
std::optional<Meta> ParseMeta(std::string_view bytes);

// How far garbage collection has come; differs between replicas.
struct GcProgress {
  uint64_t target = 0;  // the compact revision that it works towards
  Revision next;        // rows before this are done
  Revision freed;       // what rows before this have ended is freed
  bool done = true;     // all rows up to the target
  bool operator==(const GcProgress&) const = default;
};

std::string EncodeGcProgress(const GcProgress& progress);
std::optional<GcProgress> ParseGcProgress(std::string_view bytes);

std::string EncodeFormat(uint32_t format);
std::optional<uint32_t> ParseFormat(std::string_view bytes);

}  // namespace raftkv::kv
