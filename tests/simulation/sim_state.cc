#include "tests/simulation/sim_state.h"

#include <algorithm>
#include <utility>

namespace raftkv::sim {
namespace {

constexpr uint64_t kMemtable = 16'000;  // is flushed when it is larger

}  // namespace

uint64_t SimState::stored_bytes() const {
  // Of a memory state that is what it takes in all.
  const uint64_t bytes = state_.stats().memtable_bytes;
  return bytes - std::min(bytes, unflushed_bytes_);
}

Status SimState::CheckStopped() const {
  if (!stopped_) return Status::Ok();
  return {Code::kOutOfSpace, "no space left on the device"};
}

void SimState::Flushed() {
  unflushed_ = false;
  unflushed_bytes_ = 0;
  stopped_ = false;
}

Status SimState::FlushIfRoom() {
  stopped_ = space_ != nullptr && !space_->Fits(unflushed_bytes_);
  RETURN_IF_ERROR(CheckStopped());
  Flushed();
  return state_.Flush();
}

Status SimState::Write(storage::StateBatch& batch) {
  if (!fail_next_.ok()) return std::exchange(fail_next_, Status::Ok());
  RETURN_IF_ERROR(CheckStopped());
  const bool flushes = (flush_every_ > 0 && random_.Uniform(flush_every_) == 0) ||
                       unflushed_bytes_ + batch.bytes() > kMemtable;
  // In the background: what it says, the next call hears.
  RETURN_IF_ERROR(state_.Write(batch));
  unflushed_ = true;
  unflushed_bytes_ += batch.bytes();
  if (flushes) (void)FlushIfRoom();
  return Status::Ok();
}

Status SimState::Flush() {
  RETURN_IF_ERROR(CheckStopped());
  RETURN_IF_ERROR(FlushIfRoom());
  // What is flushed lies in the new state: it is in its place for good.
  Confirm();
  return Status::Ok();
}

Status SimState::Checkpoint(const std::string& dir) {
  if (checkpoints_->contains(dir)) {
    return {Code::kIoError, dir + " exists already"};
  }
  RETURN_IF_ERROR(Flush());
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
  Flushed();
  return Status::Ok();
}

void SimState::Crash() {
  fail_next_ = Status::Ok();
  stopped_ = false;
  if (before_replace_) {
    coverage_->Hit(Path::crash_in_replace);
    if (random_.Uniform(2) == 0) {
      state_.Install(std::move(*before_replace_), installing_before_replace_);
      Flushed();
    }
    before_replace_.reset();
  }
  if (!unflushed_) return;
  coverage_->Hit(Path::crash_lost_state);
  state_.LoseUnflushed();
  Flushed();
}

void SimState::Clear() { Load({}); }

void SimState::Load(const Image& image) {
  state_.Install(image.contents, image.installing);
  before_replace_.reset();
  Flushed();
}

}  // namespace raftkv::sim
