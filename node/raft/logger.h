// Where the core reports its transitions. The texts are etcd's: the conformance suite compares them
// byte for byte, and people who know etcd can read them.
#pragma once

#include <string_view>

namespace raftkv::raft {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Thread-safety: called from the thread that owns the core only; must not block.
class Logger {
 public:
  virtual ~Logger() = default;
  // Formatting is skipped for levels that are not enabled.
  virtual bool Enabled(LogLevel level) const = 0;
  virtual void Log(LogLevel level, std::string_view text) = 0;
};

}  // namespace raftkv::raft
