// The life of a write, as GET /admin/raft on the leader shows it: a follower that keeps up is
// replicated to, one that is gone is probed, one that missed too much is sent a snapshot.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

using Json = nlohmann::json;

// What the leader knows of the member called `name`; null while nobody knows.
Json ProgressOf(const NodeProcess& leader, const std::string& name) {
  const Json body = Json::parse(leader.Admin("GET", "/admin/raft").body, nullptr, false);
  if (!body.is_object() || !body.contains("progress")) return nullptr;
  for (const Json& peer : body["progress"]) {
    if (peer.at("name") == name) return peer;
  }
  return nullptr;
}

bool WaitForState(const NodeProcess& leader, const std::string& name, const std::string& state) {
  return WaitUntil([&] {
    const Json progress = ProgressOf(leader, name);
    return progress.is_object() && progress.at("state") == state;
  });
}

bool WaitUntilCaughtUp(const NodeProcess& leader, const std::string& name) {
  return WaitUntil([&] {
    const Json progress = ProgressOf(leader, name);
    return progress.is_object() && progress.at("state") == "replicate" && progress.at("lag") == 0;
  });
}

TEST(ProgressTest, AFollowerIsReplicatedToThenProbedThenReplicatedToAgain) {
  Cluster cluster(3);
  cluster.StartStatic();
  const size_t at = cluster.WaitLeader();
  NodeProcess& leader = cluster[at];
  NodeProcess& follower = cluster[(at + 1) % 3];
  ASSERT_EQ(leader.Client("PUT", "/kv/a", "1").status, 201);
  ASSERT_TRUE(WaitUntilCaughtUp(leader, follower.name())) << cluster.Logs();

  follower.Kill();
  ASSERT_EQ(leader.Client("PUT", "/kv/b", "2").status, 201);
  ASSERT_TRUE(WaitForState(leader, follower.name(), "probe")) << cluster.Logs();
  EXPECT_GT(ProgressOf(leader, follower.name()).at("lag"), 0);

  follower.Start();
  ASSERT_TRUE(WaitUntilCaughtUp(leader, follower.name())) << cluster.Logs();
}

// Appends to a follower that is replicated to leave before the answer to the one before.
TEST(ProgressTest, WhatIsOnTheWayToAFollowerIsCounted) {
  Cluster cluster(3);
  cluster.StartStatic();
  const size_t at = cluster.WaitLeader();
  NodeProcess& leader = cluster[at];
  NodeProcess& follower = cluster[(at + 1) % 3];
  // Repeated if the leader was so slow to look that it takes the follower for gone.
  ASSERT_TRUE(WaitUntil([&] {
    if (!WaitUntilCaughtUp(leader, follower.name())) return false;
    follower.Pause();
    bool counted = true;
    for (int n = 0; n < 3; ++n) counted &= leader.Client("PUT", "/kv/a", "1").status / 100 == 2;
    const Json progress = ProgressOf(leader, follower.name());
    follower.Resume();
    return counted && progress.is_object() && progress.at("state") == "replicate" &&
           progress.at("inflight_messages") > 1 && progress.at("inflight_bytes") > 0 &&
           progress.at("lag") > 0;
  })) << cluster.Logs();
  ASSERT_TRUE(WaitUntilCaughtUp(leader, follower.name())) << cluster.Logs();
}

std::string Noise(size_t size, unsigned seed) {  // does not compress
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST(ProgressTest, AFollowerThatMissedTooMuchIsSentASnapshot) {
  Cluster cluster(3);
  const std::vector<std::string> flags = {
      "--start-mode", "static", "--start-peers", cluster.StaticList(), "--storage-log-keep-entries",
      "10", "--storage-log-keep-bytes", "64KiB", "--storage-flush-after-bytes", "64KiB",
      // It takes some seconds.
      "--limits-snapshot-bytes-per-second", "128KiB"};
  for (size_t i = 0; i < 3; ++i) cluster[i].Start(flags);
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
  const size_t at = cluster.WaitLeader();
  NodeProcess& leader = cluster[at];
  NodeProcess& follower = cluster[(at + 1) % 3];
  follower.Kill();
  const uint64_t last_index = leader.Status()->last_index();
  unsigned written = 0;
  std::string value;
  ASSERT_TRUE(WaitUntil([&] {
    value = Noise(8 << 10, written);
    const std::string key = "/kv/big" + std::to_string(written++);
    return leader.Client("PUT", key, value).status == 201 && written >= 80 &&
           leader.Status()->first_index() > last_index + 1;
  })) << cluster.Logs();

  follower.Start();
  ASSERT_TRUE(WaitForState(leader, follower.name(), "snapshot")) << cluster.Logs();
  const Json sent = ProgressOf(leader, follower.name());
  ASSERT_EQ(sent.at("state"), "snapshot");
  // Appends wait for it; what comes after it is in the leader's log.
  EXPECT_GT(sent.at("pending_snapshot"), last_index);
  EXPECT_EQ(sent.at("next"), sent.at("pending_snapshot").get<uint64_t>() + 1);
  EXPECT_EQ(sent.at("inflight_messages"), 0);
  EXPECT_TRUE(sent.at("paused"));
  EXPECT_GT(sent.at("lag"), 0);
  ASSERT_TRUE(WaitUntilCaughtUp(leader, follower.name())) << cluster.Logs();
  EXPECT_EQ(ProgressOf(leader, follower.name()).at("pending_snapshot"), 0);
  const std::string last = "/kv/big" + std::to_string(written - 1) + "?consistency=stale";
  ASSERT_TRUE(WaitUntil([&] { return follower.Client("GET", last).body == value; }))
      << cluster.Logs();
  // Its log begins after what it missed: the rest came as a snapshot.
  EXPECT_GT(follower.Status()->first_index(), last_index + 1);
}

}  // namespace
}  // namespace raftkv::testing
