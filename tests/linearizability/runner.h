// Checks files of histories whose verdict is known, and single files.
//
// Thread-safety: prints to stdout; one at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tests/linearizability/checker.h"

namespace raftkv::linearizability {

enum class Format { kRegister, kMap, kRaftkv };

struct HistoryFile {
  std::filesystem::path path;
  std::optional<Format> format = {};  // nullopt: as its text looks
  // Of the folder that it lies in, if that names one; decides where the text leaves a choice.
  std::optional<Format> folder = {};
  std::string name = {};  // of what explains it; empty: the file's own
};

// "register", "kv" or "raftkv".
std::optional<Format> FormatNamed(std::string_view name);

// What a text is a history of, by its looks: a line that begins with a JSON object is raftkv's own
// form; a log of operations is of the kind that `folder` names, or else of a map if they name keys
// or append, and of a register if not. kInvalidArgument: it is neither (or empty), and there is no
// `folder` to go by.
Result<Format> RecognizeFormat(std::string_view text, std::optional<Format> folder = {});

// All files in or below `folder` that have a verdict in their names (NAME.linearizable.EXTENSION,
// NAME.not-linearizable.EXTENSION), sorted.
std::vector<HistoryFile> FindFiles(const std::filesystem::path& folder);

// nullopt: the name has none.
std::optional<Verdict> ExpectedVerdict(const std::filesystem::path& path);

struct RunOptions {
  Limits limits = {};
  std::filesystem::path out;  // violations are explained into this folder; empty: not at all
  Duration max_explain_time = kMaxExplainTime;  // of each
  // Hears of a violation before it is explained, which takes longer.
  std::function<void(const Report&)> on_violation = [](const Report&) {};
};

// Checks one file. If it is a violation and options.out is set, writes its explanation there and
// says so in report->reason: an HTML timeline and the smallest prefix that still is one, as far as
// the time allows.
Result<Report> CheckFile(const HistoryFile& file, const RunOptions& options);

struct Tally {
  size_t passed = 0;
  size_t failed = 0;
  size_t explained = 0;  // into options.out
};

// Compares each file's verdict with its name's and prints each difference. A name without one is
// such a difference, too.
Tally RunFiles(const std::vector<HistoryFile>& files, const RunOptions& options);

}  // namespace raftkv::linearizability
