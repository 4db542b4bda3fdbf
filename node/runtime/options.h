// The settings of a running node, validated (node/config/ reads them from flags, environment and
// file).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace raftkv::runtime {

// What to do with a blank data directory. A directory that carries an identity restarts as what it
// is, whatever this says.
struct Bootstrap {
  enum class Mode {
    kWait,        // stay blank until initialize or join arrives on the admin port
    kSingle,      // a new cluster of this node alone
    kStaticList,  // a new cluster of the listed nodes; the first of the list initializes it
    kJoin,        // join through any of the listed nodes
    kRestore,     // a new cluster of this node alone, with the content of a saved snapshot
  };
  Mode mode = Mode::kWait;
  // kStaticList: peer addresses of all first members, this node's own among them, the same list and
  // order on each. kJoin: peer addresses of members.
  std::vector<std::string> addresses;
  std::string snapshot;  // kRestore: the file
};

// A member that was given up, because its data are damaged.
struct Replaced {
  uint64_t cluster_id = 0;
  uint64_t member_id = 0;
  std::vector<std::string> ask;  // peer addresses of members; empty: somebody else cares
  std::string moved_to;          // where its files are, below the data directory
};

struct Options {
  std::string name;  // of this member; for people
  std::string data_dir;
  std::string peer_listen;       // host:port
  std::string peer_advertise;    // host:port that other members dial
  std::string client_advertise;  // host:port of the HTTP API, for people; may be empty
  Bootstrap bootstrap;
  // A member whose data are damaged replaces itself, unless it is to wait for others (kWait,
  // kRestore).
  bool rebuild_damaged = true;
  // Set by OpenDirectory: this blank node takes the place of that member, and does nothing else.
  std::optional<Replaced> replaces;

  Duration tick = std::chrono::milliseconds(100);
  int election_ticks = 10;
  int heartbeat_ticks = 1;
  bool pre_vote = true;
  bool check_quorum = true;

  // Limits.
  uint64_t max_inflight_requests = 8192;    // proposals and read barriers that wait, each
  uint64_t max_inflight_bytes = 256 << 20;  // of proposals that wait
  uint64_t max_append_bytes = 1 << 20;      // per append message
  int max_inflight_appends = 256;           // per follower
  // Of entries in these: 10 Gbit/s with a round trip of 50 ms, and two of the largest messages. Not
  // less than max_append_bytes.
  uint64_t max_inflight_append_bytes = 64 << 20;
  uint64_t max_uncommitted_bytes = 256 << 20;
  uint64_t max_apply_bytes = 4 << 20;  // committed entries handed to the apply thread at once

  // The log keeps at least these many entries (and at most these bytes) behind the flushed applied
  // index, for followers that lag; beyond it they get a snapshot.
  uint64_t log_keep_entries = 10'000;
  uint64_t log_keep_bytes = 64 << 20;
  // The state is flushed (and the log cut) when this much log has been applied since the last
  // flush.
  uint64_t flush_after_bytes = 32 << 20;
  uint64_t log_cache_bytes = 1 << 20;
  uint64_t state_memtable_bytes = 6 << 20;
  uint64_t state_cache_bytes = 8 << 20;

  // History: keep at least this many revisions and this long. 0: no limit of that kind.
  uint64_t compact_keep_revisions = 100'000;
  Duration compact_keep_age = std::chrono::hours(1);

  // Refuse writes that grow the store when the file system has less than this left, or the store
  // is larger than the quota (0: none).
  uint64_t min_free_bytes = 256 << 20;
  uint64_t quota_bytes = 0;
  // Size of the file DATA_DIR/reserve, which is given back when the disk is full nevertheless.
  uint64_t reserve_bytes = 32 << 20;

  uint64_t snapshot_bytes_per_second = 0;  // 0: unlimited
};

}  // namespace raftkv::runtime
