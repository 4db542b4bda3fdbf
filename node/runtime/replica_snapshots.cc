// Snapshots: made on request, kept while they are sent, installed before the log is reset.

#include <utility>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/mutations.h"
#include "node/runtime/replica.h"

namespace raftkv::runtime {
namespace {

// A snapshot that nobody needs any more keeps deleted data on the disk: it goes after this long.
constexpr Duration kKeepUnused = std::chrono::seconds(60);

}  // namespace

void Replica::TakeSnapshot(MonotonicTime deadline, Callback<v1::SnapshotResponse> done) {
  if (!serving()) return done(Error(NotServing()));
  if (env_.storage.machine->applied().index == raft::Index()) {
    return done(Error(Code::kFailedPrecondition, "this node has no state yet"));
  }
  snapshot_waiters_.emplace_back(deadline, std::move(done));
  RequestSnapshot();
}

std::string Replica::NewCheckpointDir() {
  return env_.storage.dir->snapshots_path() + "/checkpoints/" +
         std::to_string(env_.next_request_id());
}

void Replica::RequestSnapshot() {
  if (snapshot_requested_ || installing_) return;
  snapshot_requested_ = true;
  env_.ports->SubmitApply(MakeCheckpoint{NewCheckpointDir()});
}

void Replica::MakeExport(MonotonicTime deadline,
                         Callback<std::pair<std::string, raft::Snapshot>> done) {
  if (!serving()) return done(Error(NotServing()));
  if (env_.storage.machine->applied().index == raft::Index()) {
    return done(Error(Code::kFailedPrecondition, "this node has no state yet"));
  }
  const std::string dir = NewCheckpointDir();
  exports_.emplace(dir, Export{deadline, std::move(done)});
  env_.ports->SubmitApply(MakeCheckpoint{dir});
}

void Replica::OnCheckpoint(const ApplyDone& done) {
  if (done.checkpoint_error) {
    log::Error("no snapshot could be made", {{"error", done.checkpoint_error->ToString()}});
  }
  if (const auto it = exports_.find(done.checkpoint_dir); it != exports_.end()) {
    const auto answer = std::move(it->second.done);
    exports_.erase(it);
    if (!answer) return env_.ports->RemoveDir(done.checkpoint_dir);
    if (done.checkpoint_error) return answer(Error(*done.checkpoint_error));
    return answer(std::pair(done.checkpoint_dir, *done.checkpoint));
  }
  if (!done.checkpoint_error) {
    return env_.ports->SubmitDescribe(done.checkpoint_dir, *done.checkpoint);
  }
  snapshot_requested_ = false;
  for (auto& [deadline, waiter] : std::exchange(snapshot_waiters_, {})) {
    waiter(Error(*done.checkpoint_error));
  }
}

void Replica::OnManifest(std::string dir, raft::Snapshot snapshot,
                         Result<v1::SnapshotManifest> manifest) {
  snapshot_requested_ = false;
  auto waiters = std::exchange(snapshot_waiters_, {});
  if (!manifest) {
    env_.ports->RemoveDir(std::move(dir));
    log::Error("a snapshot could not be read back", {{"error", manifest.error().ToString()}});
    for (auto& [deadline, waiter] : waiters) waiter(Error(manifest.error()));
    return;
  }
  snapshot.data = Buffer(manifest->SerializeAsString());
  log::Info("snapshot ready", {{"index", snapshot.index.value},
                               {"files", manifest->files_size()},
                               {"bytes", manifest->total_bytes()}});
  v1::SnapshotResponse response;
  response.set_index(snapshot.index.value);
  response.set_term(snapshot.term.value);
  for (auto& [deadline, waiter] : waiters) waiter(response);
  if (!ready_snapshot_dir_.empty()) retired_dirs_.push_back(std::move(ready_snapshot_dir_));
  ready_snapshot_dir_ = std::move(dir);
  ready_snapshot_used_ = env_.clock->Now();
  replica_log_.SetSnapshot(std::move(snapshot));
}

void Replica::SendSnapshotMessage(raft::Message message) {
  // Since the core wrote this message, the snapshot may have been retired, or replaced by another.
  const raft::Snapshot& snapshot = message.As<raft::InstallSnapshot>().snapshot;
  const std::optional<raft::Snapshot>& ready = replica_log_.ready_snapshot();
  if (!ready || ready->id() != snapshot.id()) {
    return core_->ReportSnapshot(message.to, /*failed=*/true);
  }
  ready_snapshot_used_ = env_.clock->Now();
  snapshot_targets_[message.to] = ready_snapshot_used_;
  log::Info("sending a snapshot",
            {{"to", log::Hex{message.to.value}}, {"index", snapshot.index.value}});
  transport_->SendSnapshot(std::move(message), ready_snapshot_dir_);
}

void Replica::OnSnapshotSent(raft::NodeId to, bool ok) {
  ready_snapshot_used_ = env_.clock->Now();
  if (const auto target = snapshot_targets_.find(to); target != snapshot_targets_.end()) {
    const auto took = static_cast<uint64_t>((ready_snapshot_used_ - target->second).count());
    counters_.snapshot_send_ns.fetch_add(took, std::memory_order_relaxed);
    snapshot_targets_.erase(target);
  }
  (ok ? counters_.snapshots_sent : counters_.snapshots_send_failed)
      .fetch_add(1, std::memory_order_relaxed);
  if (!ok)
    log::Warning("a snapshot did not arrive; it is tried again", {{"to", log::Hex{to.value}}});
  if (core_ != nullptr) core_->ReportSnapshot(to, !ok);
  env_.wake();
}

void Replica::RetireReadySnapshot() {
  if (!snapshot_targets_.empty()) return;
  for (std::string& dir : std::exchange(retired_dirs_, {})) env_.ports->RemoveDir(std::move(dir));
  if (ready_snapshot_dir_.empty() || env_.clock->Now() - ready_snapshot_used_ < kKeepUnused) return;
  replica_log_.SetSnapshot(std::nullopt);
  env_.ports->RemoveDir(std::exchange(ready_snapshot_dir_, {}));
}

void Replica::OnSnapshotReceived(raft::Message message, std::string dir) {
  if (core_ == nullptr || removed_ || installing_) return env_.ports->RemoveDir(std::move(dir));
  const raft::EntryId id = message.As<raft::InstallSnapshot>().snapshot.id();
  staged_ = {id, std::move(dir)};
  (void)core_->Step(std::move(message));
  ProcessReady();
  // The core did not want it (it is older than what we have).
  if (staged_) env_.ports->RemoveDir(std::move(staged_->second));
  staged_.reset();
  env_.wake();
}

// The state is replaced first, then the log is reset, then the mark goes that Replace left. A crash
// in between leaves a state that its log does not continue; the mark tells Reconcile to repeat the
// reset.
void Replica::InstallSnapshot(AppendJob* job) {
  const raft::EntryId id = job->work.snapshot->id();
  CHECK(staged_ && staged_->first == id, "snapshots come in by OnSnapshotReceived only");
  log::Info("installing a snapshot", {{"index", id.index.value}, {"term", id.term.value}});
  job->reset_to = id;
  installing_ = !MUTATION(reset_log_before_state);
  env_.ports->SubmitApply(ReplaceState{std::move(staged_->second), id});
  staged_.reset();
}

void Replica::OnReplaced(raft::EntryId snapshot) {
  CHECK(installing_ || MUTATION(reset_log_before_state),
        "the state is replaced only to install a snapshot");
  installing_ = false;
  counters_.snapshots_installed.fetch_add(1, std::memory_order_relaxed);
  log::Info("snapshot installed", {{"index", snapshot.index.value}});
  // The first of them resets the log.
  pending_reset_ = {snapshot, appends_under_way_ + 1};
  for (AppendJob& job : std::exchange(held_appends_, {})) HandOutAppend(std::move(job));
  // Proposals below the snapshot were committed or not: nobody here can tell any more. Their
  // waiters end at their deadlines, with an unknown outcome.
  (void)TakeTracked(snapshot.index);
  truncated_to_ = snapshot.index;
  applied_sizes_.clear();
  // Asked for in the meantime.
  if (!snapshot_waiters_.empty()) RequestSnapshot();
  PublishPeers();
  FinishJointWaiters();
  CheckRemoved();
}

void Replica::ExpireSnapshotCalls() {
  const MonotonicTime now = env_.clock->Now();
  const raftkv::Status late(Code::kUnavailable,
                            "the snapshot was not made within the time given: the disk is slow, or "
                            "another snapshot is being installed; repeat later");
  std::erase_if(snapshot_waiters_, [&](auto& waiter) {
    if (waiter.first > now) return false;
    waiter.second(Error(late));
    return true;
  });
  for (auto& [dir, waiting] : exports_) {
    if (waiting.deadline > now || !waiting.done) continue;
    std::exchange(waiting.done, nullptr)(Error(late));
  }
}

}  // namespace raftkv::runtime
