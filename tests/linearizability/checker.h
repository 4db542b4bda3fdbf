// The linearizability checker for histories of a raftkv store (history.h). How it works and what it
// relies on: docs/design/linearizability.md.
//
// Thread-safety: pure functions; different histories may be checked at the same time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "tests/linearizability/history.h"

namespace raftkv::linearizability {

enum class Verdict {
  kLinearizable,
  kNotLinearizable,
  kUnknown,  // a limit was reached first
};

std::string_view VerdictName(Verdict verdict);  // "linearizable", "not-linearizable", "unknown"

// What a search may use before it answers kUnknown.
struct Limits {
  uint64_t max_steps = 100'000'000;               // operations tried; the same on every machine
  Duration max_time = std::chrono::seconds(120);  // of the monotonic clock
  size_t max_memory_bytes = size_t{1} << 30;      // of remembered configurations
};

struct Report {
  Verdict verdict = Verdict::kUnknown;
  // kNotLinearizable: what contradicts what, for a person. kUnknown: which limit was reached.
  std::string reason;
  uint64_t steps = 0;
};

// kInvalidArgument if an operation is not valid (its number in the message).
Result<Report> Check(const History& history, const Limits& limits = {});

// A violation as small as could be found, all of it in operations of the original history.
struct Violation {
  std::string reason;  // empty: there was no time left to find one
  // The shortest prefix in time that is a violation: what was called and answered until then.
  // Answers that came later count as unknown.
  History prefix;
  // Indexes into prefix.operations: those that contradict each other. With only their answers and
  // times, and nothing but the order of the other writes, it is still a violation; where that
  // could not be shown in some seconds, those that the search could not get past.
  std::vector<size_t> core;
  // The time was over before the smallest prefix was found: a shorter one may be a violation, too.
  bool out_of_time = false;
};

inline constexpr Duration kMaxExplainTime = std::chrono::seconds(60);

// For a history that Check calls kNotLinearizable. `limits` hold for each of its many checks,
// `max_time` for all of them.
Violation Explain(const History& history, const Limits& limits = {},
                  Duration max_time = kMaxExplainTime);

// What is to be said of an explanation that had too little time; begins with a new line.
std::string OutOfTime(Duration max_time);

// Writes FOLDER/NAME.html (a timeline for people), FOLDER/NAME.jsonl (the whole history) and
// FOLDER/NAME.prefix.jsonl (the smallest prefix). Makes the folder.
Status WriteViolation(const History& history, const Violation& violation,
                      const std::filesystem::path& folder, const std::string& name);

// For tests: ok if the history is linearizable. Otherwise the message has the reason and, of a
// violation, the file that shows it (WriteViolation). A limit that was reached is an error too. A
// violation is told on stderr before it is explained, which takes longer.
Status CheckAndExplain(const History& history, const std::filesystem::path& folder,
                       const std::string& name, const Limits& limits = {});

}  // namespace raftkv::linearizability
