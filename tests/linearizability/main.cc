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
  RunOptions options;
};

fs::path DefaultFolder() {
  const char* folder = std::getenv("RAFTKV_CONFORMANCE");
  const fs::path base = folder != nullptr && *folder != '\0'
                            ? fs::path(folder)
                            : fs::path(RAFTKV_SOURCE_DIR) / "../shared/conformance";
  return (base / "linearizability").lexically_normal();
}

int RunFolders(const std::vector<std::string>& folders, const RunOptions& options) {
  std::vector<HistoryFile> files;
  for (const std::string& folder : folders) {
    const std::vector<HistoryFile> found = FindFiles(folder);
    files.insert(files.end(), found.begin(), found.end());
  }
  if (files.empty()) {
    std::fputs(
        "no NAME.linearizable.* or NAME.not-linearizable.* in folders named register, kv or "
        "raftkv\n",
        stderr);
    return kExitUsage;
  }
  const Tally tally = RunFiles(files, options);
  std::printf("%zu passed, %zu failed\n", tally.passed, tally.failed);
  return tally.failed == 0 ? kExitPassed : kExitFailed;
}

// One history, whatever its name.
int RunOne(const std::string& path, std::optional<Format> format, const RunOptions& options) {
  const Result<Report> report = CheckFile({path, format}, options);
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().message().c_str());
    return kExitUsage;
  }
  std::printf("%s: %s\n", path.c_str(), std::string(VerdictName(report->verdict)).c_str());
  if (!report->reason.empty()) std::printf("  %s\n", report->reason.c_str());
  if (report->verdict == Verdict::kUnknown) return kExitUnknown;
  return report->verdict == Verdict::kLinearizable ? kExitPassed : kExitFailed;
}

int Run(Arguments arguments) {
  if (arguments.paths.empty()) {
    const fs::path folder = DefaultFolder();
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
    if (fs::is_directory(path)) continue;
    if (!fs::is_regular_file(path)) {
      std::fprintf(stderr, "there is no folder or file %s\n", path.c_str());
      return kExitUsage;
    }
    if (arguments.paths.size() > 1) {
      std::fputs("a single file is checked alone; name it without other folders and files\n",
                 stderr);
      return kExitUsage;
    }
    return RunOne(path, FormatNamed(arguments.format), arguments.options);
  }
  return RunFolders(arguments.paths, arguments.options);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Checks histories for linearizability.\n"
      "Of folders, every file NAME.linearizable.* or NAME.not-linearizable.* that lies in a folder "
      "named register, kv or raftkv is checked and compared with its name. The default is the "
      "folder linearizability in $RAFTKV_CONFORMANCE or ../shared/conformance.\n"
      "Exit status: 0 passed, 1 failed or not linearizable, 2 wrong usage or unreadable, 3 unknown "
      "(a limit was reached), 77 skipped because the default folder is absent.");
  app.add_option("path", arguments.paths, "folders, or one history file");
  app.add_option("--format", arguments.format, "of a single file (default: as it looks)")
      ->check(CLI::IsMember({"register", "kv", "raftkv"}));
  app.add_option("--out", arguments.options.out,
                 "explain violations into this folder: an HTML timeline and the smallest prefix");
  app.add_option("--max-seconds", arguments.max_seconds, "for each history")
      ->check(CLI::PositiveNumber)
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
  return Run(std::move(arguments));
}

}  // namespace
}  // namespace raftkv::linearizability

int main(int argc, char** argv) { return raftkv::linearizability::Main(argc, argv); }
