// docs/metrics.md against what a cluster of real nodes exports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "base/hex_id.h"
#include "tests/integration/cluster.h"

namespace raftkv::testing {
namespace {

struct Metric {
  std::string type;
  std::set<std::string> labels;
  bool operator==(const Metric&) const = default;
};
using Metrics = std::map<std::string, Metric>;

void PrintTo(const Metric& metric, std::ostream* out) {
  *out << metric.type << " {";
  for (const std::string& label : metric.labels) *out << label << " ";
  *out << "}";
}

std::vector<std::smatch> FindAll(const std::string& text, const std::regex& pattern) {
  return {std::sregex_iterator(text.begin(), text.end(), pattern), std::sregex_iterator()};
}

// | `name` | type | `label`, `label` | meaning | when to worry |
Metrics Documented() {
  static const std::regex kRow(R"(\| `(\w+)` \| (\w+) \| ([^|]*)\| [^|]*\S[^|]* \|[^|]*\|)");
  static const std::regex kLabel("`(\\w+)`");
  std::ifstream file("docs/metrics.md");
  EXPECT_TRUE(file) << "run this test in the root of the repository";
  Metrics metrics;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) {
      ADD_FAILURE() << "not a row of five cells: " << line;
      continue;
    }
    Metric metric{row[2], {}};
    const std::string labels = row[3];
    for (const std::smatch& label : FindAll(labels, kLabel)) metric.labels.insert(label[1]);
    EXPECT_TRUE(metrics.emplace(row[1], metric).second) << row[1] << " has two rows";
  }
  return metrics;
}

// Adds what one node exports. Every label's value is put into `values`.
void AddExported(const std::string& text, Metrics* metrics, std::set<std::string>* values) {
  static const std::regex kType("# TYPE (\\w+) (\\w+)");
  static const std::regex kSample("(\\w+)(?:\\{(.*)\\})? \\S+");
  static const std::regex kPair("(\\w+)=\"([^\"]*)\"");
  std::istringstream lines(text);
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, kType)) {
      family = match[1];
      (*metrics)[family].type = match[2];
    } else if (!line.starts_with("#")) {
      ASSERT_TRUE(std::regex_match(line, match, kSample)) << line;
      ASSERT_TRUE(match[1].str().starts_with(family)) << line;
      const std::string labels = match[2];
      for (const std::smatch& pair : FindAll(labels, kPair)) {
        if (pair[1] == "le") continue;  // a histogram's bounds
        (*metrics)[family].labels.insert(pair[1]);
        values->insert(pair[2]);
      }
    }
  }
}

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() : cluster_(3) {}
  void SetUp() override { cluster_.StartStatic(); }

  // The value of a series without labels.
  static double Value(const NodeProcess& node, const std::string& name) {
    const std::string text = node.Admin("GET", "/metrics").body;
    std::smatch match;
    const std::regex line("(?:^|\\n)" + name + " (\\S+)");
    return std::regex_search(text, match, line) ? std::stod(match[1]) : -1;
  }

  Cluster cluster_;
};

TEST_F(MetricsTest, EveryMetricHasARowAndEveryRowAMetric) {
  const std::string key = "a-key-that-nobody-may-see";
  ASSERT_EQ(cluster_[0].Client("PUT", "/kv/" + key, "a-value-that-nobody-may-see").status, 201);
  ASSERT_EQ(cluster_[1].Client("GET", "/kv/" + key).status, 200);
  ASSERT_EQ(cluster_[1].Client("GET", "/kv/?prefix=" + key).status, 200);
  ASSERT_EQ(cluster_[2].Client("DELETE", "/kv/" + key).status, 204);
  Metrics exported;
  std::set<std::string> values;
  // Of some only the leader has series, and streams to peers take a moment.
  cluster_.WaitLeader();
  WaitUntil([&] {
    for (size_t i = 0; i < cluster_.size(); ++i) {
      AddExported(cluster_[i].Admin("GET", "/metrics").body, &exported, &values);
    }
    return exported.contains("raftkv_server_follower_lag_entries");
  });
  EXPECT_EQ(exported, Documented());
  // Members' ids, routes, listeners, statuses, the version.
  static const std::regex kHarmless(
      "[0-9a-f]{16}|[a-z_]+|[0-9]{3}|[0-9]+(\\.[0-9]+){2}[-~+.0-9a-z]*");
  for (const std::string& value : values) {
    EXPECT_TRUE(std::regex_match(value, kHarmless)) << value << ": what is in this label?";
    EXPECT_EQ(value.find("127.0.0.1"), std::string::npos);
  }
}

