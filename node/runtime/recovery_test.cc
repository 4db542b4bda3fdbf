// What a member finds at its start: after crashes at every step, and after somebody or something
// took files away.

#include "node/runtime/recovery.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "node/kv/format.h"
#include "node/runtime/test_cluster.h"
#include "node/storage/bytes.h"
#include "node/storage/codec.h"

namespace raftkv::runtime {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<fs::path> Wals(const TestNode& node) {
  std::vector<fs::path> wals;
  for (const auto& entry : fs::directory_iterator(node.options().data_dir + "/log")) {
    if (entry.path().extension() == ".log") wals.push_back(entry.path());
  }
  return wals;
}

void PutMany(TestCluster& cluster, TestNode& node, int count) {
  for (int i = 0; i < count; ++i) {
    (void)node.Put("key" + std::to_string(i), std::string(100, 'x'));
    cluster.Settle();
  }
}

TestNode& Follower(TestCluster& cluster) {
  for (const char* name : {"n1", "n2", "n3"}) {
    if (!cluster.node(name).replica().is_leader()) return cluster.node(name);
  }
  CHECK(false, "no follower");
  return cluster.node("n1");
}

// --- Lost logs -----------------------------------------------------------------------------------

// A follower whose state is flushed, and whose log is then damaged while it is down: it would vote
// without knowing what it acknowledged and whom it had voted for.
void ExpectRefused(const std::function<void(TestNode&)>& damage) {
  TestCluster cluster;
  cluster.StartStatic(3);
  PutMany(cluster, *cluster.Leader(), 60);
  cluster.Run(3);
  TestNode& node = Follower(cluster);
  bool flushed = false;
  node.replica().TakeSnapshot(cluster.clock().Now() + seconds(5),
                              [&](const auto& made) { flushed = made.has_value(); });
  cluster.Settle();
  ASSERT_TRUE(flushed);
  node.Crash();
  damage(node);
  const Status status = node.TryBoot();
  EXPECT_EQ(status.code(), Code::kCorruption) << status.ToString();
  EXPECT_NE(status.message().find(node.options().data_dir), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("emove the data directory"), std::string::npos)
      << status.message();
  // Nor at the next attempt.
  EXPECT_EQ(node.TryBoot().code(), Code::kCorruption);
}

TEST(LostLog, DirectoryRemoved) {
  ExpectRefused([](TestNode& node) { fs::remove_all(node.options().data_dir + "/log"); });
}

TEST(LostLog, DirectoryEmptied) {
  ExpectRefused([](TestNode& node) {
    fs::remove_all(node.options().data_dir + "/log");
    fs::create_directory(node.options().data_dir + "/log");
  });
}

TEST(LostLog, WriteAheadLogRemoved) {
  ExpectRefused([](TestNode& node) {
    for (const fs::path& wal : Wals(node)) fs::remove(wal);
  });
}

TEST(LostLog, WriteAheadLogCutToNothing) {
  ExpectRefused([](TestNode& node) {
    for (const fs::path& wal : Wals(node)) fs::resize_file(wal, 0);
  });
}

TEST(LostLog, WriteAheadLogCutToHalf) {
  ExpectRefused([](TestNode& node) {
    for (const fs::path& wal : Wals(node)) {
      const std::string bytes = ReadFile(wal);
      const size_t last = bytes.find_last_not_of('\0');
      fs::resize_file(wal, last == std::string::npos ? 0 : last / 2);
    }
  });
}

// What the acknowledgement rested on is gone from both, so that a majority would forget it.
TEST(LostLog, NoMajorityIsMadeOfMembersThatForgot) {
  TestCluster cluster;
  cluster.StartStatic(3);
  auto put = cluster.Leader()->Put("k", "v");
  cluster.Settle();
  ASSERT_TRUE(put->has_value() && (*put)->has_value());
  TestNode& node = Follower(cluster);
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Crash();
  fs::remove_all(node.options().data_dir + "/log");
  EXPECT_EQ(node.TryBoot().code(), Code::kCorruption);
}

// --- Crashes while a snapshot is installed -------------------------------------------------------

void KeepLittle(Options& options) {
  options.log_keep_entries = 10;
  options.flush_after_bytes = 1000;
}

// Runs until `node` has received a snapshot and installs it next.
bool RunToInstallation(TestCluster& cluster, TestNode& node) {
  for (int tick = 0; tick < 100; ++tick) {
    cluster.clock().Advance(std::chrono::milliseconds(100));
    for (const char* name : {"n1", "n2", "n3"}) cluster.node(name).Tick();
    for (bool moved = true; moved;) {
      moved = false;
      for (const char* name : {"n1", "n2", "n3"}) {
        if (node.installation_queued()) return true;
        moved = cluster.node(name).Work() || moved;
        if (node.installation_queued()) return true;
      }
      moved = cluster.DeliverOne() || moved;
    }
  }
  return node.installation_queued();
}

bool Marked(const TestNode& node) {
  const std::string active = ReadFile(node.options().data_dir + "/state/ACTIVE");
  return active.find("installing") != std::string::npos;
}

TEST(Installation, ACrashAtAnyStepIsMended) {
  for (int step = 0; step <= 3; ++step) {
    SCOPED_TRACE(step);
    TestCluster cluster;
    cluster.StartStatic(3, KeepLittle);
    TestNode& leader = *cluster.Leader();
    TestNode& node = Follower(cluster);
    cluster.Isolate(node.options().name);
    PutMany(cluster, leader, 500);
    cluster.Run(20);
    cluster.Heal();
    ASSERT_TRUE(RunToInstallation(cluster, node));
    if (step >= 1) node.WorkApply();   // the state is replaced
    if (step >= 2) node.RunPosted();   // the raft thread hears of it
    if (step >= 2) node.WorkAppend();  // the log is reset
    if (step >= 3) node.WorkApply();   // the mark is taken away
    EXPECT_EQ(Marked(node), step == 1 || step == 2);
    node.Crash();
    ASSERT_EQ(node.TryBoot().ToString(), Status::Ok().ToString());
    EXPECT_FALSE(Marked(node));
    EXPECT_EQ(ValueAt(node, "key299") != "<none>", step >= 1);
    ASSERT_TRUE(cluster.Run(100, [&] { return cluster.Leader() != nullptr; }));
    (void)cluster.Leader()->Put("after", "1");
    EXPECT_TRUE(cluster.Run(200, [&] { return ValueAt(node, "after") == "1"; }));
  }
}

// The old leader's log reached beyond the snapshot, with entries that never committed: by its
// length alone it seemed to fit the new state.
TEST(Installation, CrashBetweenStateAndLogOfAMemberWithALongerLog) {
  TestCluster cluster;
  cluster.StartStatic(3, KeepLittle);
  TestNode& old = *cluster.Leader();
  cluster.Isolate(old.options().name);
  for (int i = 0; i < 800; ++i) (void)old.Put("lost" + std::to_string(i), "x");
  cluster.Settle();
  ASSERT_TRUE(cluster.Run(100, [&] {
    return cluster.Leader() != nullptr && cluster.Leader() != &old && !old.replica().is_leader();
  }));
  TestNode& leader = *cluster.Leader();
  PutMany(cluster, leader, 500);
  cluster.Run(20);
  ASSERT_GT(leader.replica().core()->first_index(), raft::Index(300));
  ASSERT_GT(old.replica().core()->last_index(), leader.replica().core()->last_index());
  cluster.Heal();
  ASSERT_TRUE(RunToInstallation(cluster, old));
  old.WorkApply();
  old.Crash();
  ASSERT_EQ(old.TryBoot().ToString(), Status::Ok().ToString());
  (void)leader.Put("after", "1");
  EXPECT_TRUE(cluster.Run(300, [&] { return ValueAt(old, "after") == "1"; }));
  EXPECT_EQ(ValueAt(old, "lost1"), "<none>");
}

// The mark allows to repeat the reset of a log that is there, not to make a new one.
TEST(Installation, ALostLogIsRefusedAlsoWithTheMark) {
  TestCluster cluster;
  cluster.StartStatic(3, KeepLittle);
  TestNode& leader = *cluster.Leader();
  TestNode& node = Follower(cluster);
  cluster.Isolate(node.options().name);
  PutMany(cluster, leader, 500);
  cluster.Run(20);
  cluster.Heal();
  ASSERT_TRUE(RunToInstallation(cluster, node));
  node.WorkApply();
  ASSERT_TRUE(Marked(node));
  node.Crash();
  fs::remove_all(node.options().data_dir + "/log");
  EXPECT_EQ(node.TryBoot().code(), Code::kCorruption);
}

// --- Crashes while a node becomes a member -------------------------------------------------------

// The data directory right before and right after the identity is written, which is the one step
// that counts.
void KeepCopies(TestNode& node) {
  node.OnSetIdentity([&node](bool after) {
    storage::CopyAtRest(node.options().data_dir,
                        node.options().data_dir + (after ? ".after" : ".before"));
  });
}

void RestartFrom(TestNode& node, const std::string& copy) {
  node.OnSetIdentity({});
  node.Crash();
  fs::remove_all(node.options().data_dir);
  fs::rename(node.options().data_dir + copy, node.options().data_dir);
  ASSERT_EQ(node.TryBoot().ToString(), Status::Ok().ToString());
}

TEST(BecomingAMember, ACrashWhileInitializingIsMended) {
  for (const std::string copy : {".before", ".after"}) {
    SCOPED_TRACE(copy);
    TestCluster cluster;
    TestNode& node = cluster.Add("n1");
    KeepCopies(node);
    node.replica().Initialize({}, [](const auto& done) { ASSERT_TRUE(done.has_value()); });
    RestartFrom(node, copy);
    EXPECT_EQ(node.replica().blank(), copy == ".before");
    if (copy == ".before") {
      node.replica().Initialize({}, [](const auto& done) { ASSERT_TRUE(done.has_value()); });
    }
    ASSERT_TRUE(cluster.Run(50, [&] { return node.replica().is_leader(); }));
    auto put = node.Put("k", "v");
    cluster.Settle();
    EXPECT_TRUE(put->has_value() && (*put)->has_value());
  }
}

TEST(BecomingAMember, ACrashWhileJoiningIsMended) {
  for (const std::string copy : {".before", ".after"}) {
    SCOPED_TRACE(copy);
    TestCluster cluster;
    TestNode& first = cluster.Add("n1", {Bootstrap::Mode::kSingle, {}});
    ASSERT_TRUE(cluster.Run(50, [&] { return first.replica().is_leader(); }));
    (void)first.Put("k", "v");
    TestNode& joiner = cluster.Add("n2", {Bootstrap::Mode::kJoin, {"n1:1"}});
    KeepCopies(joiner);
    ASSERT_TRUE(cluster.Run(50, [&] { return !joiner.replica().blank(); }));
    RestartFrom(joiner, copy);
    EXPECT_EQ(joiner.replica().blank(), copy == ".before");
    ASSERT_TRUE(
        cluster.Run(300, [&] { return first.machine().cluster()->conf().voters_size() == 2; }));
    cluster.Run(10);
    EXPECT_EQ(ValueAt(joiner, "k"), "v");
  }
}

// It stayed blank, and called what it had begun itself another cluster, until somebody started it
// again.
TEST(BecomingAMemberDeathTest, AFailedDiskWhileInitializingEndsTheNode) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        TestCluster cluster;
        TestNode& node = cluster.Add("n1");
        fs::create_directory(node.options().data_dir + "/identity.tmp");
        node.replica().Initialize({}, [](const auto&) {});
      },
      "fatal: .*identity");
}

