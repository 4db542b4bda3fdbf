#include "node/storage/write_behind.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/random.h"
#include "node/storage/memory_state.h"

namespace raftkv::storage {
namespace {

using Contents = MemoryState::Contents;
using Value = std::optional<std::string>;

// Counts what is written, and fails on demand.
class ObservedState final : public StateStore {
 public:
  Result<std::optional<std::string>> Get(std::string_view key) const override {
    return state.Get(key);
  }
  std::shared_ptr<const StateView> View() const override { return state.View(); }
  std::unique_ptr<StateBatch> NewBatch() const override {
    return std::make_unique<Batch>(state.NewBatch());
  }
  Status Write(StateBatch& batch) override {
    if (!fail_with.ok()) return fail_with;
    ++writes;
    if (on_write) on_write();
    keys = static_cast<Batch&>(batch).keys;
    return state.Write(*static_cast<Batch&>(batch).inner);
  }
  Result<std::optional<std::string>> FlushedGet(std::string_view key) const override {
    return state.FlushedGet(key);
  }
  Status Flush() override { return state.Flush(); }
  Status Checkpoint(const std::string& dir) override { return state.Checkpoint(dir); }
  Status Replace(const std::string&, raft::EntryId snapshot) override {
    state.Install({{"new", "state"}}, snapshot);
    return Status::Ok();
  }
  std::optional<raft::EntryId> installing() const override { return state.installing(); }
  Status FinishInstallation(raft::EntryId snapshot) override {
    return state.FinishInstallation(snapshot);
  }
  StateStats stats() const override { return state.stats(); }

  MemoryState state;
  Status fail_with = Status::Ok();
  int writes = 0;
  std::function<void()> on_write;
  std::vector<std::string> keys;  // of the last batch, in order

