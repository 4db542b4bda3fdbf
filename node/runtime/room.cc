#include "node/runtime/room.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/mutations.h"

namespace raftkv::runtime {
namespace {

// Less than this and the disk counts as full for the log. As little as will do, because deletes
// have to get through on a full disk; but enough for the state to go on with what the log has: only
// what is applied and flushed makes the log shorter.
constexpr uint64_t kLeastForLog = 2 << 20;
// With less than this nothing is tried: giving space back takes a little at first.
constexpr uint64_t kLeast = 256 << 10;
constexpr Duration kBetweenLooks = std::chrono::milliseconds(100);

const char* NameOf(Room::For what) { return what == Room::For::kLog ? "log" : "state"; }

// To write what is in memory, which makes room itself.
uint64_t FlushBytes(uint64_t in_memory) { return kLeast + in_memory + in_memory / 4; }

}  // namespace

Room::Room(const SpaceGuard* space, storage::LogStorage* log, storage::StateStore* state,
           Sleep sleep)
    : space_(space),
      log_(log),
      state_(state),
      sleep_(sleep ? std::move(sleep)
                   : [](Duration duration) { std::this_thread::sleep_for(duration); }) {}

bool Room::Await(For what, uint64_t bytes, bool failed, const std::function<void()>& tidy) {
  if (!failed && !space_->is_near_limit()) return true;
  uint64_t wanted = 0;
  const auto has_room = [&] {
    // What is in memory has to go to the disk one day.
    uint64_t in_memory = state_->stats().memtable_bytes + bytes;
    wanted = kLeast;
    if (what == For::kLog) {
      if (state_waits_) return false;
      in_memory += log_->stats().memtable_bytes + bytes;
      wanted = kLeastForLog;
    }
    wanted += in_memory + in_memory / 4;
    return space_->HasRoom(wanted);
  };
  if (!failed && has_room()) return true;
  // Of any other error the next write says more.
  const auto goes_on = [&] {
    const Status status = what == For::kLog ? log_->Resume() : state_->Resume();
    return status.code() != Code::kOutOfSpace;
  };
  if (what == For::kState) state_waits_ = true;
  waiting_.fetch_add(1);
  log::Warning("the disk is full: waiting for space, nothing is lost",
               {{"for", NameOf(what)}, {"bytes", wanted}});
  do {
    if (space_->HasRoom(kLeast)) tidy();
    sleep_(kBetweenLooks);
  } while (!closed_ && (MUTATION(wait_for_ever) || !has_room() || !goes_on()));
  waiting_.fetch_sub(1);
  if (what == For::kState) state_waits_ = false;
  if (!closed_) log::Info("there is space again", {{"for", NameOf(what)}});
  return !closed_;
}

bool Room::HasRoomForFlush() const {
  return space_->HasRoom(FlushBytes(state_->stats().memtable_bytes));
}

void Room::Resume() {
  // Who writes hears of errors.
  if (HasRoomForFlush()) (void)state_->Resume();
  if (space_->HasRoom(FlushBytes(log_->stats().memtable_bytes))) (void)log_->Resume();
}

}  // namespace raftkv::runtime
