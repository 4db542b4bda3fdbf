// raftkv-faults: runs the rows of the fault matrix and prints a table (docs/testing-faults.md).
//
// Exit statuses: 0 all promises held, 1 one did not, or a row that was named could not be run, 2
// wrong usage.

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <optional>
#include <random>
#include <sstream>
#include <string_view>

#include "tests/build_stamp/build_stamp.h"
#include "tests/faults/rows.h"
#include "tests/faults/sandbox.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

#ifdef RAFTKV_FAULT_POINTS
constexpr bool kHasPoints = true;
#else
constexpr bool kHasPoints = false;
#endif

#ifdef RAFTKV_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

struct Settings {
  std::string duration;
  uint64_t seed = 0;
  std::vector<std::string> rows;
  bool list = false;
  double span_s = 6;
  std::string out = "faults-failures";
};

// 90, 90s, 10m, 1h in seconds; nothing if it is none of these.
std::optional<int64_t> Seconds(const std::string& text) {
  int64_t number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  const std::string_view unit(end, last);
  constexpr int64_t kMost = 1'000'000;
  if (error != std::errc() || number <= 0 || number > kMost) return std::nullopt;
  if (unit.empty() || unit == "s") return number;
  if (unit == "m") return number * 60;
  if (unit == "h") return number * 3600;
  return std::nullopt;
}

std::string NoDuration(const std::string& text) {
  return Seconds(text) ? "" : "'" + text + "' is no duration: 90, 90s, 10m, 1h";
}

std::string WhyNot(const Row& row, const Sandbox& sandbox) {
  if (row.isolated && !sandbox.isolated()) return "needs root, and not in a chroot";
  if (row.points && !kHasPoints) return "needs a build with fault points";
  if (row.shim && kSanitized) return "not under sanitizers";
  return "";
}

void PrintNotRun(const Row& row, const std::string& why) {
  std::printf("| %s | %s | %s | | | | not run: %s |\n", row.name.c_str(), row.injected.c_str(),
              row.promised.c_str(), why.c_str());
}

enum class Ending { kHeld, kBroken, kNotRun };

// Runs one row and prints its line of the table.
Ending RunRow(const Row& row, const Sandbox& sandbox, const Settings& settings, uint64_t seed) {
  BedOptions options;
  options.seed = seed;
  options.span = std::chrono::milliseconds(static_cast<int64_t>(settings.span_s * 1000));
  options.gaps = row.gaps;
  options.why_errors = row.why_errors;
  if (row.prepare) row.prepare(options);
  const fs::path failures = fs::path(settings.out) / (row.name + "-" + std::to_string(seed));
  Bed bed(&sandbox, sandbox.directory() / row.name, options);
  Status status = bed.Start();
  if (status.code() == Code::kUnavailable) {
    PrintNotRun(row, status.message());
    return Ending::kNotRun;
  }
  if (status.ok()) status = row.run(bed);
  if (status.ok()) status = bed.Verify(failures);
  std::string history;
  if (!status.ok() && bed.has_load() && !bed.history_checked()) {
    const Status verdict = bed.CheckHistory(failures);
    history = verdict.ok() ? "\n  the history until then is linearizable"
                           : "\n  and its history: " + verdict.ToString();
  }
  if (!status.ok()) bed.KeepLogs(failures);
  const LoadCounts counts = bed.has_load() ? bed.load().counts() : LoadCounts();
  std::string seen =
      std::to_string(counts.operations) + " operations, " + std::to_string(counts.refused) +
      " refused, " + std::to_string(counts.unknown) + " unknown, " +
      std::to_string(counts.transactions) + " transactions, " + std::to_string(counts.old_reads) +
      " old reads, " + std::to_string(counts.pages) + " further pages, " +
      std::to_string(counts.compactions) + " compactions";
  if (counts.errors > 0) {
    seen += ", " + std::to_string(counts.errors) + " answers with 500";
    if (!row.why_errors.empty()) seen += " (" + row.why_errors + ")";
  }
  if (!bed.notes().empty()) seen += "; " + bed.notes();
  const auto gap = [&](std::chrono::milliseconds seen_gap) {
    const auto in_seconds = [](std::chrono::milliseconds time) {
      return static_cast<double>(time.count()) / 1000;
    };
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << in_seconds(seen_gap) << " of "
         << in_seconds(row.gaps.Bound(bed.options().timing(), counts.observed)) << " s";
    return text.str();
  };
  std::printf("| %s | %s | %s | %s | %s | %s | %s |\n", row.name.c_str(), row.injected.c_str(),
              row.promised.c_str(), seen.c_str(), gap(counts.write_gap).c_str(),
              gap(counts.read_gap).c_str(), status.ok() ? "held" : "BROKEN");
  std::fflush(stdout);
  if (!status.ok()) {
    std::fprintf(stderr, "%s, seed %llu: %s%s\n  commit: %s\n  logs: %s\n", row.name.c_str(),
                 static_cast<unsigned long long>(seed), status.ToString().c_str(), history.c_str(),
                 std::string(BuiltCommit()).c_str(), failures.c_str());
  }
  return status.ok() ? Ending::kHeld : Ending::kBroken;
}

