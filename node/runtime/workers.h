// The storage workers: what the append, apply and read threads do, without the threads. A thread
// (or the simulator) calls RunOnce whenever there is work; the results go to a sink.
//
//   AppendWorker  drains everything queued into one write and one fsync (group commit), then
//                 releases the responses that had to wait for it
//   ApplyWorker   applies committed entries in order, answers waiters, installs and makes
//                 snapshots, collects garbage; a few entries the raft thread applies itself
//   ReadWorker    reads parts of the log that are in memory no more
//
// Thread-safety: Submit and HasWork from any thread; RunOnce from one thread. Sinks are called on
// that thread. RunAtOnce says more.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "node/kv/state_machine.h"
#include "node/raft/message.h"
#include "node/runtime/waiters.h"
#include "node/storage/log_storage.h"
#include "node/storage/state_store.h"

namespace raftkv::runtime {

// A failed disk stops the process: what it acknowledged is on other disks, what it would go on to
// write is not (the fsync study of ATC'20; docs/design/write-path.md). Does not return.
using FatalFn = std::function<void(const Status&)>;

struct AppendJob {
  raft::StorageAppend work;
  // The state was replaced by this snapshot: the log starts anew after it.
  std::optional<raft::EntryId> reset_to;
};

class AppendWorker {
 public:
  struct Sink {
    // After each job or several: how many, and what they released.
    std::function<void(size_t jobs, std::vector<raft::Message> responses)> done;
    FatalFn fatal;
    // Number of jobs and entries in one group commit, for metrics. May be empty.
    std::function<void(size_t jobs, size_t entries)> on_batch;
    // Comes back when the disk has room for `bytes`, as Room::Await. False: it never will in this
    // life of the process, and nothing more is to be done. Empty: there is always room, and a full
    // disk is as fatal as a broken one.
    std::function<bool(uint64_t bytes, bool failed, const std::function<void()>& tidy)> await_room;
  };
  AppendWorker(storage::LogStorage* log, Sink sink) : log_(log), sink_(std::move(sink)) {}

  void Submit(AppendJob job);
  // Drop entries up to `index` when convenient.
  void SubmitTruncate(raft::Index index);
  bool HasWork() const { return has_work_.load(std::memory_order_acquire); }
  void RunOnce();
  // Jobs submitted whose end the sink has not heard of. Any thread.
  size_t unfinished() const { return unfinished_.load(std::memory_order_relaxed); }

 private:
  // False: it was not done, nor is the rest to be: not by a later call of RunOnce either.
  bool Commit(std::vector<AppendJob>& jobs, size_t first, size_t last);
  // Writes as soon as there is room for `bytes`. False as above.
  bool WriteWithRoom(uint64_t bytes, const std::function<Status()>& write);
  Status Truncate();
  // While the disk is full: drops entries at once.
  void Tidy();

  storage::LogStorage* const log_;
  const Sink sink_;
  bool gave_up_ = false;       // what waited for room was not done, so nothing after it may be
  bool holds_garbage_ = true;  // entries were dropped whose space the log may still take
  std::atomic<bool> has_work_ = false;
  std::atomic<size_t> unfinished_ = 0;
  std::mutex mutex_;
  std::vector<AppendJob> queue_;
  raft::Index truncate_to_;
};

class ReadWorker {
 public:
  // As Replica::OnLogRead.
  using Done = std::function<void(raft::Index low, raft::LogResult<std::vector<raft::Entry>>)>;

  ReadWorker(const storage::LogStorage* log, Done done) : log_(log), done_(std::move(done)) {}

  // As StoragePorts::SubmitRead. Few are under way at any time (ReadAhead).
  void Submit(raft::Index low, uint64_t max_bytes);
  bool HasWork() const;
  void RunOnce();

 private:
  struct Job {
    raft::Index low;
    uint64_t max_bytes;
  };

