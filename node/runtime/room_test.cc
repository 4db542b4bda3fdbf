// The storage workers on a disk that is full.

#include "node/runtime/room.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <future>
#include <thread>
#include <utility>

#include "node/kv/test_support.h"
#include "node/runtime/workers.h"
#include "node/storage/faulty_file_system.h"
#include "node/storage/log_test_util.h"
#include "node/storage/rocks_log.h"
#include "node/storage/rocks_state.h"

namespace raftkv::runtime {
namespace {

using raft::Index;
using std::chrono::milliseconds;
using storage::MakeEntries;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class RoomTest : public testing::Test {
 protected:
  // Of a disk on which `free_` bytes are free, and near its limit.
  void Look() { space_.Look({}); }

  AppendWorker Worker(Room& room) {
    return AppendWorker(
        log_.get(), {.done = [this](size_t jobs, std::vector<raft::Message>) { done_ += jobs; },
                     .fatal = [](const Status& status) { FAIL() << status.ToString(); },
                     .on_batch = {},
                     .await_room =
                         [&room](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
                           return room.Await(Room::For::kLog, bytes, failed, tidy);
                         }});
  }

  static ApplyWorker::Sink ApplySink(Room& room, std::function<void(ApplyDone)> done) {
    return {.done = std::move(done),
            .fatal = [](const Status& status) { FAIL() << status.ToString(); },
            .on_batch = {},
            .on_checkpoint = {},
            .await_room =
                [&room](uint64_t bytes, bool failed, const std::function<void()>& tidy) {
                  return room.Await(Room::For::kState, bytes, failed, tidy);
                },
            .has_room_for_flush = [&room] { return room.HasRoomForFlush(); }};
  }

  storage::TempDir temp_;
  std::atomic<uint64_t> free_ = 0;
  SpaceGuard space_{
      temp_.path(), {}, &Clock::System(), [this] { return std::optional(free_.load()); }};
  std::unique_ptr<storage::LogStorage> log_ = storage::OpenRocksLog(temp_ / "log", {}).value();
  std::unique_ptr<storage::StateStore> state_ =
      storage::OpenRocksState(temp_ / "state", {}).value();
  Room room_{&space_, log_.get(), state_.get()};
  std::atomic<size_t> done_ = 0;
};

TEST_F(RoomTest, ComesBackWhenThereIsSpaceAndTidiesMeanwhile) {
  Look();
  EXPECT_FALSE(room_.is_full());
  std::atomic<int> tidied = 0;
  auto waiting = std::async(std::launch::async, [&] {
    return room_.Await(Room::For::kLog, 1000, false, [&] { ++tidied; });
  });
  EXPECT_EQ(waiting.wait_for(milliseconds(250)), std::future_status::timeout);
  EXPECT_EQ(tidied, 0) << "with nothing left, nothing is tried";
  EXPECT_TRUE(room_.is_full());
  free_ = kMiB / 2;
  EXPECT_EQ(waiting.wait_for(milliseconds(250)), std::future_status::timeout);
  EXPECT_GT(tidied, 0);
  free_ = 20 * kMiB;
  EXPECT_TRUE(waiting.get());
  EXPECT_FALSE(room_.is_full());
}

TEST_F(RoomTest, NobodyWaitsForEver) {
  Look();
  auto waiting = std::async(std::launch::async,
                            [&] { return room_.Await(Room::For::kState, 0, false, [] {}); });
  EXPECT_EQ(waiting.wait_for(milliseconds(100)), std::future_status::timeout);
  room_.Close();
  EXPECT_FALSE(waiting.get());
}

// What had been handed over while the node stopped was written behind a write that had been given
// up, if there was space again in that moment: the log would have had a gap.
TEST_F(RoomTest, NothingIsWrittenBehindAWriteThatWasGivenUp) {
  AppendWorker worker = Worker(room_);
  Look();
  const auto submit = [&](uint64_t index) {
    AppendJob job;
    job.work.entries = MakeEntries(1, index, index);
    worker.Submit(std::move(job));
  };
  submit(1);
  std::thread thread([&] { worker.RunOnce(); });
  while (!room_.is_full()) std::this_thread::sleep_for(milliseconds(1));
  submit(2);
  room_.Close();
  thread.join();
  free_ = 100 * kMiB;
  worker.RunOnce();
  EXPECT_EQ(done_, 0u);
  EXPECT_EQ(log_->last_index(), Index(0));
}

// The order to cut the log stood behind the write that waited for the space of what was to be cut.
TEST_F(RoomTest, ANodeThatIsFullOfItsOwnLogCutsItWhileItWaits) {
  ASSERT_TRUE(storage::AppendEntries(log_.get(), MakeEntries(1, 1, 100, 10'000)).ok());
  AppendWorker worker = Worker(room_);
  free_ = kMiB;  // of which the log's memtable wants more
  Look();
  AppendJob job;
  job.work.entries = MakeEntries(1, 101, 101);
  worker.Submit(std::move(job));
  std::thread thread([&] { worker.RunOnce(); });
  while (!room_.is_full()) std::this_thread::sleep_for(milliseconds(1));
  worker.SubmitTruncate(Index(90));
  while (log_->first_index() != Index(91)) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(done_, 0u);
  EXPECT_EQ(worker.unfinished(), 1u);
  free_ = 3 * kMiB;
  thread.join();
  EXPECT_EQ(done_, 1u);
  EXPECT_EQ(worker.unfinished(), 0u);
  EXPECT_EQ(log_->last_index(), Index(101));
  EXPECT_LT(log_->stats().memtable_bytes, 300'000u);
}

// A state that the disk had no space for ended the process, although the log had everything.
TEST_F(RoomTest, AStateThatCannotBeWrittenWaitsForSpace) {
  const auto faults = std::make_shared<storage::FaultyFileSystem>(".sst");
  const auto store = storage::OpenRocksStateOn(temp_ / "faulty", {}, faults).value();
  const auto machine = kv::StateMachine::Open(store.get()).value();
  ASSERT_TRUE(machine->InitializeCluster(kv::InitialState({1})).ok());
  WaiterTable waiters(10, 1000);
  bool flushed = false;
  int looks = 0;
  Room room(&space_, log_.get(), store.get(), [&](Duration) {
    EXPECT_FALSE(flushed);
    EXPECT_EQ((*machine->Get("k", 0))->value, "v") << "reads go on";
    if (++looks == 3) faults->on_append = rocksdb::IOStatus::OK();
  });
  ApplyWorker worker(
      1, store.get(), machine.get(), &waiters, &Clock::System(),
      ApplySink(room, [&](const ApplyDone& done) { flushed = flushed || done.flushed; }));
  faults->on_append = rocksdb::IOStatus::NoSpace("injected");
  worker.Submit(ApplyEntries{{kv::CommandEntry(2, kv::Put("k", "v"))}, {}});
  worker.Submit(FlushState{});
  EXPECT_EQ(worker.unfinished(), 2u);
  worker.RunOnce();
  EXPECT_EQ(worker.unfinished(), 0u);
  EXPECT_TRUE(flushed);
  EXPECT_EQ(looks, 3) << "RocksDB itself looks every five seconds only";
}

// After its background work had met a full disk, RocksDB looked for space every five seconds only:
// writes waited so long for space that was there.
TEST_F(RoomTest, TheLogGoesOnAtTheFirstLookThatFindsSpace) {
  const auto faults = std::make_shared<storage::FaultyFileSystem>(".sst");
  const storage::LogOptions options{.write_buffer_bytes = 64 << 10};
  log_ = storage::OpenRocksLogOn(temp_ / "faulty", options, faults).value();
  int looks = 0;
  Room room(&space_, log_.get(), state_.get(), [&](Duration) {
    if (++looks == 3) faults->on_append = rocksdb::IOStatus::OK();
  });
  AppendWorker worker = Worker(room);
  faults->on_append = rocksdb::IOStatus::NoSpace("injected");
  size_t jobs = 0;
  for (; looks == 0 && jobs < 1000; ++jobs) {
    AppendJob job;
    job.work.entries = MakeEntries(1, jobs + 1, jobs + 1, 10'000);
    worker.Submit(std::move(job));
    worker.RunOnce();
  }
  EXPECT_EQ(looks, 3);
  EXPECT_EQ(done_, jobs);
  EXPECT_EQ(log_->last_index(), Index(jobs));
}

// What nobody writes to goes on as well: a state that was full of what had been deleted stayed so.
TEST_F(RoomTest, WhatAFullDiskStoppedGoesOnWithoutAWriter) {
  const auto faults = std::make_shared<storage::FaultyFileSystem>(".sst");
  const auto store = storage::OpenRocksStateOn(temp_ / "faulty", {}, faults).value();
  Room room(&space_, log_.get(), store.get());
  const auto batch = store->NewBatch();
  batch->Put("k", "v");
  ASSERT_TRUE(store->Write(*batch).ok());
  faults->on_append = rocksdb::IOStatus::NoSpace("injected");
  ASSERT_EQ(store->Flush().code(), Code::kOutOfSpace);
  room.Resume();
  EXPECT_EQ(store->FlushedGet("k").value(), std::nullopt);
  faults->on_append = rocksdb::IOStatus::OK();
  room.Resume();
  EXPECT_EQ(store->FlushedGet("k").value(), "v");
}

// A node that stopped while its state waited for space ended as by a broken disk, if there was
// space again in that moment: the entries behind those that had been given up were applied.
TEST_F(RoomTest, NothingIsAppliedBehindEntriesThatWereGivenUp) {
  const auto machine = kv::StateMachine::Open(state_.get()).value();
  ASSERT_TRUE(machine->InitializeCluster(kv::InitialState({1})).ok());
  WaiterTable waiters(10, 1000);
  ApplyWorker worker(1, state_.get(), machine.get(), &waiters, &Clock::System(),
                     ApplySink(room_, [&](const ApplyDone&) { ++done_; }));
  Look();
  worker.Submit(ApplyEntries{{kv::CommandEntry(2, kv::Put("k", "v"))}, {}});
  std::thread thread([&] { worker.RunOnce(); });
  while (!room_.is_full()) std::this_thread::sleep_for(milliseconds(1));
  worker.Submit(ApplyEntries{{kv::CommandEntry(3, kv::Put("k", "w"))}, {}});
  worker.Submit(FlushState{});
  room_.Close();
  thread.join();
  free_ = 100 * kMiB;
  worker.RunOnce();
  EXPECT_EQ(done_, 0u);
  EXPECT_EQ(machine->applied().index, Index(1));
}

}  // namespace
}  // namespace raftkv::runtime
