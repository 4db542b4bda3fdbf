// Snapshots (paper, section 7): sent to followers that the log no longer reaches.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "node/raft/core_impl.h"

namespace raftkv::raft {

bool Core::Impl::MaybeSendSnapshot(NodeId to, Progress& progress) {
  if (!progress.recently_active) {
    report_.Debug("ignore sending snapshot to ", to, " since it is not recently active");
    return false;
  }
  LogResult<Snapshot> snapshot = log_.LatestSnapshot();
  if (!snapshot) {
    CHECK(snapshot.error() == LogError::kSnapshotTemporarilyUnavailable,
          "unexpected error when getting the snapshot");
    report_.Debug(id(), " failed to send snapshot to ", to,
                  " because snapshot is temporarily unavailable");
    return false;
  }
  CHECK(!snapshot->IsEmpty(), "need non-empty snapshot");
  report_.Debug(id(), " [firstindex: ", log_.first_index(), ", commit: ", log_.committed(),
                "] sent snapshot[index: ", snapshot->index, ", term: ", snapshot->term, "] to ", to,
                " [", progress, "]");
  progress.BecomeSnapshot(snapshot->index);
  report_.Debug(id(), " paused sending replication messages to ", to, " [", progress, "]");
  Send(to, InstallSnapshot{std::move(*snapshot)});
  return true;
}

void Core::Impl::On(Leader&, SnapshotStatus& body, Message& m) {
  Progress* progress = ProgressOf(m.from);
  if (progress == nullptr || progress->state != ProgressState::kSnapshot) return;
  if (body.failed) {
    // Before the change of state, or the probe would start after a snapshot that never arrived.
    progress->pending_snapshot = Index();
  }
  progress->BecomeProbe();
  report_.Debug(id(), " snapshot ", body.failed ? "failed" : "succeeded",
                ", resumed sending replication messages to ", m.from, " [", *progress, "]");
  // After success the follower's own acknowledgement will resume the flow, after failure the next
  // heartbeat's.
  progress->append_flow_paused = true;
}

void Core::Impl::HandleSnapshot(InstallSnapshot& body, NodeId from) {
  const EntryId at = body.snapshot.id();
  const bool restored = Restore(body.snapshot);
  report_.Info(id(), " [commit: ", log_.committed(), "] ", restored ? "restored" : "ignored",
               " snapshot [index: ", at.index, ", term: ", at.term, "]");
  const Index reached = restored ? log_.last_index() : log_.committed();
  SendDurably(from, term_, AppendResponse{.index = reached});
}

// Returns false if the snapshot is not needed, or not for this node. Takes it otherwise.
bool Core::Impl::Restore(Snapshot& snapshot) {
  if (snapshot.index <= log_.committed()) return false;
  CHECK(role() == Role::kFollower, "attempted to restore snapshot as leader; should never happen");

  // learners_next need not be searched: they are still voters of the outgoing half.
  const ConfState& conf = snapshot.conf;
  const std::array members = {&conf.voters, &conf.learners, &conf.voters_outgoing};
  if (std::ranges::none_of(members, [this](const auto* ids) {
        return std::ranges::find(*ids, id()) != ids->end();
      })) {
    report_.Warning(id(), " attempted to restore snapshot but it is not in the ConfState ",
                    Describe(conf), "; should never happen");
    return false;
  }

  // The log has everything that the snapshot covers: only the commit index is news (figure 13,
  // step 6).
  if (log_.Matches(snapshot.id())) {
    const EntryId last = log_.LastId();
    report_.Info(id(), " [commit: ", log_.committed(), ", lastindex: ", last.index,
                 ", lastterm: ", last.term,
                 "] fast-forwarded commit to snapshot [index: ", snapshot.index,
                 ", term: ", snapshot.term, "]");
    log_.CommitTo(snapshot.index);
    return false;
  }

  const EntryId at = snapshot.id();
  const ConfState configuration = conf;
  log_.RestoreSnapshot(std::move(snapshot));
  tracker_ = Tracker(tracker_.max_inflight_messages(), tracker_.max_inflight_bytes());
  RestoreConfig(configuration);
  const EntryId last = log_.LastId();
  report_.Info(id(), " [commit: ", log_.committed(), ", lastindex: ", last.index,
               ", lastterm: ", last.term, "] restored snapshot [index: ", at.index,
               ", term: ", at.term, "]");
  return true;
}

void Core::Impl::SnapshotStable(const Snapshot& snapshot) {
  log_.StableSnapshotTo(snapshot.index);
  AppliedTo(snapshot.index, 0);
}

}  // namespace raftkv::raft
