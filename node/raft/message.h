// The messages of the core: one struct for each, with only the fields it needs. Names follow the
// Raft paper; the comment beside each gives etcd's name, which the conformance suite prints.
//
// Term rules: requests that carry the sender's current term have it in Message::term; Propose,
// ReadIndex and local messages are sent with term 0 ("no term").
//
// Thread-safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "base/buffer.h"
#include "node/raft/entry.h"
#include "node/raft/types.h"

namespace raftkv::raft {

struct Message;

// --- Between members -----------------------------------------------------------------------------

struct Propose {  // MsgProp
  std::vector<Entry> entries;
};

struct AppendEntries {  // MsgApp
  EntryId prev;         // the entry just before `entries`
  std::vector<Entry> entries;
  Index commit;  // the leader's commit index, as far as the follower may know it
};

struct AppendResponse {  // MsgAppResp
  Index index;           // accepted: last index known to match; rejected: the refused prev.index
  bool rejected = false;
  // When rejected: the last index, and the term there, at which the logs may still match.
  Index hint_index;
  Term hint_term;
};

struct RequestVote {  // MsgVote
  EntryId last;       // the candidate's last entry (election restriction, paper section 5.4.1)
  bool leader_transfer = false;  // skips the lease check: the leader itself asked for this election
};

struct VoteResponse {  // MsgVoteResp
  bool rejected = false;
};

struct RequestPreVote {  // MsgPreVote (thesis, section 9.6); Message::term = the term aspired to
  EntryId last;
};

struct PreVoteResponse {  // MsgPreVoteResp
  bool rejected = false;
};

struct InstallSnapshot {  // MsgSnap
  Snapshot snapshot;
};

struct Heartbeat {      // MsgHeartbeat
  Index commit;         // min(match, commit): never beyond what the follower has
  Buffer read_counter;  // confirms all reads up to this counter; empty if none wait
};

struct HeartbeatResponse {  // MsgHeartbeatResp
  Buffer read_counter;      // echoed
};

struct TransferLeader {};  // MsgTransferLeader; Message::from = the transferee

struct TimeoutNow {};  // MsgTimeoutNow: campaign at once (thesis, section 3.10)

struct ReadIndex {  // MsgReadIndex (thesis, section 6.4)
  Buffer context;   // names the read to whoever asked
};

struct ReadIndexResponse {  // MsgReadIndexResp
  Index index;
  Buffer context;
};

// --- Local: steps that the owner of the core feeds in, and the storage threads' work
// --------------

struct Campaign {};      // MsgHup
struct Beat {};          // MsgBeat
struct CheckQuorum {};   // MsgCheckQuorum
struct ForgetLeader {};  // MsgForgetLeader
struct Unreachable {};   // MsgUnreachable; Message::from = the peer

struct SnapshotStatus {  // MsgSnapStatus; Message::from = the peer
  bool failed = false;
};

// To kAppendThread: make all of this durable, then deliver `responses` (to whomever each names).
// Without responses it need not be durable.
struct StorageAppend {  // MsgStorageAppend
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;
  std::optional<Snapshot> snapshot;
  std::vector<Message> responses;
};

// From kAppendThread: everything up to `last` (if set) and `snapshot` (if set) is stable.
struct StorageAppendResponse {  // MsgStorageAppendResp
  EntryId last;
  std::optional<Snapshot> snapshot;
};

// To kApplyThread: apply, then deliver `responses`.
struct StorageApply {  // MsgStorageApply
  std::vector<Entry> entries;
  std::vector<Message> responses;
};

// From kApplyThread.
struct StorageApplyResponse {  // MsgStorageApplyResp
  std::vector<Entry> entries;
};

using MessageBody =
    std::variant<Propose, AppendEntries, AppendResponse, RequestVote, VoteResponse, RequestPreVote,
                 PreVoteResponse, InstallSnapshot, Heartbeat, HeartbeatResponse, TransferLeader,
                 TimeoutNow, ReadIndex, ReadIndexResponse, Campaign, Beat, CheckQuorum,
                 ForgetLeader, Unreachable, SnapshotStatus, StorageAppend, StorageAppendResponse,
                 StorageApply, StorageApplyResponse>;

struct Message {
  NodeId from;
  NodeId to;
  Term term;
  MessageBody body;

  template <typename Body>
  bool Is() const {
    return std::holds_alternative<Body>(body);
  }
  template <typename Body>
  const Body& As() const {
    return std::get<Body>(body);
  }
};

}  // namespace raftkv::raft
