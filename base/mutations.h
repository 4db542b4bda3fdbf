// MUTATION(name): a deliberate bug, to see which test catches it. In a build with RAFTKV_MUTATIONS
// it is true if the environment variable RAFTKV_MUTATION is `name`; in every other build it is the
// constant false and leaves nothing behind. tests/simulation/mutations.cc lists them.
//
// Thread-safety: from any thread.
#pragma once

#ifdef RAFTKV_MUTATIONS

#include <cstdlib>
#include <string_view>

namespace raftkv {

inline bool MutationActive(std::string_view name) {
  static const char* const active = std::getenv("RAFTKV_MUTATION");
  return active != nullptr && name == active;
}

}  // namespace raftkv

#define MUTATION(name) (::raftkv::MutationActive(#name))
#else
#define MUTATION(name) false
#endif
