#include "tests/simulation/sim_state.h"

#include <utility>

namespace raftkv::sim {

Status SimState::Write(storage::StateBatch& batch) {
  if (!fail_next_.ok()) return std::exchange(fail_next_, Status::Ok());
  Status status = state_.Write(batch);
  unflushed_ = true;
  if (flush_every_ > 0 && random_.Uniform(flush_every_) == 0) return Flush();
  return status;
}

Status SimState::Flush() {
  unflushed_ = false;
  return state_.Flush();
}

Status SimState::Checkpoint(const std::string& dir) {
  if (checkpoints_->contains(dir)) {
    return {Code::kIoError, dir + " exists already"};
  }
  checkpoints_->emplace(dir, std::make_shared<const storage::MemoryState::Contents>(state_.Dump()));
  return Status::Ok();
}

Status SimState::Replace(const std::string& dir, raft::EntryId snapshot) {
  const auto found = checkpoints_->find(dir);
  if (found == checkpoints_->end()) return {Code::kIoError, dir + " does not exist"};
  state_.LoseUnflushed();
  before_replace_ = state_.Dump();
  installing_before_replace_ = state_.installing();
  state_.Install(*found->second, snapshot);
  checkpoints_->erase(found);
  unflushed_ = false;
  return Status::Ok();
}

void SimState::Crash() {
  fail_next_ = Status::Ok();
  if (before_replace_) {
    coverage_->Hit(Path::crash_in_replace);
    if (random_.Uniform(2) == 0) {
      state_.Install(std::move(*before_replace_), installing_before_replace_);
      unflushed_ = false;
    }
    before_replace_.reset();
  }
  if (!unflushed_) return;
  coverage_->Hit(Path::crash_lost_state);
  state_.LoseUnflushed();
  unflushed_ = false;
}

void SimState::Clear() { Load({}); }

void SimState::Load(const Image& image) {
  state_.Install(image.contents, image.installing);
  before_replace_.reset();
  unflushed_ = false;
}

}  // namespace raftkv::sim
