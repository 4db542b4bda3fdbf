// The raft thread of a node: turns of the loop, and what the workers hand to it.

#include <asio/post.hpp>
#include <utility>
#include <vector>

#include "base/hex_id.h"
#include "node/runtime/node_impl.h"

namespace raftkv::runtime {

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
  pulse_.Beat(Clock::System().Now());
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
                   .append_queue = append_worker_->unfinished(),
                   .apply_queue = apply_worker_->unfinished(),
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

// One Ready for everything that is runnable now: messages of several peers, requests and finished
// storage work share appends and frames.
void NodeImpl::WakeReady() {
  if (std::exchange(ready_scheduled_, true)) return;
  asio::post(io_, [this] {
    ready_scheduled_ = false;
    replica_->ProcessReady();
    // People and the ready check should not wait a tick to see a new leader.
    if (std::exchange(published_leader_, replica_->leader()) != replica_->leader()) PublishStatus();
  });
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
void NodeImpl::SubmitRead(raft::Index low, uint64_t max_bytes) {
  read_worker_->Submit(low, max_bytes);
  read_thread_.Wake();
}

}  // namespace raftkv::runtime
