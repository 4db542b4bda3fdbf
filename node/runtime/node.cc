// The threads around the replica:
//
//   raft      the io_context: sockets, ticks and the replica; never waits for a disk
//   append    log writes and fsyncs (AppendWorker)
//   apply     the state machine (ApplyWorker); answers the waiters
//   janitor   what is slow and not urgent: checksums of snapshots, free disk space, removing files
//
// Requests of other threads go through a bounded queue that the raft thread drains at once.

#include "node/runtime/node.h"

#include <pthread.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/hex_id.h"
#include "base/log.h"
#include "base/random.h"
#include "node/kv/commands.h"
#include "node/runtime/core_logger.h"
#include "node/runtime/damaged_node.h"
#include "node/runtime/metrics.h"
#include "node/runtime/rebuild.h"
#include "node/runtime/recovery.h"
#include "node/runtime/replica.h"
#include "node/runtime/restore.h"
#include "node/runtime/room.h"
#include "node/runtime/space_guard.h"
#include "node/runtime/worker_thread.h"
#include "node/storage/snapshot_files.h"

namespace raftkv::runtime {
namespace {

// The raft loop ticks many times a second; one that did not turn for this long hangs.
constexpr Duration kLoopHangs = std::chrono::seconds(10);
// What is applied and not told the replica.
constexpr uint64_t kMaxUntoldBytes = 256 << 10;
constexpr size_t kMaxUntoldJobs = 64;
constexpr Duration kJanitorPeriod = std::chrono::seconds(1);
constexpr Duration kJanitorPeriodNearLimit = std::chrono::milliseconds(100);  // of the disk

// The disk failed: what was acknowledged is on a quorum's disks, what this process would write from
// now on might not be. Never returns; nothing is flushed but the log line.
[[noreturn]] void Fatal(const std::string& data_dir, const Status& status) {
  if (status.code() == Code::kCorruption && !data_dir.empty()) MarkSuspect(data_dir, status);
  log::Error(
      "fatal: this node stops",
      {{"error", status.ToString()},
       {"remedy", "check the disk; restart the node; if it fails again, replace the member"}});
  (void)log::Flush(std::chrono::seconds(1));
  std::_Exit(74);  // EX_IOERR
}

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
  void SubmitDescribe(std::string dir, raft::Snapshot snapshot) override;
  void RemoveDir(std::string dir) override;

  void StartThreads();
  void ScheduleTick();
  void OnTick();
  void PublishStatus();
  void WakeReady();
  void WakeQueue();
  void TellApplied(ApplyDone done);
  void TakeApplied();
  void DrainQueue();
  void RunJanitor();
  void CheckDisk();
  void NoteMembers();
  DiskSample LastDiskSample() const;
  // Runs `work` on the raft thread with the replica, or fails `done` if the node is stopping.
  template <typename T, typename Work>
  void OnRaftThread(Callback<T> done, Work work);
  Replica::Env MakeEnv();

  Options options_;  // does not change after Init
  const FatalFn fatal_ = [this](const Status& status) { Fatal(options_.data_dir, status); };
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
  WorkerThread append_thread_;
  WorkerThread apply_thread_;
  std::thread raft_thread_;
  bool ready_scheduled_ = false;   // raft thread
  raft::NodeId published_leader_;  // raft thread
  uint64_t published_config_ = 0;  // raft thread

  std::atomic<uint64_t> next_request_id_;
  std::mutex queue_mutex_;
  std::vector<Proposal> proposals_;
  std::vector<Read> reads_;
  bool queue_posted_ = false;
  std::vector<ApplyDone> applied_;  // not told the replica yet
  uint64_t applied_bytes_ = 0;      // of the entries in applied_
  bool applied_posted_ = false;

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

