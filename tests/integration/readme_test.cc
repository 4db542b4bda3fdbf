// The walk-throughs of README.md, each in an empty directory.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/walkthrough.h"

namespace raftkv::testing {
namespace {

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

}  // namespace
}  // namespace raftkv::testing
