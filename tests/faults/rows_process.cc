#include <algorithm>

#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

// Kills some, lets the rest go on for a moment, starts them again.
Status KillAgainAndAgain(Bed& bed, const std::function<Result<std::vector<size_t>>()>& choose) {
  int kills = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const std::vector<size_t> victims, choose());
    bed.Pace(milliseconds(200));
    const bool outage = victims.size() * 2 >= bed.size();
    std::vector<size_t> left;
    for (size_t i = 0; i < bed.size(); ++i) {
      if (outage && std::ranges::find(victims, i) == victims.end()) left.push_back(i);
    }
    for (const size_t i : victims) bed.Kill(i);
    kills += static_cast<int>(victims.size());
    outage ? bed.BeginOutage() : bed.BeginFault();
    bed.Pace(milliseconds(800));
    if (!outage) RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(ExpectMinority(bed, left));
    RETURN_IF_ERROR(outage ? bed.EndOutage() : bed.EndFault());
    for (const size_t i : victims) bed.Restart(i);
    for (const size_t i : victims) RETURN_IF_ERROR(ReadyAsBefore(bed, i));
  }
  bed.Note(std::to_string(kills) + " kills");
  return Status::Ok();
}

Status KillOne(Bed& bed) {
  return KillAgainAndAgain(bed, [&bed] { return std::vector{bed.Pick(bed.size())}; });
}

Status KillLeader(Bed& bed) {
  return KillAgainAndAgain(bed, [&bed]() -> Result<std::vector<size_t>> {
    ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
    return std::vector{leader};
  });
}

Status KillMajority(Bed& bed) {
  return KillAgainAndAgain(bed, [&bed] {
    const size_t first = bed.Pick(bed.size());
    std::vector<size_t> victims;
    for (size_t i = 0; i < bed.size() / 2 + 1; ++i) victims.push_back((first + i) % bed.size());
    return victims;
  });
}

Status KillAll(Bed& bed) {
  return KillAgainAndAgain(bed, [&bed] {
    std::vector<size_t> victims;
    for (size_t i = 0; i < bed.size(); ++i) victims.push_back(i);
    return victims;
  });
}

// SIGSTOP of the leader and of followers for so long.
Status PauseFor(Bed& bed, milliseconds least, milliseconds most, Within within) {
  int pauses = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t victim = bed.Pick(3) > 0 ? leader : bed.Other(leader);
    bed.Pause(victim);
    bed.BeginFault();
    std::this_thread::sleep_for(least);
    bed.Pace(most - least);
    RETURN_IF_ERROR(bed.EndFault(within));
    bed.Resume(victim);
    ++pauses;
    RETURN_IF_ERROR(bed.Ready(victim));
  }
  bed.Note(std::to_string(pauses) + " pauses");
  return Status::Ok();
}

// Followers alone: nobody has a reason to vote, neither while one is away nor when it comes back.
Status PauseFollowers(Bed& bed) {
  Calm reign(bed);
  while (!bed.Over() || reign.WantsMore()) {
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(reign.BeginRound());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t victim = bed.Other(leader);
    bed.Pause(victim);
    bed.BeginFault();
    // Several election timeouts.
    std::this_thread::sleep_for(milliseconds(2000));
    bed.Pace(milliseconds(2000));
    RETURN_IF_ERROR(bed.EndFault());
    bed.Resume(victim);
    RETURN_IF_ERROR(bed.Ready(victim));
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(reign.EndRound());
  }
  return reign.Judge();
}

Status PauseAll(Bed& bed) {
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    for (size_t i = 0; i < bed.size(); ++i) bed.Pause(i);
    bed.BeginOutage();
    bed.Pace(milliseconds(500));
    RETURN_IF_ERROR(bed.EndOutage());
    for (size_t i = 0; i < bed.size(); ++i) {
      bed.Resume(i);
      bed.Pace(milliseconds(200));
    }
  }
  return Status::Ok();
}

void FiveNodes(BedOptions& options) {
  options.nodes = 5;
  options.load.clients_per_node = 1;
}

}  // namespace

std::vector<Row> ProcessRows() {
  return {
      {.name = "kill-one",
       .injected = "SIGKILL of any one node, again and again",
       .promised = "no outage beyond an election",
       .run = KillOne},
      {.name = "kill-leader",
       .injected = "SIGKILL of the leader, again and again",
       .promised = "no outage beyond an election",
       .run = KillLeader},
      {.name = "kill-majority",
       .injected = "SIGKILL of two of three nodes at once",
       .promised = "nothing is acknowledged meanwhile, the one that is left refuses reads and "
                   "writes; goes on when they are back",
       .gaps = kAfterOutage,
       .run = KillMajority},
      {.name = "kill-majority-of-5",
       .injected = "SIGKILL of three of five nodes at once",
       .promised = "as above",
       .gaps = kAfterOutage,
       .run = KillMajority,
       .prepare = FiveNodes},
      {.name = "kill-all",
       .injected = "SIGKILL of all nodes at once",
       .promised = "recovers from disk",
       .gaps = kAfterOutage,
       .run = KillAll},
      {.name = "pause-short",
       .injected = "SIGSTOP of leader or follower, 0.1 to 1 s",
       .promised = "no stale read, no acknowledgement by an old leader; goes on afterwards",
       .run =
           [](Bed& bed) {
             return PauseFor(bed, milliseconds(100), milliseconds(1000), Within::kNothing);
           }},
      {.name = "pause-long",
       .injected = "SIGSTOP of leader or follower, 2 to 6 s",
       .promised = "the others go on; no stale read by an old leader",
       .run =
           [](Bed& bed) {
             return PauseFor(bed, milliseconds(2000), milliseconds(6000), Within::kGoesOn);
           }},
      {.name = "pause-30s",
       .injected = "SIGSTOP of leader or follower, 30 s",
       .promised = "as above",
       .run =
           [](Bed& bed) {
             return PauseFor(bed, milliseconds(30'000), milliseconds(30'000), Within::kGoesOn);
           },
       // As many requests as in the other rows: of several times as many, with the outcome of
       // dozens unknown, the checker finds no verdict within its memory.
       .prepare = [](BedOptions& options) { options.load.pause = milliseconds(75); }},
      {.name = "pause-follower",
       .injected = "SIGSTOP of a follower, 2 to 4 s",
       .promised = "the others go on; leader and term stay, also when it comes back (PreVote)",
       .gaps = kNoElection,
       .run = PauseFollowers},
      {.name = "pause-all",
       .injected = "SIGSTOP of all nodes until requests of within it have timed out, SIGCONT one "
                   "after the other",
       .promised = "nothing is acknowledged meanwhile; goes on when they run again",
       .gaps = kAfterOutage,
       .run = PauseAll},
  };
}

}  // namespace raftkv::faults