  std::atomic<MonotonicTime> last_turn_{MonotonicTime{}};
  std::atomic<bool> exporting_{false};
  std::atomic<bool> serving_{false};  // a member, as far as the last status says
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;
};

// --- Start and stop
// ------------------------------------------------------------------------------------

Status NodeImpl::Init() {
  storage::LogOptions log_options;
  log_options.cache_bytes = options_.log_cache_bytes;
  // The log is read whole at each start anyway.
  log_options.on_fatal = [](const Status& status) { Fatal("", status); };
  log_options.on_notice = [](std::string_view text) { log::Warning(text); };
  log_options.on_append = [this](Duration write, Duration sync) {
    metrics_.ObserveAppend(write, sync);
  };
  space_.MakeRoom();
  Result<OpenedStorage> opened = OpenDirectory(&options_, log_options);
  if (!opened) {
    if (opened.error().code() == Code::kCorruption) damage_ = opened.error();
    return opened.error();
  }
  storage_ = std::move(*opened);
  if (options_.bootstrap.mode == Bootstrap::Mode::kRestore && !options_.replaces &&
      storage_.dir->identity().cluster_id() == 0) {
    RETURN_IF_ERROR(RestoreSnapshot(options_, &storage_));
  }
  member_id_ = storage_.dir->identity().member_id();

  room_.emplace(&space_, storage_.log.get(), storage_.store.get());
  append_worker_ = std::make_unique<AppendWorker>(
      storage_.log.get(),
      AppendWorker::Sink{
          .done =
              [this](size_t jobs, std::vector<raft::Message> responses) {
                asio::post(io_, [this, jobs, responses = std::move(responses)]() mutable {
                  replica_->OnAppendDone(jobs, std::move(responses));
                  WakeReady();
                });
              },
          .fatal = fatal_,
          .on_batch = [this](size_t, size_t entries) { metrics_.ObserveAppendBatch(entries); },
          .await_room =
              [this](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
                return room_->Await(Room::For::kLog, bytes, failed, tidy);
              }});
  apply_worker_ = std::make_unique<ApplyWorker>(
      member_id_, storage_.store.get(), storage_.machine.get(), &waiters_, &Clock::System(),
      ApplyWorker::Sink{
          .done = [this](ApplyDone done) { TellApplied(std::move(done)); },
          .fatal = fatal_,
          .on_batch = [this](Duration took,
                             size_t entries) { metrics_.ObserveApply(took, entries); },
          .on_checkpoint = [this](Duration took) { metrics_.ObserveCheckpoint(took); },
          .await_room =
              [this](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
                return room_->Await(Room::For::kState, bytes, failed, tidy);
              },
          .has_room_for_flush = [this] { return room_->HasRoomForFlush(); }});

  transport::Options transport_options;
  transport_options.listen_address = options_.peer_listen;
  transport_options.snapshot_bytes_per_second = options_.snapshot_bytes_per_second;
  transport_options.snapshots_dir = storage_.dir->snapshots_path() + "/incoming";
  std::error_code error;
  std::filesystem::create_directories(transport_options.snapshots_dir, error);
  std::filesystem::create_directories(storage_.dir->snapshots_path() + "/checkpoints", error);
  if (error) {
    return {Code::kIoError, storage_.dir->snapshots_path() + ": " + error.message()};
  }
  replica_ = std::make_unique<Replica>(MakeEnv());
  transport_ = transport::MakeTransport(io_, transport_options, replica_.get());
  RETURN_IF_ERROR(transport_->Start());
  CheckDisk();
  StartThreads();
  return Status::Ok();
}

Replica::Env NodeImpl::MakeEnv() {
  Replica::Env env;
  env.options = &options_;
  env.clock = &Clock::System();
  env.random = &random_;
  env.data_dir = storage_.dir.get();
  env.log = storage_.log.get();
  env.store = storage_.store.get();
  env.machine = storage_.machine.get();
  env.ports = this;
  env.waiters = &waiters_;
  env.logger = &core_logger_;
  env.on_removed = [this] {
    std::lock_guard lock(status_mutex_);
    removed_ = true;
    // Later, so that what is being answered still goes out.
    if (on_end_) asio::post(io_, [end = on_end_] { end(End::kRemoved); });
  };
  env.finish_rebuild = [this] { return FinishRebuild(options_.data_dir); };
  env.fatal = fatal_;
  env.next_request_id = [this] { return next_request_id_.fetch_add(1); };
  env.post = [this](std::function<void()> work) {
    asio::post(io_, [this, work = std::move(work)] {
      work();
      WakeReady();
    });
  };
  env.post_after = [this](Duration delay, std::function<void()> work) {
    auto timer = std::make_shared<asio::steady_timer>(io_, delay);
    timer->async_wait([this, timer, work = std::move(work)](const asio::error_code& error) {
      if (error) return;
      work();
      WakeReady();
    });
  };
  env.wake = [this] { WakeReady(); };
  env.accepts_growth = [this](uint64_t bytes) { return space_.Admit(bytes); };
  env.space_is_short = [this] { return room_->is_short(); };
  env.waits_for_space = [this] { return room_->is_full(); };
  return env;
}

void NodeImpl::StartThreads() {
  append_thread_.Start("raftkv-append", [this] { append_worker_->RunOnce(); });
  apply_thread_.Start("raftkv-apply", [this] { apply_worker_->RunOnce(); });
  janitor_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raftkv-janitor");
    RunJanitor();
  });
  asio::post(io_, [this] {
    replica_->Start(transport_.get());
    PublishStatus();
    WakeReady();
    ScheduleTick();
  });
  raft_thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raftkv-raft");
    io_.run();
  });
}

