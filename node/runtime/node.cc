// The start and the end of a node.

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
#include "node/storage/snapshot_files.h"

namespace raftkv::runtime {
namespace {

void RemoveDirectory(const std::string& dir) {
  std::error_code error;
  std::filesystem::remove_all(dir, error);
  if (error) {
    log::Warning("a directory could not be removed", {{"dir", dir}, {"error", error.message()}});
  }
}

}  // namespace

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
  loop_ = std::make_unique<NodeLoop>(MakeEnv());
  transport_ = transport::MakeTransport(io_, transport_options, &loop_->replica());
  RETURN_IF_ERROR(transport_->Start());
  loop_->LookAtDisk();
  StartThreads();
  return Status::Ok();
}

NodeLoop::Env NodeImpl::MakeEnv() {
  NodeLoop::Env env;
  env.options = &options_;
  env.clock = &Clock::System();
  env.random = &random_;
  env.files = &storage::SystemFiles();
  env.storage = storage_.parts();
  env.space = &space_;
  env.logger = &core_logger_;
  env.threads = this;
  env.append.done = [this](size_t jobs, std::vector<raft::Message> responses) {
    asio::post(io_, [this, jobs, responses = std::move(responses)]() mutable {
      loop_->OnAppended(jobs, std::move(responses));
    });
  };
  env.append.fatal = fatal_;
  env.append.on_batch = [this](size_t, size_t entries) { metrics_.ObserveAppendBatch(entries); };
  env.apply.done = [this](ApplyDone done) { loop_->replica().TellApplied(std::move(done)); };
  env.apply.fatal = fatal_;
  env.apply.on_batch = [this](Duration took, size_t entries) {
    metrics_.ObserveApply(took, entries);
  };
  env.apply.on_checkpoint = [this](Duration took) { metrics_.ObserveCheckpoint(took); };
  env.on_removed = [this] {
    std::lock_guard lock(status_mutex_);
    removed_ = true;
    // Later, so that what is being answered still goes out.
    if (on_end_) asio::post(io_, [end = on_end_] { end(End::kRemoved); });
  };
  env.fatal = fatal_;
  env.first_request_id = SystemEntropy();
  env.describe = storage::DescribeCheckpoint;
  env.remove_dir = RemoveDirectory;
  return env;
}

void NodeImpl::HandOver(Duration limit) {
  Post([this] { loop_->replica().HandOver("this node stops"); });
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
    loop_->RefuseRequests();
    // What was handed to the workers is finished; nothing new comes in.
    asio::post(io_, [this] {
      tick_timer_.cancel();
      transport_->Stop();
      work_.reset();
      io_.stop();
    });
    raft_thread_.join();
  }
  if (loop_) loop_->FinishWork(deadline);
  {
    std::lock_guard lock(janitor_mutex_);
    janitor_stop_ = true;
  }
  janitor_wake_.notify_all();
  if (janitor_.joinable()) janitor_.join();
  if (loop_) loop_->AnswerAll();
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
