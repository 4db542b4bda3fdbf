// What the running program was built from. A seed means the same run with the same sources only,
// and the checkout may have gone on since.
//
// Thread-safety: any thread.
#pragma once

#include <string_view>

namespace raftkv {

// The commit ("2bfd4cf3a1b2"), with "-dirty" if tracked files differed from it; "unknown" without
// git.
std::string_view BuiltCommit();

}  // namespace raftkv