void NodeImpl::Stop(Duration grace) {
  if (std::exchange(stopped_, true)) return;
  const MonotonicTime deadline = Clock::System().Now() + grace;
  if (raft_thread_.joinable()) {
    if (grace > Duration::zero()) {
      asio::post(io_, [this] {
        replica_->HandOver("this node stops");
        WakeReady();
      });
      const MonotonicTime half = Clock::System().Now() + grace / 2;
      while (status()->leader() == member_id_ && status()->cluster().conf().voters_size() > 1 &&
             Clock::System().Now() < half) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
    stopping_ = true;
    // What was handed to the workers is finished; nothing new comes in.
    asio::post(io_, [this] {
      tick_timer_.cancel();
      transport_->Stop();
      work_.reset();
      io_.stop();
    });
    raft_thread_.join();
  }
  stopping_ = true;
  if (room_) room_->Close();
  append_thread_.Stop();
  if (grace > Duration::zero() && apply_worker_ && Clock::System().Now() < deadline) {
    apply_worker_->Submit(FlushState{});
    apply_thread_.Wake();
  }
  apply_thread_.Stop();
  {
    std::lock_guard lock(janitor_mutex_);
    janitor_stop_ = true;
  }
  janitor_wake_.notify_all();
  if (janitor_.joinable()) janitor_.join();

  const Status stopping(Code::kUnknownOutcome,
                        "this node stopped before it saw the result: the write may or may not have "
                        "happened; read the key from another member");
  for (Waiter& waiter : waiters_.TakeAll()) waiter.Fail(stopping);
  const Status refused(Code::kUnavailable, "this node is stopping; use another member");
  std::vector<Read> reads;
  {
    std::lock_guard lock(queue_mutex_);
    reads.swap(reads_);
  }
  for (Read& read : reads) read.done(refused);
  if (replica_) replica_->AbandonCalls(refused);
}

// --- The raft thread
// -----------------------------------------------------------------------------------

void NodeImpl::ScheduleTick() {
  tick_timer_.expires_after(options_.tick);
  tick_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    // A thread that was held up ticks once, not for every tick it missed: what arrived meanwhile
    // is to be read before an election is called.
    OnTick();
    ScheduleTick();
  });
}

void NodeImpl::OnTick() {
  last_turn_.store(Clock::System().Now(), std::memory_order_relaxed);
  replica_->OnTick();
  WakeReady();
  PublishStatus();
}

