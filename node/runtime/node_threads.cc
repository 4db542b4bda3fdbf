// The threads of a node.

#include <pthread.h>

#include <asio/post.hpp>
#include <map>
#include <utility>
#include <vector>

#include "base/hex_id.h"
#include "node/runtime/node_impl.h"

namespace raftkv::runtime {

void NodeImpl::StartThreads() {
  using Worker = NodeLoop::Worker;
  thread(Worker::kAppend).Start("raftkv-append", [this] { loop_->Work(Worker::kAppend); });
  thread(Worker::kApply).Start("raftkv-apply", [this] { loop_->Work(Worker::kApply); });
  thread(Worker::kRead).Start("raftkv-read", [this] { loop_->Work(Worker::kRead); });
  janitor_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raftkv-janitor");
    RunJanitor();
  });
  asio::post(io_, [this] {
    loop_->Start(transport_.get());
    PublishStatus();
    ScheduleTick();
  });
  raft_thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "raftkv-raft");
    io_.run();
  });
}

void NodeImpl::PostReady() {
  asio::post(io_, [this] {
    loop_->ProcessReady();
    // People and the ready check should not wait a tick to see a new leader.
    const raft::NodeId leader = loop_->replica().leader();
    if (std::exchange(published_leader_, leader) != leader) PublishStatus();
  });
}

void NodeImpl::PostRequests() {
  asio::post(io_, [this] { loop_->DrainRequests(); });
}

void NodeImpl::Post(std::function<void()> work) {
  asio::post(io_, [this, work = std::move(work)] { loop_->Run(work); });
}

void NodeImpl::PostAfter(Duration delay, std::function<void()> work) {
  auto timer = std::make_shared<asio::steady_timer>(io_, delay);
  timer->async_wait([this, timer, work = std::move(work)](const asio::error_code& error) {
    if (!error) loop_->Run(work);
  });
}

void NodeImpl::Wake(NodeLoop::Worker worker) { thread(worker).Wake(); }

void NodeImpl::Finish(NodeLoop::Worker worker) { thread(worker).Stop(); }

void NodeImpl::PostToJanitor(std::function<void()> job) {
  {
    std::lock_guard lock(janitor_mutex_);
    janitor_jobs_.push_back(std::move(job));
  }
  janitor_wake_.notify_all();
}

void NodeImpl::RunJanitor() {
  std::unique_lock lock(janitor_mutex_);
  while (!janitor_stop_) {
    std::vector<std::function<void()>> jobs = std::exchange(janitor_jobs_, {});
    lock.unlock();
    for (const auto& job : jobs) job();
    loop_->LookAtDisk();
    lock.lock();
    if (!janitor_stop_ && janitor_jobs_.empty()) {
      janitor_wake_.wait_for(lock, loop_->until_next_look());
    }
  }
}

void NodeImpl::ScheduleTick() {
  tick_timer_.expires_after(options_.tick);
  tick_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    // A thread that was held up ticks once, not for every tick it missed: what arrived meanwhile
    // is to be read before an election is called.
    pulse_.Beat(Clock::System().Now());
    loop_->OnTick();
    PublishStatus();
    ScheduleTick();
  });
}

void NodeImpl::PublishStatus() {
  auto fresh = std::make_shared<v1::StatusResponse>(loop_->replica().Status());
  const NodeLoop::DiskSample disk = loop_->last_disk_sample();
  fresh->set_state_bytes(disk.state.disk_bytes + disk.state.memtable_bytes);
  fresh->set_log_bytes(disk.log.bytes);
  fresh->set_flushed_applied_index(disk.flushed.value);
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
  const std::map<raft::NodeId, transport::PeerStats> peers = transport_->stats();
  metrics_.Update({.status = fresh.get(),
                   .counters = &loop_->replica().counters(),
                   .peers = &peers,
                   .applied = &loop_->applied(),
                   .snapshots = loop_->replica().snapshots_under_way(),
                   .pending = loop_->pending(),
                   .append_queue = loop_->unfinished_appends(),
                   .apply_queue = loop_->unfinished_applies(),
                   .flushed_index = fresh->flushed_applied_index(),
                   .live_keys = storage_.machine->live_keys(),
                   .stored_versions = storage_.machine->stored_versions(),
                   .state = disk.state,
                   .log = disk.log,
                   .free_bytes = space_.free_bytes(),
                   .space_left_bytes = space_.left_bytes(),
                   .out_of_space = space_.refuses(),
                   .quota_bytes = options_.quota_bytes,
                   .min_free_bytes = options_.min_free_bytes});
  std::lock_guard lock(status_mutex_);
  status_ = std::move(fresh);
}

}  // namespace raftkv::runtime
