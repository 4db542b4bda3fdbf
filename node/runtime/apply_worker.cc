#include <utility>

#include "base/check.h"
#include "base/fault_points.h"
#include "base/mutations.h"
#include "node/runtime/workers.h"
#include "node/storage/codec.h"

namespace raftkv::runtime {
namespace {

// How many dead versions one garbage collection step removes: short enough that no commit waits
// noticeably behind it.
constexpr size_t kGarbageStep = 2000;
// Entries are applied together until they have so many bytes: a little disk is enough for one step,
// and no client waits for many others' large values.
constexpr uint64_t kApplyBytes = 512 << 10;
// More is left to the thread: the raft thread has heartbeats to answer, and with many clients the
// two at the same time get through more.
constexpr size_t kAtOnceEntries = 16;
constexpr uint64_t kAtOnceBytes = 64 << 10;

}  // namespace

void ApplyWorker::Submit(ApplyJob job) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(job));
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  has_work_.store(true, std::memory_order_release);
}

void ApplyWorker::RunOnce() {
  std::vector<ApplyJob> jobs;
  {
    std::lock_guard lock(mutex_);
    jobs.swap(queue_);
    has_work_.store(false, std::memory_order_release);
    if (jobs.empty()) return;
    running_ = true;
  }
  for (ApplyJob& job : jobs) {
    if (gave_up_ && !MUTATION(go_on_after_giving_up)) return;
    ApplyDone done = std::visit([this](auto& body) { return Run(body); }, job);
    if (gave_up_) return;
    unfinished_.fetch_sub(1, std::memory_order_relaxed);
    sink_.done(std::move(done));
    // Everybody who waited has been answered.
    FAULT_POINT(state_write_before);
    if (const Status status = WithRoom([this] { return store_->CatchUp(); }); !status.ok()) {
      return Fail(status);
    }
    FAULT_POINT(state_write_after);
  }
  const std::lock_guard lock(mutex_);
  running_ = false;
}

bool ApplyWorker::RunAtOnce(ApplyEntries& job) {
  if (job.entries.size() > kAtOnceEntries) return false;
  ApplyDone done;
  for (const raft::Entry& entry : job.entries) {
    done.applied_bytes += entry.data().size();
    if (entry.IsConfChange()) return false;
  }
  if (done.applied_bytes > kAtOnceBytes) return false;
  {
    // Neither becomes true until this thread submits a job.
    const std::lock_guard lock(mutex_);
    if (running_ || !queue_.empty()) return false;
  }
  const MonotonicTime start = clock_->Now();
  FAULT_POINT(apply_before);
  std::optional<std::vector<kv::ApplyResult>> results = machine_->ApplyInMemory(job.entries);
  if (!results) return false;
  FAULT_POINT(apply_after);
  Answer(start, *results, &done);
  done.responses = std::move(job.responses);
  sink_.done(std::move(done));
  return true;
}

bool ApplyWorker::AwaitRoom(uint64_t bytes, bool failed) {
  gave_up_ = sink_.await_room && !sink_.await_room(bytes, failed, [this] { Tidy(); });
  return !gave_up_;
}

Status ApplyWorker::WithRoom(const std::function<Status()>& work) {
  Status status = work();
  while (status.code() == Code::kOutOfSpace && sink_.await_room) {
    if (!AwaitRoom(0, /*failed=*/true)) return {Code::kUnavailable, "this node is stopping"};
    status = work();
  }
  return status;
}

void ApplyWorker::Fail(const Status& status) {
  if (status.code() != Code::kUnavailable) sink_.fatal(status);
}

void ApplyWorker::Tidy() {
  if (!sink_.has_room_for_flush() || store_->Resume().code() == Code::kOutOfSpace) return;
  const Status status = store_->Flush();
  if (!status.ok() && status.code() != Code::kOutOfSpace) sink_.fatal(status);
}

void ApplyWorker::Count(const std::vector<kv::ApplyResult>& results) {
  uint64_t puts = 0;
  uint64_t deletes = 0;
  uint64_t txns = 0;
  for (const kv::ApplyResult& result : results) {
    if (!result.command) continue;
    puts += result.command->puts;
    deletes += result.command->deleted;
    txns += result.command->txn ? 1 : 0;
  }
  counters_.puts.fetch_add(puts, std::memory_order_relaxed);
  counters_.deletes.fetch_add(deletes, std::memory_order_relaxed);
  counters_.txns.fetch_add(txns, std::memory_order_relaxed);
}