void NodeImpl::PublishStatus() {
  auto fresh = std::make_shared<v1::StatusResponse>(replica_->Status());
  const DiskSample disk = LastDiskSample();
  fresh->set_state_bytes(disk.state.disk_bytes + disk.state.memtable_bytes);
  fresh->set_log_bytes(disk.log.bytes);
  fresh->set_flushed_applied_index(disk.flushed_index);
  if (options_.replaces && fresh->role() == v1::StatusResponse::BLANK) {
    fresh->add_warnings("this node takes the place of member " +
                        HexId(options_.replaces->member_id) +
                        ", whose data were damaged and are in " + options_.data_dir + "/" +
                        options_.replaces->moved_to);
  }
  if (space_.refuses()) {
    fresh->add_warnings("out of space: writes that grow the store are refused");
  }
  // Soon, but not on this thread: the janitor notes the members.
  if (std::exchange(published_config_, fresh->cluster().config_index()) !=
      fresh->cluster().config_index()) {
    janitor_wake_.notify_all();
  }
  serving_ =
      fresh->role() != v1::StatusResponse::BLANK && fresh->role() != v1::StatusResponse::REMOVED;
  const std::map<raft::NodeId, transport::PeerStats> peers = transport_->stats();
  metrics_.Update({.status = fresh.get(),
                   .counters = &replica_->counters(),
                   .peers = &peers,
                   .applied = &apply_worker_->counters(),
                   .snapshots = replica_->snapshots_under_way(),
                   .pending = waiters_.count(),
                   .flushed_index = fresh->flushed_applied_index(),
                   .live_keys = storage_.machine->live_keys(),
                   .stored_versions = storage_.machine->stored_versions(),
                   .state = disk.state,
                   .log = disk.log,
                   .free_bytes = space_.free_bytes(),
                   .out_of_space = space_.refuses(),
                   .quota_bytes = options_.quota_bytes,
                   .min_free_bytes = options_.min_free_bytes});
  std::lock_guard lock(status_mutex_);
  status_ = std::move(fresh);
}

// One Ready for everything that is runnable now: messages of several peers, requests and finished
// storage work share appends and frames.
void NodeImpl::WakeReady() {
  if (std::exchange(ready_scheduled_, true)) return;
  asio::post(io_, [this] {
    TakeApplied();
    ready_scheduled_ = false;
    replica_->ProcessReady();
    // People and the ready check should not wait a tick to see a new leader.
    if (std::exchange(published_leader_, replica_->leader()) != replica_->leader()) PublishStatus();
  });
}

// On the apply thread. The clients have their answers: the raft thread may hear of it at its next
// turn, unless somebody waits for it.
void NodeImpl::TellApplied(ApplyDone done) {
  const bool waits =
      done.applied_bytes == 0 || !done.memberships.empty() || replica_->awaits_apply();
  bool post = false;
  {
    std::lock_guard lock(queue_mutex_);
    applied_bytes_ += done.applied_bytes;
    applied_.push_back(std::move(done));
    const bool many = applied_bytes_ >= std::min(options_.max_apply_bytes / 4, kMaxUntoldBytes) ||
                      applied_.size() >= kMaxUntoldJobs;
    if (waits || many) post = !std::exchange(applied_posted_, true);
  }
  if (!post) return;
  asio::post(io_, [this] { TakeApplied(); });
}

void NodeImpl::TakeApplied() {
  std::vector<ApplyDone> applied;
  {
    std::lock_guard lock(queue_mutex_);
    applied.swap(applied_);
    applied_bytes_ = 0;
    applied_posted_ = false;
  }
  if (applied.empty()) return;
  for (ApplyDone& done : applied) replica_->OnApplyDone(std::move(done));
  WakeReady();
}

void NodeImpl::DrainQueue() {
  std::vector<Proposal> proposals;
  std::vector<Read> reads;
  {
    std::lock_guard lock(queue_mutex_);
    proposals.swap(proposals_);
    reads.swap(reads_);
    queue_posted_ = false;
  }
  if (!proposals.empty()) replica_->Propose(std::move(proposals));
  for (Read& read : reads) {
    replica_->Read(read.consistency, read.deadline, std::move(read.done));
  }
  WakeReady();
}