// --- Data of other programs ----------------------------------------------------------------------

void WriteStateFormat(const TestNode& node, uint32_t format) {
  auto store = storage::OpenRocksState(node.options().data_dir + "/state", {});
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  const auto batch = (*store)->NewBatch();
  batch->Put(kv::kFormatKey, kv::EncodeFormat(format));
  ASSERT_TRUE((*store)->Write(*batch).ok());
  ASSERT_TRUE((*store)->Flush().ok());
}

// What the first program wrote: states without an owner.
void MakeLogOfFormat1(const TestNode& node) {
  rocksdb::DB* opened = nullptr;
  ASSERT_TRUE(
      rocksdb::DB::Open(rocksdb::Options(), node.options().data_dir + "/log", &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
  int states = 0;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const std::string key = it->key().ToString();
    if (key[8] != 1) continue;
    ++states;
    std::string value = it->value().ToString();
    value.resize(48);
    storage::SetFixed32(value.data() + 4, 1);
    storage::SetFixed32(value.data(),
                        storage::Crc32c(std::string_view(value).substr(4), storage::Crc32c(key)));
    ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), key, value).ok());
  }
  ASSERT_GT(states, 0);
  ASSERT_TRUE(db->Flush(rocksdb::FlushOptions()).ok());
}

TEST(OtherPrograms, AStateOfAnotherFormatIsRefusedAndLeftAsItIs) {
  TestCluster cluster;
  cluster.StartStatic(3);
  PutMany(cluster, *cluster.Leader(), 20);
  TestNode& node = Follower(cluster);
  node.Crash();
  for (const uint32_t format : {1u, 2u, kv::kStateFormat + 1}) {
    WriteStateFormat(node, format);
    const Status status = node.TryBoot();
    // Not kCorruption, for which it would give its data up.
    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << status.ToString();
    EXPECT_NE(status.message().find("format " + std::to_string(format)), std::string::npos)
        << status.message();
  }
  WriteStateFormat(node, kv::kStateFormat);
  node.Boot();
  PutMany(cluster, *cluster.Leader(), 1);
  EXPECT_TRUE(cluster.Run(50, [&] {
    return node.machine().applied().index == cluster.Leader()->machine().applied().index;
  }));
}

TEST(OtherPrograms, AMemberGoesOnWithALogOfTheFirstFormat) {
  TestCluster cluster;
  cluster.StartStatic(3);
  PutMany(cluster, *cluster.Leader(), 20);
  TestNode& node = Follower(cluster);
  node.Crash();
  MakeLogOfFormat1(node);
  node.Boot();
  PutMany(cluster, *cluster.Leader(), 5);
  EXPECT_TRUE(cluster.Run(50, [&] {
    return node.machine().applied().index == cluster.Leader()->machine().applied().index;
  }));
  node.Crash();
  node.Boot();
}

}  // namespace
}  // namespace raftkv::runtime
