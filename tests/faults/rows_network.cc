#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

constexpr LinkFault kCut{.cut = true};

// Whether the node refuses what only a member of a majority may answer.
Status ExpectMinority(Bed& bed, size_t i) {
  RETURN_IF_ERROR(bed.WaitFor(bed.node(i).name() + " refuses reads and writes", [&] {
    const int read = bed.node(i).Client("GET", "/kv/k0").status;
    return read == 503 || read == 504;
  }));
  return Expect(bed.node(i).Client("GET", "/kv/?start=k&consistency=stale").status == 200,
                "a node without a majority answers stale reads");
}

// Cuts with `cut`, waits for progress of the rest, heals; several times.
Status CutAgainAndAgain(Bed& bed, const std::function<Status()>& cut) {
  int cuts = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(cut());
    bed.BeginFault();
    bed.Pace(milliseconds(1500));
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(bed.EndFault());
    bed.proxies().Heal();
    for (size_t i = 0; i < bed.size(); ++i) RETURN_IF_ERROR(bed.Ready(i));
    ++cuts;
  }
  bed.Note(std::to_string(cuts) + " cuts");
  return Status::Ok();
}

Status LeaderAlone(Bed& bed) {
  return CutAgainAndAgain(bed, [&bed]() -> Status {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    bed.proxies().SetAround(leader, bed.size(), kCut);
    return ExpectMinority(bed, leader);
  });
}

Status FollowerAlone(Bed& bed) {
  return CutAgainAndAgain(bed, [&bed]() -> Status {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    bed.proxies().SetAround(follower, bed.size(), kCut);
    return ExpectMinority(bed, follower);
  });
}

// The leader is not heard, or does not hear: the two are different faults.
Status OneWay(Bed& bed, bool leader_is_deaf) {
  return CutAgainAndAgain(bed, [&bed, leader_is_deaf]() -> Status {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    for (size_t i = 0; i < bed.size(); ++i) {
      if (i == leader) continue;
      if (leader_is_deaf) {
        bed.proxies().Set(i, leader, kCut);
      } else {
        bed.proxies().Set(leader, i, kCut);
      }
    }
    return Status::Ok();
  });
}

// A and C see each other only through B, which leads or not.
Status Bridge(Bed& bed) {
  return CutAgainAndAgain(bed, [&bed]() -> Status {
    const size_t a = bed.Pick(bed.size());
    const size_t c = bed.Other(a);
    bed.proxies().Set(a, c, kCut);
    bed.proxies().Set(c, a, kCut);
    return Status::Ok();
  });
}

Status Halves(Bed& bed) {
  return CutAgainAndAgain(bed, [&bed]() -> Status {
    const size_t first = bed.Pick(bed.size());
    for (size_t a = 0; a < bed.size(); ++a) {
      for (size_t b = 0; b < bed.size(); ++b) {
        const bool one = (a + bed.size() - first) % bed.size() < bed.size() / 2;
        const bool other = (b + bed.size() - first) % bed.size() < bed.size() / 2;
        if (one != other) bed.proxies().Set(a, b, kCut);
      }
    }
    return Status::Ok();
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
  int rounds = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    const std::optional<v1::StatusResponse> before = bed.node(leader).Status();
    if (!before) continue;
    bed.proxies().SetAround(follower, bed.size(), kCut);
    bed.BeginFault();
    RETURN_IF_ERROR(bed.WaitFor("the log is cut", [&] {
      const std::optional<v1::StatusResponse> now = bed.node(leader).Status();
      return now && (now->first_index() > before->last_index() ||
                     now->role() != v1::StatusResponse::LEADER);
    }));
    // What the proxy holds back would bring it up to date.
    bed.proxies().ResetAround(follower);
    for (size_t i = 0; i < bed.size(); ++i) bed.proxies().SetAround(i, bed.size(), links);
    RETURN_IF_ERROR(bed.Ready(follower));
    RETURN_IF_ERROR(bed.EndFault());
    ++rounds;
  }
  size_t installed = 0;
  for (size_t i = 0; i < bed.size(); ++i) installed += Installations(bed, i);
  bed.Note(std::to_string(rounds) + " cuts, " + std::to_string(installed) + " snapshots installed");
  return Expect(installed > 0, "a snapshot was needed");
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
       .run = LeaderAlone},
      {.name = "cut-follower",
       .injected = "a follower alone, both ways",
       .promised = "it refuses reads and writes, the others go on",
       .gaps = kNoElection,
       .run = FollowerAlone},
      {.name = "cut-one-way-mute",
       .injected = "nobody hears the leader; it hears all",
       .promised = "another is elected",
       .run = [](Bed& bed) { return OneWay(bed, false); }},
      {.name = "cut-one-way-deaf",
       .injected = "the leader hears nobody; all hear it",
       .promised = "it steps down (check quorum), another is elected",
       .run = [](Bed& bed) { return OneWay(bed, true); }},
      {.name = "cut-bridge",
       .injected = "two of three nodes do not reach each other, both reach the third",
       .promised = "goes on, no livelock",
       .run = Bridge},
      {.name = "cut-halves-of-5",
       .injected = "two of five nodes apart from three",
       .promised = "the three go on",
       .run = Halves,
       .prepare = FiveNodes},
      {.name = "cut-until-snapshot",
       .injected = "a follower alone until the others' logs begin after its own end",
       .promised = "it gets a snapshot and serves again",
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
       .run = [](Bed& bed) { return Everywhere(bed, {.flip = 0.01}); }},
      {.name = "flip-wire-snapshot",
       .injected = "a wrong bit in 5 % of the reads while snapshots are sent",
       .promised = "the transfer goes on where it was; nothing wrong is installed",
       .run = [](Bed& bed) { return CutUntilSnapshot(bed, {.flip = 0.05}); },
       .prepare = ShortLogs},
      {.name = "delay",
       .injected = "75 to 125 ms on every link, each way",
       .promised = "goes on",
       .gaps = kAfterOutage,
       .run =
           [](Bed& bed) {
             return Everywhere(bed, {.delay = milliseconds(75), .jitter = milliseconds(50)});
           }},
      {.name = "reorder",
       .injected = "0 to 60 ms on each read: connections overtake each other",
       .promised = "goes on",
       .run = [](Bed& bed) { return Everywhere(bed, {.jitter = milliseconds(60)}); }},
      {.name = "duplicate",
       .injected =
           "after 30 % of the frames between nodes one of the last eight with messages, calls or "
           "replies comes again, on the same connection",
       .promised = "goes on; no forwarded write, change or hand-over is carried out twice",
       .run = RepeatFrames},
      {.name = "loss",
       .injected = "5 % of reads stall their connection for 200 ms, as TCP does at a lost segment",
       .promised = "goes on",
       .run = [](Bed& bed) { return Everywhere(bed, {.stall = 0.05}); }},
      {.name = "reset-random",
       .injected = "1 % of reads break their connection",
       .promised = "reconnects; nothing is applied twice",
       .run = [](Bed& bed) { return Everywhere(bed, {.reset = 0.01}); }},
      {.name = "reset-all",
       .injected = "all peer connections of a node reset at once, several times a second",
       .promised = "reconnects; nothing is applied twice",
       .run = Resets},
  };
}

}  // namespace raftkv::faults