 private:
  struct Batch final : StateBatch {
    explicit Batch(std::unique_ptr<StateBatch> memory) : inner(std::move(memory)) {}
    void Put(std::string_view key, std::string_view value) override {
      keys.emplace_back(key);
      inner->Put(key, value);
    }
    void Delete(std::string_view key) override {
      keys.emplace_back(key);
      inner->Delete(key);
    }
    void Clear() override { inner->Clear(); }
    size_t bytes() const override { return inner->bytes(); }
    const std::unique_ptr<StateBatch> inner;
    std::vector<std::string> keys;
  };
};

Status Put(StateStore& store, std::string_view key, std::string_view value) {
  const auto batch = store.NewBatch();
  batch->Put(key, value);
  return store.Write(*batch);
}

Status Delete(StateStore& store, std::string_view key) {
  const auto batch = store.NewBatch();
  batch->Delete(key);
  return store.Write(*batch);
}

Contents All(const StateView& view) {
  Contents all;
  const auto it = view.NewIterator({}, {});
  for (it->SeekToFirst(); it->Valid(); it->Next()) all.emplace(it->key(), it->value());
  EXPECT_TRUE(it->status().ok());
  return all;
}

class WriteBehindTest : public testing::Test {
 protected:
  ObservedState beneath_;
  std::unique_ptr<StateStore> store_ = WriteBehind(&beneath_, {.changes = 4, .bytes = 1000});
};

TEST_F(WriteBehindTest, PointReadsSeeWhatIsNotWrittenYet) {
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  EXPECT_EQ(store_->Get("a"), "1");
  ASSERT_TRUE(Put(*store_, "a", "2").ok());
  EXPECT_EQ(store_->Get("a"), "2");
  ASSERT_TRUE(Delete(*store_, "a").ok());
  EXPECT_EQ(store_->Get("a"), std::nullopt);
  ASSERT_TRUE(Put(*store_, std::string("\0", 1), "").ok());
  EXPECT_EQ(store_->Get(std::string("\0", 1)), "");
  EXPECT_EQ(store_->Get(""), std::nullopt);
  EXPECT_EQ(beneath_.writes, 0);
}

TEST_F(WriteBehindTest, ADeletedKeyIsNotFoundBeneath) {
  ASSERT_TRUE(Put(beneath_, "a", "old").ok());
  EXPECT_EQ(store_->Get("a"), "old");
  ASSERT_TRUE(Delete(*store_, "a").ok());
  EXPECT_EQ(store_->Get("a"), std::nullopt);
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(beneath_.Get("a"), std::nullopt);
}

TEST_F(WriteBehindTest, WhatIsGatheredIsReadFromMemoryAndTheRestIsNot) {
  ASSERT_TRUE(Put(beneath_, "below", "1").ok());
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  ASSERT_TRUE(Delete(*store_, "gone").ok());
  EXPECT_EQ(store_->GetFromMemory("a"), "1");
  EXPECT_EQ(store_->GetFromMemory("gone"), std::nullopt);
  EXPECT_EQ(store_->GetFromMemory("below").error().code(), Code::kUnavailable);
}

TEST_F(WriteBehindTest, WritesToMemoryGoOnUntilThereIsEnoughToWrite) {
  const auto batch = store_->NewBatch();
  for (const char* key : {"a", "b", "c", "d"}) {
    batch->Put(key, "1");
    ASSERT_TRUE(store_->WriteToMemory(*batch).ok()) << key;
  }
  batch->Put("e", "1");
  EXPECT_EQ(store_->WriteToMemory(*batch).code(), Code::kUnavailable);
  EXPECT_EQ(store_->Get("e"), std::nullopt) << "nothing was changed";
  EXPECT_EQ(beneath_.writes, 0);
  // The batch is as it was: whoever may wait writes it.
  ASSERT_TRUE(store_->Write(*batch).ok());
  EXPECT_EQ(store_->Get("e"), "1");
  ASSERT_TRUE(store_->CatchUp().ok());
  EXPECT_EQ(beneath_.writes, 1);
  batch->Put("f", "1");
  EXPECT_TRUE(store_->WriteToMemory(*batch).ok());
}

TEST_F(WriteBehindTest, CatchUpWritesTheLastChangesSortedOnceItIsWorthIt) {
  for (const char* key : {"c", "longer than eight 2", "longer than eight 1", "c"}) {
    ASSERT_TRUE(Put(*store_, key, "1").ok());
    ASSERT_TRUE(store_->CatchUp().ok());
  }
  EXPECT_EQ(beneath_.writes, 0);
  ASSERT_TRUE(Delete(*store_, "").ok());
  ASSERT_TRUE(store_->CatchUp().ok());
  EXPECT_EQ(beneath_.writes, 1);
  EXPECT_EQ(beneath_.keys,
            (std::vector<std::string>{"", "c", "longer than eight 1", "longer than eight 2"}));
  // Few bytes or many.
  ASSERT_TRUE(Put(*store_, "x", std::string(1000, 'x')).ok());
  ASSERT_TRUE(store_->CatchUp().ok());
  EXPECT_EQ(beneath_.writes, 2);
}

// A metric that looked at Write alone never saw RocksDB hold anything back: writes go to memory.
TEST_F(WriteBehindTest, EachWriteBeneathIsTimed) {
  int timed = 0;
  const auto store = WriteBehind(
      &beneath_, {.changes = 2, .bytes = 1000, .on_write = [&](std::chrono::nanoseconds took) {
                    EXPECT_GE(took.count(), 0);
                    ++timed;
                  }});
  ASSERT_TRUE(Put(*store, "a", "1").ok());
  ASSERT_TRUE(store->CatchUp().ok());
  ASSERT_TRUE(Put(*store, "b", "1").ok());
  EXPECT_EQ(timed, 0) << "in memory alone";
  ASSERT_TRUE(store->CatchUp().ok());
  EXPECT_EQ(timed, 1);
  for (int i = 0; i <= 8; ++i) ASSERT_TRUE(Put(*store, "c" + std::to_string(i), "1").ok());
  EXPECT_EQ(timed, 2) << "too much to wait for CatchUp";
  ASSERT_TRUE(store->Flush().ok());
  EXPECT_EQ(timed, 3);
  EXPECT_EQ(beneath_.writes, timed);
}

TEST_F(WriteBehindTest, AViewShowsEverythingWritten) {
  ASSERT_TRUE(Put(*store_, "b", "1").ok());
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  const auto view = store_->View();
  ASSERT_TRUE(Put(*store_, "c", "1").ok());
  EXPECT_EQ(All(*view), (Contents{{"a", "1"}, {"b", "1"}}));
  EXPECT_EQ(view->Get("c"), std::nullopt);
  EXPECT_EQ(store_->View()->Get("c"), "1");
}

// Reads of one key at an old revision take a view on the HTTP loop: every connection waited for
// what was written then.
TEST_F(WriteBehindTest, WhoLooksDoesNotWriteAndDoesNotWaitForAWrite) {
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  ASSERT_TRUE(Put(*store_, "b", "1").ok());
  ASSERT_TRUE(Delete(*store_, "a").ok());
  const auto view = store_->View();
  EXPECT_EQ(beneath_.writes, 0);
  // What was looked at stays while the gathered changes go.
  ASSERT_TRUE(store_->Flush().ok());
  ASSERT_TRUE(Put(*store_, "b", "2").ok());
  EXPECT_EQ(All(*view), (Contents{{"b", "1"}}));
  EXPECT_EQ(view->Get("a"), std::nullopt);

  beneath_.on_write = [&] {
    EXPECT_EQ(store_->View()->Get("b"), "2") << "in the middle of a write";
    EXPECT_EQ(store_->Get("b"), "2");
  };
  EXPECT_TRUE(store_->Flush().ok());
}

TEST_F(WriteBehindTest, AWriterThatNeverCatchesUpIsBounded) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Put(*store_, std::to_string(i), "1").ok());
  EXPECT_EQ(beneath_.writes, 100 / 16);
}

