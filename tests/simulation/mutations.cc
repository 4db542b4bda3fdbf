// raftkv-mutations: switches on one deliberate bug after the other (base/mutations.h) and lets the
// simulator, unit tests and rows of faults look for it: [NAME|all [RUNS]]. Exit status 1 if one is
// not found. Or, with --past [RUNS]: whether the runs that are kept for old bugs (past_bugs.h)
// still see them.

#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/clock.h"
#include "tests/build_stamp/build_stamp.h"
#include "tests/simulation/past_bugs.h"
#include "tests/simulation/shrink.h"

namespace raftkv::sim {
namespace {

struct Mutation {
  const char* name;
  const char* bug;
  const char* profile = "";  // of the simulator's runs that look for it (profiles.h); empty: any
};

constexpr const char* kNotSimulated = "-";

constexpr Mutation kMutations[] = {
    {"vote_twice", "grants a vote whatever it voted before"},
    {"vote_for_shorter_log", "grants votes to candidates that lack entries"},
    {"forget_vote", "does not remember its vote"},
    {"answer_before_durable", "sends votes and acknowledgements before the fsync"},
    {"answer_before_commit", "answers a write when it is proposed"},
    {"answer_past_the_disk", "answers at once although a write is under way"},
    {"count_leader_before_its_disk", "the leader counts itself before its own fsync"},
    {"count_leader_twice", "the leader counts twice, the slowest member not at all"},
    {"apply_before_commit", "applies what is on its own disk"},
    {"minority_commits", "half of the members commit", "figure-eight"},
    {"minority_elects", "half of the members elect"},
    {"joint_commits_by_one_half", "only the new half of a joint configuration commits", "halves"},
    {"joint_elects_by_one_half", "only the new half of a joint configuration elects", "halves"},
    {"commit_former_term_by_count", "counts replicas of entries of former terms", "figure-eight"},
    {"heartbeat_commits_beyond_match", "heartbeats carry the leader's commit index as it is"},
    {"append_without_check", "takes entries without comparing the one before them", "figure-eight"},
    {"late_append_cuts_the_log", "a late append cuts what came after it"},
    {"take_stale_append_done", "a finished write of a former term counts as stable", kNotSimulated},
    {"skip_pre_vote", "campaigns without asking first whether it could win", kNotSimulated},
    {"vote_within_lease", "votes although it hears the leader", "usurper"},
    {"change_while_one_is_pending", "proposes a change while another is not applied", "changes"},
    {"forget_pending_change", "a new leader forgets that a change may be under way", "changes"},
    {"campaign_with_unapplied_change", "campaigns by a configuration known to be outdated",
     "departure"},
    {"read_without_round", "answers read-index requests without a round", "stalled"},
    {"read_before_first_commit", "answers reads before the first commit of the term"},
    {"any_ack_confirms_reads", "an old heartbeat answer confirms newer reads", "stalled"},
    {"any_read_answer_counts", "the answer to an old read round counts for the new one", "stalled"},
    {"read_before_applied", "reads before the confirmed index is applied"},
    {"lease_too_long", "the lease lasts five times as long", "usurper"},
    {"lease_survives_transfer", "the lease holds while leadership is handed over", "handover"},
    {"truncate_to_unflushed", "cuts the log up to the applied, not the flushed index"},
    {"reset_log_before_state", "resets the log before the snapshot's state is in place",
     "installation"},
    {"send_outdated_snapshot", "sends a snapshot that does not name its receiver", "departure"},
    {"refuse_what_is_under_way", "calls proposals lost that may still commit"},
    {"forward_twice", "passes a write on twice"},
    {"apply_done_lost", "the core sometimes does not hear that entries are applied"},
    {"notice_overtakes", "tells the core of some entries that are applied before others"},
    {"leave_at_once", "a removed member stops before the others know", "departure"},
    {"refuse_before_durable", "calls a member removed before that is on its disk", "departure"},
    {"no_introduction", "does not learn of members that it missed", "departure"},
    {"ask_only_old_voters", "a removed member waits for voters that have gone since", "departure"},
    {"no_help_for_candidates", "a candidate is not told that its configuration is over",
     "departure"},
    {"introduce_once", "a member introduces itself once a stream, heard or not", "departure"},
    {"refusal_names_nobody", "refuses a damaged member without saying whom else to ask", "damage"},
    {"agree_unconfirmed", "agrees to replace a damaged member before a majority confirms",
     "damage"},
    {"unsorted_removed_ids", "a restored cluster does not find all ids that it refuses", "copies"},
    {"acknowledge_without_room", "acknowledges what a full disk did not take", "space"},
    {"lead_without_room", "a leader that waits for space never hands over", "space"},
    {"hand_over_in_step", "looks for a successor only when nobody can have answered", "space"},
    {"wait_for_ever", "does not go on when there is space again", "space"},
    {"go_on_after_giving_up", "writes behind what it gave up when it was stopped", "space"},
    {"start_with_lost_log", "starts although its log lacks what its state has applied", "copies"},
    {"read_any_format", "starts with a state that another program wrote", "copies"},
    {"skip_log_sync", "does not sync the log before it calls it written"},
    {"count_no_versions", "a key that is put again keeps the version that it had at first"},
    {"speak_after_tombstone", "a vote that waited for the disk goes out after the tombstone",
     kNotSimulated},
    {"campaign_past_a_change", "campaigns on when it learns that a change is committed",
     "departure"},
    {"skip_directory_sync", "does not sync directories after new names"},
    {"ignore_entry_checksum", "takes log records with a wrong checksum", kNotSimulated},
    {"ignore_identity_checksum", "takes an identity with a wrong checksum", kNotSimulated},
    {"ignore_snapshot_checksum", "takes snapshot files with a wrong checksum", kNotSimulated},
    {"ignore_frame_checksum", "takes messages with a wrong checksum", kNotSimulated},
};

// Where the simulator has nothing to do with the code, or where another instrument is to show that
// it sees the bug, too. The programs stand beside this one.
struct Another {
  const char* name;
  const char* program;
  const char* what;  // a test of it, or a row of raftkv-faults
};
constexpr const char* kFaults = "raftkv-faults";
constexpr Another kOthers[] = {
    {"take_stale_append_done", "raft_test", "AsyncReady.ReportsOfReplacedWritesAreIgnored"},
    {"speak_after_tombstone", "runtime_test",
     "Departure.VoteThatReachesTheDiskAfterTheTombstoneIsNotSent"},
    {"introduce_once", "runtime_test", "Membership.AnIntroductionThatGetsLostIsRepeated"},
    {"read_any_format", "runtime_test",
     "OtherPrograms.AStateOfAnotherFormatIsRefusedAndLeftAsItIs"},
    {"campaign_past_a_change", "raft_test", "Election.WhoLearnsOfACommittedConfChangeStandsBack"},
    {"ignore_entry_checksum", "storage_test", "LogDamageTest.AFlippedBitInAnEntryIsRefused"},
    {"ignore_snapshot_checksum", "storage_test",
     "SnapshotFilesTest.ADamagedTransferIsNoticedAtTheEndOfTheFile"},
    {"ignore_identity_checksum", "storage_test", "DataDir.EveryDamagedByteOfTheIdentityIsNoticed"},
    {"ignore_frame_checksum", "transport_test", "Frame.EveryFlippedBitIsFound"},
    {"skip_log_sync", kFaults, "power-all"},
    {"skip_directory_sync", kFaults, "power-new"},
    {"ignore_frame_checksum", kFaults, "flip-wire"},
    {"ignore_frame_checksum", kFaults, "malformed-frames"},
    {"ignore_identity_checksum", kFaults, "flip-identity"},
    {"count_leader_twice", kFaults, "cut-leader"},
    {"skip_pre_vote", kFaults, "cut-follower"},
    {"skip_pre_vote", kFaults, "cut-bridge"},
    // By the history alone: everything goes on, and every member is content.
    {"read_without_round", kFaults, "clock-frozen-cut"},
    {"answer_before_commit", kFaults, "clock-frozen-cut"},
    {"truncate_to_unflushed", kFaults, "power-all-snapshots"},
};

constexpr uint64_t kMostRuns = 4000;  // unless the second argument says otherwise
constexpr uint64_t kMostRounds = 10;  // of a row
constexpr Duration kPatience = std::chrono::seconds(20);  // with a run, of the processor

void Activate(const char* mutation) {
  // Read once in each child; this process never asks.
  setenv("RAFTKV_MUTATION", mutation, 1);
}

std::string FirstLine(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  if (line.size() > 100) line = line.substr(0, 97) + "...";
  return line;
}

// One line of the table; whether it was found.
bool Print(const Mutation& mutation, const std::string& instrument, const std::string& after,
           const std::string& found) {
  std::printf("| %s: %s | %s | %s | %s |\n", mutation.name, mutation.bug, instrument.c_str(),
              after.c_str(), found.empty() ? "**not found**" : FirstLine(found).c_str());
  std::fflush(stdout);
  return !found.empty();
}

std::string Fixed(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", number);
  return text;
}

bool FindBySimulation(const Mutation& mutation, uint64_t most_runs) {
  const double before = ProcessorSeconds();
  std::string found;
  SimTime simulated{0};
  uint64_t runs = 0;
  while (found.empty() && runs < most_runs) {
    const RunResult result = RunApart({.seed = ++runs, .profile = mutation.profile}, kPatience);
    simulated += result.simulated;
    found = result.failure;
  }
  return Print(
      mutation, "simulator, " + std::string(*mutation.profile != '\0' ? mutation.profile : "any"),
      std::to_string(runs) + " runs, " + Fixed(static_cast<double>(simulated.count()) / 3.6e12) +
          " simulated hours, " + Fixed(ProcessorSeconds() - before) + " s",
      found);
}

// Runs a program that stands beside this one; whether it failed as it does when it finds something,
// or died of it, and what it said.
bool Fails(const std::string& self, const std::string& program, const std::string& arguments,
           std::string* said) {
  const std::string path = std::filesystem::path(self).replace_filename(program);
  FILE* output = popen(("'" + path + "' " + arguments + " 2>&1").c_str(), "r");
  CHECK(output != nullptr, "a shell");
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof(buffer), output)) said->append(buffer, n);
  const int status = pclose(output);
  constexpr int kSignalled = 128;  // and more: what a shell says of a process that a signal ended
  const bool died = WIFSIGNALED(status) || WEXITSTATUS(status) > kSignalled;
  CHECK(died || WEXITSTATUS(status) <= 1, program + " runs");
  return died || WEXITSTATUS(status) == 1;
}

