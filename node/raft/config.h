// The settings of the core. Names and meanings follow etcd's raft v3.7.
#pragma once

#include <cstdint>
#include <limits>

#include "base/random.h"
#include "base/status.h"
#include "node/raft/log_reader.h"
#include "node/raft/logger.h"
#include "node/raft/types.h"

namespace raftkv::raft {

inline constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

enum class ReadOnlyOption {
  kSafe,        // a heartbeat round confirms leadership for each batch of reads
  kLeaseBased,  // trusts the lease that CheckQuorum implies; needs bounded clock drift
};

struct Config {
  NodeId id;
  // An election starts after [election_ticks, 2 * election_ticks) ticks without word of a leader.
  int election_ticks = 10;
  int heartbeat_ticks = 1;

  // Not owned; must outlive the core.
  LogReader* log = nullptr;
  Logger* logger = nullptr;
  Random* random = nullptr;  // draws election timeouts

  // Last applied index known to the state machine; entries up to it are not handed out again.
  Index applied;

  // Storage by messages (StorageAppend/StorageApply) instead of Ready/Advance.
  bool async_storage_writes = false;

  // Limits, in bytes unless named otherwise. 0 where the comment says so.
  uint64_t max_bytes_per_append = kNoLimit;    // 0: one entry per message
  uint64_t max_committed_bytes_per_ready = 0;  // 0: max_bytes_per_append
  uint64_t max_uncommitted_bytes = 0;          // payload bytes; 0: no limit
  int max_inflight_messages = 256;
  uint64_t max_inflight_bytes = 0;  // 0: no limit
  // Reads that may wait at the leader for their confirmation; further ones are dropped.
  size_t max_pending_reads = 64 * 1024;

  bool check_quorum = false;
  bool pre_vote = false;
  ReadOnlyOption read_only = ReadOnlyOption::kSafe;  // kLeaseBased needs check_quorum
  bool disable_proposal_forwarding = false;
  // Only for owners that serialize and verify configuration changes themselves.
  bool disable_conf_change_validation = false;
  // A leader that is removed or demoted steps down as soon as it applies the change. The remaining
  // voters may not have learned yet that it is committed; if their logs are also shorter than those
  // of the members that were removed, they cannot elect a leader, for they still ask those. Without
  // the option it leads on (and accepts no proposals) until its owner stops it.
  bool step_down_on_removal = false;

  // kInvalidArgument with etcd's error text.
  Status Validate() const;
};

}  // namespace raftkv::raft
