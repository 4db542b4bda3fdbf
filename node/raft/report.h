// Report: the lines that the core writes to its Logger. A line is put together only if somebody
// listens; the pieces are passed unformatted.
//
// Thread-safety: as the Logger's.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

#include "node/raft/logger.h"
#include "node/raft/text.h"
#include "node/raft/types.h"

namespace raftkv::raft {

inline void AppendText(std::string& out, std::string_view text) { out += text; }
inline void AppendText(std::string& out, std::integral auto number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), number).ptr);
}
inline void AppendText(std::string& out, Term term) { AppendText(out, term.value); }
inline void AppendText(std::string& out, Index index) { AppendText(out, index.value); }
// Members are named in hexadecimal.
inline void AppendText(std::string& out, NodeId id) { out += Hex(id); }

template <typename T>
concept HasToString = requires(const T& value) {
  { value.ToString() } -> std::convertible_to<std::string>;
};
void AppendText(std::string& out, const HasToString auto& value) { out += value.ToString(); }

// The pieces, one after another.
template <typename... Pieces>
std::string Text(const Pieces&... pieces) {
  std::string out;
  (AppendText(out, pieces), ...);
  return out;
}

class Report {
 public:
  // `sink` must outlive this.
  explicit Report(Logger& sink) : sink_(&sink) {}

  template <typename... Pieces>
  void Debug(const Pieces&... pieces) const {
    Write(LogLevel::kDebug, pieces...);
  }
  template <typename... Pieces>
  void Info(const Pieces&... pieces) const {
    Write(LogLevel::kInfo, pieces...);
  }
  template <typename... Pieces>
  void Warning(const Pieces&... pieces) const {
    Write(LogLevel::kWarning, pieces...);
  }
  template <typename... Pieces>
  void Error(const Pieces&... pieces) const {
    Write(LogLevel::kError, pieces...);
  }

 private:
  template <typename... Pieces>
  void Write(LogLevel level, const Pieces&... pieces) const {
    if (sink_->Enabled(level)) sink_->Log(level, Text(pieces...));
  }

  Logger* sink_;
};

}  // namespace raftkv::raft
