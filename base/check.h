// CHECK: an assertion that stays on in production. For what only a programming error or a broken
// invariant can make false; never for input, disks or networks (those return a Status).
//
// A failed CHECK writes the condition, the message and the place to stderr and aborts: with
// replicated state a stopped node is safer than one that goes on from a state nobody thought of.
#pragma once

#include <source_location>
#include <string>
#include <string_view>

namespace raftkv {

[[noreturn]] void CheckFailed(std::string_view condition, std::string_view message,
                              std::source_location where = std::source_location::current());

}  // namespace raftkv

// CHECK(ok) or CHECK(ok, "message").
#define CHECK(condition, ...)                                             \
  do {                                                                    \
    if (!(condition)) [[unlikely]]                                        \
      ::raftkv::CheckFailed(#condition, ::std::string_view{__VA_ARGS__}); \
  } while (false)
