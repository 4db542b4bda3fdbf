#include <algorithm>

#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

constexpr LinkFault kCut{.cut = true};

// Cuts with `cut`, waits for progress of the rest, heals; several times. `cut` gives who reaches no
// majority then. `calm`: leader and term stay.
Status CutAgainAndAgain(Bed& bed, bool calm,
                        const std::function<Result<std::vector<size_t>>()>& cut) {
  Calm reign(bed);
  int cuts = 0;
  while (!bed.Over() || (calm && reign.WantsMore())) {
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(reign.BeginRound());
    ASSIGN_OR_RETURN_STATUS(const std::vector<size_t> minority, cut());
    bed.BeginFault();
    bed.BeginMinority(minority);
    RETURN_IF_ERROR(ExpectMinority(bed, minority));
    bed.Pace(milliseconds(1500));
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(bed.EndFault());
    RETURN_IF_ERROR(ExpectMinority(bed, minority));
    bed.EndMinority();
    bed.proxies().Heal();
    for (size_t i = 0; i < bed.size(); ++i) RETURN_IF_ERROR(bed.Ready(i));
    RETURN_IF_ERROR(reign.EndRound());
    ++cuts;
  }
  bed.Note(std::to_string(cuts) + " cuts");
  return calm ? reign.Judge() : Status::Ok();
}

Status LeaderAlone(Bed& bed, Cut how) {
  return CutAgainAndAgain(bed, false, [&bed, how]() -> Result<std::vector<size_t>> {
    ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
    CutAway(bed, {leader}, how);
    return std::vector{leader};
  });
}

Status FollowerAlone(Bed& bed) {
  return CutAgainAndAgain(bed, true, [&bed]() -> Result<std::vector<size_t>> {
    ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    CutAway(bed, {follower}, Cut::kBoth);
    return std::vector{follower};
  });
}

void CutApart(Bed& bed, size_t a, size_t c) {
  bed.proxies().Set(a, c, kCut);
  bed.proxies().Set(c, a, kCut);
}

// One that does not hear the leader, in the middle of others who do, would unseat it when the
// network heals, if it had asked for votes of a term of its own.
Status Bridge(Bed& bed) {
  return CutAgainAndAgain(bed, true, [&bed]() -> Result<std::vector<size_t>> {
    ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    CutApart(bed, leader, follower);
    RETURN_UNEXPECTED_IF_ERROR(AwaitLost(bed, follower, leader));
    return std::vector<size_t>{};
  });
}

// Both followers hear the leader: nothing may come of it.
Status LeaderIsBridge(Bed& bed) {
  return CutAgainAndAgain(bed, true, [&bed]() -> Result<std::vector<size_t>> {
    ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
    CutApart(bed, (leader + 1) % bed.size(), (leader + 2) % bed.size());
    return std::vector<size_t>{};
  });
}

Status Halves(Bed& bed) {
  return CutAgainAndAgain(bed, false, [&bed]() -> Result<std::vector<size_t>> {
    const size_t first = bed.Pick(bed.size());
    std::vector<size_t> side;
    for (size_t i = 0; i < bed.size() / 2; ++i) side.push_back((first + i) % bed.size());
    CutAway(bed, side, Cut::kBoth);
    return side;
  });
}

// The same on every link for the whole row.
Status Everywhere(Bed& bed, LinkFault fault) {
  for (size_t i = 0; i < bed.size(); ++i) bed.proxies().SetAround(i, bed.size(), fault);
  bed.BeginFault();
  while (!bed.Over()) RETURN_IF_ERROR(bed.Progress());
  RETURN_IF_ERROR(bed.EndFault());
  const uint64_t connections = bed.proxies().connections();
  bed.Note(std::to_string(connections) + " peer connections");
  return Status::Ok();
}

Status RepeatFrames(Bed& bed) {
  RETURN_IF_ERROR(Everywhere(bed, {.repeat = 0.3}));
  bed.Note(std::to_string(bed.proxies().repeated()) + " frames repeated, with " +
           std::to_string(bed.proxies().repeated_calls()) + " calls and replies");
  return Expect(bed.proxies().repeated_calls() > 0, "frames with calls are repeated");
}

