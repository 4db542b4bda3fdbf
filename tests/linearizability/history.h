// History: what clients asked of a raftkv store and what they were answered. Tests record one
// Operation for each request; Check (checker.h) tells whether the answers fit one linearizable
// store.
//
// How the answers of the HTTP API map to an Operation (docs/testing.md has the whole table):
//   200, 201, 204, 304              kOk, with the revisions and values of the answer
//   404 of a get or delete          kNotFound
//   412                             kConflict, key_revision from ETag (0 without one)
//   400, 409, 410, 429, 503, ...    kFail: certainly nothing happened
//   504, a broken connection, no answer, a client that died    kUnknown
//
// The checker can tell more, and faster, the more of the revisions is recorded: every kOk write
// should have its revision.
//
// The text format is JSONL: one JSON object in each line, described at FormatOperation.
//
// Thread-safety: values, no shared state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace raftkv::linearizability {

enum class Kind {
  kPut,
  kDelete,
  kGet,
  kRange,
};

enum class Outcome {
  kOk,        // done as asked
  kNotFound,  // get, delete: the key does not exist (at the revision asked for)
  kConflict,  // put, delete, get: the condition does not hold; nothing was changed
  kFail,      // certainly no effect, and nothing was learned of the store
  kUnknown,   // may take effect at any time after the call, or never
};

enum class Consistency {
  kLinearizable,
  kLease,  // promises the same and is checked alike; record it as kStale where clocks misbehave
  kStale,  // any state that was the newest one at some time before the answer
};

// If-None-Match: *, If-Match: *, If-Match: "revision".
struct Condition {
  enum class Type { kNone, kAbsent, kPresent, kRevision };
  Type type = Type::kNone;
  uint64_t revision = 0;  // of kRevision
  bool operator==(const Condition&) const = default;
};

// A key as an answer shows it. Revisions and versions start at 1: 0 means that the answer did not
// tell.
struct Item {
  std::string key;
  std::optional<std::string> value;  // nullopt: not told (keys_only, HEAD, 304)
  uint64_t create_revision = 0;
  uint64_t mod_revision = 0;
  uint64_t version = 0;
  bool operator==(const Item&) const = default;
};

// Keys and values of an answer that was cut for its size are at least so many bytes (the store cuts
// at some 4 MiB).
inline constexpr size_t kLeastPageBytes = size_t{1} << 20;

struct Operation {
  // --- What was asked ---
  uint64_t client = 0;  // a lane of the timeline; carries no meaning beyond that
  Kind kind = Kind::kGet;
  std::string key;      // of a range: its start, included
  std::string end;      // range: not included; empty: to the last key
  std::string value;    // put
  Condition condition;  // put, delete, get
  Consistency consistency = Consistency::kLinearizable;  // get, range
  uint64_t at_revision = 0;                              // get, range: as of it; 0: the newest
  // range: at most so many items, also if the store chose that (HTTP: 1000); 0: any.
  uint64_t limit = 0;
  bool descending = false;  // range
  bool count_only = false;  // range
  // get, range: the node that answered, and its life (such as "node2/1", "node2/2" after a
  // restart): reads that one life answers never go back. Empty: not recorded.
  std::string node;

  // --- When: any unit, one clock for all clients, call <= completed ---
  int64_t call = 0;
  std::optional<int64_t> completed;  // absent: there never was an answer (kUnknown)

  // --- The answer ---
  Outcome outcome = Outcome::kUnknown;
  // kOk put, delete: the revision that it made. kOk or kNotFound get, range: the store's revision
  // that the answer holds for. 0: not told (a range always tells it).
  uint64_t revision = 0;
  std::optional<bool> created;  // kOk put: whether the key was new
  // kConflict: the key's mod revision, 0 if it does not exist; nullopt: not told.
  std::optional<uint64_t> key_revision;
  std::vector<Item> items;  // kOk get: exactly one; range: in order
  uint64_t count = 0;       // kOk range with count_only
  // kOk range: the answer was cut before the end of the range: at its limit, or with fewer items
  // because it has kLeastPageBytes already.
  bool more = false;

  bool operator==(const Operation&) const = default;
};

struct History {
  // The store before the first operation; the default is an empty one. Every item has its value
  // and all three numbers.
  uint64_t initial_revision = 1;
  std::vector<Item> initial_items;
  std::vector<Operation> operations;  // in any order
};

// The end of the range of all keys that start with `prefix`; empty: no end.
std::string PrefixEnd(std::string_view prefix);

// Whether the fields fit together (an answer that has a time, a get with one item, ...);
// kInvalidArgument tells what does not.
Status Validate(const Operation& operation);

// One line without its end. Members (those of default value are left out):
//   {"client":3,"op":"put","key":"a","value":"x","if":"absent"|"present"|17,
//    "call":100,"completed":180,"outcome":"ok","revision":18,"created":true}
//   {"client":4,"op":"delete","key":"a","call":101,"outcome":"unknown"}
//   {"client":4,"op":"delete","key":"a","if":3,"call":101,"completed":120,"outcome":"conflict",
//    "key_revision":5}
//   {"client":5,"op":"get","key":"a","consistency":"stale","node":"n2/1","at_revision":7,
//    "call":1,"completed":2,"outcome":"ok","revision":7,
//    "items":[{"value":"x","create_revision":3,"mod_revision":7,"version":2}]}
//   {"client":5,"op":"range","key":"a","end":"b","limit":10,"descending":true,"call":1,
//    "completed":2,"outcome":"ok","revision":7,"items":[{"key":"a1",...}],"more":true}
//   {"client":5,"op":"range","key":"a","count_only":true,...,"count":17}
// Keys and values that are not UTF-8 stand as {"hex":"00ff"}. The item of a get may leave out its
// key. A history that does not begin with an empty store has, as its first line,
//   {"initial_revision":9,"initial_items":[{"key":...}]}
// Empty lines, and lines that begin with '#', are comments.
std::string FormatOperation(const Operation& operation);

// Whole histories. Errors (kInvalidArgument, kIoError) begin with the file or "line N: ".
Result<History> ParseHistory(std::string_view text);
std::string FormatHistory(const History& history);
Result<History> ReadHistory(const std::filesystem::path& path);
Status WriteHistory(const History& history, const std::filesystem::path& path);

}  // namespace raftkv::linearizability
