// raftkv-conformance: runs data-driven files against the raft core (see README.md).
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <vector>

#include "tests/conformance/runner.h"

namespace raftkv::conformance {
namespace {

namespace fs = std::filesystem;

constexpr int kExitPassed = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitSkipped = 77;  // ctest's SKIP_RETURN_CODE

constexpr char kUsage[] =
    "usage: raftkv-conformance [--rewrite] [DIR or FILE...]\n"
    "Runs every *.txt file that lies below DIR in a folder named interaction, confchange or "
    "quorum,\n"
    "or the FILE in one, and compares the output byte for byte.\n"
    "  DIR        default: $RAFTKV_CONFORMANCE, else ../shared/conformance beside the repository\n"
    "  --rewrite  writes the actual output into the files instead\n"
    "exit status: 0 passed, 1 failed, 2 wrong usage (a named DIR is absent), 77 skipped because\n"
    "../shared/conformance is absent\n";

struct Options {
  bool rewrite = false;
  bool help = false;
  bool wrong = false;
  std::vector<fs::path> paths;
};

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--rewrite") {
      options.rewrite = true;
    } else if (argument == "--help" || argument == "-h") {
      options.help = true;
    } else if (argument.starts_with('-')) {
      options.wrong = true;
    } else {
      options.paths.emplace_back(argument);
    }
  }
  return options;
}

// Empty: it names none.
fs::path FolderOfEnvironment() {
  const char* folder = std::getenv("RAFTKV_CONFORMANCE");
  return folder == nullptr ? "" : folder;
}

fs::path DefaultFolder() {
  return (fs::path(RAFTKV_SOURCE_DIR) / "../shared/conformance").lexically_normal();
}

int Rewrite(const std::vector<TestFile>& files) {
  for (const TestFile& file : files) {
    if (const Status status = RewriteFile(file); !status.ok()) {
      std::fprintf(stderr, "%s: %s\n", file.path.c_str(), status.message().c_str());
      return kExitFailed;
    }
  }
  return kExitPassed;
}

int Run(const std::vector<TestFile>& files) {
  Tally total;
  for (const TestFile& file : files) {
    const Tally tally = RunFile(file);
    std::printf("%-4s %s (%zu of %zu)\n", tally.failed == 0 ? "ok" : "FAIL", file.path.c_str(),
                tally.passed, tally.passed + tally.failed);
    total.passed += tally.passed;
    total.failed += tally.failed;
  }
  std::printf("%zu passed, %zu failed\n", total.passed, total.failed);
  return total.failed == 0 ? kExitPassed : kExitFailed;
}

int Main(int argc, char** argv) {
  Options options = ParseOptions(argc, argv);
  if (options.wrong || options.help) {
    std::fputs(kUsage, options.wrong ? stderr : stdout);
    return options.wrong ? kExitUsage : kExitPassed;
  }
  if (const fs::path named = FolderOfEnvironment(); options.paths.empty() && !named.empty()) {
    if (!fs::is_directory(named)) {
      std::fprintf(stderr, "RAFTKV_CONFORMANCE: there is no folder %s\n", named.c_str());
      return kExitUsage;
    }
    options.paths.push_back(named);
  }
  if (options.paths.empty()) {
    options.paths.push_back(DefaultFolder());
    if (!fs::is_directory(options.paths.front())) {
      std::printf(
          "skipped: there is no folder %s\n"
          "Name the folder with the data-driven files as argument or in RAFTKV_CONFORMANCE.\n",
          options.paths.front().c_str());
      return kExitSkipped;
    }
  }
  std::vector<TestFile> files;
  for (const fs::path& path : options.paths) {
    if (!fs::exists(path)) {
      std::fprintf(stderr, "there is no file or folder %s\n", path.c_str());
      return kExitUsage;
    }
    const std::vector<TestFile> found = FindFiles(path);
    files.insert(files.end(), found.begin(), found.end());
  }
  if (files.empty()) {
    std::fputs("no *.txt files in folders named interaction, confchange or quorum\n", stderr);
    return kExitUsage;
  }
  return options.rewrite ? Rewrite(files) : Run(files);
}

}  // namespace
}  // namespace raftkv::conformance

int main(int argc, char** argv) { return raftkv::conformance::Main(argc, argv); }