Status Reorder(Bed& bed) {
  RETURN_IF_ERROR(Everywhere(bed, {.late = 0.2}));
  bed.Note(std::to_string(bed.proxies().overtaken()) + " frames overtaken");
  return Expect(bed.proxies().overtaken() > 0, "raft messages are overtaken by later ones");
}

Status Resets(Bed& bed) {
  int resets = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    bed.proxies().ResetAround(bed.Pick(bed.size()));
    ++resets;
    bed.Pace(milliseconds(300));
    RETURN_IF_ERROR(bed.Progress(5));
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(resets) + " rounds of resets");
  return Status::Ok();
}

// Until the others have forgotten what the one that is cut off would need. `links` are what all
// links are like otherwise.
Status CutUntilSnapshot(Bed& bed, LinkFault links) {
  Calm reign(bed);
  int rounds = 0;
  while (!bed.Over() || (links == LinkFault{} && reign.WantsMore())) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    const std::optional<v1::StatusResponse> before = bed.node(leader).Status();
    if (!before) continue;
    RETURN_IF_ERROR(reign.BeginRound());
    CutAway(bed, {follower}, Cut::kBoth);
    bed.BeginFault();
    bed.BeginMinority({follower});
    RETURN_IF_ERROR(bed.WaitFor("the log is cut", [&] {
      const std::optional<v1::StatusResponse> now = bed.node(leader).Status();
      return now && (now->first_index() > before->last_index() ||
                     now->role() != v1::StatusResponse::LEADER);
    }));
    RETURN_IF_ERROR(ExpectMinority(bed, {follower}));
    bed.EndMinority();
    // What the proxy holds back would bring it up to date.
    bed.proxies().ResetAround(follower);
    bed.proxies().Heal();
    for (size_t i = 0; i < bed.size(); ++i) bed.proxies().SetAround(i, bed.size(), links);
    RETURN_IF_ERROR(bed.Ready(follower));
    RETURN_IF_ERROR(bed.EndFault());
    RETURN_IF_ERROR(reign.EndRound());
    ++rounds;
  }
  size_t installed = 0;
  for (size_t i = 0; i < bed.size(); ++i) installed += Installations(bed, i);
  bed.Note(std::to_string(rounds) + " cuts, " + std::to_string(installed) + " snapshots installed");
  RETURN_IF_ERROR(Expect(installed > 0, "a snapshot was needed"));
  // Wrong bits break the leader's connections to all.
  return links == LinkFault{} ? reign.Judge() : Status::Ok();
}

// The second while the member has hardly begun with what the first has brought.
Status TwoSnapshots(Bed& bed) {
  int rounds = 0;
  do {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    for (int snapshot = 1; snapshot <= 2; ++snapshot) {
      const size_t before = Installations(bed, follower);
      RETURN_IF_ERROR(LeaveBehind(bed, follower));
      if (snapshot == 1) bed.BeginFault();
      bed.Restart(follower);
      RETURN_IF_ERROR(bed.WaitFor("a snapshot is installed",
                                  [&] { return Installations(bed, follower) > before; }));
    }
    RETURN_IF_ERROR(bed.EndFault());
    RETURN_IF_ERROR(ReadyAsBefore(bed, follower));
    ++rounds;
  } while (!bed.Over());
  bed.Note(std::to_string(rounds) + " times two snapshots, one right after the other");
  return Status::Ok();
}

void FiveNodes(BedOptions& options) {
  options.nodes = 5;
  options.load.clients_per_node = 1;
}

}  // namespace

