// The walk-throughs of README.md, each in an empty directory.

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/integration/cluster.h"
#include "tests/integration/walkthrough.h"

namespace raftkv::testing {
namespace {

using Json = nlohmann::json;

class ReadmeTest : public ::testing::Test {
 protected:
  void Run(const std::string& name, const std::map<std::string, std::string>& words = {}) {
    const std::string failure = walkthrough_.Run(name, words);
    ASSERT_EQ(failure, "") << walkthrough_.Logs();
  }

  Walkthrough walkthrough_{ReadFileOrEmpty("README.md")};
};

TEST_F(ReadmeTest, RaftexampleSingleNode) { Run("raftexample-single"); }

TEST_F(ReadmeTest, RaftexampleThreeNodesFaultToleranceAndReconfiguration) {
  Run("raftexample-three");
  Run("raftexample-fault-tolerance");
  Run("raftexample-reconfiguration");
}

TEST_F(ReadmeTest, KvstoreSurvivesItsLeader) {
  Run("kvstore-start");
  Run("kvstore-leader-dies");
}

TEST_F(ReadmeTest, RaftTutorial) {
  const std::map<std::string, std::string> words = {{"$TMPDIR", walkthrough_.directory()}};
  Run("raft-single", words);
  Run("raft-cluster", words);
  Run("raft-fault-tolerance", words);
  Run("raft-reconfiguration");
}

// It asked node1, which need not lead, and showed an empty list.
TEST_F(ReadmeTest, TheLifeOfAWriteIsShownByTheLeaderWhoeverThatIs) {
  // Three nodes at the ports of ./dev up.
  const auto at = [&](int port) { return "127.0.0.1:" + std::to_string(walkthrough_.Port(port)); };
  const std::string peers = at(7071) + "," + at(7081) + "," + at(7091);
  std::vector<std::unique_ptr<Process>> nodes;
  const TempDir directory;
  for (int n = 0; n < 3; ++n) {
    const int base = 7070 + 10 * n;
    const std::string name = "node" + std::to_string(n + 1);
    nodes.push_back(std::make_unique<Process>(
        std::vector<std::string>{NodeBinary(), "--name", name, "--data-dir", name,
                                 "--client-listen", at(base), "--peer-listen", at(base + 1),
                                 "--admin-listen", at(base + 2), "--start-mode", "static",
                                 "--start-peers", peers},
        directory.path(), directory.path() + "/log"));
  }
  const auto admin = [&](int n, const std::string& method, const std::string& path,
                         const Json& body = nullptr) {
    return Http(method, walkthrough_.Port(7072 + 10 * n), path, body.is_null() ? "" : body.dump(),
                {{"Content-Type", "application/json"}})
        .body;
  };
  // All members as the leader sees them; 0 of another.
  const auto in_step = [&](int n) {
    const Json raft = Json::parse(admin(n, "GET", "/admin/raft"), nullptr, false);
    int count = 0;
    if (!raft.is_object()) return count;
    for (const Json& peer : raft.at("progress")) count += peer.at("state") == "replicate" ? 1 : 0;
    return count;
  };
  // Each leads once.
  for (int n = 0; n < 3; ++n) {
    ASSERT_TRUE(WaitUntil([&] {
      if (in_step(n) == 3) return true;
      const Json status = Json::parse(admin(n, "GET", "/admin/status"), nullptr, false);
      if (status.is_object()) {
        (void)admin(n, "POST", "/admin/transfer", {{"to", status.value("member_id", "")}});
      }
      return false;
    })) << nodes[0]->Log();
    Run("life-of-a-write");
  }
}

}  // namespace
}  // namespace raftkv::testing