ApplyDone ApplyWorker::Run(ApplyEntries& job) {
  ApplyDone done;
  for (const raft::Entry& entry : job.entries) done.applied_bytes += entry.data().size();
  std::span<const raft::Entry> left = job.entries;
  while (!left.empty()) {
    size_t count = 0;
    uint64_t bytes = 0;
    while (count < left.size() && bytes < kApplyBytes) bytes += left[count++].data().size();
    if (!AwaitRoom(bytes, /*failed=*/false)) return {};
    if (!Apply(left.first(count), &done)) return {};
    left = left.subspan(count);
  }
  done.responses = std::move(job.responses);
  return done;
}

bool ApplyWorker::Apply(std::span<const raft::Entry> entries, ApplyDone* done) {
  // More than once if the disk became full between two parts.
  while (machine_->applied().index < entries.back().index) {
    const MonotonicTime start = clock_->Now();
    FAULT_POINT(apply_before);
    Result<std::vector<kv::ApplyResult>> results = std::vector<kv::ApplyResult>();
    const Status status = WithRoom([&] {
      results = machine_->Apply(entries);
      return results ? Status::Ok() : results.error();
    });
    FAULT_POINT(apply_after);
    if (!status.ok()) {
      Fail(status);
      return false;
    }
    Answer(start, *results, done);
  }
  return true;
}

void ApplyWorker::Answer(MonotonicTime start, std::vector<kv::ApplyResult>& results,
                         ApplyDone* done) {
  if (sink_.on_batch) sink_.on_batch(clock_->Now() - start, results.size());
  Count(results);
  for (kv::ApplyResult& result : results) {
    if (!result.membership) continue;
    done->memberships.push_back(*result.membership);
    if (result.accepted_change) done->accepted_changes.push_back(result.accepted_change);
  }
  // Applied by now, and durable on a quorum: the clients may know.
  waiters_->Complete(member_id_, results);
}

ApplyDone ApplyWorker::Run(ReplaceState& job) {
  ApplyDone done;
  machine_->PrepareReplace();
  FAULT_POINT(snapshot_install_before);
  Status status = store_->Replace(job.dir, job.snapshot);
  FAULT_POINT(snapshot_install_after);
  if (status.ok()) status = machine_->ReloadAfterReplace();
  if (!status.ok()) {
    sink_.fatal(status);
    return done;
  }
  const kv::AppliedState applied = machine_->applied();
  CHECK(applied.index == job.snapshot.index && applied.term == job.snapshot.term,
        "a snapshot holds the state at its own index");
  done.replaced = job.snapshot;
  return done;
}

ApplyDone ApplyWorker::Run(FinishInstallation& job) {
  FAULT_POINT(installation_finish_before);
  const Status status = store_->FinishInstallation(job.snapshot);
  if (!status.ok()) sink_.fatal(status);
  return {};
}

ApplyDone ApplyWorker::Run(MakeCheckpoint& job) {
  ApplyDone done;
  const kv::AppliedState applied = machine_->applied();
  const std::shared_ptr<const v1::ClusterState> cluster = machine_->cluster();
  done.checkpoint_dir = job.dir;
  const MonotonicTime start = clock_->Now();
  FAULT_POINT(snapshot_save_before);
  const Status status = store_->Checkpoint(job.dir);
  FAULT_POINT(snapshot_save_after);
  if (sink_.on_checkpoint) sink_.on_checkpoint(clock_->Now() - start);
  if (!status.ok()) {
    done.checkpoint_error = status;
    return done;
  }
  raft::Snapshot snapshot;
  snapshot.index = applied.index;
  snapshot.term = applied.term;
  snapshot.conf = storage::FromProto(cluster->conf());
  done.checkpoint = std::move(snapshot);
  return done;
}

ApplyDone ApplyWorker::Run(FlushState&) {
  ApplyDone done;
  if (!AwaitRoom(0, /*failed=*/false)) return done;
  FAULT_POINT(flush_before);
  const Status status = WithRoom([this] { return store_->Flush(); });
  FAULT_POINT(flush_after);
  const Result<raft::Index> flushed = status.ok() ? machine_->FlushedIndex() : Error(status);
  if (!flushed) {
    Fail(flushed.error());
    return done;
  }
  done.flushed = *flushed;
  return done;
}

ApplyDone ApplyWorker::Run(CollectGarbage&) {
  ApplyDone done;
  done.garbage_collected = true;
  done.compact_revision = machine_->applied().compact_revision;
  const Status status = WithRoom([&] {
    const Result<bool> more = machine_->CollectGarbage(kGarbageStep);
    if (!more) return more.error();
    done.more_garbage = *more;
    return *more ? Status::Ok() : store_->GiveBackSpace();
  });
  if (!status.ok()) Fail(status);
  return done;
}

}  // namespace raftkv::runtime
