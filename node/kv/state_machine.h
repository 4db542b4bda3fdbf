// The replicated state machine: commands in, revisions out. Deterministic: the same entries give
// the same bytes on every replica; no clock, no randomness, no I/O but the StateStore.
//
// Revisions mean what they mean in etcd's mvcc: the store has a main revision that grows by one
// with each command that changes something; each change inside a command has a sub-revision 0, 1,
// ...; a key has create revision, mod revision and version (1 for a new key, reset by a delete).
// The first write gets revision 2, as in etcd (an empty store is at revision 1).
//
// Thread-safety: Apply, ApplyInMemory, CollectGarbage, InitializeCluster, PrepareReplace and
// ReloadAfterReplace from one thread at a time; all const methods from any thread, and never in
// that thread's way.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "node/raft/entry.h"
#include "node/storage/state_store.h"
#include "raftkv/v1/cluster.pb.h"
#include "raftkv/v1/command.pb.h"

namespace raftkv::kv {

inline constexpr uint32_t kCommandVersion = 2;  // highest Command.version this code understands

// Limits that every replica enforces alike (part of the replicated format).
inline constexpr size_t kMaxKeyBytes = 4096;
inline constexpr size_t kMaxValueBytes = 16 << 20;  // the API's own limit is lower and configurable
inline constexpr size_t kMaxTxnOps = 128;           // of each list of a transaction
inline constexpr size_t kMaxCommandChanges = 10'000;  // keys that one command may change
inline constexpr int kMaxInvitations = 64;
inline constexpr size_t kMaxNameBytes = 256;  // of members' names and addresses

// Enforced by Range, for every request.
inline constexpr uint64_t kMaxRangeItems = 10'000;

struct KeyValue {
  std::string key;
  std::string value;
  uint64_t create_revision = 0;
  uint64_t mod_revision = 0;
  uint64_t version = 0;
};

// What one command did.
struct CommandResult {
  // Refused (kConflict: the precondition failed; kInvalidArgument; ...): nothing changed.
  Status status;
  uint64_t revision = 0;   // of the store, after the command
  bool created = false;    // put: the key did not exist
  uint64_t deleted = 0;    // delete: how many keys
  bool succeeded = false;  // txn: which list ran
  // The newest version of the key before the command, without its value: for put and single
  // delete, also when refused. mod_revision 0: there was none.
  uint64_t prev_mod_revision = 0;
  // For metrics.
  uint64_t puts = 0;  // how many keys it wrote
  bool txn = false;
};

struct MembershipResult {
  Status status;  // kConflict: config index or epoch did not match; change not made
  uint64_t config_index = 0;
  raft::ConfState conf;  // in force after the entry
};

// One for each applied entry, in order.
struct ApplyResult {
  raft::Index index;
  uint64_t origin = 0;  // 0: nobody waits (no-op entries)
  uint64_t request_id = 0;
  std::optional<CommandResult> command;
  std::optional<MembershipResult> membership;  // set for configuration changes
  // The change that the core must take over (accepted changes only).
  std::shared_ptr<const raft::ConfChange> accepted_change;
};

struct AppliedState {
  raft::Index index;  // last applied entry
  raft::Term term;    // its term
  uint64_t revision = 1;
  uint64_t compact_revision = 0;
  bool operator==(const AppliedState&) const = default;
};

struct StateHash {
  raft::Index index;  // the applied index that it belongs to
  uint64_t hash = 0;
  bool operator==(const StateHash&) const = default;
};

struct RangeRequest {
  std::string start;      // inclusive
  std::string end;        // exclusive; empty: to the last key
  uint64_t revision = 0;  // 0: newest
  uint64_t limit = 0;     // 0, and anything above: kMaxRangeItems
  bool keys_only = false;
  bool count_only = false;
  bool descending = false;
  // Stop before the sum of keys and values passes this; at least one item is returned.
  uint64_t max_bytes = 4 << 20;
};

struct RangeResult {
  std::vector<KeyValue> items;
  uint64_t revision = 0;  // at which the range was read
  uint64_t count = 0;     // count_only: of all keys in the range
  bool more = false;      // cut by limit or max_bytes: continue after the last item's key
};

// The end of the range of all keys that start with `prefix`; empty: no end.
std::string PrefixEnd(std::string_view prefix);

class StateMachine {
 public:
  // Loads the applied state. kCorruption or kFailedPrecondition (unknown format) name the remedy.
  static Result<std::unique_ptr<StateMachine>> Open(storage::StateStore* store);
  virtual ~StateMachine() = default;

  // The first state of a new cluster, written before any entry: all initial members as voters,
  // applied index 1 at term 1. conf and config_index may be left empty. Durable on return.
  // Idempotent for the same state; kConflict if another cluster's is there.
  virtual Status InitializeCluster(const v1::ClusterState& initial) = 0;

  // Applies entries in order, in one atomic batch together with the applied index, term and
  // membership (in several, between entries, if they change very much). Entries at or below the
  // applied index are skipped (no result). If the store fails after the first of several batches,
  // the results are those of the entries that were written: call again with the rest. An error is
  // the store's (after kOutOfSpace, call again once there is space), or an entry cannot be
  // understood: the process must stop.
  virtual Result<std::vector<ApplyResult>> Apply(std::span<const raft::Entry> entries) = 0;

  // As Apply, but never waits for a disk. nullopt: something would have to, or went wrong; nothing
  // was changed, and Apply is to be called. Not for configuration changes.
  virtual std::optional<std::vector<ApplyResult>> ApplyInMemory(
      std::span<const raft::Entry> entries) = 0;

  // Frees a bounded part of what compaction has made unreachable; returns whether more is left.
  // Local and without effect on any readable state.
  virtual Result<bool> CollectGarbage(size_t max_versions) = 0;

  // Around StateStore::Replace: what is remembered of the old state is not read any more.
  virtual void PrepareReplace() = 0;
  virtual Status ReloadAfterReplace() = 0;

  // --- Any thread
  // ---------------------------------------------------------------------------------

  virtual AppliedState applied() const = 0;
  // The applied index that a crash now would leave (log truncation must not pass it).
  virtual Result<raft::Index> FlushedIndex() const = 0;
  // Never null; replaced, not changed, by configuration changes. conf is empty on a blank node.
  virtual std::shared_ptr<const v1::ClusterState> cluster() const = 0;

  // nullopt: no such key (at that revision). kConflict: the revision is compacted;
  // kInvalidArgument: it lies in the future.
  virtual Result<std::optional<KeyValue>> Get(std::string_view key,
                                              uint64_t revision = 0) const = 0;
  virtual Result<RangeResult> Range(const RangeRequest& request) const = 0;
  // The newest revision that readers may go by: of applied(), or of what one of the two above has
  // already shown, since a batch can be read a moment before applied() tells of it. Never goes
  // back.
  virtual uint64_t readable_revision() const = 0;

  // Of everything that reads can show at the applied index: equal on all replicas, however far
  // their garbage collection has come. Reads the whole state.
  virtual Result<StateHash> Hash() const = 0;

  // For metrics and for deciding when to compact.
  virtual uint64_t live_keys() const = 0;
  virtual uint64_t stored_versions() const = 0;
};

}  // namespace raftkv::kv
