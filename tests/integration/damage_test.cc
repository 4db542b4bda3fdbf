// Members whose files are damaged: they say so, serve nobody, and are rebuilt from the others if
// the others can spare them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/hex_id.h"
#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

namespace fs = std::filesystem;

class DamageTest : public ::testing::Test {
 protected:
  static constexpr int kKeys = 100;

  void Fill() {
    for (int i = 0; i < kKeys; ++i) {
      const HttpReply put = cluster_[0].Client("PUT", Key(i), std::string(200, 'v'));
      ASSERT_EQ(put.status / 100, 2) << put.body << cluster_.Logs();
    }
    // Also known to those who did not lead.
    for (size_t i = 0; i < cluster_.size(); ++i) {
      ASSERT_TRUE(WaitUntil([&] { return Holds(i); })) << cluster_.Logs();
      ASSERT_TRUE(WaitUntil([&] { return fs::exists(File(i, "members")); })) << cluster_.Logs();
    }
  }
  static std::string Key(int i) { return "/kv/key" + std::to_string(i); }
  bool Holds(size_t i) {
    return cluster_[i]
               .Client("GET", "/kv/?count_only=true&consistency=stale")
               .body.find("\"count\":" + std::to_string(kKeys)) != std::string::npos;
  }

  fs::path File(size_t i, const std::string& name) {
    return fs::path(cluster_[i].data_dir()) / name;
  }
  // The write-ahead log that holds the newest records.
  fs::path LogFile(size_t i) {
    fs::path newest;
    for (const auto& entry : fs::directory_iterator(File(i, "log"))) {
      if (entry.path().extension() == ".log" && entry.path() > newest) newest = entry.path();
    }
    return newest;
  }
  static void Flip(const fs::path& file, size_t at) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(stream.get() ^ 0x40);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte);
    ASSERT_TRUE(stream.good()) << file;
  }
  size_t Follower() { return cluster_.WaitLeader() == 0 ? 1 : 0; }

  bool IsDamaged(size_t i) {
    const auto status = cluster_[i].Status();
    return status && status->role() == v1::StatusResponse::DAMAGED;
  }
  // A new member that votes and has all keys.
  bool IsRebuilt(size_t i, uint64_t old) {
    const auto status = cluster_[i].Status();
    return status && status->member_id() != old &&
           (status->role() == v1::StatusResponse::FOLLOWER ||
            status->role() == v1::StatusResponse::LEADER) &&
           cluster_[i].IsReady() && Holds(i);
  }

  Cluster cluster_{3};
};

TEST_F(DamageTest, MemberWithDamagedFilesIsRebuiltByItself) {
  cluster_.StartStatic();
  Fill();
  for (const std::string what : {"log", "identity", "missing identity"}) {
    const size_t victim = Follower();
    const uint64_t old = cluster_[victim].Status()->member_id();
    cluster_[victim].Kill();
    if (what == "log") {
      Flip(LogFile(victim), 2000);
    } else if (what == "identity") {
      Flip(File(victim, "identity"), 20);
    } else {
      fs::remove(File(victim, "identity"));
    }
    cluster_[victim].Start();
    EXPECT_TRUE(WaitUntil([&] { return IsRebuilt(victim, old); })) << what << cluster_.Logs();
    EXPECT_TRUE(fs::exists(File(victim, "damaged-" + HexId(old)))) << what;
    const auto status = cluster_[victim].Status();
    EXPECT_EQ(status->cluster().conf().voters_size(), 3) << what;
    // From now on a member like any other.
    ASSERT_EQ(cluster_[victim].Stop(), 0);
    cluster_[victim].Start();
    ASSERT_TRUE(Cluster::WaitReady(cluster_[victim])) << what << cluster_.Logs();
    EXPECT_EQ(cluster_[victim].Status()->member_id(), status->member_id()) << what;
    ASSERT_TRUE(WaitUntil([&] { return fs::exists(File(victim, "members")); })) << cluster_.Logs();
  }
}

