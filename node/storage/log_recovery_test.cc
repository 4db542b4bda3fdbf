// What remains of the log after crashes, damage and errors of the disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <filesystem>

#include "base/random.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"
#include "node/storage/faulty_file_system.h"
#include "node/storage/log_record.h"
#include "node/storage/log_test_util.h"
#include "node/storage/rocks_log.h"

namespace raftkv::storage {
namespace {

using raft::EntryId;
using raft::HardState;
using raft::Index;
using raft::NodeId;
using raft::Term;
using testing::HasSubstr;

// --- SIGKILL at any moment -----------------------------------------------------------------------

// A sequence of writes that depends on nothing but its seed, and what the log must hold after any
// number of them.
class Script {
 public:
  explicit Script(uint64_t seed) : random_(seed) {}

  // Applies the next write to the model, and to the log unless it is null.
  Status Step(LogStorage* log) {
    state.term = std::max(state.term, Term(1));
    const uint64_t choice = random_.Uniform(20);
    if (choice == 0 && !entries.empty()) return Truncate(log);
    if (choice == 1) return Reset(log);
    uint64_t from = compacted.index.value + entries.size() + 1;
    if (choice < 5) {
      ++state.term.value;
      from -= random_.Uniform(entries.size() + 1);
    }
    const auto added =
        MakeEntries(state.term.value, from, from + random_.Uniform(10), random_.Uniform(2000));
    entries.resize(from - compacted.index.value - 1);
    entries.insert(entries.end(), added.begin(), added.end());
    state.commit = std::min(state.commit, Index(from - 1));
    state.vote = NodeId(random_.Uniform(3));
    const LogWrite write{added, state, true};
    return log != nullptr ? log->Append({&write, 1}) : Status::Ok();
  }

  bool Matches(const LogStorage& log) const {
    return log.compacted() == compacted && log.hard_state() == state && ReadAll(log) == entries;
  }

  EntryId compacted;
  HardState state;
  std::vector<raft::Entry> entries;

 private:
  Status Truncate(LogStorage* log) {
    const size_t n = 1 + random_.Uniform(entries.size());
    compacted = entries[n - 1].id();
    entries.erase(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(n));
    return log != nullptr ? log->TruncatePrefix(compacted.index) : Status::Ok();
  }
  Status Reset(LogStorage* log) {
    compacted = {state.term, compacted.index + entries.size() + random_.Uniform(20)};
    state.commit = compacted.index;
    entries.clear();
    return log != nullptr ? log->Reset(compacted, state) : Status::Ok();
  }

  SeededRandom random_;
};

LogOptions SmallBuffers() {
  LogOptions options;
  options.write_buffer_bytes =
      64 << 10;  // so that flushes, recycled logs and compactions take part
  options.cache_bytes = 50'000;
  return options;
}

// Goes on with the script after START steps; one byte into the pipe for each that is durable.
TEST(LogRecoveryChild, DISABLED_Writes) {
  Script script(std::stoull(std::getenv("SEED")));
  for (uint64_t i = std::stoull(std::getenv("START")); i > 0; --i) ASSERT_OK(script.Step(nullptr));
  auto log = OpenRocksLog(std::getenv("LOG_PATH"), SmallBuffers()).value();
  ASSERT_TRUE(script.Matches(*log));
  while (script.Step(log.get()).ok() && ::write(Subprocess::kPipe, "x", 1) == 1) continue;
}

uint64_t CountAcknowledged(int fd, uint64_t enough, bool until_end) {
  uint64_t count = 0;
  char buffer[256];
  while (until_end || count < enough) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    count += static_cast<uint64_t>(n);
  }
  return count;
}

TEST(LogRecovery, NothingAcknowledgedIsLostToSigkill) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    TempDir temp;
    SeededRandom random(seed);
    uint64_t steps = 0;
    for (int round = 0; round < 8; ++round) {
      Subprocess child("LogRecoveryChild.DISABLED_Writes", {{"LOG_PATH", temp / "log"},
                                                            {"SEED", std::to_string(seed)},
                                                            {"START", std::to_string(steps)}});
      const uint64_t wanted = 1 + random.Uniform(150);
      const uint64_t acknowledged = CountAcknowledged(child.pipe(), wanted, false);
      ASSERT_GE(acknowledged, wanted);
      ::usleep(static_cast<useconds_t>(random.Uniform(2000)));  // anywhere within a write
      child.Kill();
      steps += acknowledged + CountAcknowledged(child.pipe(), 0, true);

      auto log = OpenRocksLog(temp / "log", SmallBuffers());
      ASSERT_TRUE(log.has_value()) << log.error().ToString();
      Script script(seed);
      for (uint64_t i = 0; i < steps; ++i) ASSERT_OK(script.Step(nullptr));
      if (script.Matches(**log)) continue;
      // The write that was under way may have made it.
      ASSERT_OK(script.Step(nullptr));
      ++steps;
      ASSERT_TRUE(script.Matches(**log)) << "seed " << seed << " round " << round;
    }
  }
}

