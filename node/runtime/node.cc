// The start and the end of a node.

#include <pthread.h>

#include <asio/post.hpp>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "node/runtime/damaged_node.h"
#include "node/runtime/node_impl.h"
#include "node/runtime/rebuild.h"
#include "node/runtime/restore.h"

namespace raftkv::runtime {

void EndByDisk(const std::string& data_dir, const Status& status) {
  if (status.code() == Code::kCorruption && !data_dir.empty()) MarkSuspect(data_dir, status);
  log::Error(
      "fatal: this node stops",
      {{"error", status.ToString()},
       {"remedy", "check the disk; restart the node; if it fails again, replace the member"}});
  (void)log::Flush(std::chrono::seconds(1));
  std::_Exit(74);  // EX_IOERR
}

Status NodeImpl::Init() {
  storage::LogOptions log_options;
  log_options.cache_bytes = options_.log_cache_bytes;
  // The log is read whole at each start anyway.
  log_options.on_fatal = [](const Status& status) { EndByDisk("", status); };
  log_options.on_notice = [](std::string_view text) { log::Warning(text); };
  log_options.on_append = [this](Duration write, Duration sync) {
    metrics_.ObserveAppend(write, sync);
  };
  storage::WriteBehindOptions gathering;
  gathering.on_write = [this](Duration took) { metrics_.ObserveStateWrite(took); };
  space_.MakeRoom();
  Result<OpenedStorage> opened = OpenDirectory(&options_, log_options, gathering);
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
          .done = [this](ApplyDone done) { replica_->TellApplied(std::move(done)); },
          .fatal = fatal_,
          .on_batch = [this](Duration took,
                             size_t entries) { metrics_.ObserveApply(took, entries); },
          .on_checkpoint = [this](Duration took) { metrics_.ObserveCheckpoint(took); },
          .await_room =
              [this](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
                return room_->Await(Room::For::kState, bytes, failed, tidy);
              },
          .has_room_for_flush = [this] { return room_->HasRoomForFlush(); }});
  read_worker_ = std::make_unique<ReadWorker>(
      storage_.log.get(),
      [this](raft::Index low, raft::LogResult<std::vector<raft::Entry>> entries) {
        asio::post(io_, [this, low, entries = std::move(entries)]() mutable {
          replica_->OnLogRead(low, std::move(entries));
          WakeReady();
        });
      });

  transport::Options transport_options;
  transport_options.listen_address = options_.peer_listen;
  transport_options.snapshot_bytes_per_second = options_.snapshot_bytes_per_second;
  transport_options.snapshots_dir = storage_.dir->snapshots_path() + "/incoming";
  std::error_code error;
  std::filesystem::create_directories(transport_options.snapshots_dir, error);
  std::filesystem::create_directories(storage_.dir->snapshots_path() + "/checkpoints", error);
  if (!error) std::filesystem::remove_all(UploadsPath(options_), error);
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
  env.flushed_index = [this] { return raft::Index(LastDiskSample().flushed_index); };
  env.space_is_short = [this] { return room_->is_short(); };
  env.waits_for_space = [this] { return room_->is_full(); };
  return env;
}

void NodeImpl::StartThreads() {
  append_thread_.Start("raftkv-append", [this] { append_worker_->RunOnce(); });
  apply_thread_.Start("raftkv-apply", [this] { apply_worker_->RunOnce(); });
  read_thread_.Start("raftkv-read", [this] { read_worker_->RunOnce(); });
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

void NodeImpl::HandOver(Duration limit) {
  asio::post(io_, [this] {
    replica_->HandOver("this node stops");
    WakeReady();
  });
  const MonotonicTime until = Clock::System().Now() + limit;
  while (status()->leader() == member_id_ && status()->cluster().conf().voters_size() > 1 &&
         Clock::System().Now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void NodeImpl::Stop(Duration grace) {
  if (std::exchange(stopped_, true)) return;
  const MonotonicTime deadline = Clock::System().Now() + grace;
  if (raft_thread_.joinable()) {
    if (grace > Duration::zero()) HandOver(grace / 2);
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
  read_thread_.Stop();
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