// Nobody can tell which of the two has what was acknowledged: their data stay where they are.
TEST_F(DamageTest, MajorityThatIsDamagedSaysSoAndKeepsItsData) {
  cluster_.StartStatic();
  Fill();
  for (const size_t i : {1, 2}) cluster_[i].Kill();
  for (const size_t i : {1, 2}) {
    Flip(LogFile(i), 2000);
    cluster_[i].Start();
  }
  for (const size_t i : {1, 2}) {
    ASSERT_TRUE(WaitUntil([&] {
      return IsDamaged(i) && cluster_[i].Status()->warnings_size() == 2;  // asked, and refused
    })) << cluster_.Logs();
    EXPECT_NE(cluster_[i].Status()->warnings(0).find(LogFile(i).filename()), std::string::npos)
        << cluster_[i].Status()->warnings(0);
    EXPECT_EQ(cluster_[i].Admin("GET", "/readyz").status, 503);
    EXPECT_EQ(cluster_[i].Admin("GET", "/livez").status, 200);
    EXPECT_EQ(cluster_[i].Client("GET", Key(1)).status, 503);
    EXPECT_EQ(cluster_[i].Client("GET", Key(1) + "?consistency=stale").status, 503);
    EXPECT_EQ(cluster_[i].Client("PUT", Key(1), "x").status, 503);
    EXPECT_FALSE(fs::exists(File(i, "rebuild")));
  }
  // One file is repaired: now the other can be spared.
  const uint64_t old = cluster_[2].Status()->member_id();
  EXPECT_EQ(cluster_[1].Stop(), 0);
  Flip(LogFile(1), 2000);
  cluster_[1].Start();
  EXPECT_TRUE(Cluster::WaitReady(cluster_[1])) << cluster_.Logs();
  EXPECT_TRUE(WaitUntil([&] { return IsRebuilt(2, old); })) << cluster_.Logs();
}

// What an operator's nodes do: others decide.
TEST_F(DamageTest, MemberThatWaitsForOthersOnlySaysThatItIsDamaged) {
  cluster_.StartStatic();
  Fill();
  const size_t victim = Follower();
  const uint64_t id = cluster_[victim].Status()->member_id();
  cluster_[victim].Kill();
  Flip(LogFile(victim), 2000);
  cluster_[victim].Start({"--start-mode", "wait"});
  ASSERT_TRUE(WaitUntil([&] { return IsDamaged(victim); })) << cluster_.Logs();
  const auto status = cluster_[victim].Status();
  EXPECT_EQ(status->member_id(), id);
  EXPECT_EQ(status->cluster_id(), cluster_[victim == 0 ? 1 : 0].Status()->cluster_id());
  EXPECT_EQ(status->warnings_size(), 1);
  EXPECT_EQ(cluster_[victim].Stop(), 0);
  EXPECT_FALSE(fs::exists(File(victim, "rebuild")));
}

// Every member is asked again and again, and each has an answer of its own.
TEST_F(DamageTest, MemberThatWasRemovedMeanwhileSaysOnceWhyItWaits) {
  cluster_.StartStatic();
  Fill();
  const size_t victim = Follower();
  const std::string id = HexId(cluster_[victim].Status()->member_id());
  cluster_[victim].Kill();
  Flip(LogFile(victim), 2000);
  const size_t other = victim == 0 ? 1 : 0;
  const HttpReply removed =
      cluster_[other].Admin("POST", "/admin/membership", "{\"remove\":[\"" + id + "\"]}");
  ASSERT_EQ(removed.status, 200) << removed.body;
  cluster_[victim].Start();
  const auto said = [&](const std::string& text) {
    const std::string log = cluster_[victim].Log();
    size_t count = 0;
    for (size_t at = log.find(text); at != log.npos; at = log.find(text, at + 1)) ++count;
    return count;
  };
  ASSERT_TRUE(WaitUntil([&] {
    return said("nothing is left to replace") > 0 && said("only the leader replaces") > 0;
  })) << cluster_.Logs();
  std::this_thread::sleep_for(std::chrono::seconds(3));  // each has been asked once more
  EXPECT_EQ(said("waiting to be replaced"), 2u) << cluster_[victim].Log();
}

}  // namespace
}  // namespace raftkv::testing