std::vector<Row> Choose(const std::vector<std::string>& names) {
  std::vector<Row> chosen;
  for (const std::string& name : names) {
    bool found = false;
    for (Row& row : AllRows()) {
      if (row.name != name) continue;
      chosen.push_back(std::move(row));
      found = true;
    }
    if (!found) throw CLI::ValidationError("--row", "'" + name + "' is none; see --list");
  }
  return names.empty() ? AllRows() : chosen;
}

// A thousand connections need as many, here and in the nodes that are started from here.
void RaiseFileLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 65536);
  (void)setrlimit(RLIMIT_NOFILE, &files);
}

int Main(int argc, char** argv) {
  Settings settings;
  std::vector<Row> rows;
  CLI::App app("Faults on real nodes under load, row by row of the fault matrix.");
  app.add_option(
         "--for", settings.duration,
         "Rows in an order drawn from the seed, and further seeds, for this long (90s, 10m, "
         "1h); default: every row once")
      ->check(NoDuration);
  app.add_option("--seed", settings.seed, "The first round's; 0: a random one");
  app.add_option("--row", settings.rows, "Only this row; may be repeated");
  app.add_option("--span", settings.span_s, "Seconds of faults in each row, about");
  app.add_option("--out", settings.out, "Folder for logs and histories of failures");
  app.add_flag("--list", settings.list, "List the rows");
  try {
    app.parse(argc, argv);
    rows = Choose(settings.rows);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (settings.list) {
    for (const Row& row : rows) std::printf("%-24s %s\n", row.name.c_str(), row.injected.c_str());
    return 0;
  }
  RaiseFileLimit();
  Result<Sandbox> sandbox = Sandbox::Enter();
  if (!sandbox) {
    std::fprintf(stderr, "raftkv-faults: %s\n", sandbox.error().message().c_str());
    return 1;
  }
  uint64_t seed = settings.seed != 0 ? settings.seed : std::random_device{}() % 1'000'000 + 1;
  const Clock::time_point deadline =
      Clock::now() + std::chrono::seconds(Seconds(settings.duration).value_or(0));
  size_t held = 0;
  size_t broken = 0;
  size_t left_out = 0;
  do {
    // A share of the rows only, if the time is short: each time another.
    if (!settings.duration.empty()) std::ranges::shuffle(rows, std::mt19937_64(seed));
    std::printf(
        "seed %llu, commit %s\n\n| Row | Injected | Promised | Seen | No write for | No read for | "
        "Verdict |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n",
        static_cast<unsigned long long>(seed), std::string(BuiltCommit()).c_str());
    for (const Row& row : rows) {
      const std::string why = WhyNot(row, *sandbox);
      if (!why.empty()) PrintNotRun(row, why);
      const Ending ending = why.empty() ? RunRow(row, *sandbox, settings, seed) : Ending::kNotRun;
      if (ending == Ending::kHeld) ++held;
      if (ending == Ending::kBroken) ++broken;
      if (ending == Ending::kNotRun) ++left_out;
      if (!settings.duration.empty() && Clock::now() > deadline) break;
    }
    ++seed;
  } while (Clock::now() < deadline);
  std::printf("\n%zu held, %zu broken, %zu not run\n", held, broken, left_out);
  const bool all_named_ran = settings.rows.empty() || left_out == 0;
  return broken == 0 && all_named_ran ? 0 : 1;
}

}  // namespace
}  // namespace raftkv::faults

int main(int argc, char** argv) { return raftkv::faults::Main(argc, argv); }