void NodeImpl::SubmitAppend(AppendJob job) {
  append_worker_->Submit(std::move(job));
  append_thread_.Wake();
}
void NodeImpl::SubmitTruncate(raft::Index index) {
  append_worker_->SubmitTruncate(index);
  append_thread_.Wake();
}
void NodeImpl::SubmitApply(ApplyJob job) {
  apply_worker_->Submit(std::move(job));
  apply_thread_.Wake();
}

// --- The janitor
// ---------------------------------------------------------------------------------------

void NodeImpl::SubmitDescribe(std::string dir, raft::Snapshot snapshot) {
  const uint64_t cluster_id = storage_.dir->identity().cluster_id();
  const uint64_t snapshot_id = next_request_id_.fetch_add(1);
  std::lock_guard lock(janitor_mutex_);
  janitor_jobs_.push_back(
      [this, dir = std::move(dir), snapshot = std::move(snapshot), cluster_id, snapshot_id] {
        auto manifest = storage::DescribeCheckpoint(dir, cluster_id, snapshot_id);
        asio::post(io_, [this, dir, snapshot, manifest = std::move(manifest)]() mutable {
          replica_->OnManifest(std::move(dir), std::move(snapshot), std::move(manifest));
          WakeReady();
        });
      });
  janitor_wake_.notify_all();
}

void NodeImpl::RemoveDir(std::string dir) {
  std::lock_guard lock(janitor_mutex_);
  janitor_jobs_.push_back([dir = std::move(dir)] {
    std::error_code error;
    std::filesystem::remove_all(dir, error);
    if (error) {
      log::Warning("a directory could not be removed", {{"dir", dir}, {"error", error.message()}});
    }
  });
  janitor_wake_.notify_all();
}

void NodeImpl::RunJanitor() {
  std::unique_lock lock(janitor_mutex_);
  while (!janitor_stop_) {
    std::vector<std::function<void()>> jobs = std::exchange(janitor_jobs_, {});
    lock.unlock();
    for (const auto& job : jobs) job();
    CheckDisk();
    lock.lock();
    if (!janitor_stop_ && janitor_jobs_.empty()) {
      janitor_wake_.wait_for(lock,
                             space_.is_near_limit() ? kJanitorPeriodNearLimit : kJanitorPeriod);
    }
  }
}

NodeImpl::DiskSample NodeImpl::LastDiskSample() const {
  std::lock_guard lock(status_mutex_);
  return disk_sample_;
}

void NodeImpl::CheckDisk() {
  DiskSample sample;
  sample.state = storage_.store->stats();
  sample.log = storage_.log->stats();
  if (const Result<raft::Index> flushed = storage_.machine->FlushedIndex()) {
    sample.flushed_index = flushed->value;
  }
  {
    std::lock_guard lock(status_mutex_);
    disk_sample_ = sample;
  }
  space_.Look({sample.state.disk_bytes, sample.state.memtable_bytes});
  NoteMembers();
}

// For the day on which nothing else in the directory can be read.
void NodeImpl::NoteMembers() {
  const std::shared_ptr<const v1::ClusterState> cluster = storage_.machine->cluster();
  if (cluster->members().empty() || cluster->config_index() == noted_config_index_) return;
  v1::MemberNote note;
  note.set_cluster_id(cluster->cluster_id());
  note.set_member_id(member_id_);
  note.set_config_index(cluster->config_index());
  *note.mutable_members() = cluster->members();
  if (SaveMemberNote(options_.data_dir, note).ok()) noted_config_index_ = cluster->config_index();
}

// --- Requests
// ------------------------------------------------------------------------------------------

void NodeImpl::WakeQueue() {
  asio::post(io_, [this] { DrainQueue(); });
}

