// The threads beside the raft thread: append, apply, read, and the janitor.

#include <algorithm>
#include <utility>

#include "tests/simulation/sim_node.h"

namespace raftkv::sim {

void SimNode::SetFree(std::optional<uint64_t> bytes) {
  if (!bytes) return disk_->space().Clear();
  if (running()) world_->coverage.Hit(Path::disk_full);
  disk_->space().Leave(*bytes);
}

void SimNode::ScheduleLook() {
  ScheduleLocal(EventKind::kLook, loop_->until_next_look(), [this] {
    loop_->LookAtDisk();
    ScheduleLook();
  });
}

Duration SimNode::DiskTime(uint64_t usual_us) { return Jitter(usual_us) + disk_delay_; }

void SimNode::Wake(Worker worker) {
  switch (worker) {
    case Worker::kAppend:
      return StartAppend();
    case Worker::kApply:
      return StartApply();
    case Worker::kRead:
      // At once, or as late as a slow disk is.
      return Schedule(EventKind::kJanitor, DiskTime(500), [this] {
        world_->coverage.Hit(Path::log_read);
        loop_->Work(Worker::kRead);
      });
  }
}

// Space may come just then.
void SimNode::Finish(Worker worker) {
  if (worker == Worker::kRead) return;
  SimThread& thread = worker == Worker::kAppend ? append_thread_ : apply_thread_;
  bool ended = true;
  if (thread.asleep()) {
    world_->coverage.Hit(Path::stopped_without_room);
    if (random_.Uniform(2) == 0) disk_->space().Clear();
    ended = Resume(thread);
  }
  if (ended && loop_->HasWork(worker)) {
    ended = RunWorker(thread, [this, worker] { loop_->Work(worker); });
  }
  while (!ended) ended = Resume(thread);
  if (worker == Worker::kAppend) disk_->log().Synced();
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
  if (replica().is_leader()) world_->coverage.Hit(Path::leader_waits);
  thread.Sleep(duration);
}

void SimNode::RunAppend() {
  disk_->log().SetDeferred(true);
  conflicts_seen_ = world_->coverage.count(Path::conflicting_suffix);
  AfterAppend(RunWorker(append_thread_, [this] { loop_->Work(Worker::kAppend); }));
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
  if (loop_->HasWork(Worker::kAppend)) StartAppend();
}

void SimNode::TellAppended() {
  for (Appended& done : std::exchange(appended_, {})) {
    Post(EventKind::kAppendDone,
         [this, jobs = done.jobs,
          responses = std::make_shared<std::vector<raft::Message>>(std::move(done.responses))] {
           loop_->OnAppended(jobs, std::move(*responses));
         });
  }
}

void SimNode::StartApply() {
  if (std::exchange(apply_busy_, true)) return;
  Schedule(EventKind::kApplyStart, Jitter(100) + disk_delay_ / 4 + apply_delay_,
           [this, slow = apply_delay_ > Duration(0)] {
             if (slow) world_->coverage.Hit(Path::apply_slow);
             AfterApply(RunWorker(apply_thread_, [this] { loop_->Work(Worker::kApply); }));
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
  if (loop_->HasWork(Worker::kApply)) StartApply();
}

void SimNode::TellApplied() {
  for (runtime::ApplyDone& done : std::exchange(applied_, {})) {
    const bool replaced = done.replaced.has_value();
    if (replaced) {
      world_->coverage.Hit(Path::snapshot_installed);
      disk_->state().Confirm();
    }
    replica().TellApplied(std::move(done));
    if (replaced) Post(EventKind::kPost, [this] { Announce(Moment::state_replaced); });
  }
}

void SimNode::PostToJanitor(Work job) {
  Schedule(EventKind::kJanitor, DiskTime(50'000), std::move(job));
}

Result<v1::SnapshotManifest> SimNode::Describe(const std::string& dir, uint64_t cluster,
                                               uint64_t snapshot) const {
  const auto found = disk_->checkpoints().find(dir);
  if (found == disk_->checkpoints().end()) return Error(Code::kIoError, dir + " does not exist");
  world_->coverage.Hit(Path::snapshot_made);
  v1::SnapshotManifest manifest;
  manifest.set_cluster_id(cluster);
  manifest.set_snapshot_id(snapshot);
  v1::SnapshotManifest::File& file = *manifest.add_files();
  file.set_name("state");
  file.set_bytes(found->second->size());
  manifest.set_total_bytes(file.bytes());
  return manifest;
}

}  // namespace raftkv::sim
