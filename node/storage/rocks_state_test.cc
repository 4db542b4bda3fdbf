#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <thread>

#include "base/random.h"
#include "node/storage/faulty_file_system.h"
#include "node/storage/rocks_state.h"
#include "node/storage/state_dirs.h"
#include "node/storage/test_util.h"

namespace raftkv::storage {
namespace {

// What the checkpoints of these tests are said to be snapshots of.
constexpr raft::EntryId kSnapshot{raft::Term(7), raft::Index(500)};

using testing::HasSubstr;

Status Put(StateStore* store, const std::string& key, const std::string& value) {
  const std::unique_ptr<StateBatch> batch = store->NewBatch();
  batch->Put(key, value);
  return store->Write(*batch);
}

std::optional<std::string> Get(const StateStore& store, const std::string& key) {
  return store.Get(key).value();
}

std::string Keys(const StateView& view, std::string_view lower, std::string_view upper) {
  std::string keys;
  const auto it = view.NewIterator(lower, upper);
  for (it->SeekToFirst(); it->Valid(); it->Next()) keys += std::string(it->key()) + " ";
  EXPECT_TRUE(it->status().ok());
  return keys;
}

class RocksStateTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    store_.reset();
    auto opened = OpenRocksState(path_, options_);
    ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
    store_ = std::move(*opened);
  }
  // As if killed: what was not flushed is gone.
  std::unique_ptr<StateStore> AfterCrash() {
    CopyAtRest(path_, temp_ / "copy");
    return OpenRocksState(temp_ / "copy", options_).value();
  }
  Status OpenError() {
    store_.reset();
    auto opened = OpenRocksState(path_, options_);
    return opened.has_value() ? Status::Ok() : opened.error();
  }

  TempDir temp_;
  const std::string path_ = temp_ / "state";
  StateOptions options_;
  std::unique_ptr<StateStore> store_;
};

TEST_F(RocksStateTest, BatchesApplyInOrderAndSurviveAPeacefulClose) {
  const auto batch = store_->NewBatch();
  EXPECT_GT(batch->bytes(), 0u);
  batch->Put("a", "1");
  batch->Put("b", "2");
  batch->Delete("a");
  batch->Put(std::string("nul\0key", 7), std::string("nul\0value", 9));
  batch->Put("empty", "");
  ASSERT_OK(store_->Write(*batch));
  batch->Clear();
  batch->Put("c", "3");
  ASSERT_OK(store_->Write(*batch));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Get(*store_, "a"), std::nullopt);
    EXPECT_EQ(Get(*store_, "b"), "2");
    EXPECT_EQ(Get(*store_, "c"), "3");
    EXPECT_EQ(Get(*store_, "empty"), "");
    EXPECT_EQ(Get(*store_, std::string("nul\0key", 7)), std::string("nul\0value", 9));
    Reopen();
  }
}

TEST_F(RocksStateTest, AReadFromMemoryTellsWhatIsThereAndDoesNotReadTheDisk) {
  ASSERT_TRUE(Put(store_.get(), "k", "flushed").ok());
  EXPECT_EQ(store_->GetFromMemory("k"), "flushed");
  EXPECT_EQ(store_->GetFromMemory("none"), std::nullopt);
  ASSERT_TRUE(store_->Flush().ok());
  Reopen();
  EXPECT_EQ(store_->GetFromMemory("k").error().code(), Code::kUnavailable);
  EXPECT_EQ(Get(*store_, "k"), "flushed");
  EXPECT_EQ(store_->GetFromMemory("k"), "flushed") << "its block is in the cache now";
  const std::unique_ptr<StateBatch> batch = store_->NewBatch();
  batch->Put("k", "new");
  EXPECT_EQ(store_->WriteToMemory(*batch).code(), Code::kUnavailable);
  EXPECT_EQ(Get(*store_, "k"), "flushed");
}