// --- Damage --------------------------------------------------------------------------------------

class LogDamageTest : public testing::Test {
 protected:
  // A log in several table files, closed.
  void SetUp() override {
    auto log = OpenRocksLog(path_, SmallBuffers()).value();
    for (uint64_t i = 0; i < 20; ++i) {
      ASSERT_OK(AppendEntries(log.get(), MakeEntries(1, i * 10 + 1, i * 10 + 10, 2000)));
    }
    ASSERT_OK(SetHardState(log.get(), 1, 2, 150));
    entries_ = ReadAll(*log);
    log.reset();
    log = OpenRocksLog(path_, SmallBuffers()).value();  // flushes what the WAL has
  }

  // With RocksDB itself, beside the log's back.
  template <typename Function>
  void Meddle(Function meddle) {
    rocksdb::Options options;
    options.num_levels = 2;  // as the log has; newer versions fill all that there are
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, path_, &raw).ok());
    const std::unique_ptr<rocksdb::DB> db(raw);
    meddle(db.get());
    ASSERT_TRUE(db->Flush(rocksdb::FlushOptions()).ok());
    ASSERT_TRUE(db->Close().ok());
    for (const std::string& wal : FilesWith(path_, ".log")) ::unlink(wal.c_str());
  }
  static std::string Key(uint64_t index, RecordKind kind = RecordKind::kEntry) {
    return std::string(View(KeyOf(Index(index), kind)));
  }
  static std::string Get(rocksdb::DB* db, const std::string& key) {
    std::string value;
    EXPECT_TRUE(db->Get(rocksdb::ReadOptions(), key, &value).ok());
    return value;
  }
  void ExpectCorrupt(const std::string& text) {
    for (int i = 0; i < 2; ++i) {
      const Status error = OpenError(path_);
      EXPECT_EQ(error.code(), Code::kCorruption) << error.ToString();
      EXPECT_THAT(error.message(), HasSubstr(path_));
      EXPECT_THAT(error.message(), HasSubstr(text));
      EXPECT_THAT(error.message(), HasSubstr("remove the data directory"));
    }
  }

  TempDir temp_;
  const std::string path_ = temp_ / "log";
  std::vector<raft::Entry> entries_;
};

TEST_F(LogDamageTest, AFlippedBitInAnyTableFileIsNeverServed) {
  SeededRandom random(6);
  const std::vector<std::string> tables = FilesWith(path_, ".sst");
  ASSERT_GE(tables.size(), 2u);
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    const std::string& table = tables[random.Uniform(tables.size())];
    const std::string good = ReadFile(table).value();
    TempDir copy;
    std::filesystem::copy(path_, copy / "log");
    FlipBit(copy / "log/" + table.substr(path_.size() + 1), random.Uniform(good.size()));
    auto log = OpenRocksLog(copy / "log", {});
    if (log.has_value()) {
      // What was hit carries no entries.
      EXPECT_TRUE(ReadAll(**log) == entries_) << table << " " << (*log)->last_index().value;
    } else {
      EXPECT_EQ(log.error().code(), Code::kCorruption) << log.error().ToString();
      ++refused;
    }
  }
  EXPECT_GT(refused, 40);
}

TEST_F(LogDamageTest, MissingFilesAreRefused) {
  const std::string table = FilesWith(path_, ".sst")[0];
  const std::string bytes = ReadFile(table).value();
  ASSERT_EQ(::unlink(table.c_str()), 0);
  ExpectCorrupt("No such file");
  WriteRaw(table, bytes);
  ASSERT_EQ(::unlink((path_ + "/CURRENT").c_str()), 0);
  ExpectCorrupt("CURRENT");
}

TEST_F(LogDamageTest, AMissingEntryIsRefused) {
  Meddle([](rocksdb::DB* db) { ASSERT_TRUE(db->Delete({}, Key(77)).ok()); });
  ExpectCorrupt("entry 77 is missing");
}

TEST_F(LogDamageTest, AMissingEndBelowTheCommitIndexIsRefused) {
  Meddle([](rocksdb::DB* db) {
    for (uint64_t i = 149; i <= 200; ++i) ASSERT_TRUE(db->Delete({}, Key(i)).ok());
  });
  ExpectCorrupt("it ends at entry 148, but entries up to 150 were committed");
}

