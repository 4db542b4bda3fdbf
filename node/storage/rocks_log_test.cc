#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "base/random.h"
#include "node/storage/log_test_util.h"

namespace raftkv::storage {
namespace {

using raft::EntryId;
using raft::HardState;
using raft::Index;
using raft::LogError;
using raft::NodeId;
using raft::Term;

class RocksLogTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    log_.reset();
    auto opened = OpenRocksLog(path_, options_);
    ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
    log_ = std::move(*opened);
  }

  TempDir temp_;
  const std::string path_ = temp_ / "log";
  LogOptions options_;
  std::unique_ptr<LogStorage> log_;
};

TEST_F(RocksLogTest, EmptyLog) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(log_->first_index(), Index(1));
    EXPECT_EQ(log_->last_index(), Index(0));
    EXPECT_EQ(log_->compacted(), EntryId());
    EXPECT_EQ(log_->term(Index(0)), Term(0));
    EXPECT_EQ(log_->term(Index(1)).error(), LogError::kUnavailable);
    EXPECT_EQ(log_->entries(Index(1), Index(2), 100).error(), LogError::kUnavailable);
    EXPECT_TRUE(log_->entries(Index(1), Index(1), 100)->empty());
    EXPECT_TRUE(log_->hard_state().IsEmpty());
    Reopen();
  }
}

TEST_F(RocksLogTest, EntriesOfEveryKindAndHardStateSurviveReopening) {
  auto change = std::make_shared<raft::ConfChange>();
  change->steps = {{raft::ConfChangeType::kAddVoter, NodeId(77)}};
  change->context = Buffer("context");
  const std::vector<raft::Entry> entries = {
      MakeEntry(1, 1, ""),
      MakeEntry(1, 2, "value"),
      {Term(2), Index(3), std::shared_ptr<const raft::ConfChange>(change)},
      MakeEntry(5, 4, std::string(1 << 20, 'v'))};
  const HardState state{Term(5), NodeId(~0ull - 9), Index(3)};
  const LogWrite write{entries, state, true};
  ASSERT_OK(log_->Append({&write, 1}));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(ReadAll(*log_), entries);
    EXPECT_EQ(log_->hard_state(), state);
    EXPECT_EQ(log_->term(Index(2)), Term(1));
    EXPECT_EQ(log_->term(Index(3)), Term(2));
    EXPECT_EQ(log_->term(Index(4)), Term(5));
    Reopen();
  }
}

TEST_F(RocksLogTest, AppendsShareTheirPayloads) {
  const std::vector<raft::Entry> entries = MakeEntries(1, 1, 3);
  ASSERT_OK(AppendEntries(log_.get(), entries));
  EXPECT_EQ(ReadAll(*log_)[1].data().data(), entries[1].data().data());
}

TEST_F(RocksLogTest, ManyWritesInOneAppendCountAsWrittenInOrder) {
  const std::vector<LogWrite> writes = {
      {MakeEntries(1, 1, 5), HardState{Term(1), NodeId(1), Index(2)}, true},
      {MakeEntries(2, 4, 4), std::nullopt, true},  // cuts 5
      {{}, HardState{Term(3), NodeId(2), Index(3)}, true},
      {MakeEntries(3, 5, 6), HardState{Term(3), NodeId(2), Index(4)}, false}};
  ASSERT_OK(log_->Append(writes));
  for (int i = 0; i < 2; ++i) {
    std::vector<raft::Entry> expected = MakeEntries(1, 1, 3);
    expected.push_back(MakeEntries(2, 4, 4)[0]);
    for (const raft::Entry& entry : MakeEntries(3, 5, 6)) expected.push_back(entry);
    EXPECT_EQ(ReadAll(*log_), expected);
    EXPECT_EQ(log_->hard_state(), (HardState{Term(3), NodeId(2), Index(4)}));
    Reopen();
  }
}

TEST_F(RocksLogTest, AConflictingSuffixIsCut) {
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 100)));
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(2, 50, 60)));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(log_->last_index(), Index(60));
    EXPECT_EQ(log_->term(Index(49)), Term(1));
    EXPECT_EQ(log_->term(Index(50)), Term(2));
    EXPECT_EQ(log_->term(Index(61)).error(), LogError::kUnavailable);
    EXPECT_EQ(log_->entries(Index(49), Index(51), ~0ull).value()[1], MakeEntries(2, 50, 50)[0]);
    Reopen();
  }
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(3, 1, 1)));  // all of it
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(3, 2, 3)));
  Reopen();
  EXPECT_EQ(ReadAll(*log_), MakeEntries(3, 1, 3));
}