TEST_F(MetricsTest, WhatClientsDoIsCounted) {
  const size_t leader = cluster_.WaitLeader();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(cluster_[leader].Client("PUT", "/kv/k" + std::to_string(i), "v").status, 201);
  }
  ASSERT_EQ(cluster_[leader].Client("DELETE", "/kv/k0").status, 204);
  ASSERT_EQ(cluster_[leader].Client("GET", "/kv/k1").status, 200);
  ASSERT_EQ(cluster_[leader].Admin("POST", "/admin/snapshot").status, 200);
  for (size_t i = 0; i < cluster_.size(); ++i) {
    EXPECT_TRUE(WaitUntil([&] {
      return Value(cluster_[i], "raftkv_mvcc_put_total") == 3 &&
             Value(cluster_[i], "raftkv_mvcc_delete_total") == 1;
    })) << i;
  }
  EXPECT_TRUE(WaitUntil([&] {
    return Value(cluster_[leader], "raftkv_server_propose_commit_duration_seconds_count") >= 4 &&
           Value(cluster_[leader], "raftkv_server_apply_duration_seconds_count") >= 4 &&
           // The snapshot has written what was gathered.
           Value(cluster_[leader], "raftkv_disk_backend_commit_duration_seconds_count") >= 1 &&
           Value(cluster_[leader], "raftkv_disk_backend_snapshot_duration_seconds_count") >= 1;
  }));
  EXPECT_EQ(Value(cluster_[leader], "raftkv_mvcc_range_total"), 1);
  EXPECT_GE(Value(cluster_[leader], "raftkv_server_health_success_total"), 1);
}

TEST_F(MetricsTest, HeartbeatsThatCannotBeSentAreCounted) {
  const size_t leader = cluster_.WaitLeader();
  cluster_[(leader + 1) % 3].Kill();
  EXPECT_TRUE(WaitUntil(
      [&] { return Value(cluster_[leader], "raftkv_server_heartbeat_send_failures_total") > 0; }));
}

// A former leader went on to report how far others were when it led, and an alert with it.
TEST_F(MetricsTest, OnlyTheLeaderReportsLags) {
  const auto has_lags = [&](size_t node) {
    return cluster_[node]
               .Admin("GET", "/metrics")
               .body.find("raftkv_server_follower_lag_entries{") != std::string::npos;
  };
  const size_t former = cluster_.WaitLeader();
  ASSERT_TRUE(WaitUntil([&] { return has_lags(former); }));
  const size_t next = (former + 1) % 3;
  const std::string id = HexId(cluster_[next].Status()->member_id());
  ASSERT_EQ(cluster_[former].Admin("POST", "/admin/transfer", R"({"to":")" + id + R"("})").status,
            200);
  EXPECT_TRUE(WaitUntil([&] { return has_lags(next) && !has_lags(former); }));
}

// The others went on to report a cut connection to a member that was removed.
TEST_F(MetricsTest, ARemovedMemberLeavesNoSeries) {
  const size_t leader = cluster_.WaitLeader();
  const size_t removed = (leader + 1) % 3;
  const size_t stays = (leader + 2) % 3;
  const std::string id = HexId(cluster_[removed].Status()->member_id());
  const auto named = [&](size_t node) {
    return cluster_[node].Admin("GET", "/metrics").body.find("{To=\"" + id + "\"}") !=
           std::string::npos;
  };
  ASSERT_TRUE(WaitUntil([&] { return named(leader) && named(stays); }));
  ASSERT_EQ(
      cluster_[leader].Admin("POST", "/admin/membership", R"({"remove":[")" + id + R"("]})").status,
      200);
  EXPECT_TRUE(WaitUntil([&] { return !named(leader) && !named(stays); }));
}

}  // namespace
}  // namespace raftkv::testing
