// What was deleted and compacted leaves the disk.

#include <gtest/gtest.h>

#include <random>

#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

TEST(SpaceTest, EverythingThatIsDeletedAndCompactedLeavesTheDiskWithoutARestart) {
  Cluster cluster(1);
  cluster.StartStatic();
  NodeProcess& node = cluster[0];
  HttpClient client(node.client_port());
  constexpr int kKeys = 400;
  std::mt19937 random(1);
  for (int i = 0; i < kKeys; ++i) {
    std::string value(100'000, '\0');
    for (char& c : value) c = static_cast<char>(random());
    ASSERT_EQ(client.Send("PUT", "/kv/key" + std::to_string(i), value).status, 201);
  }
  ASSERT_TRUE(WaitUntil([&] { return node.Status()->state_bytes() > 30'000'000; }))
      << cluster.Logs();
  std::string revision;
  for (int i = 0; i < kKeys; ++i) {
    const HttpReply reply = client.Send("DELETE", "/kv/key" + std::to_string(i));
    ASSERT_EQ(reply.status, 204);
    revision = reply.headers.at("raftkv-revision");
  }
  ASSERT_EQ(node.Admin("POST", "/admin/compact", R"({"revision":")" + revision + "\"}").status,
            200);
  ASSERT_TRUE(WaitUntil([&] { return node.Status()->state_bytes() < 2'000'000; }))
      << node.Status()->state_bytes() << cluster.Logs();
}

}  // namespace
}  // namespace raftkv::testing