std::vector<Row> NetworkRows() {
  return {
      {.name = "cut-leader",
       .injected = "the leader alone, both ways; its clients stay",
       .promised = "it refuses reads and writes, the others elect and go on",
       .run = [](Bed& bed) { return LeaderAlone(bed, Cut::kBoth); }},
      {.name = "cut-follower",
       .injected = "a follower alone, both ways",
       .promised =
           "it refuses reads and writes, the others go on; leader and term stay, also when it "
           "comes back (PreVote)",
       .gaps = kNoElection,
       .run = FollowerAlone},
      {.name = "cut-one-way-mute",
       .injected = "nobody hears the leader; it hears all",
       .promised = "it refuses reads and writes, another is elected",
       .run = [](Bed& bed) { return LeaderAlone(bed, Cut::kFromIt); }},
      {.name = "cut-one-way-deaf",
       .injected = "the leader hears nobody; all hear it",
       .promised = "it steps down (check quorum) and refuses reads and writes, another is elected",
       .run = [](Bed& bed) { return LeaderAlone(bed, Cut::kToIt); }},
      {.name = "cut-bridge",
       .injected = "the leader and one of two followers do not reach each other, both reach the "
                   "other one, until that follower knows no leader",
       .promised = "goes on, no livelock: leader and term stay, also when the follower hears the "
                   "leader again (PreVote)",
       .gaps = kNoElection,
       .run = Bridge},
      {.name = "cut-bridge-leader",
       .injected = "the two followers do not reach each other, both reach the leader",
       .promised = "goes on: leader and term stay",
       .gaps = kNoElection,
       .run = LeaderIsBridge},
      {.name = "cut-halves-of-5",
       .injected = "two of five nodes apart from three",
       .promised = "the two refuse reads and writes, the three go on",
       .run = Halves,
       .prepare = FiveNodes},
      {.name = "cut-until-snapshot",
       .injected = "a follower alone until the others' logs begin after its own end",
       .promised =
           "it refuses reads and writes meanwhile, gets a snapshot and serves again; leader and "
           "term stay",
       .gaps = kNoElection,
       .run = [](Bed& bed) { return CutUntilSnapshot(bed, {}); },
       .prepare = ShortLogs},
      {.name = "two-snapshots",
       .injected = "a follower is killed as soon as it has installed a snapshot, until the others' "
                   "logs begin after that",
       .promised = "it gets a second one and serves again as the member that it was",
       .run = TwoSnapshots,
       .prepare = ShortLogs},
      {.name = "flip-wire",
       .injected = "a wrong bit in 1 % of the reads between nodes",
       .promised = "the checksum notices, the connection is made anew; nothing wrong is taken over",
       .gaps = kBadLinks,
       .run = [](Bed& bed) { return Everywhere(bed, {.flip = 0.01}); }},
      {.name = "flip-wire-snapshot",
       .injected = "a wrong bit in 5 % of the reads while snapshots are sent",
       .promised = "the transfer goes on where it was; nothing wrong is installed",
       .gaps = kBadLinks,
       .run = [](Bed& bed) { return CutUntilSnapshot(bed, {.flip = 0.05}); },
       .prepare = ShortLogs},
      {.name = "delay",
       .injected = "75 to 125 ms on every link, each way",
       .promised = "goes on",
       .gaps = kBadLinks,
       .run =
           [](Bed& bed) {
             return Everywhere(bed, {.delay = milliseconds(75), .jitter = milliseconds(50)});
           }},
      {.name = "reorder",
       .injected =
           "20 % of the frames with raft messages come behind one to four of the next ones, "
           "on the same connection",
       .promised = "goes on",
       .gaps = kBadLinks,
       .run = Reorder},
      {.name = "jitter",
       .injected = "0 to 60 ms on each read: connections overtake each other",
       .promised = "goes on",
       .gaps = kBadLinks,
       .run = [](Bed& bed) { return Everywhere(bed, {.jitter = milliseconds(60)}); }},
      {.name = "duplicate",
       .injected =
           "after 30 % of the frames between nodes one of the last eight with messages, calls or "
           "replies comes again, on the same connection",
       .promised = "goes on; no forwarded write, change or hand-over is carried out twice",
       .gaps = kBadLinks,
       .run = RepeatFrames},
      {.name = "loss",
       .injected = "5 % of reads stall their connection for 200 ms, as TCP does at a lost segment",
       .promised = "goes on",
       .gaps = kBadLinks,
       .run = [](Bed& bed) { return Everywhere(bed, {.stall = 0.05}); }},
      {.name = "reset-random",
       .injected = "1 % of reads break their connection",
       .promised = "reconnects; nothing is applied twice",
       .gaps = kBadLinks,
       .run = [](Bed& bed) { return Everywhere(bed, {.reset = 0.01}); }},
      {.name = "reset-all",
       .injected = "all peer connections of a node reset at once, several times a second",
       .promised = "reconnects; nothing is applied twice",
       .gaps = kBadLinks,
       .run = Resets},
  };
}

}  // namespace raftkv::faults