// The state was stored under an index that the first write cut and the second passed again.
TEST_F(RocksLogTest, StateSurvivesACutThatTheSameAppendFillsAgain) {
  const HardState state{Term(3), NodeId(1), Index(4)};
  const LogWrite first{MakeEntries(1, 1, 10), state, true};
  ASSERT_OK(log_->Append({&first, 1}));
  const std::vector<LogWrite> writes = {{MakeEntries(2, 5, 7), std::nullopt, true},
                                        {MakeEntries(3, 8, 15), std::nullopt, true}};
  ASSERT_OK(log_->Append(writes));
  Reopen();
  EXPECT_EQ(log_->hard_state(), state);
  EXPECT_EQ(log_->last_index(), Index(15));
}

TEST_F(RocksLogTest, PrefixTruncationSurvivesReopeningAndRepeats) {
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 50)));
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(2, 51, 100)));
  ASSERT_OK(log_->TruncatePrefix(Index(60)));
  ASSERT_OK(log_->TruncatePrefix(Index(60)));
  ASSERT_OK(log_->TruncatePrefix(Index(10)));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(log_->first_index(), Index(61));
    EXPECT_EQ(log_->compacted(), (EntryId{Term(2), Index(60)}));
    EXPECT_EQ(log_->term(Index(60)), Term(2));
    EXPECT_EQ(log_->term(Index(59)).error(), LogError::kCompacted);
    EXPECT_EQ(log_->entries(Index(60), Index(62), ~0ull).error(), LogError::kCompacted);
    EXPECT_EQ(ReadAll(*log_), MakeEntries(2, 61, 100));
    Reopen();
  }
  ASSERT_OK(log_->TruncatePrefix(Index(100)));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(log_->first_index(), Index(101));
    EXPECT_EQ(log_->last_index(), Index(100));
    EXPECT_EQ(log_->term(Index(100)), Term(2));
    Reopen();
  }
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(2, 101, 102)));
  Reopen();
  EXPECT_EQ(ReadAll(*log_), MakeEntries(2, 101, 102));
}

TEST_F(RocksLogTest, ResetDropsEverythingBehindAndBeforeTheSnapshot) {
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 100)));
  const EntryId snapshot{Term(7), Index(40)};
  const HardState state{Term(8), NodeId(), Index(40)};
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK(log_->Reset(snapshot, state));
    EXPECT_EQ(log_->first_index(), Index(41));
    EXPECT_EQ(log_->last_index(), Index(40));
    EXPECT_EQ(log_->compacted(), snapshot);
    EXPECT_EQ(log_->hard_state(), state);
    Reopen();
  }
  EXPECT_EQ(log_->last_index(), Index(40));
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(8, 41, 43)));
  ASSERT_OK(log_->Reset({Term(9), Index(1000)}, {Term(9), NodeId(), Index(1000)}));
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(9, 1001, 1003)));
  Reopen();
  EXPECT_EQ(ReadAll(*log_), MakeEntries(9, 1001, 1003));
}

TEST_F(RocksLogTest, ReadsAreCutByBytesButReturnOneAtLeast) {
  options_.cache_bytes = 2000;  // part from memory, part from disk
  Reopen();
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 100, 50)));
  ASSERT_GT(log_->stats().cached_entries, 0u);
  ASSERT_LT(log_->stats().cached_entries, 20u);
  const std::vector<raft::Entry> all = ReadAll(*log_);
  ASSERT_EQ(all.size(), 100u);
  for (uint64_t low = 1; low <= 100; low += 3) {
    uint64_t size = 0;
    for (uint64_t n = 1; low + n <= 101; ++n) {
      size += EntrySize(all[low + n - 2]);
      EXPECT_EQ(log_->entries(Index(low), Index(101), size)->size(), n) << low;
      EXPECT_EQ(log_->entries(Index(low), Index(101), size - 1)->size(), std::max(n - 1, 1ul));
    }
    EXPECT_EQ(log_->entries(Index(low), Index(101), 0)->size(), 1u);
  }
}

