// raftkv-mutations: switches on one deliberate bug after the other (base/mutations.h) and lets the
// simulator look for it: [NAME|all [RUNS]]. Exit status 1 if one is not found.

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/check.h"
#include "tests/simulation/shrink.h"

namespace raftkv::sim {
namespace {

struct Mutation {
  const char* name;
  const char* bug;
  const char* profile = "";    // of the runs that look for it (profiles.h); empty: any
  const char* unit_test = "";  // of raft_test, that finds it instead
};

constexpr Mutation kMutations[] = {
    {"vote_twice", "grants a vote whatever it voted before"},
    {"vote_for_shorter_log", "grants votes to candidates that lack entries"},
    {"forget_vote", "does not remember its vote"},
    {"answer_before_durable", "sends votes and acknowledgements before the fsync"},
    {"answer_past_the_disk", "answers at once although a write is under way"},
    {"count_leader_before_its_disk", "the leader counts itself before its own fsync"},
    {"minority_commits", "half of the members commit", "figure-eight"},
    {"minority_elects", "half of the members elect"},
    {"joint_commits_by_one_half", "only the new half of a joint configuration commits", "halves"},
    {"joint_elects_by_one_half", "only the new half of a joint configuration elects", "halves"},
    {"commit_former_term_by_count", "counts replicas of entries of former terms", "figure-eight"},
    {"heartbeat_commits_beyond_match", "heartbeats carry the leader's commit index as it is"},
    {"append_without_check", "takes entries without comparing the one before them", "figure-eight"},
    {"late_append_cuts_the_log", "a late append cuts what came after it"},
    {"take_stale_append_done", "a finished write of a former term counts as stable", "",
     "AsyncReady.ReportsOfReplacedWritesAreIgnored"},
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
    {"refusal_names_nobody", "refuses a damaged member without saying whom else to ask"},
    {"agree_unconfirmed", "agrees to replace a damaged member before a majority confirms",
     "damage"},
    {"unsorted_removed_ids", "a restored cluster does not find all ids that it refuses", "copies"},
    {"acknowledge_without_room", "acknowledges what a full disk did not take", "space"},
    {"lead_without_room", "a leader that waits for space never hands over", "space"},
    {"hand_over_in_step", "looks for a successor only when nobody can have answered", "space"},
    {"wait_for_ever", "does not go on when there is space again", "space"},
    {"go_on_after_giving_up", "writes behind what it gave up when it was stopped", "space"},
    {"start_with_lost_log", "starts although its log lacks what its state has applied", "copies"},
};

constexpr uint64_t kMostRuns = 4000;  // unless the second argument says otherwise

const char* ProfileOf(const Mutation& mutation) {
  if (*mutation.unit_test != '\0') return "(raft_test)";
  return *mutation.profile != '\0' ? mutation.profile : "any";
}

// Runs one test of raft_test, which stands beside this program; whether it failed.
bool UnitTestFails(const std::string& self, const std::string& test) {
  const std::string program = std::filesystem::path(self).replace_filename("raft_test");
  const std::string command = "'" + program + "' --gtest_filter='" + test + "' >/dev/null 2>&1";
  const int status = std::system(command.c_str());
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= 1, "raft_test runs");
  return WEXITSTATUS(status) == 1;
}

int Main(int argc, char** argv) {
  size_t missed = 0;
  const uint64_t most_runs = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : kMostRuns;
  std::printf("| Bug | Profile | Found after | By |\n| --- | --- | --- | --- |\n");
  for (const Mutation& mutation : kMutations) {
    if (argc > 1 && argv[1] != std::string("all") && argv[1] != std::string(mutation.name))
      continue;
    // Read once in each child; this process never asks.
    setenv("RAFTKV_MUTATION", mutation.name, 1);
    const double before = ProcessorSeconds();
    std::string found;
    SimTime simulated{0};
    uint64_t seed = 1;
    if (*mutation.unit_test != '\0') {
      if (UnitTestFails(argv[0], mutation.unit_test)) found = mutation.unit_test;
      ++seed;
    }
    for (; seed <= most_runs && found.empty() && *mutation.unit_test == '\0'; ++seed) {
      const RunResult result =
          RunApart({.seed = seed, .profile = mutation.profile}, std::chrono::seconds(20));
      simulated += result.simulated;
      found = result.failure;
    }
    const double took = ProcessorSeconds() - before;
    missed += found.empty() ? 1 : 0;
    std::string by = found.empty() ? "**not found**" : found.substr(0, found.find('\n'));
    if (by.size() > 100) by = by.substr(0, 97) + "...";
    std::printf("| %s: %s | %s | %llu runs, %.1f simulated hours, %.1f s | %s |\n", mutation.name,
                mutation.bug, ProfileOf(mutation), static_cast<unsigned long long>(seed - 1),
                static_cast<double>(simulated.count()) / 3.6e12, took, by.c_str());
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace raftkv::sim

int main(int argc, char** argv) { return raftkv::sim::Main(argc, argv); }
