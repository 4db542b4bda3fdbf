// What a directive of the interaction suite prints: the node's log lines, filtered by level, and
// the environment's own lines.
//
// Thread-safety: none.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "node/raft/logger.h"

namespace raftkv::conformance {

class Output final : public raft::Logger {
 public:
  // Starts the output of a directive.
  void Clear() { text_.clear(); }
  const std::string& text() const { return text_; }

  // One of DEBUG, INFO, WARN, ERROR, FATAL, NONE, in any case.
  Status SetLevel(std::string_view name);
  size_t level() const { return level_; }
  void set_level(size_t level) { level_ = level; }
  // At level NONE nothing is printed at all, the environment's own lines included.
  bool quiet() const;

  void Write(std::string_view text);
  void WriteLine(std::string_view text);
  // Shifts what `write` prints by two columns.
  void Indent(const std::function<void()>& write);

  bool Enabled(raft::LogLevel level) const override;
  void Log(raft::LogLevel level, std::string_view text) override;

 private:
  std::string text_;
  size_t level_ = 0;
};

}  // namespace raftkv::conformance
