#include "tests/conformance/output.h"

#include <strings.h>

#include <array>
#include <utility>

#include "tests/conformance/datadriven.h"

namespace raftkv::conformance {
namespace {

// The first four in the order of raft::LogLevel.
constexpr std::array<const char*, 6> kLevelNames{"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

}  // namespace

Status Output::SetLevel(std::string_view name) {
  const std::string wanted(name);
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (strcasecmp(kLevelNames[i], wanted.c_str()) == 0) {
      level_ = i;
      return Status::Ok();
    }
  }
  return Status(Code::kInvalidArgument,
                "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
}

bool Output::quiet() const { return level_ == kLevelNames.size() - 1; }

void Output::Write(std::string_view text) {
  if (!quiet()) text_ += text;
}

void Output::WriteLine(std::string_view text) {
  Write(text);
  Write("\n");
}

void Output::Indent(const std::function<void()>& write) {
  std::string outer = std::exchange(text_, {});
  write();
  for (std::string_view line : SplitLines(text_)) outer.append("  ").append(line).append("\n");
  text_ = std::move(outer);
}

bool Output::Enabled(raft::LogLevel level) const { return static_cast<size_t>(level) >= level_; }

void Output::Log(raft::LogLevel level, std::string_view text) {
  if (!Enabled(level)) return;
  Write(kLevelNames[static_cast<size_t>(level)]);
  Write(" ");
  WriteLine(text);
}

}  // namespace raftkv::conformance
