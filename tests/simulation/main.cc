// raftkv-sim: runs simulations on fresh or given seeds, shrinks what fails, and tells what was run.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tests/build_stamp/build_stamp.h"
#include "tests/simulation/profiles.h"
#include "tests/simulation/shrink.h"

namespace raftkv::sim {
namespace {

struct Arguments {
  std::optional<uint64_t> seed;
  std::optional<uint64_t> seeds;
  std::string duration;
  std::string keep;  // empty: everything
  std::string history;
  std::string profile;
  bool events = false;
  bool same_process = false;

  bool one_run() const { return seed && !seeds && duration.empty(); }
};

constexpr std::string_view kNone = "none";  // of the faults

double Seconds(Duration duration) { return static_cast<double>(duration.count()) / 1e9; }

// "90", "90s", "10m", "2h".
Result<Duration> ParseDuration(const std::string& text) {
  size_t end = 0;
  while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
  const std::string unit = text.substr(end);
  if (end == 0 || end > 6 || (unit != "" && unit != "s" && unit != "m" && unit != "h")) {
    return Error(Code::kInvalidArgument, "'" + text + "' is no duration like 90s, 10m or 2h");
  }
  const int64_t factor = unit == "h" ? 3600 : unit == "m" ? 60 : 1;
  const int64_t count = std::stoll(text.substr(0, end));
  if (count == 0) {
    return Error(Code::kInvalidArgument, "--for " + text + " runs nothing: give it more time");
  }
  return std::chrono::seconds(count * factor);
}

std::string Command(const RunOptions& options, const std::vector<size_t>* keep) {
  std::string command = "./dev sim --seed " + std::to_string(options.seed);
  if (!options.profile.empty()) command += " --profile " + options.profile;
  if (keep == nullptr) return command;
  command += " --keep ";
  for (size_t i = 0; i < keep->size(); ++i)
    command += (i > 0 ? "," : "") + std::to_string((*keep)[i]);
  // Nothing kept is something else than everything kept.
  if (keep->empty()) command += kNone;
  return command;
}

// Positions in the schedule of this run: "0,3", or "none".
Result<std::vector<size_t>> ParseKeep(const std::string& text, size_t faults) {
  std::vector<size_t> kept;
  if (text == kNone) return kept;
  for (std::string_view rest = text;;) {
    const std::string_view word = rest.substr(0, rest.find(','));
    size_t position = 0;
    const char* end = word.data() + word.size();
    const auto [at, error] = std::from_chars(word.data(), end, position);
    if (error != std::errc() || at != end || position >= faults) {
      return Error(Code::kInvalidArgument,
                   "--keep: '" + std::string(word) +
                       "' is no fault of this run, whose schedule has " +
                       (faults == 0 ? "none" : "0 to " + std::to_string(faults - 1)) +
                       "; give some of them (0,3), or none");
    }
    kept.push_back(position);
    if (word.size() == rest.size()) break;
    rest.remove_prefix(word.size() + 1);
  }
  std::ranges::sort(kept);
  return kept;
}

// What would be ignored, and what to do instead; empty: nothing.
std::string Refusal(const Arguments& arguments) {
  if (arguments.seeds == 0) return "--seeds 0 runs nothing: give a number from 1";
  if (arguments.seeds && !arguments.duration.empty()) {
    return "--seeds and --for both say when to end: give one of them";
  }
  if (arguments.one_run()) return "";
  const std::pair<const char*, bool> of_one_run[] = {
      {"--keep", !arguments.keep.empty()},
      {"--history", !arguments.history.empty()},
      {"--events", arguments.events},
      {"--same-process", arguments.same_process},
  };
  for (const auto& [name, given] : of_one_run) {
    if (!given) continue;
    return std::string(name) + " is for one run: give its --seed" +
           (arguments.seed ? ", without --seeds and --for" : "");
  }
  return "";
}

void Report(const RunOptions& options, const RunResult& result) {
  std::printf("\nFAILED after %.3f simulated seconds: %s\n", Seconds(result.failed_at),
              result.failure.c_str());
  std::printf("  commit: %s\n", std::string(BuiltCommit()).c_str());
  std::printf("  again:  %s\n", Command(options, options.keep ? &*options.keep : nullptr).c_str());
  std::fflush(stdout);
  const std::vector<size_t> left =
      Shrink(options, result.failure, std::chrono::minutes(2), [](size_t count) {
        std::printf("\r  shrinking: %zu faults left ", count);
        std::fflush(stdout);
      });
  const std::vector<Fault> faults = FaultsOf(options);
  std::printf("\r  shortest schedule found (%zu of %zu faults):\n", left.size(), faults.size());
  for (const size_t position : left) {
    if (position < faults.size())
      std::printf("    %4zu %s\n", position, faults[position].Text().c_str());
  }
  std::printf("  again:  %s\n\n", Command(options, &left).c_str());
}

class Batch {
 public:
  // Returns false if the run failed.
  bool One(const RunOptions& options, bool same_process) {
    const RunResult result = same_process ? Run(options) : RunApart(options);
    ++runs_;
    coverage_.Add(result.coverage);
    simulated_ += result.simulated;
    operations_ += result.operations;
    events_ += result.events;
    last_ = result;
    if (result.failure.empty()) return true;
    ++failed_;
    if (same_process) {
      std::printf("FAILED: %s\n  seed %llu, commit: %s\n", result.failure.c_str(),
                  static_cast<unsigned long long>(options.seed),
                  std::string(BuiltCommit()).c_str());
    } else {
      Report(options, result);
    }
    return false;
  }

