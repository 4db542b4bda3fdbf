// Runs that see a bug if it comes back.
//
// Thread-safety: immutable.
#pragma once

#include <cstdint>

namespace raftkv::sim {

struct PastBug {
  uint64_t seed;
  const char* profile;   // empty: as the seed says
  const char* mutation;  // that brings it back (mutations.cc), and that this run sees
  const char* what;
};

// The seeds that found the bugs first mean other runs by now, as any seed does once the simulator
// draws its numbers otherwise: `./dev sim --mutations --past` finds those anew. A bug that no
// mutation brings back has only its unit test, because nobody could tell whether a seed sees it.
inline constexpr PastBug kPastBugs[] = {
    {15, "", "read_before_first_commit",
     "a read at the only voter went behind an acknowledged write after a restart"},
    {2, "departure", "no_introduction",
     "a member that missed the addition of others refused them, and never came back"},
    {81, "departure", "introduce_once",
     "a member that did not know yet that it is one never learned its leader's address"},
    {8, "departure", "leave_at_once",
     "removed members stopped before those who stay knew, and left them without a majority"},
    {101, "departure", "refuse_before_durable",
     "a member told others that they are removed, and forgot it in a crash"},
    {11, "damage", "agree_unconfirmed",
     "members gave up their data although a majority was damaged"},
    {34, "departure", "no_help_for_candidates",
     "who voted in a configuration that was over asked members that had gone, for ever"},
    {38, "departure", "ask_only_old_voters",
     "a removed member waited for voters that had been removed after it"},
    {144, "copies", "unsorted_removed_ids",
     "a restored cluster let members in under ids that it had to refuse"},
    {113, "damage", "refusal_names_nobody",
     "a damaged member that knew the address of a follower alone never found the leader"},
    {2, "space", "hand_over_in_step", "a leader that waited for space never found a successor"},
    {5, "space", "go_on_after_giving_up",
     "a node that stopped while it waited for space wrote behind a gap"},
};

}  // namespace raftkv::sim
