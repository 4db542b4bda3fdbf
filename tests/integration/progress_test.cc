// The life of a write, as GET /admin/raft on the leader shows it: a follower that keeps up is
// replicated to, one that is gone is probed, one that missed too much is sent a snapshot.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

TEST(ProgressTest, AFollowerThatMissedTooMuchGetsASnapshot) {
  Cluster cluster(3);
  const std::vector<std::string> flags = {"--start-mode",
                                          "static",
                                          "--start-peers",
                                          cluster.StaticList(),
                                          "--storage-log-keep-entries",
                                          "10",
                                          "--storage-log-keep-bytes",
                                          "64KiB",
                                          "--storage-flush-after-bytes",
                                          "64KiB"};
  for (size_t i = 0; i < 3; ++i) cluster[i].Start(flags);
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(Cluster::WaitReady(cluster[i])) << cluster.Logs();
  const size_t at = cluster.WaitLeader();
  NodeProcess& leader = cluster[at];
  NodeProcess& follower = cluster[(at + 1) % 3];
  follower.Kill();
  const uint64_t last_index = leader.Status()->last_index();
  const std::string value(8 << 10, 'x');
  int written = 0;
  ASSERT_TRUE(WaitUntil([&] {
    const std::string key = "/kv/big" + std::to_string(written++);
    return leader.Client("PUT", key, value).status == 201 &&
           leader.Status()->first_index() > last_index + 1;
  })) << cluster.Logs();

  follower.Start();
  ASSERT_TRUE(WaitUntilCaughtUp(leader, follower.name())) << cluster.Logs();
  const std::string last = "/kv/big" + std::to_string(written - 1) + "?consistency=stale";
  ASSERT_TRUE(WaitUntil([&] { return follower.Client("GET", last).body == value; }))
      << cluster.Logs();
  // Its log begins after what it missed: the rest came as a snapshot.
  EXPECT_GT(follower.Status()->first_index(), last_index + 1);
}

}  // namespace
}  // namespace raftkv::testing