TEST_F(RocksStateTest, FlushedGetTellsWhatACrashWouldLeave) {
  ASSERT_OK(Put(store_.get(), "applied", "1"));
  EXPECT_EQ(store_->FlushedGet("applied"), std::nullopt);
  ASSERT_OK(store_->Flush());
  EXPECT_EQ(store_->FlushedGet("applied"), "1");
  ASSERT_OK(Put(store_.get(), "applied", "2"));
  EXPECT_EQ(Get(*store_, "applied"), "2");
  EXPECT_EQ(store_->FlushedGet("applied"), "1");
  EXPECT_EQ(Get(*AfterCrash(), "applied"), "1");
  Reopen();  // closing flushes
  EXPECT_EQ(store_->FlushedGet("applied"), "2");
}

// Batches are whole: a crash never leaves the applied index of one batch with the data of another.
TEST_F(RocksStateTest, ACrashLeavesAWholePrefixOfTheBatches) {
  options_.memtable_bytes = 64 << 10;
  Reopen();
  const std::string padding(500, 'x');
  for (int i = 1; i <= 1000; ++i) {
    const auto batch = store_->NewBatch();
    batch->Put("applied", std::to_string(i));
    batch->Put("data" + std::to_string(i), padding);
    ASSERT_OK(store_->Write(*batch));
  }
  const auto after = AfterCrash();
  const int applied = std::stoi(Get(*after, "applied").value());
  EXPECT_GT(applied, 100);
  for (int i = 1; i <= 1000; ++i) {
    EXPECT_EQ(Get(*after, "data" + std::to_string(i)).has_value(), i <= applied) << i;
  }
}

TEST_F(RocksStateTest, IteratorsWalkBothWaysWithinTheirBounds) {
  for (const char* key : {"a", "b", "ba", "bb", "c", "d"}) {
    ASSERT_OK(Put(store_.get(), key, std::string("v") + key));
  }
  const auto view = store_->View();
  EXPECT_EQ(Keys(*view, "", ""), "a b ba bb c d ");
  EXPECT_EQ(Keys(*view, "b", "c"), "b ba bb ");
  EXPECT_EQ(Keys(*view, "c", ""), "c d ");
  EXPECT_EQ(Keys(*view, "x", ""), "");
  const auto it = view->NewIterator("b", "d");
  it->SeekToLast();
  EXPECT_EQ(it->key(), "c");
  it->Prev();
  EXPECT_EQ(it->key(), "bb");
  it->Seek("bab");
  EXPECT_EQ(it->key(), "bb");
  EXPECT_EQ(it->value(), "vbb");
  it->SeekForPrev("bab");
  EXPECT_EQ(it->key(), "ba");
  it->Seek("a");
  EXPECT_EQ(it->key(), "b");
  it->Prev();
  EXPECT_FALSE(it->Valid());
  it->SeekForPrev("zzz");
  EXPECT_EQ(it->key(), "c");
  EXPECT_TRUE(it->status().ok());
}

TEST_F(RocksStateTest, AViewAndItsIteratorsKeepWhatTheyLookAt) {
  ASSERT_OK(Put(store_.get(), "k", "old"));
  auto view = store_->View();
  ASSERT_OK(Put(store_.get(), "k", "new"));
  EXPECT_EQ(view->Get("k").value(), "old");
  EXPECT_EQ(Get(*store_, "k"), "new");
  auto it = view->NewIterator("", "");
  view.reset();
  ASSERT_OK(store_->Flush());
  it->SeekToFirst();
  EXPECT_EQ(it->value(), "old");
}

TEST_F(RocksStateTest, RandomOperationsMatchAMap) {
  options_.memtable_bytes = 64 << 10;
  Reopen();
  SeededRandom random(3);
  std::map<std::string, std::string> model;
  for (int step = 0; step < 300; ++step) {
    const auto batch = store_->NewBatch();
    for (uint64_t n = random.Uniform(20); n > 0; --n) {
      const std::string key = std::to_string(random.Uniform(200));
      if (random.Uniform(3) == 0) {
        batch->Delete(key);
        model.erase(key);
      } else {
        const std::string value(random.Uniform(1000), static_cast<char>('a' + step % 26));
        batch->Put(key, value);
        model[key] = value;
      }
    }
    ASSERT_OK(store_->Write(*batch));
    if (random.Uniform(40) == 0) Reopen();
    if (random.Uniform(20) == 0) ASSERT_OK(store_->Flush());
    if (step % 20 != 0) continue;
    std::map<std::string, std::string> found;
    const auto view = store_->View();
    const auto it = view->NewIterator("", "");
    for (it->SeekToFirst(); it->Valid(); it->Next()) found.emplace(it->key(), it->value());
    ASSERT_EQ(found, model);
  }
}