bool FindByRow(const std::string& self, const Mutation& mutation, const std::string& row) {
  const MonotonicTime begun = Clock::System().Now();
  const std::filesystem::path bin = std::filesystem::path(self).parent_path();
  const std::string out = (bin.parent_path() / "mutation-failures").string();
  std::string found;
  uint64_t rounds = 0;
  while (found.empty() && rounds < kMostRounds) {
    std::string said;
    const std::string arguments =
        "--row " + row + " --span 10 --out '" + out + "' --seed " + std::to_string(++rounds);
    if (!Fails(self, kFaults, arguments, &said)) continue;
    const std::string begin = row + ", seed " + std::to_string(rounds) + ": ";
    const size_t at = said.find(begin);
    CHECK(at != std::string::npos, "a row that is broken says why");
    const size_t from = at + begin.size();
    found = said.substr(from, said.find("\n  commit: ", from) - from);
    std::ranges::replace(found, '\n', ' ');  // what comes first may end with a colon
  }
  const auto took = std::chrono::duration<double>(Clock::System().Now() - begun).count();
  return Print(
      mutation, "faults, " + row,
      std::to_string(rounds) + (rounds == 1 ? " round, " : " rounds, ") + Fixed(took) + " s",
      found);
}

bool FindByTest(const std::string& self, const Mutation& mutation, const Another& test) {
  std::string said;
  const bool fails =
      Fails(self, test.program, "--gtest_filter='" + std::string(test.what) + "'", &said);
  return Print(mutation, test.program, "1 test", fails ? test.what : "");
}

