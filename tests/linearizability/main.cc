// raftkv-linearizability: checks histories (docs/testing.md).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/linearizability/runner.h"

namespace raftkv::linearizability {
namespace {

namespace fs = std::filesystem;

constexpr int kExitPassed = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitUnknown = 3;
constexpr int kExitSkipped = 77;  // ctest's SKIP_RETURN_CODE

struct Arguments {
  std::vector<std::string> paths;
  std::string format;  // empty: as the file looks
  double max_seconds = 120;
  double explain_seconds = 60;
  RunOptions options{.out = "linearizability-violations"};
};

// Empty: it names none.
fs::path FolderOfEnvironment() {
  const char* folder = std::getenv("RAFTKV_CONFORMANCE");
  return folder == nullptr ? "" : folder;
}

fs::path DefaultFolder() { return fs::path(RAFTKV_SOURCE_DIR) / "../shared/conformance"; }

// Folders and files, each by the verdict in its name.
int RunAll(const std::vector<std::string>& paths, const RunOptions& options) {
  std::vector<HistoryFile> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back({.path = path});
      continue;
    }
    const std::vector<HistoryFile> found = FindFiles(path);
    files.insert(files.end(), found.begin(), found.end());
  }
  if (files.empty()) {
    std::fputs("there is no file NAME.linearizable.* or NAME.not-linearizable.*\n", stderr);
  }
  const Tally tally = RunFiles(files, options);
  if (tally.explained > 0) {
    std::printf("%zu violations are explained in %s\n", tally.explained, options.out.c_str());
  }
  std::printf("%zu passed, %zu failed\n", tally.passed, tally.failed);
  if (files.empty()) return kExitUsage;
  return tally.failed == 0 ? kExitPassed : kExitFailed;
}

// One history, whatever its name.
int RunOne(const std::string& path, std::optional<Format> format, RunOptions options) {
  const auto print = [&](const Report& report) {
    std::printf("%s: %s\n", path.c_str(), std::string(VerdictName(report.verdict)).c_str());
    if (!report.reason.empty()) std::printf("  %s\n", report.reason.c_str());
    std::fflush(stdout);
  };
  options.on_violation = print;
  const Result<Report> report = CheckFile({.path = path, .format = format}, options);
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().message().c_str());
    return kExitUsage;
  }
  if (report->verdict != Verdict::kNotLinearizable) {
    print(*report);
  } else if (!options.out.empty()) {
    std::printf("  %s\n", report->reason.c_str());
  }
  if (report->verdict == Verdict::kUnknown) return kExitUnknown;
  return report->verdict == Verdict::kLinearizable ? kExitPassed : kExitFailed;
}

int Run(Arguments arguments) {
  if (arguments.paths.empty()) {
    const fs::path named = FolderOfEnvironment();
    if (!named.empty() && !fs::is_directory(named)) {
      std::fprintf(stderr, "RAFTKV_CONFORMANCE: there is no folder %s\n", named.c_str());
      return kExitUsage;
    }
    // One that holds other suites alone is named right.
    const fs::path folder =
        ((named.empty() ? DefaultFolder() : named) / "linearizability").lexically_normal();
    if (!fs::is_directory(folder)) {
      std::printf(
          "skipped: there is no folder %s\n"
          "Name a folder with histories as argument, or the one above it in "
          "RAFTKV_CONFORMANCE.\n",
          folder.c_str());
      return kExitSkipped;
    }
    arguments.paths.push_back(folder.string());
  }
  for (const std::string& path : arguments.paths) {
    if (fs::exists(path)) continue;
    std::fprintf(stderr, "there is no folder or file %s\n", path.c_str());
    return kExitUsage;
  }
  if (arguments.paths.size() == 1 && !fs::is_directory(arguments.paths.front())) {
    return RunOne(arguments.paths.front(), FormatNamed(arguments.format), arguments.options);
  }
  return RunAll(arguments.paths, arguments.options);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Checks histories for linearizability.\n"
      "In and below folders, every file NAME.linearizable.* or NAME.not-linearizable.* is checked "
      "and compared with its name; the last line is 'N passed, N failed'. The format is told from "
      "the text. The default is the folder linearizability in $RAFTKV_CONFORMANCE or "
      "../shared/conformance.\n"
      "A violation is told at once, and then explained by an HTML timeline and the smallest prefix "
      "that is one.\n"
      "Exit status: 0 passed, 1 failed or not linearizable, 2 wrong usage or unreadable, 3 unknown "
      "(a limit was reached), 77 skipped because the default folder is absent.");
  app.add_option("path", arguments.paths,
                 "folders or history files; of one file alone, its verdict is printed");
  app.add_option("--format", arguments.format, "of a single file (default: as it looks)")
      ->check(CLI::IsMember({"register", "kv", "raftkv"}));
  app.add_option("--out", arguments.options.out, "the folder that explains violations")
      ->capture_default_str();
  app.add_option("--max-seconds", arguments.max_seconds, "for each history")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--explain-seconds", arguments.explain_seconds,
                 "for each violation; the verdict does not wait for it")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-steps", arguments.options.limits.max_steps, "for each history")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitPassed : kExitUsage;
  }
  arguments.options.limits.max_time =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(arguments.max_seconds));
  arguments.options.max_explain_time = std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(arguments.explain_seconds));
  return Run(std::move(arguments));
}

}  // namespace
}  // namespace raftkv::linearizability

int main(int argc, char** argv) { return raftkv::linearizability::Main(argc, argv); }