// Tables told apart by the first byte: some grow at their end, others anywhere, and batches mix
// them. Memtable hints must not show in any order or range.
TEST_F(RocksStateTest, TablesThatGrowInTheirOwnWaysShareOneOrder) {
  options_.memtable_bytes = 64 << 10;
  Reopen();
  SeededRandom random(6);
  std::map<std::string, std::string> expected;
  const auto numbered = [](char table, uint64_t number) {
    const std::string digits = std::to_string(number);
    return table + std::string(8 - digits.size(), '0') + digits;
  };
  const auto check_range = [&](const std::string& lower, const std::string& upper) {
    const auto it = store_->View()->NewIterator(lower, upper);
    auto next = expected.lower_bound(lower);
    const auto end = expected.lower_bound(upper);
    for (it->SeekToFirst(); it->Valid(); it->Next(), ++next) {
      ASSERT_NE(next, end);
      ASSERT_EQ(it->key(), next->first);
      ASSERT_EQ(it->value(), next->second);
    }
    ASSERT_OK(it->status());
    ASSERT_EQ(next, end);
    for (it->SeekToLast(); it->Valid(); it->Prev()) ASSERT_EQ(it->key(), (--next)->first);
    ASSERT_EQ(next, expected.lower_bound(lower));
  };
  for (uint64_t i = 0; i < 6000;) {
    const auto batch = store_->NewBatch();
    for (const uint64_t end = i + 1 + random.Uniform(50); i < end; ++i) {
      for (const std::string& key :
           {numbered('v', i), numbered('c', random.Uniform(500)), numbered('r', i),
            numbered('h', random.Uniform(1u << 20)), std::string("m")}) {
        const std::string value = std::to_string(i) + std::string(random.Uniform(60), 'x');
        batch->Put(key, value);
        expected[key] = value;
      }
      if (random.Uniform(2) == 0) {  // also of what is not there
        const std::string gone = numbered("crv"[random.Uniform(3)], random.Uniform(i + 1));
        batch->Delete(gone);
        expected.erase(gone);
      }
    }
    ASSERT_OK(store_->Write(*batch));
    const std::string a = numbered("chmrv"[random.Uniform(5)], random.Uniform(6000));
    const std::string b = numbered("chmrv"[random.Uniform(5)], random.Uniform(6000));
    ASSERT_NO_FATAL_FAILURE(check_range(std::min(a, b), std::max(a, b)));
    EXPECT_EQ(Get(*store_, a), expected.contains(a) ? std::optional(expected[a]) : std::nullopt);
  }
  for (int i = 0; i < 2; ++i) {
    ASSERT_NO_FATAL_FAILURE(check_range("", "w"));
    Reopen();
  }
}

TEST_F(RocksStateTest, CheckpointAndReplace) {
  ASSERT_OK(Put(store_.get(), "k", "then"));
  ASSERT_OK(store_->Checkpoint(temp_ / "checkpoint"));
  ASSERT_OK(Put(store_.get(), "k", "now"));
  ASSERT_OK(Put(store_.get(), "later", "x"));
  EXPECT_FALSE(store_->Checkpoint(temp_ / "checkpoint").ok()) << "exists";

  const auto view = store_->View();
  const std::string old_dir = path_ + "/db-1";
  EXPECT_TRUE(Exists(old_dir));
  ASSERT_OK(store_->Replace(temp_ / "checkpoint", kSnapshot));
  EXPECT_FALSE(Exists(temp_ / "checkpoint"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Get(*store_, "k"), "then");
    EXPECT_EQ(Get(*store_, "later"), std::nullopt);
    EXPECT_EQ(store_->FlushedGet("k"), "then");
    if (i == 1) break;
    EXPECT_EQ(view->Get("k").value(), "now") << "the old state, for who has it still";
    Reopen();
  }
  EXPECT_FALSE(Exists(old_dir));
  ASSERT_OK(Put(store_.get(), "k", "after"));
  Reopen();
  EXPECT_EQ(Get(*store_, "k"), "after");
}

