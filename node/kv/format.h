// How the state machine lays its tables into the StateStore (docs/design/state-machine.md).
//
//   c <key>                          -> header   the newest version of each key, or its tombstone
//   h <escaped key> <~main> <~sub>   -> header   older versions, newest first
//   r <main> <sub>                   -> row      which key a revision changed
//   v <main> <sub>                   -> value    that a revision put
//   m f | a | c | g                  -> format, Meta, ClusterState, GcProgress
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

inline constexpr uint32_t kStateFormat = 2;

inline constexpr char kCurrentTable = 'c';
inline constexpr char kHistoryTable = 'h';
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

enum class RecordKind : uint8_t { kNone = 0, kValue = 1, kTombstone = 2 };

struct RecordHeader {
  RecordKind kind = RecordKind::kNone;
  Revision mod;
  uint64_t create = 0;   // main revision; 0 for tombstones
  uint64_t version = 0;  // 0 for tombstones

  bool exists() const { return kind != RecordKind::kNone; }
  bool live() const { return kind == RecordKind::kValue; }
  bool operator==(const RecordHeader&) const = default;
};

void AppendHeader(const RecordHeader& header, std::string* out);
std::optional<RecordHeader> ParseHeader(std::string_view bytes);

// A change in the revision table.
struct Row {
  RecordKind kind = RecordKind::kNone;
  // The version that this change ended; {} for a new key (also after a tombstone: that one goes
  // with its own row) and when collection has freed it.
  Revision previous;
  std::string_view key;
};

void AppendRow(const Row& row, std::string* out);
std::optional<Row> ParseRow(std::string_view bytes);

void AppendCurrentKey(std::string_view key, std::string* out);
void AppendRevisionKey(Revision revision, std::string* out);
std::optional<Revision> ParseRevisionKey(std::string_view bytes);
// Of the value that was put at `revision`.
void AppendValueKey(Revision revision, std::string* out);

// The history of a key: all its rows start with this, and no other key's do.
void AppendHistoryPrefix(std::string_view key, std::string* out);
// Seeking the first row at or after this finds the newest version not newer than `revision`.
void AppendHistoryKey(std::string_view key, Revision revision, std::string* out);

// The counters of the state: one value, so that each batch replaces it whole.
struct Meta {
  raft::Index index;
  raft::Term term;
  uint64_t revision = 1;
  uint64_t compact_revision = 0;
  uint64_t live_keys = 0;
  uint64_t stored_versions = 0;  // in `c` and `h`; differs between replicas
  bool operator==(const Meta&) const = default;
};

std::string EncodeMeta(const Meta& meta);
std::optional<Meta> ParseMeta(std::string_view bytes);

// How far garbage collection has come; differs between replicas.
struct GcProgress {
  uint64_t target = 0;  // the compact revision that it works towards
  Revision next;        // rows before this are done
  bool done = true;     // all rows up to the target
  bool operator==(const GcProgress&) const = default;
};

std::string EncodeGcProgress(const GcProgress& progress);
std::optional<GcProgress> ParseGcProgress(std::string_view bytes);

std::string EncodeFormat(uint32_t format);
std::optional<uint32_t> ParseFormat(std::string_view bytes);

}  // namespace raftkv::kv