TEST_F(RocksLogTest, TheCacheIsBoundedAndRefilledOnOpening) {
  options_.cache_bytes = 1 << 20;
  Reopen();
  for (uint64_t i = 0; i < 40; ++i) {
    ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, i * 100 + 1, i * 100 + 100, 1000)));
    EXPECT_LE(log_->stats().cached_bytes, options_.cache_bytes);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_GT(log_->stats().cached_bytes, options_.cache_bytes / 2);
    EXPECT_LE(log_->stats().cached_bytes, options_.cache_bytes);
    EXPECT_EQ(ReadAll(*log_), MakeEntries(1, 1, 4000, 1000));
    Reopen();
  }
}

TEST_F(RocksLogTest, ACommitAloneIsWrittenWithTheNextDurableWriteOrOnClosing) {
  int writes = 0;
  options_.on_append = [&](std::chrono::nanoseconds write, std::chrono::nanoseconds sync) {
    EXPECT_GT(write.count(), 0);
    EXPECT_GT(sync.count(), 0);
    ++writes;
  };
  Reopen();
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 3)));
  ASSERT_OK(SetHardState(log_.get(), 2, 1, 0));
  EXPECT_EQ(writes, 2);
  ASSERT_OK(SetHardState(log_.get(), 2, 1, 2, /*sync=*/false));
  EXPECT_EQ(writes, 2);
  EXPECT_EQ(log_->hard_state().commit, Index(2));
  Reopen();
  EXPECT_EQ(log_->hard_state().commit, Index(2));
  writes = 0;
  ASSERT_OK(SetHardState(log_.get(), 2, 3, 2, /*sync=*/false));  // a vote
  EXPECT_EQ(writes, 1);
  ASSERT_OK(SetHardState(log_.get(), 2, 3, 2, /*sync=*/true));  // nothing new
  EXPECT_EQ(writes, 1);
}

TEST_F(RocksLogTest, TruncatedEntriesLeaveTheDisk) {
  options_.write_buffer_bytes = 256 << 10;
  Reopen();
  uint64_t most = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, i * 100 + 1, i * 100 + 100, 1000)));
    if (i >= 10) ASSERT_OK(log_->TruncatePrefix(Index((i - 10) * 100)));
    most = std::max(most, log_->stats().bytes);
  }
  // 20 MB went in; 1 MB is wanted still. Write-ahead logs, files on their way down and what waits
  // to be flushed come on top.
  EXPECT_LT(most, 6u << 20);
  Reopen();
  EXPECT_EQ(ReadAll(*log_), MakeEntries(1, 18901, 20000, 1000));
}

// A synced write into a file that grows waits for the file system's journal.
TEST_F(RocksLogTest, AFreshWriteAheadLogHasItsSizeAndBlocks) {
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 3)));
  const std::vector<std::string> wals = FilesWith(path_, ".log");
  ASSERT_EQ(wals.size(), 1u);
  struct stat file{};
  ASSERT_EQ(::stat(wals[0].c_str(), &file), 0);
  EXPECT_GE(static_cast<uint64_t>(file.st_size), options_.write_buffer_bytes);
  EXPECT_GE(file.st_blocks * 512, file.st_size);

  std::vector<std::string> notices;
  options_.on_notice = [&](std::string_view text) { notices.emplace_back(text); };
  Reopen();
  EXPECT_EQ(ReadAll(*log_), MakeEntries(1, 1, 3));
  EXPECT_THAT(notices, testing::IsEmpty()) << "zeros are no interrupted write";
}