TEST_F(RocksStateTest, TheOldFilesGoWithTheirLastReader) {
  ASSERT_OK(Put(store_.get(), "k", "1"));
  ASSERT_OK(store_->Checkpoint(temp_ / "c1"));
  auto view = store_->View();
  ASSERT_OK(store_->Replace(temp_ / "c1", kSnapshot));
  EXPECT_TRUE(Exists(path_ + "/db-1"));
  view.reset();
  EXPECT_FALSE(Exists(path_ + "/db-1"));
}

TEST_F(RocksStateTest, ACopyThatDoesNotOpenChangesNothing) {
  ASSERT_OK(Put(store_.get(), "k", "1"));
  ASSERT_OK(store_->Checkpoint(temp_ / "c"));
  const std::string table = FilesWith(temp_ / "c", ".sst").at(0);
  // A file of its own: the checkpoint's is a hard link to the store's.
  const std::string bytes = ReadFile(table).value();
  ASSERT_EQ(::unlink(table.c_str()), 0);
  WriteRaw(table, bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(store_->Replace(temp_ / "c", kSnapshot).code(), Code::kCorruption);
  EXPECT_EQ(Get(*store_, "k"), "1");
  ASSERT_OK(Put(store_.get(), "k", "2"));
  Reopen();
  EXPECT_EQ(Get(*store_, "k"), "2");
  ASSERT_OK(MakeDirs(temp_ / "empty"));
  EXPECT_FALSE(store_->Replace(temp_ / "nowhere", kSnapshot).ok());
}

// Every state of the disk that a crash within Replace can leave.
TEST_F(RocksStateTest, ACrashAtAnyStepOfReplaceLeavesTheOldOrTheNewState) {
  ASSERT_OK(Put(store_.get(), "k", "new"));
  ASSERT_OK(store_->Checkpoint(temp_ / "checkpoint"));
  ASSERT_OK(Put(store_.get(), "k", "old"));
  ASSERT_OK(store_->Flush());
  store_.reset();
  for (int step = 0; step <= 6; ++step) {
    TempDir copy;
    std::filesystem::copy(temp_.path(), copy / "d", std::filesystem::copy_options::recursive);
    const std::string path = copy / "d/state";
    {
      StateDirs dirs = StateDirs::Open(path).value();
      std::string next;
      if (step >= 1) next = dirs.Adopt(copy / "d/checkpoint").value();
      if (step >= 2) WriteRaw(next + "/MANIFEST-000099", "opening began");
      if (step >= 3) WriteRaw(path + "/ACTIVE.tmp", "db-");
      if (step >= 4) WriteRaw(path + "/ACTIVE.tmp", "db-2\n");
      if (step >= 5) ASSERT_OK(dirs.Commit(next, kSnapshot));
      if (step >= 6) ASSERT_OK(RemoveTree(path + "/db-1/CURRENT"));
    }
    for (int i = 0; i < 2; ++i) {
      auto store = OpenRocksState(path, {});
      ASSERT_TRUE(store.has_value()) << step << store.error().ToString();
      EXPECT_EQ(Get(**store, "k"), step >= 5 ? "new" : "old") << step;
      EXPECT_EQ((*store)->installing(), step >= 5 ? std::optional(kSnapshot) : std::nullopt)
          << step;
      EXPECT_EQ(Exists(path + "/db-1"), step < 5) << step;
      EXPECT_EQ(Exists(path + "/db-2"), step >= 5) << step;
    }
  }
}

TEST_F(RocksStateTest, AnInstallationIsMarkedUntilItIsFinished) {
  ASSERT_OK(Put(store_.get(), "k", "1"));
  EXPECT_EQ(store_->installing(), std::nullopt);
  ASSERT_OK(store_->Checkpoint(temp_ / "c1"));
  ASSERT_OK(store_->Replace(temp_ / "c1", kSnapshot));
  Reopen();
  EXPECT_EQ(store_->installing(), kSnapshot);
  // The end of an earlier one says nothing about this one.
  ASSERT_OK(store_->FinishInstallation({raft::Term(6), raft::Index(400)}));
  EXPECT_EQ(store_->installing(), kSnapshot);
  ASSERT_OK(store_->FinishInstallation(kSnapshot));
  EXPECT_EQ(store_->installing(), std::nullopt);
  Reopen();
  EXPECT_EQ(store_->installing(), std::nullopt);
  EXPECT_EQ(Get(*store_, "k"), "1");
}

TEST_F(RocksStateTest, ADamagedMarkOfAnInstallationIsRefused) {
  store_.reset();
  for (const char* text : {"db-1\ninstalling 5\n", "db-1\ninstalling 5 7", "db-1\ninst",
                           "db-1\ninstalling 5 7\nmore", "db-1\ninstalling x 7\n", "db-1"}) {
    WriteRaw(path_ + "/ACTIVE", text);
    const auto store = OpenRocksState(path_, {});
    ASSERT_FALSE(store.has_value()) << text;
    EXPECT_EQ(store.error().code(), Code::kCorruption) << text;
  }
}

// Replaces its state by one that counts one more, for ever.
TEST(RocksStateChild, DISABLED_Replaces) {
  const std::string dir = std::getenv("STATE_DIR");
  auto store = OpenRocksState(dir + "/state", {}).value();
  int n = std::stoi(store->Get("n").value().value_or("0"));
  ASSERT_OK(RemoveTree(dir + "/checkpoint"));
  ASSERT_OK(RemoveTree(dir + "/checkpoint.tmp"));
  for (;;) {
    ASSERT_OK(Put(store.get(), "n", std::to_string(n + 1)));
    ASSERT_OK(Put(store.get(), "same", std::to_string(n + 1)));
    ASSERT_OK(store->Checkpoint(dir + "/checkpoint"));
    ASSERT_OK(Put(store.get(), "n", "must not be seen"));
    ASSERT_OK(store->Replace(dir + "/checkpoint", kSnapshot));
    ++n;
    if (::write(Subprocess::kPipe, "x", 1) != 1) break;
  }
}

TEST(RocksStateCrash, NoReplacementIsLostToSigkill) {
  TempDir temp;
  SeededRandom random(8);
  int at_least = 0;
  for (int round = 0; round < 8; ++round) {
    Subprocess child("RocksStateChild.DISABLED_Replaces", {{"STATE_DIR", temp.path()}});
    char buffer[16];
    const uint64_t wanted = 1 + random.Uniform(6);
    for (uint64_t i = 0; i < wanted; ++i) ASSERT_EQ(::read(child.pipe(), buffer, 1), 1);
    at_least += static_cast<int>(wanted);
    ::usleep(static_cast<useconds_t>(random.Uniform(20'000)));
    child.Kill();
    auto store = OpenRocksState(temp / "state", {});
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    const std::string n = Get(**store, "n").value();
    ASSERT_NE(n, "must not be seen");
    EXPECT_EQ(Get(**store, "same"), n);
    EXPECT_GE(std::stoi(n), at_least);
    at_least = std::stoi(n);
  }
}

TEST_F(RocksStateTest, MissingAndDamagedFilesAreRefused) {
  ASSERT_OK(Put(store_.get(), "k", "1"));
  store_.reset();
  const std::string active = path_ + "/ACTIVE";
  WriteRaw(active, "db-");
  EXPECT_EQ(OpenError().code(), Code::kCorruption);
  ASSERT_EQ(::unlink(active.c_str()), 0);
  EXPECT_THAT(OpenError().message(), HasSubstr("ACTIVE is missing"));
  WriteRaw(active, "db-7\n");
  EXPECT_THAT(OpenError().message(), HasSubstr("db-7 is missing"));
  WriteRaw(active, "db-1\n");
  const std::string current = path_ + "/db-1/CURRENT";
  const std::string bytes = ReadFile(current).value();
  ASSERT_EQ(::unlink(current.c_str()), 0);
  EXPECT_EQ(OpenError().code(), Code::kCorruption);
  WriteRaw(current, bytes);
  const std::string table = FilesWith(path_ + "/db-1", ".sst").at(0);
  const std::string good = ReadFile(table).value();
  ASSERT_EQ(::unlink(table.c_str()), 0);
  EXPECT_EQ(OpenError().code(), Code::kCorruption);
  WriteRaw(table, good);
  ASSERT_OK(OpenError());
}

TEST_F(RocksStateTest, ADamagedBlockIsAnErrorNotAnAbsentKey) {
  ASSERT_OK(Put(store_.get(), "k", std::string(10'000, 'x')));
  store_.reset();
  FlipBit(FilesWith(path_ + "/db-1", ".sst").at(0), 50);
  Reopen();
  EXPECT_EQ(store_->Get("k").error().code(), Code::kCorruption);
  EXPECT_EQ(store_->View()->Get("k").error().code(), Code::kCorruption);
  const auto it = store_->View()->NewIterator("", "");
  it->SeekToFirst();
  EXPECT_FALSE(it->Valid());
  EXPECT_EQ(it->status().code(), Code::kCorruption);
}

TEST_F(RocksStateTest, InUseIsRefused) {
  auto second = OpenRocksState(path_, {});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition);
}

TEST_F(RocksStateTest, StatsGrow) {
  const StateStats before = store_->stats();
  ASSERT_OK(Put(store_.get(), "k", std::string(100'000, 'x')));
  EXPECT_GT(store_->stats().memtable_bytes, before.memtable_bytes + 90'000);
  ASSERT_OK(store_->Flush());
  EXPECT_GT(store_->stats().disk_bytes, before.disk_bytes);
  EXPECT_FALSE(store_->stats().write_stalled);
}

// Tombstones are small: levels do not grow by them, and RocksDB compacts levels that grow.
TEST_F(RocksStateTest, WhatWasDeletedLeavesTheDiskWithoutMoreWrites) {
  SeededRandom random(1);
  const auto key = [](int i) { return "v" + std::to_string(10'000 + i); };
  for (int i = 0; i < 1500; ++i) {
    std::string value(20'000, '\0');
    for (char& c : value) c = static_cast<char>(random.Next());
    ASSERT_OK(Put(store_.get(), key(i), value));
  }
  ASSERT_OK(store_->Flush());
  ASSERT_GT(store_->stats().disk_bytes, 25u << 20);
  const std::unique_ptr<StateBatch> batch = store_->NewBatch();
  for (int i = 0; i < 1500; ++i) batch->Delete(key(i));
  batch->Put("m", "meta");
  ASSERT_OK(store_->Write(*batch));
  ASSERT_OK(store_->GiveBackSpace());
  for (int i = 0; i < 600 && store_->stats().disk_bytes > 1 << 20; ++i) ::usleep(100'000);
  EXPECT_LT(store_->stats().disk_bytes, 1u << 20);
  EXPECT_EQ(Keys(*store_->View(), "", ""), "m ");
}

TEST_F(RocksStateTest, AFewTombstonesAmongManyRecordsAreLeftAlone) {
  const std::unique_ptr<StateBatch> batch = store_->NewBatch();
  for (int i = 0; i < 1000; ++i) {
    batch->Put("k" + std::to_string(i), "x");
    if (i % 2 == 0) batch->Delete("h" + std::to_string(i));
  }
  ASSERT_OK(store_->Write(*batch));
  ASSERT_OK(store_->GiveBackSpace());
  ::usleep(100'000);
  EXPECT_EQ(store_->FlushedGet("k1"), std::nullopt);
}

// A full disk stops nothing for ever: reads go on, and writes do once there is space, without
// waiting for the next time that RocksDB would look.
TEST(RocksStateFault, AFullDiskIsCalledSoAndGoesOnWhenThereIsSpace) {
  TempDir temp;
  const auto faults = std::make_shared<FaultyFileSystem>(".sst");
  auto store = OpenRocksStateOn(temp / "state", {}, faults).value();
  ASSERT_OK(Put(store.get(), "k", "1"));
  faults->on_append = rocksdb::IOStatus::NoSpace("injected");
  EXPECT_EQ(store->Flush().code(), Code::kOutOfSpace);
  EXPECT_EQ(Put(store.get(), "k", "2").code(), Code::kOutOfSpace);
  EXPECT_EQ(Get(*store, "k"), "1");
  EXPECT_EQ(store->FlushedGet("k"), std::nullopt);
  EXPECT_EQ(store->Resume().code(), Code::kOutOfSpace);
  faults->on_append = rocksdb::IOStatus::OK();
  ASSERT_OK(store->Resume());
  EXPECT_EQ(store->FlushedGet("k"), "1");
  ASSERT_OK(Put(store.get(), "k", "3"));
  ASSERT_OK(store->Flush());
  EXPECT_EQ(store->FlushedGet("k"), "3");
}

// A node that collected garbage while RocksDB had stopped writes, because compactions did not
// follow, ended.
TEST(RocksStateFault, NothingIsGivenBackWhileWritesAreStopped) {
  TempDir temp;
  const auto faults = std::make_shared<FaultyFileSystem>(".sst");
  auto store = OpenRocksStateOn(temp / "state", {}, faults).value();
  faults->hold = FaultyFileSystem::Hold::kCompactions;
  const auto delete_many = [&] {
    const std::unique_ptr<StateBatch> batch = store->NewBatch();
    for (int i = 0; i < 500; ++i) batch->Delete("k" + std::to_string(i));
    return store->Write(*batch);
  };
  const auto add_file = [&] { return Put(store.get(), "k0", "1").ok() && store->Flush().ok(); };
  // Until writes are slowed down, then to one file less than what stops them.
  for (int i = 0; i < 100 && !store->stats().write_stalled; ++i) ASSERT_TRUE(add_file());
  const rocksdb::Options defaults;
  const int more = defaults.level0_stop_writes_trigger - defaults.level0_slowdown_writes_trigger;
  for (int i = 1; i < more; ++i) ASSERT_TRUE(add_file());
  faults->hold = FaultyFileSystem::Hold::kAll;
  ASSERT_OK(delete_many());
  ASSERT_OK(store->GiveBackSpace());
  ASSERT_OK(delete_many());
  faults->hold = FaultyFileSystem::Hold::kCompactions;
  const auto flushed = [&] { return store->FlushedGet("k0") == std::nullopt; };
  for (int i = 0; i < 1000 && !flushed(); ++i) ::usleep(10'000);
  ASSERT_TRUE(flushed());
  const Status given = store->GiveBackSpace();
  faults->hold = FaultyFileSystem::Hold::kNobody;
  ASSERT_OK(given);
}

// Readers run while the apply thread writes, flushes and replaces the database beneath them.
TEST_F(RocksStateTest, ReadersSeeWholeBatchesAlsoWhileTheStateIsReplaced) {
  const auto write = [this](int n) {
    const auto batch = store_->NewBatch();
    batch->Put("a", std::to_string(n));
    batch->Put("b", std::to_string(n));
    return store_->Write(*batch);
  };
  ASSERT_OK(write(0));
  std::atomic<bool> done = false;
  std::atomic<int> reads = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const auto view = store_->View();
        const std::string a = view->Get("a").value().value();
        ASSERT_EQ(view->Get("b").value().value(), a);
        const auto it = view->NewIterator("a", "c");
        for (it->SeekToFirst(); it->Valid(); it->Next()) ASSERT_EQ(it->value(), a);
        ASSERT_TRUE(store_->Get("a").value().has_value());
        ASSERT_TRUE(store_->FlushedGet("a").has_value());
        ++reads;
      }
    });
  }
  for (int n = 1; n <= 200 || reads < 100; ++n) {
    ASSERT_OK(write(n));
    if (n % 10 == 0) ASSERT_OK(store_->Flush());
    if (n % 40 == 0) {
      ASSERT_OK(store_->Checkpoint(temp_ / "c"));
      ASSERT_OK(store_->Replace(temp_ / "c", kSnapshot));
    }
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace raftkv::storage
