// NodeLoop: what the threads of a node do, without the threads: the replica, its workers and its
// clients' requests, and what leads to what. NodeImpl runs it on threads, the simulator as events
// of its own, so that both are one program.
//
//   raft      ProcessReady, DrainRequests, Run, OnTick, OnAppended; never waits for a disk
//   append, apply, read
//             Work, whenever they are woken
//   janitor   LookAtDisk and the jobs that are posted to it: what is slow and not urgent
//
// Thread-safety: each method says on which thread, or that any may call it. Callbacks come on the
// raft thread, on the apply worker's, or on the caller's before the call returns.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "node/runtime/member_storage.h"
#include "node/runtime/replica.h"
#include "node/runtime/room.h"
#include "node/runtime/space_guard.h"
#include "node/runtime/waiters.h"
#include "node/runtime/workers.h"
#include "node/storage/files.h"

namespace raftkv::runtime {

class NodeLoop final : private StoragePorts {
 public:
  enum class Worker : uint8_t { kAppend, kApply, kRead };

  // Who runs the loop. From any thread, unless said otherwise.
  class Threads {
   public:
    virtual ~Threads() = default;
    // To be called on the raft thread, soon, in the order of these calls: ProcessReady,
    // DrainRequests, and Run(work).
    virtual void PostReady() = 0;
    virtual void PostRequests() = 0;
    virtual void Post(std::function<void()> work) = 0;
    // Run(work), after so long.
    virtual void PostAfter(Duration delay, std::function<void()> work) = 0;
    // Work(worker), on its thread; several wakes may be one call.
    virtual void Wake(Worker worker) = 0;
    // Comes back when the worker has done all that it was woken for. It is woken no more.
    virtual void Finish(Worker worker) = 0;
    virtual void PostToJanitor(std::function<void()> job) = 0;
  };

  struct Env {
    const Options* options = nullptr;
    const Clock* clock = nullptr;
    Random* random = nullptr;
    storage::Files* files = nullptr;
    MemberStorage storage;
    SpaceGuard* space = nullptr;
    raft::Logger* logger = nullptr;
    Threads* threads = nullptr;
    // What the append worker has done is for OnAppended, on the raft thread, and what the apply
    // worker has done for Replica::TellApplied. The loop sees to it that both wait for room.
    AppendWorker::Sink append;
    ApplyWorker::Sink apply;
    Room::Sleep sleep;
    // As Replica's.
    std::function<void()> on_removed;
    FatalFn fatal;
    // Request ids count from here on, over the restarts of a process too in all likelihood.
    uint64_t first_request_id = 0;
    // Jobs of the janitor.
    std::function<Result<v1::SnapshotManifest>(const std::string& dir, uint64_t cluster_id,
                                               uint64_t snapshot_id)>
        describe;
    std::function<void(const std::string& dir)> remove_dir;
  };

  // What only the disk knows, as of the last look.
  struct DiskSample {
    storage::StateStats state;
    storage::LogStats log;
    raft::Index flushed;
  };

  explicit NodeLoop(Env env);

  // --- Raft thread

  void Start(transport::Transport* transport);
  void OnTick();
  void ProcessReady();
  void DrainRequests();
  // Something that concerns the replica: what comes of it is handed out soon.
  template <typename Work>
  void Run(const Work& work) {
    work();
    WakeReady();
  }
  void OnAppended(size_t jobs, std::vector<raft::Message> responses);
  Replica& replica() { return replica_; }
  const Replica& replica() const { return replica_; }

  // --- Requests of clients, any thread

  // As Node::Write. Returns the request's id.
  uint64_t Write(v1::Command command, MonotonicTime deadline, WriteCallback done);
  // As Node::ReadBarrier.
  void Read(Consistency consistency, MonotonicTime deadline, BarrierCallback done);
  // From now on they are refused.
  void RefuseRequests() { stopping_ = true; }
  bool refuses_requests() const { return stopping_; }
  static Status Refusal();

  // --- The worker's thread

  void Work(Worker worker);
  // Any thread.
  bool HasWork(Worker worker) const;

  // --- Janitor's thread

  void LookAtDisk();
  // How long it may rest.
  Duration until_next_look() const;
  // Any thread: the janitor does it.
  void RemoveDir(std::string dir) override;

  // --- At the end

  // When the raft thread has ended: what was handed to the workers is finished, but nobody waits
  // for space. The state is flushed if there is time until `deadline`.
  void FinishWork(MonotonicTime deadline);
  // Whoever waits still is answered.
  void AnswerAll();

  // --- For metrics, any thread

  uint64_t pending() const { return waiters_.count(); }
  size_t unfinished_appends() const { return append_.unfinished(); }
  size_t unfinished_applies() const { return apply_.unfinished(); }
  const ApplyWorker::Counters& applied() const { return apply_.counters(); }
  DiskSample last_disk_sample() const;
  // Some worker waits for space.
  bool waits_for_space() const { return room_.is_full(); }

 private:
  struct PendingRead {
    Consistency consistency;
    MonotonicTime deadline;
    BarrierCallback done;
  };

  AppendWorker::Sink AppendSink();
  ApplyWorker::Sink ApplySink();
  Replica::Env ReplicaEnv();
  void WakeReady();
  void NoteMembers();

  // StoragePorts, on the raft thread.
  void SubmitAppend(AppendJob job) override;
  void SubmitTruncate(raft::Index index) override;
  void SubmitApply(ApplyJob job) override;
  void SubmitRead(raft::Index low, uint64_t max_bytes) override;
  void SubmitDescribe(std::string dir, raft::Snapshot snapshot) override;

  const Env env_;
  const uint64_t member_id_;
  std::atomic<uint64_t> next_request_id_;
  WaiterTable waiters_;
  Room room_;
  AppendWorker append_;
  ApplyWorker apply_;
  ReadWorker read_;
  Replica replica_;
  bool ready_posted_ = false;         // raft thread
  uint64_t noted_config_index_ = 0;   // janitor
  std::atomic<bool> serving_{false};  // stale reads need not ask the raft thread
  std::atomic<bool> stopping_{false};

  std::mutex requests_mutex_;
  std::vector<Proposal> proposals_;
  std::vector<PendingRead> reads_;
  bool requests_posted_ = false;

  mutable std::mutex sample_mutex_;
  DiskSample sample_;
};

}  // namespace raftkv::runtime
