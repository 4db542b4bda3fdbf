#include "base/proc.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <thread>

namespace raftkv {
namespace {

TEST(Proc, CountsDescriptorsAndThreads) {
  // Sanitizers start a thread of their own with the first one.
  std::thread([] {}).join();
  auto before = ReadProcessStats();
  ASSERT_TRUE(before.has_value()) << before.error().ToString();
  int fd = open("/dev/null", O_RDONLY);
  ASSERT_GE(fd, 0);
  Result<ProcessStats> during = *before;
  std::thread([&during] { during = ReadProcessStats(); }).join();
  close(fd);
  ASSERT_TRUE(during.has_value());
  EXPECT_EQ(during->open_fds, before->open_fds + 1);
  EXPECT_EQ(during->threads, before->threads + 1);
  EXPECT_GE(during->max_fds, during->open_fds);
}

TEST(Proc, KnowsTimeAndMemory) {
  auto stats = ReadProcessStats();
  ASSERT_TRUE(stats.has_value());
  double now = static_cast<double>(std::time(nullptr));
  EXPECT_GT(stats->start_time_seconds, now - 3600);
  EXPECT_LE(stats->start_time_seconds, now + 2);
  EXPECT_GT(stats->resident_bytes, 100'000u);
  EXPECT_GT(stats->virtual_bytes, stats->resident_bytes);
  EXPECT_GE(stats->cpu_seconds, 0);
}

}  // namespace
}  // namespace raftkv