void NodeImpl::Write(v1::Command command, MonotonicTime deadline, WriteCallback done) {
  if (stopping_) {
    return done(Error(Code::kUnavailable, "this node is stopping; use another member"));
  }
  if (Grows(command) && !space_.Admit(command.ByteSizeLong())) {
    return done(Error(Code::kOutOfSpace,
                      "the disk or the quota of this member is full: delete keys, compact, or give "
                      "it more space; reads and deletes go on"));
  }
  const uint64_t request_id = next_request_id_.fetch_add(1);
  command.set_version(kv::kCommandVersion);
  command.set_origin(member_id_);
  command.set_request_id(request_id);
  Proposal proposal{request_id, Buffer(command.SerializeAsString()), deadline};
  // Of all commands only invitations carry text.
  if (command.has_invite()) {
    if (Status readable = kv::CheckReadable(proposal.command.view()); !readable.ok()) {
      return done(Error(std::move(readable)));
    }
  }
  Waiter waiter{deadline, proposal.command.size(), std::move(done)};
  const Status added = waiters_.Add(request_id, waiter);
  if (!added.ok()) return waiter.Fail(added);
  bool post = false;
  {
    std::lock_guard lock(queue_mutex_);
    proposals_.push_back(std::move(proposal));
    post = !std::exchange(queue_posted_, true);
  }
  if (post) WakeQueue();
}

void NodeImpl::ReadBarrier(Consistency consistency, MonotonicTime deadline, BarrierCallback done) {
  if (stopping_) return done({Code::kUnavailable, "this node is stopping; use another member"});
  // What this node has is good enough: no need to wake the raft thread.
  if (consistency == Consistency::kStale && serving_) return done(Status::Ok());
  std::unique_lock lock(queue_mutex_);
  if (reads_.size() >= options_.max_inflight_requests) {
    lock.unlock();
    return done(
        {Code::kResourceExhausted, "too many reads wait for this node already; repeat later"});
  }
  reads_.push_back({consistency, deadline, std::move(done)});
  const bool post = !std::exchange(queue_posted_, true);
  lock.unlock();
  if (post) WakeQueue();
}

std::shared_ptr<const v1::StatusResponse> NodeImpl::status() const {
  std::lock_guard lock(status_mutex_);
  return status_;
}

template <typename T, typename Work>
void NodeImpl::OnRaftThread(Callback<T> done, Work work) {
  if (stopping_) {
    return done(Error(Code::kUnavailable, "this node is stopping; use another member"));
  }
  asio::post(io_, [this, done = std::move(done), work = std::move(work)]() mutable {
    work(std::move(done));
    WakeReady();
  });
}

void NodeImpl::FreshStatus(MonotonicTime, Callback<v1::StatusResponse> done) {
  OnRaftThread(std::move(done), [this](Callback<v1::StatusResponse> answer) {
    PublishStatus();
    answer(*status());
  });
}

Status NodeImpl::Alive() const {
  const Duration silent = Clock::System().Now() - last_turn_.load(std::memory_order_relaxed);
  if (last_turn_.load(std::memory_order_relaxed) == MonotonicTime{} || silent < kLoopHangs) {
    return Status::Ok();
  }
  return {Code::kInternal, "the node's own loop has not turned for " +
                               std::to_string(silent / std::chrono::seconds(1)) + " s"};
}

std::vector<HealthCheck> NodeImpl::Health() const {
  const std::shared_ptr<const v1::StatusResponse> now = status();
  std::vector<HealthCheck> checks;
  const auto check = [&](std::string name, bool ok, std::string why) {
    checks.push_back(
        {std::move(name), ok ? Status::Ok() : Status(Code::kUnavailable, std::move(why))});
  };
  check("member",
        now->cluster_id() != 0 && now->role() != v1::StatusResponse::REMOVED &&
            now->role() != v1::StatusResponse::JOINING,
        "this node belongs to no cluster (yet)");
  check("space", !space_.refuses(),
        "the disk or the quota is full: writes that grow the store are refused");
  // Reads and deletes go on; and when all members are full, somebody has to take the deletes.
  checks.back().only_warns = true;
  check("loop", Alive().ok(), Alive().message());
  check("running", !stopping_, "this node is stopping");
  return checks;
}

