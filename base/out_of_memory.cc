#include "base/out_of_memory.h"

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string_view>
#include <system_error>

namespace raftkv {
namespace {

// Allocates nothing, and does not go through the log, which does.
[[noreturn]] void End() {
  constexpr std::string_view kText =
      "fatal: out of memory: this process ends; give it more, or lower its limits\n";
  (void)!write(STDERR_FILENO, kText.data(), kText.size());
  _exit(kExitOutOfMemory);
}

}  // namespace

void EndWhenOutOfMemory() {
  std::set_new_handler(End);
  static std::terminate_handler otherwise;
  otherwise = std::set_terminate([] {
    try {
      if (const std::exception_ptr thrown = std::current_exception())
        std::rethrow_exception(thrown);
    } catch (const std::system_error& error) {
      std::fprintf(stderr,
                   "fatal: refused by the system: %s: this process ends; raise its limits on "
                   "threads (ulimit -u, pids of its cgroup)\n",
                   error.what());
      _exit(kExitOutOfMemory);
    } catch (...) {
      otherwise();
    }
    otherwise();
  });
}

}  // namespace raftkv
