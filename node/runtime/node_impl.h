// NodeImpl: the threads around the replica.
//
//   raft      the io_context: sockets, ticks and the replica; never waits for a disk
//   append    log writes and fsyncs (AppendWorker)
//   apply     the state machine (ApplyWorker); answers the waiters
//   read      parts of the log that are in memory no more (ReadWorker)
//   janitor   what is slow and not urgent: checksums of snapshots, free disk space, removing files
//
// Requests of other threads go through a bounded queue that the raft thread drains at once.
//
// Thread-safety: as Node; the private methods say on which thread they run, where it is not the
// raft thread.
#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "node/runtime/core_logger.h"
#include "node/runtime/loop_pulse.h"
#include "node/runtime/metrics.h"
#include "node/runtime/node.h"
#include "node/runtime/recovery.h"
#include "node/runtime/replica.h"
#include "node/runtime/room.h"
#include "node/runtime/snapshot_upload.h"
#include "node/runtime/space_guard.h"
#include "node/runtime/worker_thread.h"

namespace raftkv::runtime {

// The disk failed: what was acknowledged is on a quorum's disks, what this process would write from
// now on might not be. Never returns; nothing is flushed but the log line.
[[noreturn]] void EndByDisk(const std::string& data_dir, const Status& status);

class NodeImpl final : public Node, private StoragePorts {
 public:
  NodeImpl(const Options& options, prometheus::Registry* registry)
      : options_(options),
        metrics_(registry),
        random_(SystemEntropy()),
        waiters_(options.max_inflight_requests, options.max_inflight_bytes),
        space_(options.data_dir,
               {options.min_free_bytes, options.quota_bytes, options.reserve_bytes},
               &Clock::System()),
        work_(asio::make_work_guard(io_)),
        tick_timer_(io_),
        next_request_id_(SystemEntropy()) {}

  ~NodeImpl() override { Stop(Duration::zero()); }

  Status Init();
  // Init failed because of it.
  const std::optional<Status>& damage() const { return damage_; }
  void Stop(Duration grace) override;
  void HandOver(Duration limit) override;

  void Write(v1::Command command, MonotonicTime deadline, WriteCallback done) override;
  void ReadBarrier(Consistency consistency, MonotonicTime deadline, BarrierCallback done) override;
  const kv::StateMachine& state() const override { return *storage_.machine; }
  std::shared_ptr<const v1::StatusResponse> status() const override;
  void FreshStatus(MonotonicTime deadline, Callback<v1::StatusResponse> done) override;
  Status Alive() const override;
  std::vector<HealthCheck> Health() const override;

  void Initialize(v1::InitializeRequest request, MonotonicTime deadline,
                  Callback<v1::InitializeResponse> done) override;
  void Join(v1::JoinRequest request, MonotonicTime deadline,
            Callback<v1::JoinResponse> done) override;
  void ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                        Callback<v1::ChangeMembershipResponse> done) override;
  void TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                          Callback<v1::TransferLeadershipResponse> done) override;
  void TakeSnapshot(v1::SnapshotRequest request, MonotonicTime deadline,
                    Callback<v1::SnapshotResponse> done) override;
  void ExportSnapshot(MonotonicTime deadline, Callback<SnapshotPieces> done) override;
  void Restore(uint64_t offset, std::string_view piece,
               Callback<v1::RestoreResponse> done) override;
  void Compact(v1::CompactRequest request, MonotonicTime deadline,
               Callback<v1::CompactResponse> done) override;
  void OnEnd(std::function<void(End)> callback) override;
  uint16_t peer_port() const override { return transport_->port(); }

 private:
  struct Read {
    Consistency consistency;
    MonotonicTime deadline;
    BarrierCallback done;
  };

  // What only the disk knows; taken by the janitor, because looking may take time.
  struct DiskSample {
    storage::StateStats state;
    storage::LogStats log;
    uint64_t flushed_index = 0;
  };

  // StoragePorts, on the raft thread.
  void SubmitAppend(AppendJob job) override;
  void SubmitTruncate(raft::Index index) override;
  void SubmitApply(ApplyJob job) override;
  void SubmitRead(raft::Index low, uint64_t max_bytes) override;
  void SubmitDescribe(std::string dir, raft::Snapshot snapshot) override;
  void RemoveDir(std::string dir) override;

  // node.cc: start
  Replica::Env MakeEnv();
  void StartThreads();

  // node_loop.cc
  void ScheduleTick();
  void OnTick();
  void PublishStatus();
  void WakeReady();
  void DrainQueue();

  // node_janitor.cc, on the janitor's thread
  void RunJanitor();
  void CheckDisk();
  void NoteMembers();
  DiskSample LastDiskSample() const;  // any thread

  // node_requests.cc, on any thread
  void WakeQueue();
  // Runs `work` on the raft thread with the replica, or fails `done` if the node is stopping.
  template <typename T, typename Work>
  void OnRaftThread(Callback<T> done, Work work);

  Options options_;  // does not change after Init
  const FatalFn fatal_ = [this](const Status& status) { EndByDisk(options_.data_dir, status); };
  std::optional<Status> damage_;
  NodeMetrics metrics_;
  SeededRandom random_;
  WaiterTable waiters_;
  SpaceGuard space_;
  OpenedStorage storage_;
  std::optional<Room> room_;
  uint64_t member_id_ = 0;  // storage_.dir belongs to the raft thread, and this never changes
  CoreLogger core_logger_;

  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::steady_timer tick_timer_;
  std::unique_ptr<transport::Transport> transport_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<AppendWorker> append_worker_;
  std::unique_ptr<ApplyWorker> apply_worker_;
  std::unique_ptr<ReadWorker> read_worker_;
  WorkerThread append_thread_;
  WorkerThread apply_thread_;
  WorkerThread read_thread_;
  std::thread raft_thread_;
  bool ready_scheduled_ = false;   // raft thread
  raft::NodeId published_leader_;  // raft thread
  uint64_t published_config_ = 0;  // raft thread

  std::atomic<uint64_t> next_request_id_;
  std::mutex queue_mutex_;
  std::vector<Proposal> proposals_;
  std::vector<Read> reads_;
  bool queue_posted_ = false;

  mutable std::mutex status_mutex_;
  std::shared_ptr<const v1::StatusResponse> status_ = std::make_shared<v1::StatusResponse>();
  DiskSample disk_sample_;
  std::function<void(End)> on_end_;
  bool removed_ = false;

  std::mutex janitor_mutex_;
  std::condition_variable janitor_wake_;
  std::vector<std::function<void()>> janitor_jobs_;
  bool janitor_stop_ = false;
  uint64_t noted_config_index_ = 0;  // janitor
  std::thread janitor_;

  std::mutex restore_mutex_;
  std::optional<SnapshotUpload> upload_;

  LoopPulse pulse_;
  std::atomic<bool> exporting_{false};
  std::atomic<bool> serving_{false};  // a member, as far as the last status says
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;
};

}  // namespace raftkv::runtime