void NodeImpl::Initialize(v1::InitializeRequest request, MonotonicTime,
                          Callback<v1::InitializeResponse> done) {
  OnRaftThread(std::move(done), [this, request = std::move(request)](auto answer) {
    replica_->Initialize(request, std::move(answer));
  });
}
void NodeImpl::Join(v1::JoinRequest request, MonotonicTime deadline,
                    Callback<v1::JoinResponse> done) {
  OnRaftThread(std::move(done), [this, request = std::move(request), deadline](auto answer) {
    replica_->Join(request, deadline, std::move(answer));
  });
}
void NodeImpl::ChangeMembership(v1::ChangeMembershipRequest request, MonotonicTime deadline,
                                Callback<v1::ChangeMembershipResponse> done) {
  OnRaftThread(std::move(done),
               [this, request = std::move(request), deadline](auto answer) mutable {
                 replica_->ChangeMembership(std::move(request), deadline, std::move(answer));
               });
}
void NodeImpl::TransferLeadership(v1::TransferLeadershipRequest request, MonotonicTime deadline,
                                  Callback<v1::TransferLeadershipResponse> done) {
  OnRaftThread(std::move(done), [this, request = std::move(request), deadline](auto answer) {
    replica_->TransferLeadership(request, deadline, std::move(answer));
  });
}
void NodeImpl::TakeSnapshot(v1::SnapshotRequest, MonotonicTime deadline,
                            Callback<v1::SnapshotResponse> done) {
  OnRaftThread(std::move(done), [this, deadline](auto answer) {
    replica_->TakeSnapshot(deadline, std::move(answer));
  });
}

// A checkpoint pins deleted files and is read twice: one at a time is enough.
void NodeImpl::ExportSnapshot(MonotonicTime deadline, Callback<SnapshotPieces> done) {
  if (exporting_.exchange(true)) {
    return done(Error(Code::kResourceExhausted, "a snapshot is being saved already; repeat later"));
  }
  using Checkpoint = std::pair<std::string, raft::Snapshot>;
  Callback<Checkpoint> made = [this, done = std::move(done)](Result<Checkpoint> checkpoint) {
    if (!checkpoint) {
      exporting_ = false;
      return done(Error(checkpoint.error()));
    }
    const uint64_t cluster_id = storage_.dir->identity().cluster_id();  // on the raft thread
    std::lock_guard lock(janitor_mutex_);
    janitor_jobs_.push_back([this, done, cluster_id, checkpoint = std::move(*checkpoint)] {
      const std::string& dir = checkpoint.first;
      done(OpenExport(dir, checkpoint.second, cluster_id, [this, dir] {
        RemoveDir(dir);
        exporting_ = false;
      }));
    });
    janitor_wake_.notify_all();
  };
  OnRaftThread(std::move(made), [this, deadline](auto answer) {
    replica_->MakeExport(deadline, std::move(answer));
  });
}

void NodeImpl::Compact(v1::CompactRequest request, MonotonicTime deadline,
                       Callback<v1::CompactResponse> done) {
  v1::Command command;
  command.mutable_compact()->set_revision(request.revision());
  Write(std::move(command), deadline,
        [revision = request.revision(), done = std::move(done)](Result<kv::CommandResult> result) {
          if (!result) return done(Error(result.error()));
          if (!result->status.ok()) return done(Error(result->status));
          v1::CompactResponse response;
          response.set_revision(revision);
          done(response);
        });
}

void NodeImpl::OnEnd(std::function<void(End)> callback) {
  std::lock_guard lock(status_mutex_);
  on_end_ = std::move(callback);
  if (removed_ && on_end_) asio::post(io_, [end = on_end_] { end(End::kRemoved); });
}

}  // namespace

Result<std::unique_ptr<Node>> Node::Start(const Options& options, prometheus::Registry* registry) {
  auto node = std::make_unique<NodeImpl>(options, registry);
  const Status status = node->Init();
  if (node->damage()) {
    node.reset();
    return StartDamagedNode(options, status);
  }
  if (!status.ok()) return Error(status);
  return node;
}

}  // namespace raftkv::runtime
