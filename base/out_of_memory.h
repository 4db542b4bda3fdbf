// What a process does that gets no more memory, or no thread that it cannot do without: it ends at
// once, says so, and writes nothing more.
//
// Thread-safety: call once, at the start.
#pragma once

namespace raftkv {

inline constexpr int kExitOutOfMemory = 71;  // EX_OSERR

// From now on an allocation that fails ends the process with that status, and "out of memory" on
// stderr; so does a std::system_error that nobody expects, which is how a thread is refused.
// Nothing that was acknowledged depends on what a process still has in memory.
void EndWhenOutOfMemory();

}  // namespace raftkv