TEST_F(WriteBehindTest, AFullDiskLosesNothing) {
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  beneath_.fail_with = Status(Code::kOutOfSpace, "full");
  EXPECT_EQ(All(*store_->View()), (Contents{{"a", "1"}})) << "reads go on";
  EXPECT_EQ(store_->Flush().code(), Code::kOutOfSpace);
  EXPECT_EQ(store_->Checkpoint("dir").code(), Code::kOutOfSpace);
  EXPECT_EQ(store_->Replace("dir", {}).code(), Code::kOutOfSpace);
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(Put(*store_, std::to_string(i), "1").ok());
  EXPECT_EQ(store_->CatchUp().code(), Code::kOutOfSpace);
  EXPECT_EQ(Put(*store_, "late", "1").code(), Code::kOutOfSpace);
  EXPECT_EQ(store_->Get("a"), "1");
  EXPECT_EQ(store_->Get("14"), "1");
  EXPECT_EQ(store_->Get("late"), std::nullopt);
  beneath_.fail_with = Status::Ok();
  ASSERT_TRUE(Put(*store_, "late", "2").ok());
  EXPECT_EQ(All(*store_->View()).size(), 17u);
}

TEST_F(WriteBehindTest, FlushMakesEverythingDurable) {
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  EXPECT_EQ(store_->FlushedGet("a"), std::nullopt);
  ASSERT_TRUE(store_->Flush().ok());
  EXPECT_EQ(store_->FlushedGet("a"), "1");
}

TEST_F(WriteBehindTest, NothingOfAReplacedStateIsLeft) {
  ASSERT_TRUE(Put(*store_, "new", "old value").ok());
  ASSERT_TRUE(Put(*store_, "old", "1").ok());
  ASSERT_TRUE(store_->Replace("dir", {raft::Term(1), raft::Index(2)}).ok());
  EXPECT_EQ(store_->Get("new"), "state");
  EXPECT_EQ(store_->Get("old"), std::nullopt);
  EXPECT_EQ(store_->installing(), (raft::EntryId{raft::Term(1), raft::Index(2)}));
}

TEST_F(WriteBehindTest, ClosingWritesEverything) {
  ASSERT_TRUE(Put(*store_, "a", "1").ok());
  store_.reset();
  EXPECT_EQ(beneath_.Get("a"), "1");
}

std::string RandomKey(SeededRandom& random) {
  return "k" + std::string(random.Uniform(10), '-') + std::to_string(random.Uniform(100));
}

// From wherever, in both directions, within bounds.
void WalkLikeAMap(const StateView& view, const Contents& all, SeededRandom& random) {
  for (int walk = 0; walk < 10; ++walk) {
    std::string lower = RandomKey(random);
    std::string upper = random.Uniform(3) == 0 ? "" : RandomKey(random);
    if (!upper.empty() && upper < lower) std::swap(lower, upper);
    Contents in(all.lower_bound(lower), upper.empty() ? all.end() : all.lower_bound(upper));
    const auto it = view.NewIterator(lower, upper);
    auto at = in.end();
    for (int step = 0; step < 20; ++step) {
      const std::string key = RandomKey(random);
      switch (at == in.end() ? random.Uniform(4) : 4 + random.Uniform(2)) {
        case 0:
          it->SeekToFirst();
          at = in.begin();
          break;
        case 1:
          it->SeekToLast();
          at = in.empty() ? in.end() : std::prev(in.end());
          break;
        case 2:
          it->Seek(key);
          at = in.lower_bound(key);
          break;
        case 3:
          it->SeekForPrev(key);
          at = in.upper_bound(key);
          at = at == in.begin() ? in.end() : std::prev(at);
          break;
        case 4:
          it->Next();
          ++at;
          break;
        default:
          it->Prev();
          at = at == in.begin() ? in.end() : std::prev(at);
          break;
      }
      ASSERT_EQ(it->Valid(), at != in.end());
      if (!it->Valid()) continue;
      ASSERT_EQ(it->key(), at->first);
      ASSERT_EQ(it->value(), at->second);
    }
  }
}

