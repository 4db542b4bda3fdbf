#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "base/log.h"

namespace raftkv {

void CheckFailed(std::string_view condition, std::string_view message, std::source_location where) {
  std::fprintf(stderr, "CHECK failed: %.*s%s%.*s at %s:%u (%s)\n",
               static_cast<int>(condition.size()), condition.data(), message.empty() ? "" : ": ",
               static_cast<int>(message.size()), message.data(), where.file_name(), where.line(),
               where.function_name());
  std::fflush(stderr);
  // What led here may still be queued.
  log::Flush(std::chrono::milliseconds(200));
  std::abort();
}

}  // namespace raftkv
