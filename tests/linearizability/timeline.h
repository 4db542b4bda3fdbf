// A violation as a picture: an HTML page that needs nothing else, with a lane for each client, time
// from left to right, and the details of an operation where the pointer is.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tests/linearizability/checker.h"
#include "tests/linearizability/register_check.h"

namespace raftkv::linearizability {

struct TimelineOp {
  enum class Mark {
    kPlain,
    kCore,     // contradicts the others that are so marked
    kUnknown,  // of unknown outcome
  };
  std::string lane;  // whose it is
  uint64_t lane_order = 0;
  std::string label;  // short
  std::vector<std::pair<std::string, std::string>> details;
  int64_t call = 0;
  std::optional<int64_t> end;
  Mark mark = Mark::kPlain;
};

struct Timeline {
  std::string title;
  std::string reason;
  std::vector<TimelineOp> ops;
};

// Shows the core, and what happened near it on the same keys; says how much was left out.
Timeline TimelineOf(const Violation& violation, const std::string& name);
Timeline TimelineOf(const RegisterViolation& violation, const std::string& name);

std::string EscapeHtml(std::string_view text);
std::string FormatTimeline(const Timeline& timeline);
Status WriteTimeline(const Timeline& timeline, const std::filesystem::path& path);

}  // namespace raftkv::linearizability
