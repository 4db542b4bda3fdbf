#include "base/out_of_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <memory>
#include <vector>

namespace raftkv {
namespace {

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void TakeAll() {
  EndWhenOutOfMemory();
  const rlimit limit{64 << 20, 64 << 20};
  setrlimit(RLIMIT_DATA, &limit);
  std::vector<std::unique_ptr<char[]>> kept;
  while (true) kept.push_back(std::make_unique<char[]>(1 << 20));
}

TEST(OutOfMemoryDeathTest, TheProcessEndsAndSaysSo) {
  EXPECT_EXIT(TakeAll(), testing::ExitedWithCode(kExitOutOfMemory), "out of memory");
}
#endif

}  // namespace
}  // namespace raftkv
