// What the threads beside the raft thread do: append, apply, snapshots, the looks at the disk.

#include <algorithm>
#include <utility>

#include "tests/simulation/sim_node.h"

namespace raftkv::sim {
namespace {

// As the janitor's.
constexpr Duration kBetweenLooks = std::chrono::seconds(1);
constexpr Duration kBetweenLooksNearLimit = std::chrono::milliseconds(100);

}  // namespace

void SimNode::SetFree(std::optional<uint64_t> bytes) {
  if (!bytes) return disk_->space().Clear();
  if (running()) world_->coverage.Hit(Path::disk_full);
  disk_->space().Leave(*bytes);
  if (running() && !std::exchange(looks_at_space_, true)) {
    Schedule(EventKind::kJanitor, Jitter(1'000'000), [this] { LookAtSpace(); });
  }
}

// As NodeImpl::CheckDisk, but only as long as there is something to see.
void SimNode::LookAtSpace() {
  const storage::StateStats stats = store_->stats();
  space_guard_->Look({stats.disk_bytes, stats.memtable_bytes});
  room_->Resume();
  looks_at_space_ = disk_->space().limited() || space_guard_->is_near_limit();
  if (!looks_at_space_) return;
  const bool often = space_guard_->is_near_limit();
  ScheduleLocal(EventKind::kJanitor, often ? kBetweenLooksNearLimit : kBetweenLooks,
                [this] { LookAtSpace(); });
}

Duration SimNode::DiskTime(uint64_t usual_us) { return Jitter(usual_us) + disk_delay_; }

void SimNode::SubmitAppend(runtime::AppendJob job) {
  append_->Submit(std::move(job));
  StartAppend();
}

void SimNode::SubmitTruncate(raft::Index index) {
  append_->SubmitTruncate(index);
  StartAppend();
}

void SimNode::StartAppend() {
  if (std::exchange(append_busy_, true)) return;
  Schedule(EventKind::kAppendStart, Jitter(30), [this] { RunAppend(); });
}

// Only where space is scarce, or was until just now, a worker may sleep, and needs a thread for
// that.
bool SimNode::RunWorker(SimThread& thread, const Work& run) {
  const bool may_sleep = disk_->space().limited() || space_guard_->is_near_limit() ||
                         disk_->log().stopped() || disk_->state().stopped();
  if (!may_sleep) {
    run();
    return true;
  }
  running_thread_ = &thread;
  return thread.Run(run);
}

bool SimNode::Resume(SimThread& thread) {
  running_thread_ = &thread;
  return thread.Resume();
}

void SimNode::SleepForSpace(SimThread& thread, Duration duration) {
  const bool log = &thread == &append_thread_;
  world_->coverage.Hit(log ? Path::log_waits : Path::state_waits);
  if (replica_->is_leader()) world_->coverage.Hit(Path::leader_waits);
  thread.Sleep(duration);
}

void SimNode::RunAppend() {
  disk_->log().SetDeferred(true);
  conflicts_seen_ = world_->coverage.count(Path::conflicting_suffix);
  AfterAppend(RunWorker(append_thread_, [this] { append_->RunOnce(); }));
}

// What was written is there at once; that it is durable is known when the fsync ends.
void SimNode::AfterAppend(bool ended) {
  if (world_->coverage.count(Path::conflicting_suffix) > conflicts_seen_) {
    Announce(Moment::log_conflict);
  }
  if (ended) {
    return Schedule(EventKind::kAppendEnd, DiskTime(600), [this] { FinishAppend(); });
  }
  // Whatever was written before is durable.
  disk_->log().Synced();
  TellAppended();
  AwaitSpace(append_thread_, &SimNode::AfterAppend);
}

void SimNode::AwaitSpace(SimThread& thread, void (SimNode::*after)(bool ended)) {
  Announce(Moment::waits_for_space);
  ScheduleLocal(EventKind::kTimer, thread.sleeps_for(),
                [this, &thread, after] { (this->*after)(Resume(thread)); });
}

void SimNode::FinishAppend() {
  disk_->log().Synced();
  disk_->log().SetDeferred(false);
  TellAppended();
  append_busy_ = false;
  if (append_->HasWork()) StartAppend();
}

void SimNode::TellAppended() {
  for (Appended& done : std::exchange(appended_, {})) {
    Post(EventKind::kAppendDone,
         [this, jobs = done.jobs,
          responses = std::make_shared<std::vector<raft::Message>>(std::move(done.responses))] {
           replica_->OnAppendDone(jobs, std::move(*responses));
           WakeReady();
         });
  }
}

void SimNode::SubmitApply(runtime::ApplyJob job) {
  apply_->Submit(std::move(job));
  StartApply();
}

void SimNode::StartApply() {
  if (std::exchange(apply_busy_, true)) return;
  Schedule(EventKind::kApplyStart, Jitter(100) + disk_delay_ / 4 + apply_delay_,
           [this, slow = apply_delay_ > Duration(0)] {
             if (slow) world_->coverage.Hit(Path::apply_slow);
             AfterApply(RunWorker(apply_thread_, [this] { apply_->RunOnce(); }));
           });
}

void SimNode::AfterApply(bool ended) {
  if (!ended) {
    TellApplied();
    return AwaitSpace(apply_thread_, &SimNode::AfterApply);
  }
  const bool replaces = std::ranges::any_of(
      applied_, [](const runtime::ApplyDone& done) { return done.replaced.has_value(); });
  // Clients have their answers, and the replica does not know yet.
  if (!replaces) {
    return Schedule(EventKind::kApplyEnd, Jitter(50), [this] { FinishApply(); });
  }
  // Directories are moved and databases opened; a crash meanwhile leaves the one or the other.
  Announce(Moment::replacing);
  Schedule(EventKind::kApplyReplace, DiskTime(20'000) + apply_delay_, [this] { FinishApply(); });
}

void SimNode::FinishApply() {
  TellApplied();
  apply_busy_ = false;
  if (apply_->HasWork()) StartApply();
}

void SimNode::TellApplied() {
  for (runtime::ApplyDone& done : std::exchange(applied_, {})) {
    const bool replaced = done.replaced.has_value();
    if (replaced) {
      world_->coverage.Hit(Path::snapshot_installed);
      disk_->state().Confirm();
    }
    replica_->TellApplied(std::move(done));
    if (replaced) Post(EventKind::kPost, [this] { Announce(Moment::state_replaced); });
  }
}

void SimNode::SubmitRead(raft::Index low, uint64_t max_bytes) {
  read_->Submit(low, max_bytes);
  // At once, or as late as a slow disk is.
  Schedule(EventKind::kJanitor, DiskTime(500), [this] { read_->RunOnce(); });
}

void SimNode::SubmitDescribe(std::string dir, raft::Snapshot snapshot) {
  Schedule(EventKind::kJanitor, DiskTime(50'000), [this, dir = std::move(dir), snapshot] {
    Result<v1::SnapshotManifest> manifest = Error(Code::kIoError, dir + " does not exist");
    const auto found = disk_->checkpoints().find(dir);
    if (found != disk_->checkpoints().end()) {
      world_->coverage.Hit(Path::snapshot_made);
      manifest = v1::SnapshotManifest();
      manifest->set_cluster_id(identity_.cluster_id);
      manifest->set_snapshot_id(next_request_id_++);
      v1::SnapshotManifest::File& file = *manifest->add_files();
      file.set_name("state");
      file.set_bytes(found->second->size());
      manifest->set_total_bytes(file.bytes());
    }
    Post(EventKind::kPost, [this, dir, snapshot, manifest = std::move(manifest)]() mutable {
      replica_->OnManifest(std::move(dir), std::move(snapshot), std::move(manifest));
      WakeReady();
    });
  });
}

void SimNode::RemoveDir(std::string dir) {
  Schedule(EventKind::kJanitor, Jitter(1000),
           [this, dir = std::move(dir)] { disk_->checkpoints().erase(dir); });
}

}  // namespace raftkv::sim
