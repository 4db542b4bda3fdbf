// NodeImpl: the threads, sockets and files around a NodeLoop.
//
//   raft      the io_context: sockets, ticks and the replica; never waits for a disk
//   append    log writes and fsyncs (AppendWorker)
//   apply     the state machine (ApplyWorker); answers the waiters
//   read      parts of the log that are in memory no more (ReadWorker)
//   janitor   what is slow and not urgent: checksums of snapshots, free disk space, removing files
//
// Thread-safety: as Node; the private methods say on which thread they run, where it is not the
// raft thread.
#pragma once

#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <condition_variable>
#include <functional>
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
#include "node/runtime/node_loop.h"
#include "node/runtime/recovery.h"
#include "node/runtime/snapshot_upload.h"
#include "node/runtime/space_guard.h"
#include "node/runtime/worker_thread.h"

namespace raftkv::runtime {

// The disk failed: what was acknowledged is on a quorum's disks, what this process would write from
// now on might not be. Never returns; nothing is flushed but the log line.
[[noreturn]] void EndByDisk(const std::string& data_dir, const Status& status);

class NodeImpl final : public Node, private NodeLoop::Threads {
 public:
  NodeImpl(const Options& options, prometheus::Registry* registry)
      : options_(options),
        metrics_(registry),
        random_(SystemEntropy()),
        space_(options.data_dir,
               {options.min_free_bytes, options.quota_bytes, options.reserve_bytes},
               &Clock::System()),
        work_(asio::make_work_guard(io_)),
        tick_timer_(io_) {}

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
  // NodeLoop::Threads
  void PostReady() override;
  void PostRequests() override;
  void Post(std::function<void()> work) override;
  void PostAfter(Duration delay, std::function<void()> work) override;
  void Wake(NodeLoop::Worker worker) override;
  void Finish(NodeLoop::Worker worker) override;
  void PostToJanitor(std::function<void()> job) override;

  // node.cc: start
  NodeLoop::Env MakeEnv();

  // node_threads.cc
  void StartThreads();
  void ScheduleTick();
  void PublishStatus();
  void RunJanitor();  // on its thread
  WorkerThread& thread(NodeLoop::Worker worker) { return workers_[static_cast<size_t>(worker)]; }

  // node_requests.cc, on any thread.
  // Runs `work` on the raft thread with the replica, or fails `done` if the node is stopping.
  template <typename T, typename Work>
  void OnRaftThread(Callback<T> done, Work work);

  Options options_;  // does not change after Init
  const FatalFn fatal_ = [this](const Status& status) { EndByDisk(options_.data_dir, status); };
  std::optional<Status> damage_;
  NodeMetrics metrics_;
  SeededRandom random_;
  SpaceGuard space_;
  OpenedStorage storage_;
  uint64_t member_id_ = 0;  // storage_.dir belongs to the raft thread, and this never changes
  CoreLogger core_logger_;

  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::steady_timer tick_timer_;
  std::unique_ptr<transport::Transport> transport_;
  std::unique_ptr<NodeLoop> loop_;
  std::array<WorkerThread, 3> workers_;  // by NodeLoop::Worker
  std::thread raft_thread_;
  raft::NodeId published_leader_;  // raft thread
  uint64_t published_config_ = 0;  // raft thread

  mutable std::mutex status_mutex_;
  std::shared_ptr<const v1::StatusResponse> status_ = std::make_shared<v1::StatusResponse>();
  std::function<void(End)> on_end_;
  bool removed_ = false;

  std::mutex janitor_mutex_;
  std::condition_variable janitor_wake_;
  std::vector<std::function<void()>> janitor_jobs_;
  bool janitor_stop_ = false;
  std::thread janitor_;

  std::mutex restore_mutex_;
  std::optional<SnapshotUpload> upload_;

  LoopPulse pulse_;
  std::atomic<bool> exporting_{false};
  bool stopped_ = false;
};

}  // namespace raftkv::runtime