// With every instrument that knows it; how many did not find it.
size_t Find(const std::string& self, const Mutation& mutation, uint64_t most_runs) {
  Activate(mutation.name);
  size_t missed = 0;
  if (std::string_view(mutation.profile) != kNotSimulated) {
    missed += FindBySimulation(mutation, most_runs) ? 0 : 1;
  }
  for (const Another& other : kOthers) {
    if (std::string_view(other.name) != mutation.name) continue;
    const bool found = std::string_view(other.program) == kFaults
                           ? FindByRow(self, mutation, other.what)
                           : FindByTest(self, mutation, other);
    missed += found ? 0 : 1;
  }
  return missed;
}

// Whether each run that is kept for a bug still sees the mutation that brings it back. Of those
// that do not, names the first that does.
size_t CheckPast(uint64_t most_runs) {
  size_t stale = 0;
  for (const PastBug& bug : kPastBugs) {
    Activate(bug.mutation);
    const std::string found =
        RunApart({.seed = bug.seed, .profile = bug.profile}, kPatience).failure;
    std::printf("%s: seed %llu: %s\n", bug.mutation, static_cast<unsigned long long>(bug.seed),
                found.empty() ? "does not see it any more" : FirstLine(found).c_str());
    std::fflush(stdout);
    if (!found.empty()) continue;
    ++stale;
    for (uint64_t seed = 1; seed <= most_runs; ++seed) {
      if (RunApart({.seed = seed, .profile = bug.profile}, kPatience).failure.empty()) continue;
      std::printf("  the first that does: %llu\n", static_cast<unsigned long long>(seed));
      break;
    }
  }
  if (stale > 0) {
    std::printf(
        "%zu stale: with what changed, other seeds see these bugs. `./dev sim --mutations --past` "
        "finds them; they go into tests/simulation/past_bugs.h\n",
        stale);
  }
  return stale;
}

int Main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  uint64_t most_runs = kMostRuns;
  if (argc > 2) {
    const std::string_view count = argv[2];
    const auto [at, error] = std::from_chars(count.begin(), count.end(), most_runs);
    if (argc > 3 || error != std::errc() || at != count.end()) {
      std::fprintf(stderr, "usage: raftkv-mutations [all | NAME | --past] [MOST_RUNS]\n");
      return 2;
    }
  }
  if (what == "--past") return CheckPast(most_runs) == 0 ? 0 : 1;
  size_t missed = 0;
  bool known = false;
  std::printf("commit %s\n\n", std::string(BuiltCommit()).c_str());
  std::printf("| Bug | Instrument | Found after | By |\n| --- | --- | --- | --- |\n");
  for (const Mutation& mutation : kMutations) {
    if (what != "all" && what != mutation.name) continue;
    known = true;
    missed += Find(argv[0], mutation, most_runs);
  }
  if (!known) {
    std::fprintf(stderr, "there is no mutation '%s'\n", what.c_str());
    return 2;
  }
  return missed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace raftkv::sim

int main(int argc, char** argv) { return raftkv::sim::Main(argc, argv); }
