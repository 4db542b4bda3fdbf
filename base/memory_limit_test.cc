#include "base/memory_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace raftkv {
namespace {

class MemoryLimitTest : public testing::Test {
 protected:
  MemoryLimitTest() { Write("/proc/meminfo", "MemTotal:       16000 kB\nMemFree:        1 kB\n"); }
  ~MemoryLimitTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + file).parent_path());
    std::ofstream(root_ + file) << text;
  }

  const std::string root_ = testing::TempDir() + "raftkv-memory-limit-" + std::to_string(getpid());
};

TEST_F(MemoryLimitTest, IsTheMachinesWithoutControlGroups) {
  EXPECT_EQ(MemoryLimit(root_), 16000u << 10);
}

TEST_F(MemoryLimitTest, IsTheLeastOfTheGroupAndThoseAbove) {
  Write("/proc/self/cgroup", "0::/kube/pod/node\n");
  Write("/sys/fs/cgroup/kube/pod/node/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(root_), 16000u << 10);
  Write("/sys/fs/cgroup/kube/pod/memory.max", "4096000\n");
  Write("/sys/fs/cgroup/kube/memory.max", "8192000\n");
  EXPECT_EQ(MemoryLimit(root_), 4096000u);
  Write("/sys/fs/cgroup/kube/pod/node/memory.max", "1024000\n");
  EXPECT_EQ(MemoryLimit(root_), 1024000u);
}

TEST_F(MemoryLimitTest, KnowsVersionOne) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/docker/1\n");
  Write("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "2048000\n");
  EXPECT_EQ(MemoryLimit(root_), 2048000u);
  // What version 1 says if there is no limit.
  Write("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(MemoryLimit(root_), 16000u << 10);
}

// A container sees its own group as the mount, and in /proc the path that it has on the host.
TEST_F(MemoryLimitTest, FindsTheGroupOfAContainer) {
  Write("/proc/self/cgroup", "0::/kubepods/burstable/pod1/2\n");
  Write("/sys/fs/cgroup/memory.max", "3072000\n");
  EXPECT_EQ(MemoryLimit(root_), 3072000u);
}

TEST_F(MemoryLimitTest, IsTheMachinesIfNothingElseCanBeUnderstood) {
  Write("/proc/self/cgroup", "0::/a\nnonsense\n");
  Write("/sys/fs/cgroup/a/memory.max", "12apples\n");
  Write("/sys/fs/cgroup/memory.max", "many\n");
  EXPECT_EQ(MemoryLimit(root_), 16000u << 10);
}

TEST(MemoryLimit, OfThisProcessIsSomething) {
  EXPECT_GT(MemoryLimit(), 100u << 20);
  EXPECT_LT(MemoryLimit(), uint64_t{1} << 50);
}

}  // namespace
}  // namespace raftkv
