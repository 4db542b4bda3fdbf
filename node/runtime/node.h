// Node: the running member, as the HTTP server and main see it. Behind it are the threads (raft,
// append, apply) and the rules (replica.h).
//
// Thread-safety: every method may be called from any thread. Callbacks run on one of the node's own
// threads, or on the caller's before the call returns, and must be quick (set a result, wake a
// thread); each is called exactly once, at the latest shortly after its deadline.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "node/kv/state_machine.h"
#include "node/raft/core.h"
#include "node/runtime/options.h"
#include "node/runtime/snapshot_export.h"
#include "raftkv/v1/admin.pb.h"
#include "raftkv/v1/command.pb.h"

namespace prometheus {
class Registry;
}

namespace raftkv::runtime {

enum class Consistency {
  kLinearizable,  // a read-index round
  kLease,         // the leader's lease, where this node can tell; else as kLinearizable
  kStale,         // whatever this node has applied
};

using WriteCallback = std::function<void(Result<kv::CommandResult>)>;
using BarrierCallback = std::function<void(Status)>;
template <typename T>
using Callback = std::function<void(Result<T>)>;

// What /readyz tells of one check.
struct HealthCheck {
  std::string name;
  Status status;
  bool only_warns = false;  // people should know, but the node serves
};

class Node {
 public:
  // Opens the data directory, recovers, listens on the peer port and starts the threads. Errors are
  // sentences for an operator. `registry` receives the node's metrics and must outlive it. A
  // directory whose data are damaged gives a node that only says so (damaged_node.h).
  static Result<std::unique_ptr<Node>> Start(const Options& options,
                                             prometheus::Registry* registry);
  // Hands leadership over if it can, flushes, stops the threads. Waiting callbacks get an answer.
  virtual ~Node() = default;
  virtual void Stop(Duration grace) = 0;
  // Gives the leadership to another member, if this node has it and somebody can take it; comes
  // back when that is done, or after `limit`. For who is about to stop, and has clients to end with
  // first.
  virtual void HandOver(Duration limit) = 0;

  // Proposes a command (origin and request_id are filled in) through whoever leads. Errors:
  //   kUnavailable        no leader within a bounded wait, or refused before it was proposed
  //   kNotServing         this node belongs to no cluster, and waiting does not help
  //   kUnknownOutcome     proposed, but the result was not seen before the deadline
  //   kResourceExhausted  too many requests wait
  //   kOutOfSpace         disk or quota full (commands that delete are let through)
  // Otherwise the state machine's own verdict (CommandResult::status).
  virtual void Write(v1::Command command, MonotonicTime deadline, WriteCallback done) = 0;

  // When ok, state() is at least as new as `consistency` promises at the time of the call. Errors:
  // kUnavailable, kResourceExhausted, kNotServing.
  virtual void ReadBarrier(Consistency consistency, MonotonicTime deadline,
                           BarrierCallback done) = 0;

  // Never null while running; reads only.
  virtual const kv::StateMachine& state() const = 0;

  // This node's view, at most one tick old.
  virtual std::shared_ptr<const v1::StatusResponse> status() const = 0;
  // Asks the raft thread for a fresh one.
  virtual void FreshStatus(MonotonicTime deadline, Callback<v1::StatusResponse> done) = 0;
  // Fails only if the node's own loop does not turn (for /livez: never depends on a quorum).
  virtual Status Alive() const = 0;
  // Everything but the read-index round that decides readiness (disk space, blank, removed, ...).
  virtual std::vector<HealthCheck> Health() const = 0;

  // --- Admin. A follower passes membership and transfer calls on to the leader.
  // ---------------------
  virtual void Initialize(v1::InitializeRequest request, MonotonicTime deadline,
                          Callback<v1::InitializeResponse> done) = 0;
  virtual void Join(v1::JoinRequest request, MonotonicTime deadline,
                    Callback<v1::JoinResponse> done) = 0;
  virtual void ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                                Callback<v1::ChangeMembershipResponse> done) = 0;
  virtual void TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                                  Callback<v1::TransferLeadershipResponse> done) = 0;
  virtual void TakeSnapshot(v1::SnapshotRequest request, MonotonicTime deadline,
                            Callback<v1::SnapshotResponse> done) = 0;
  // A fresh checkpoint of this node's state as a stream of bytes (node/storage/snapshot_stream.h);
  // the pieces may be asked for on any one thread at a time and read the disk. One at a time.
  virtual void ExportSnapshot(MonotonicTime deadline, Callback<SnapshotPieces> done) = 0;
  // The next piece of such a stream, from its byte `offset` on; 0 begins anew. With the last one
  // this node, which has to be blank, becomes a new cluster of itself alone with the content of
  // the snapshot. Writes the disk before it returns. Errors: kFailedPrecondition (not blank),
  // kInvalidArgument (damaged), kConflict (another piece is next); after each the node is as blank
  // as it was.
  virtual void Restore(uint64_t offset, std::string_view piece,
                       Callback<v1::RestoreResponse> done) = 0;
  virtual void Compact(v1::CompactRequest request, MonotonicTime deadline,
                       Callback<v1::CompactResponse> done) = 0;

  // Called once, from a thread of the node, when it must end by itself. (After a fatal error of its
  // disk the process is aborted instead.)
  enum class End {
    kRemoved,  // from the cluster, for good: exit status 0
    kRestart,  // damaged data were moved aside: Start it again, as a new member
  };
  virtual void OnEnd(std::function<void(End)> callback) = 0;

  virtual uint16_t peer_port() const = 0;
};

}  // namespace raftkv::runtime