TEST_F(RocksLogTest, RandomOperationsMatchAModel) {
  options_.cache_bytes = 20'000;
  options_.write_buffer_bytes = 64 << 10;
  Reopen();
  SeededRandom random(20);
  std::vector<raft::Entry> model;  // entries after `compacted`
  EntryId compacted;
  uint64_t term = 1;
  for (int step = 0; step < 600; ++step) {
    const uint64_t first = compacted.index.value + 1;
    const uint64_t last = compacted.index.value + model.size();
    const uint64_t choice = random.Uniform(20);
    if (choice < 14) {
      uint64_t from = last + 1;
      if (random.Uniform(5) == 0) {  // a new leader replaces a suffix
        ++term;
        from -= random.Uniform(model.size() + 1);
      }
      const auto entries = MakeEntries(term, from, from + random.Uniform(30), random.Uniform(400));
      model.resize(from - first);
      model.insert(model.end(), entries.begin(), entries.end());
      ASSERT_OK(AppendEntries(log_.get(), entries));
    } else if (choice < 17 && !model.empty()) {
      const uint64_t n = 1 + random.Uniform(model.size());
      compacted = model[n - 1].id();
      model.erase(model.begin(), model.begin() + static_cast<ptrdiff_t>(n));
      ASSERT_OK(log_->TruncatePrefix(compacted.index));
    } else if (choice == 17) {
      compacted = {Term(++term), Index(first + random.Uniform(100))};
      model.clear();
      ASSERT_OK(log_->Reset(compacted, {Term(term), NodeId(), compacted.index}));
    } else {
      Reopen();
    }
    ASSERT_EQ(log_->compacted(), compacted);
    ASSERT_EQ(ReadAll(*log_), model) << step;
    for (size_t i = 0; i < model.size(); i += 7) {
      ASSERT_EQ(log_->term(model[i].index), model[i].term);
    }
  }
}

// Readers run while the append thread appends, replaces suffixes and truncates. What they see is
// always one whole generation: consecutive indexes, payloads that fit, terms that do not fall.
TEST_F(RocksLogTest, ReadersSeeOnlyFinishedWrites) {
  options_.cache_bytes = 10'000;
  options_.write_buffer_bytes = 64 << 10;
  Reopen();
  std::atomic<bool> done = false;
  std::atomic<uint64_t> reads = 0;
  std::vector<std::thread> readers;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    readers.emplace_back([&, seed] {
      SeededRandom random(seed);
      while (!done) {
        const Index first = log_->first_index();
        const Index last = log_->last_index();
        if (last < first) continue;
        const Index low = first + random.Uniform(last - first + 1);
        const auto out = log_->entries(low, std::min(last, low + 50).Next(), 5000);
        if (!out) continue;  // cut or compacted since
        ++reads;
        for (size_t i = 0; i < out->size(); ++i) {
          const raft::Entry& entry = (*out)[i];
          ASSERT_EQ(entry.index, low + i);
          ASSERT_TRUE(i == 0 || entry.term >= (*out)[i - 1].term);
          ASSERT_EQ(entry,
                    MakeEntry(entry.term.value, entry.index.value, std::string(entry.data())));
          ASSERT_TRUE(entry.data().starts_with(std::to_string(entry.term.value) + "/" +
                                               std::to_string(entry.index.value) + "/"));
        }
        (void)log_->term(low);
        (void)log_->stats();
      }
    });
  }
  SeededRandom random(9);
  uint64_t last = 0;
  for (uint64_t i = 1; i <= 400 || reads < 50; ++i) {
    const uint64_t back = random.Uniform(4) == 0 ? random.Uniform(std::min(last, 40ul) + 1) : 0;
    const uint64_t from = std::max(last + 1 - back, log_->first_index().value);
    last = from + random.Uniform(30);
    ASSERT_OK(AppendEntries(log_.get(), MakeEntries(i, from, last, 100)));
    if (i % 20 == 0 && last > 200) ASSERT_OK(log_->TruncatePrefix(Index(last - 200)));
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(log_->last_index(), Index(last));
}

TEST_F(RocksLogTest, InUseIsRefused) {
  EXPECT_EQ(OpenError(path_).code(), Code::kFailedPrecondition);
  EXPECT_EQ(RunSelf("RocksLogChild.DISABLED_IsRefused", {{"LOG_PATH", path_}}), 0);
}

TEST(RocksLogChild, DISABLED_IsRefused) {
  EXPECT_EQ(OpenError(std::getenv("LOG_PATH")).code(), Code::kFailedPrecondition);
}

using RocksLogDeathTest = RocksLogTest;

TEST_F(RocksLogDeathTest, GapsAreProgrammingErrors) {
  ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 5)));
  EXPECT_DEATH((void)AppendEntries(log_.get(), MakeEntries(1, 7, 8)), "continues the log");
  EXPECT_DEATH((void)log_->TruncatePrefix(Index(6)), "entries that are there");
}

}  // namespace
}  // namespace raftkv::storage
