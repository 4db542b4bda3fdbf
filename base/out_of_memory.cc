#include "base/out_of_memory.h"

#include <unistd.h>

#include <new>
#include <string_view>

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

void EndWhenOutOfMemory() { std::set_new_handler(End); }

}  // namespace raftkv