TEST_F(LogDamageTest, AnEntryUnderAnotherKeyIsRefused) {
  Meddle([](rocksdb::DB* db) { ASSERT_TRUE(db->Put({}, Key(78), Get(db, Key(77))).ok()); });
  ExpectCorrupt("entry 78 does not match its checksum");
}

TEST_F(LogDamageTest, AFlippedBitInAnEntryIsRefused) {
  Meddle([](rocksdb::DB* db) {
    std::string value = Get(db, Key(200));
    value.back() = static_cast<char>(value.back() ^ 1);
    ASSERT_TRUE(db->Put({}, Key(200), value).ok());
  });
  ExpectCorrupt("entry 200 does not match its checksum");
}

TEST_F(LogDamageTest, ADamagedStateIsRefused) {
  Meddle([](rocksdb::DB* db) {
    const std::string key = Key(200, RecordKind::kState);
    std::string value = Get(db, key);
    value[10] = static_cast<char>(value[10] ^ 1);
    ASSERT_TRUE(db->Put({}, key, value).ok());
  });
  ExpectCorrupt("its state does not match its checksum");
}

TEST_F(LogDamageTest, KeysThatAreNotOursAreRefused) {
  Meddle([](rocksdb::DB* db) { ASSERT_TRUE(db->Put({}, Key(100) + "x", "").ok()); });
  ExpectCorrupt("a key that is none of the log's");
}

TEST_F(LogDamageTest, AnUnknownFormatIsRefusedWithoutBeingCalledDamage) {
  Meddle([](rocksdb::DB* db) {
    const std::string key = Key(200, RecordKind::kState);
    std::string value = Get(db, key);
    SetFixed32(value.data() + 4, kLogFormat + 1);
    SetFixed32(value.data(), Crc32c(std::string_view(value).substr(4), Crc32c(key)));
    ASSERT_TRUE(db->Put({}, key, value).ok());
  });
  const Status error = OpenError(path_);
  EXPECT_EQ(error.code(), Code::kFailedPrecondition);
  EXPECT_THAT(error.message(), HasSubstr("format 3"));
  EXPECT_THAT(error.message(), HasSubstr(path_));
}

// It led with another cluster's entries, and voted as another member had.
TEST_F(LogDamageTest, TheLogOfAnotherMemberIsRefused) {
  LogOptions options;
  options.owner = 0xa1;
  {
    // It has none yet, and gets one with the next state.
    auto log = OpenRocksLog(path_, options).value();
    HardState next = log->hard_state();
    next.term = next.term.Next();
    const LogWrite write{{}, next, true};
    ASSERT_OK(log->Append({&write, 1}));
  }
  EXPECT_TRUE(OpenRocksLog(path_, options).has_value());
  options.owner = 0xb2;
  const auto other = OpenRocksLog(path_, options);
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(other.error().message(), HasSubstr("00000000000000a1"));
  EXPECT_THAT(other.error().message(), HasSubstr(path_));
}

TEST_F(LogDamageTest, ALogWithoutAnOwnerIsRead) {
  Meddle([](rocksdb::DB* db) {
    const std::string key = Key(200, RecordKind::kState);
    std::string value = Get(db, key);
    SetFixed32(value.data() + 4, 1);
    value.resize(value.size() - 8);
    SetFixed32(value.data(), Crc32c(std::string_view(value).substr(4), Crc32c(key)));
    ASSERT_TRUE(db->Put({}, key, value).ok());
  });
  LogOptions options;
  options.owner = 0xa1;
  const auto log = OpenRocksLog(path_, options);
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  EXPECT_EQ((*log)->last_index(), Index(200));
}

using LogDamageDeathTest = LogDamageTest;

TEST_F(LogDamageDeathTest, DamageFoundWhileRunningStopsTheProcess) {
  auto log = OpenRocksLog(path_, SmallBuffers()).value();
  for (const std::string& table : FilesWith(path_, ".sst")) {
    const size_t size = ReadFile(table).value().size();
    for (size_t offset = 1000; offset < size; offset += 1000) FlipBit(table, offset);
  }
  EXPECT_DEATH((void)log->entries(Index(1), Index(50), ~0ull), "raft log");
}

// --- Errors of the disk --------------------------------------------------------------------------

class LogFaultTest : public testing::Test {
 protected:
  void SetUp() override {
    log_ = OpenRocksLogOn(path_, {}, faults_).value();
    ASSERT_OK(AppendEntries(log_.get(), MakeEntries(1, 1, 3)));
  }

  TempDir temp_;
  const std::string path_ = temp_ / "log";
  std::shared_ptr<FaultyFileSystem> faults_ = std::make_shared<FaultyFileSystem>(".log");
  std::unique_ptr<LogStorage> log_;
};