  const storage::LogStorage* const log_;
  const Done done_;
  mutable std::mutex mutex_;
  std::vector<Job> queue_;
};

struct ApplyEntries {
  std::vector<raft::Entry> entries;
  std::vector<raft::Message> responses;
};
// Puts the verified checkpoint in `dir` in place of the state.
struct ReplaceState {
  std::string dir;
  raft::EntryId snapshot;
};
// Writes a checkpoint of everything applied so far into `dir`.
struct MakeCheckpoint {
  std::string dir;
};
// The log has been reset to follow this snapshot.
struct FinishInstallation {
  raft::EntryId snapshot;
};
struct FlushState {};
struct CollectGarbage {};
using ApplyJob = std::variant<ApplyEntries, ReplaceState, FinishInstallation, MakeCheckpoint,
                              FlushState, CollectGarbage>;

// What the raft thread has to know when a job is done.
struct ApplyDone {
  std::vector<raft::Message> responses;  // to be stepped, after the changes below
  std::vector<std::shared_ptr<const raft::ConfChange>> accepted_changes;
  // Configuration results, in order (also refusals), with their log index.
  std::vector<kv::MembershipResult> memberships;
  uint64_t applied_bytes = 0;
  std::optional<raft::EntryId> replaced;     // ReplaceState
  std::optional<raft::Snapshot> checkpoint;  // MakeCheckpoint: index, term, conf; data empty
  std::string checkpoint_dir;
  std::optional<Status> checkpoint_error;
  std::optional<raft::Index> flushed;  // FlushState: the applied index that a crash would leave
  bool garbage_collected = false;
  bool more_garbage = false;
  uint64_t compact_revision = 0;  // that the garbage was collected for
};

class ApplyWorker {
 public:
  struct Sink {
    std::function<void(ApplyDone)> done;
    FatalFn fatal;
    // Time to apply one job and its number of entries, for metrics. May be empty.
    std::function<void(Duration took, size_t entries)> on_batch;
    // Time to make one checkpoint, for metrics. May be empty.
    std::function<void(Duration took)> on_checkpoint;
    // As for the append worker.
    std::function<bool(uint64_t bytes, bool failed, const std::function<void()>& tidy)> await_room;
    // Whether the state could be flushed now. Empty together with await_room.
    std::function<bool()> has_room_for_flush;
  };
  // What the commands applied so far did. Any thread.
  struct Counters {
    std::atomic<uint64_t> puts{0};  // keys written, transactions included
    std::atomic<uint64_t> deletes{0};
    std::atomic<uint64_t> txns{0};
  };
  ApplyWorker(uint64_t member_id, storage::StateStore* store, kv::StateMachine* machine,
              WaiterTable* waiters, const Clock* clock, Sink sink)
      : member_id_(member_id),
        store_(store),
        machine_(machine),
        waiters_(waiters),
        clock_(clock),
        sink_(std::move(sink)) {}

  void Submit(ApplyJob job);
  bool HasWork() const { return has_work_.load(std::memory_order_acquire); }
  // Handles everything queued.
  void RunOnce();
  // Few entries that need no disk are applied sooner than a thread is woken for them. False: it is
  // a job to submit. On the thread that submits jobs, so that none comes in between; while there is
  // room on the disk.
  bool RunAtOnce(ApplyEntries& job);
  // As of the append worker.
  size_t unfinished() const { return unfinished_.load(std::memory_order_relaxed); }
  const Counters& counters() const { return counters_; }

 private:
  void Count(const std::vector<kv::ApplyResult>& results);
  // As Sink::await_room; also true where there is none.
  bool AwaitRoom(uint64_t bytes, bool failed);
  // Calls `work` until a full disk is not what it fails of. kUnavailable: the node stops first.
  Status WithRoom(const std::function<Status()>& work);
  // Does not return for an error in `status`, except that the node stops.
  void Fail(const Status& status);
  // While the disk is full: a flushed state lets the log become shorter.
  void Tidy();
  ApplyDone Run(ApplyEntries& job);
  // False: nothing more is to be done.
  bool Apply(std::span<const raft::Entry> entries, ApplyDone* done);
  // They were applied, since `start`.
  void Answer(MonotonicTime start, std::vector<kv::ApplyResult>& results, ApplyDone* done);
  ApplyDone Run(ReplaceState& job);
  ApplyDone Run(FinishInstallation& job);
  ApplyDone Run(MakeCheckpoint& job);
  ApplyDone Run(FlushState& job);
  ApplyDone Run(CollectGarbage& job);

  const uint64_t member_id_;
  storage::StateStore* const store_;
  kv::StateMachine* const machine_;
  WaiterTable* const waiters_;
  const Clock* const clock_;
  const Sink sink_;
  bool gave_up_ = false;  // as the append worker's
  Counters counters_;
  std::atomic<bool> has_work_ = false;
  std::atomic<size_t> unfinished_ = 0;
  std::mutex mutex_;
  std::vector<ApplyJob> queue_;
  // RunOnce has taken jobs and is not done with them; for ever, if it gave up.
  bool running_ = false;
};

}  // namespace raftkv::runtime
