// POST /txn on a cluster of real nodes: any node takes it, and all of it happens or nothing.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

using Json = nlohmann::json;

HttpReply Txn(const NodeProcess& node, const std::string& body) {
  return node.Client("POST", "/txn", body, {{"Content-Type", "application/json"}});
}

TEST(TxnTest, EveryNodeTakesTransactions) {
  Cluster cluster(3);
  cluster.StartStatic();
  for (size_t i = 0; i < 3; ++i) {
    // Each node moves the counter on from what the one before left.
    const std::string before = std::to_string(i), after = std::to_string(i + 1);
    const std::string compare = i == 0 ? R"({"key":"counter","version":0})"
                                       : R"({"key":"counter","value":")" + before + "\"}";
    const std::string body = R"({"compare":[)" + compare +
                             R"(],"success":[{"put":{"key":"counter",)" + R"("value":")" + after +
                             R"("}},{"put":{"key":"log/)" + after +
                             R"(","value":"x"}}],"failure":[{"get":{"key":"counter"}}]})";
    const HttpReply reply = Txn(cluster[i], body);
    ASSERT_EQ(reply.status, 200) << reply.body << cluster.Logs();
    EXPECT_EQ(Json::parse(reply.body)["succeeded"], true);
    // A second time it does not hold, and shows what is there.
    const Json again = Json::parse(Txn(cluster[(i + 1) % 3], body).body);
    EXPECT_EQ(again["succeeded"], false);
    EXPECT_EQ(again["gets"][0]["value"], after);
  }
  const Json page = Json::parse(cluster[0].Client("GET", "/kv/?prefix=log/").body);
  EXPECT_EQ(page["items"].size(), 3u);
  EXPECT_EQ(cluster[1].Client("GET", "/kv/counter").body, "3");
}

// Transfers between accounts through all nodes at once: nothing is lost or made.
TEST(TxnTest, ConcurrentTransfersKeepTheSum) {
  Cluster cluster(3);
  cluster.StartStatic();
  ASSERT_EQ(Txn(cluster[0], R"({"success":[{"put":{"key":"from","value":"60"}},
                                           {"put":{"key":"to","value":"0"}}]})")
                .status,
            200);
  const auto transfer = [&](size_t node) {
    for (int done = 0; done < 20;) {
      const Json now = Json::parse(
          Txn(cluster[node], R"({"success":[{"get":{"key":"from"}},{"get":{"key":"to"}}]})").body);
      std::string compare, put;
      for (int i = 0; i < 2; ++i) {
        const Json& item = now["gets"][static_cast<size_t>(i)];
        const int value = std::stoi(item["value"].get<std::string>()) + (i == 0 ? -1 : 1);
        const std::string key = item["key"].dump(), comma = i == 0 ? "" : ",";
        compare +=
            comma + R"({"key":)" + key + R"(,"mod_revision":)" + item["mod_revision"].dump() + "}";
        put += comma + R"({"put":{"key":)" + key + R"(,"value":")" + std::to_string(value) + "\"}}";
      }
      const HttpReply reply =
          Txn(cluster[node], R"({"compare":[)" + compare + R"(],"success":[)" + put + "]}");
      ASSERT_EQ(reply.status, 200) << reply.body;
      if (Json::parse(reply.body)["succeeded"] == true) ++done;
    }
  };
  std::vector<std::jthread> clients;
  for (size_t node = 0; node < 3; ++node) clients.emplace_back(transfer, node);
  clients.clear();
  EXPECT_EQ(cluster[2].Client("GET", "/kv/from").body, "0");
  EXPECT_EQ(cluster[2].Client("GET", "/kv/to").body, "60");
}

TEST(TxnTest, WithoutAMajorityItIsRefused) {
  Cluster cluster(3);
  cluster.StartStatic();
  cluster[0].Kill();
  cluster[1].Kill();
  ASSERT_TRUE(WaitUntil([&] {
    const auto status = cluster[2].Status();
    return status && status->leader() == 0;
  }));
  const HttpReply reply = Txn(cluster[2], R"({"success":[{"put":{"key":"k","value":"v"}}]})");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.headers.at("content-type"), "application/problem+json");
}

}  // namespace
}  // namespace raftkv::testing
