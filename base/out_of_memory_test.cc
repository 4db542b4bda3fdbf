#include "base/out_of_memory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <system_error>
#include <thread>
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

// On a thread of its own, where nobody catches it.
void GetNoThread() {
  EndWhenOutOfMemory();
  std::thread([] { throw std::system_error(EAGAIN, std::generic_category()); }).join();
}

// It was an abort, and nobody knew of what.
TEST(OutOfMemoryDeathTest, AThreadThatIsRefusedIsNamed) {
  EXPECT_EXIT(GetNoThread(), testing::ExitedWithCode(kExitOutOfMemory), "limits on threads");
}

TEST(OutOfMemoryDeathTest, AnythingElseThatNobodyExpectsAborts) {
  EXPECT_EXIT(
      {
        EndWhenOutOfMemory();
        std::terminate();
      },
      testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace raftkv
