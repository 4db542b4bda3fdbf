// Passes the core's reports on to the process log.
#pragma once

#include "base/log.h"
#include "node/raft/logger.h"

namespace raftkv::runtime {

class CoreLogger final : public raft::Logger {
 public:
  bool Enabled(raft::LogLevel level) const override { return log::Enabled(Map(level)); }
  void Log(raft::LogLevel level, std::string_view text) override {
    log::Write(Map(level), "raft", {{"event", text}});
  }

 private:
  // What the core calls info is detail to an operator: the replica reports elections and
  // configurations in its own words.
  static log::Level Map(raft::LogLevel level) {
    switch (level) {
      case raft::LogLevel::kDebug:
      case raft::LogLevel::kInfo:
        return log::Level::kDebug;
      case raft::LogLevel::kWarning:
        return log::Level::kWarning;
      case raft::LogLevel::kError:
        return log::Level::kError;
      case raft::LogLevel::kOff:
        break;
    }
    return log::Level::kOff;
  }
};

}  // namespace raftkv::runtime