  void Progress() const {
    std::printf("\r%llu runs, %.1f simulated hours, %llu failed ",
                static_cast<unsigned long long>(runs_), Seconds(simulated_) / 3600,
                static_cast<unsigned long long>(failed_));
    std::fflush(stdout);
  }

  void Summary(Duration took) const {
    std::printf("\r%64s\r%s%s", "", coverage_.Table().c_str(), coverage_.Missing().c_str());
    std::printf(
        "%llu runs, %llu failed: %.1f simulated hours, %llu operations, %llu events in %.1f s (of "
        "the processor: %.1f s, %.0f simulated hours in an hour)\n",
        static_cast<unsigned long long>(runs_), static_cast<unsigned long long>(failed_),
        Seconds(simulated_) / 3600, static_cast<unsigned long long>(operations_),
        static_cast<unsigned long long>(events_), Seconds(took), ProcessorSeconds(),
        Seconds(simulated_) / ProcessorSeconds());
  }

  void PrintLast() const {
    std::printf(
        "%zu faults drawn, %.1f s simulated, %llu operations, %llu events, hash %016llx\n",
        last_.faults, Seconds(last_.simulated), static_cast<unsigned long long>(last_.operations),
        static_cast<unsigned long long>(last_.events), static_cast<unsigned long long>(last_.hash));
    const std::string missing = last_.coverage.MissingNames();
    if (!missing.empty()) std::printf("never reached in this run: %s\n", missing.c_str());
  }

  uint64_t failed() const { return failed_; }

 private:
  uint64_t runs_ = 0;
  uint64_t failed_ = 0;
  uint64_t operations_ = 0;
  uint64_t events_ = 0;
  SimTime simulated_{0};
  Coverage coverage_;
  RunResult last_;
};

int Usage(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return 2;
}

int RunOneSeed(const Arguments& arguments) {
  RunOptions options{.seed = *arguments.seed, .profile = arguments.profile};
  if (!arguments.keep.empty()) {
    Result<std::vector<size_t>> keep = ParseKeep(arguments.keep, FaultsOf(options).size());
    if (!keep) return Usage(keep.error().message());
    options.keep = *std::move(keep);
  }
  options.print_events = arguments.events;
  options.history_file = arguments.history;
  Batch batch;
  const bool ok = batch.One(options, arguments.same_process);
  batch.PrintLast();
  return ok ? 0 : 1;
}

int RunMany(const Arguments& arguments, Duration limit) {
  const MonotonicTime started = Clock::System().Now();
  const uint64_t first = arguments.seed.value_or(SystemEntropy() >> 32);
  std::printf("seeds from %llu on, commit %s\n", static_cast<unsigned long long>(first),
              std::string(BuiltCommit()).c_str());
  Batch batch;
  constexpr uint64_t kEnoughFailures = 10;
  for (uint64_t i = 0; batch.failed() < kEnoughFailures; ++i) {
    if (arguments.seeds ? i == *arguments.seeds : Clock::System().Now() - started >= limit) break;
    (void)batch.One({.seed = first + i, .profile = arguments.profile}, false);
    if (i % 50 == 0) batch.Progress();
  }
  batch.Summary(Clock::System().Now() - started);
  return batch.failed() == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Simulates whole clusters, deterministically (docs/testing-simulation.md)"};
  app.set_version_flag("--version", std::string(BuiltCommit()),
                       "the commit that it was built from");
  app.add_option("--seed", arguments.seed, "this run alone, or the first of --seeds");
  app.add_option("--seeds", arguments.seeds, "so many runs, on consecutive seeds");
  app.add_option("--for", arguments.duration, "as many runs as fit into this time (10m)");
  app.add_option("--keep", arguments.keep,
                 "with --seed: only these faults of the schedule (0,3), or none");
  app.add_option("--history", arguments.history, "with --seed: write what the clients saw there");
  app.add_option("--profile", arguments.profile, "knobs that belong together: see profiles.cc")
      ->check([](const std::string& name) {
        return FindProfile(name) != nullptr ? "" : "there is no profile '" + name + "'";
      });
  app.add_flag("--events", arguments.events, "with --seed: print every event and log line");
  app.add_flag("--same-process", arguments.same_process, "with --seed: for a debugger");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (const std::string refusal = Refusal(arguments); !refusal.empty()) return Usage(refusal);
  Duration limit = std::chrono::minutes(1);
  if (!arguments.duration.empty()) {
    const Result<Duration> parsed = ParseDuration(arguments.duration);
    if (!parsed) return Usage(parsed.error().message());
    limit = *parsed;
  }
  return arguments.one_run() ? RunOneSeed(arguments) : RunMany(arguments, limit);
}

}  // namespace
}  // namespace raftkv::sim

int main(int argc, char** argv) { return raftkv::sim::Main(argc, argv); }
