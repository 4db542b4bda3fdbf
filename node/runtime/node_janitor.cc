// The janitor thread of a node: what is slow and not urgent.

#include <asio/post.hpp>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/log.h"
#include "node/runtime/node_impl.h"
#include "node/runtime/rebuild.h"
#include "node/storage/snapshot_files.h"

namespace raftkv::runtime {
namespace {

constexpr Duration kPeriod = std::chrono::seconds(1);
constexpr Duration kPeriodNearLimit = std::chrono::milliseconds(100);  // of the disk

}  // namespace

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
      janitor_wake_.wait_for(lock, space_.is_near_limit() ? kPeriodNearLimit : kPeriod);
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
  const Result<raft::Index> flushed = storage_.machine->FlushedIndex();
  if (!flushed) return fatal_(flushed.error());
  sample.flushed_index = flushed->value;
  {
    std::lock_guard lock(status_mutex_);
    disk_sample_ = sample;
  }
  space_.Look({sample.state.disk_bytes, sample.state.memtable_bytes});
  room_->Resume();
  NoteMembers();
}

// For the day on which nothing else in the directory can be read.
void NodeImpl::NoteMembers() {
  const std::shared_ptr<const v1::ClusterState> cluster = storage_.machine->cluster();
  if (cluster->members().empty() || cluster->config_index() == noted_config_index_) return;
  if (SaveMemberNote(options_.data_dir, NoteOf(*cluster, member_id_)).ok()) {
    noted_config_index_ = cluster->config_index();
  }
}

}  // namespace raftkv::runtime