TEST_F(LogFaultTest, AFailedSyncIsReportedAndNeverRetried) {
  faults_->on_sync = rocksdb::IOStatus::IOError("injected");
  const Status error = AppendEntries(log_.get(), MakeEntries(1, 4, 5));
  EXPECT_EQ(error.code(), Code::kIoError);
  EXPECT_THAT(error.message(), HasSubstr(path_));
  EXPECT_EQ(log_->last_index(), Index(3)) << "what is not durable is not there";

  faults_->on_sync = rocksdb::IOStatus::OK();  // as the kernel answers the second time
  const int syncs = faults_->syncs;
  EXPECT_EQ(AppendEntries(log_.get(), MakeEntries(1, 4, 5)), error);
  EXPECT_EQ(log_->TruncatePrefix(Index(2)), error);
  EXPECT_EQ(log_->Reset({Term(2), Index(9)}, {}), error);
  EXPECT_EQ(faults_->syncs, syncs);
  log_.reset();
  auto log = OpenRocksLog(path_, {}).value();
  EXPECT_GE(log->last_index(), Index(3));
}

TEST_F(LogFaultTest, AFullDiskIsCalledSo) {
  faults_->on_append = rocksdb::IOStatus::NoSpace("injected");
  const Status error = AppendEntries(log_.get(), MakeEntries(1, 4, 5));
  EXPECT_EQ(error.code(), Code::kOutOfSpace);
  EXPECT_THAT(error.message(), HasSubstr("free space"));
  EXPECT_EQ(log_->last_index(), Index(3));
  log_.reset();
  faults_->on_append = rocksdb::IOStatus::OK();
  EXPECT_EQ(ReadAll(*OpenRocksLog(path_, {}).value()), MakeEntries(1, 1, 3));
}

// What RocksDB writes in the background fails first: nothing of a later write has been touched
// then, so that it may be repeated.
TEST(LogFullDiskTest, AWriteThatTheFullDiskRefusedBeforeItBeganIsRepeated) {
  TempDir temp;
  const auto faults = std::make_shared<FaultyFileSystem>(".sst");
  const LogOptions options{.write_buffer_bytes = 64 << 10};
  auto log = OpenRocksLogOn(temp / "log", options, faults).value();
  ASSERT_OK(SetHardState(log.get(), 1, 1, 0));
  faults->on_append = rocksdb::IOStatus::NoSpace("injected");
  uint64_t next = 1;
  Status status;
  while (status.ok() && next < 1000) {
    status = AppendEntries(log.get(), MakeEntries(1, next, next, 10'000));
    if (status.ok()) ++next;
  }
  ASSERT_EQ(status.code(), Code::kOutOfSpace);
  EXPECT_EQ(log->last_index(), Index(next - 1));
  EXPECT_EQ(SetHardState(log.get(), 2, 1, 0).code(), Code::kOutOfSpace);
  EXPECT_EQ(log->hard_state().term, Term(1));
  EXPECT_EQ(log->TruncatePrefix(Index(next / 2)).code(), Code::kOutOfSpace);
  EXPECT_EQ(log->first_index(), Index(1));

  faults->on_append = rocksdb::IOStatus::OK();
  ASSERT_OK(log->Resume());
  ASSERT_OK(SetHardState(log.get(), 2, 3, 0));
  ASSERT_OK(AppendEntries(log.get(), MakeEntries(2, next - 1, next + 5, 10'000)));
  const std::vector<raft::Entry> all = ReadAll(*log);
  EXPECT_EQ(all.size(), next + 5);
  EXPECT_EQ(log->hard_state().term, Term(2));
  log.reset();
  const auto again = OpenRocksLog(temp / "log", options).value();
  EXPECT_EQ(ReadAll(*again), all);
  EXPECT_EQ(again->hard_state().vote, raft::NodeId(3));
}

TEST(LogFullDiskTest, SpaceOfTruncatedEntriesIsGivenBackAtOnce) {
  TempDir temp;
  const std::string path = temp / "log";
  const auto log = OpenRocksLog(path, {.write_buffer_bytes = 1 << 20}).value();
  for (uint64_t i = 1; i <= 800; i += 8) {
    ASSERT_OK(AppendEntries(log.get(), MakeEntries(1, i, i + 7, 10'000)));
  }
  ASSERT_OK(log->TruncatePrefix(Index(799)));
  ASSERT_OK(log->GiveBackSpace());
  // The one write-ahead log in use, those that are kept to be used again, and next to nothing.
  EXPECT_LT(log->stats().bytes, 5u << 20);
  EXPECT_LT(log->stats().memtable_bytes, 200'000u);
  EXPECT_EQ(ReadAll(*log), MakeEntries(1, 800, 800, 10'000));
}

}  // namespace
}  // namespace raftkv::storage