// Against a map: whatever is written, caught up with, looked at and lost in between.
TEST(WriteBehindModelTest, LooksLikeAMapAndLosesWholeBatches) {
  SeededRandom random(11);
  MemoryState beneath;
  auto store = WriteBehind(&beneath, {.changes = 50, .bytes = 2000});
  std::vector<Contents> history{{}};  // after each batch
  for (int i = 1; i < 4000; ++i) {
    Contents next = history.back();
    const auto batch = store->NewBatch();
    batch->Put("applied", std::to_string(history.size()));
    next["applied"] = std::to_string(history.size());
    for (uint64_t n = random.Uniform(6); n > 0; --n) {
      const std::string key =
          "k" + std::string(random.Uniform(10), '-') + std::to_string(random.Uniform(100));
      if (random.Uniform(3) == 0) {
        batch->Delete(key);
        next.erase(key);
      } else {
        const std::string value(random.Uniform(60), static_cast<char>('a' + i % 26));
        batch->Put(key, value);
        next[key] = value;
      }
    }
    ASSERT_TRUE(store->Write(*batch).ok());
    EXPECT_EQ(batch->bytes(), 0u);
    history.push_back(next);
    if (random.Uniform(2) == 0) {
      ASSERT_TRUE(store->CatchUp().ok());
    }
    for (int look = 0; look < 5; ++look) {
      const std::string key =
          "k" + std::string(random.Uniform(10), '-') + std::to_string(random.Uniform(100));
      const auto found = next.find(key);
      EXPECT_EQ(*store->Get(key), found != next.end() ? Value(found->second) : Value());
    }
    switch (random.Uniform(30)) {
      case 0:
        EXPECT_EQ(All(*store->View()), next);
        WalkLikeAMap(*store->View(), next, random);
        break;
      case 1:
        ASSERT_TRUE(store->Flush().ok());
        EXPECT_EQ(beneath.Dump(), next);
        break;
      case 2: {
        // A crash: what was gathered dies with the process, what was not flushed with the machine.
        Contents left = beneath.Dump();
        const auto applied = left.find("applied");
        const size_t at = applied == left.end() ? 0 : std::stoul(applied->second);
        EXPECT_EQ(left, history[at]);
        store.reset();  // writes, which a crash does not
        beneath.Install(left);
        store = WriteBehind(&beneath, {.changes = 50, .bytes = 2000});
        history.resize(at + 1);
        break;
      }
      default:
        break;
    }
    if (testing::Test::HasFailure()) return;
  }
}

// A batch is seen whole, and what was seen once stays, while views are taken and batches written.
TEST(WriteBehindThreadsTest, ReadersSeeWholeBatchesInOrder) {
  MemoryState beneath;
  const auto store = WriteBehind(&beneath, {.changes = 20, .bytes = 10000});
  ASSERT_TRUE(Put(*store, "first", "0").ok());
  ASSERT_TRUE(Put(*store, "second", "0").ok());
  std::vector<std::jthread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&](std::stop_token stop) {
      int last = 0;
      while (!stop.stop_requested()) {
        const int first = std::stoi(store->Get("first").value().value());
        const int second = std::stoi(store->Get("second").value().value());
        EXPECT_GE(first, last);
        EXPECT_GE(second, first);
        last = second;
        const auto view = store->View();
        EXPECT_EQ(view->Get("first").value(), view->Get("second").value());
        EXPECT_GE(std::stoi(view->Get("first").value().value()), last);
      }
    });
  }
  for (int i = 1; i < 3000; ++i) {
    const auto batch = store->NewBatch();
    batch->Put("first", std::to_string(i));
    batch->Put("padding" + std::to_string(i % 50), "x");
    batch->Put("second", std::to_string(i));
    ASSERT_TRUE(store->Write(*batch).ok());
    if (i % 3 == 0) {
      ASSERT_TRUE(store->CatchUp().ok());
    }
  }
}

}  // namespace
}  // namespace raftkv::storage
