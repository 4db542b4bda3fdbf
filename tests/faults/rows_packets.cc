#include "tests/faults/host_network.h"
#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

HostNetwork& Network(Bed& bed) { return *bed.options().network; }

// Some fault, progress in spite of it, and back. `injure` gives who reaches no majority then.
// `calm`: leader and term stay.
Status AgainAndAgain(Bed& bed, bool calm,
                     const std::function<Result<std::vector<size_t>>()>& injure) {
  Calm reign(bed);
  int times = 0;
  while (!bed.Over() || (calm && reign.WantsMore())) {
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(reign.BeginRound());
    ASSIGN_OR_RETURN_STATUS(const std::vector<size_t> minority, injure());
    bed.BeginFault();
    bed.BeginMinority(minority);
    RETURN_IF_ERROR(ExpectMinority(bed, minority));
    bed.Pace(milliseconds(2000));
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(bed.EndFault());
    RETURN_IF_ERROR(ExpectMinority(bed, minority));
    bed.EndMinority();
    RETURN_IF_ERROR(Network(bed).Heal());
    for (size_t i = 0; i < bed.size(); ++i) RETURN_IF_ERROR(bed.Ready(i));
    RETURN_IF_ERROR(reign.EndRound());
    ++times;
  }
  bed.Note(std::to_string(times) + " times");
  return calm ? reign.Judge() : Status::Ok();
}

Status AgainAndAgain(Bed& bed, bool calm, const std::function<Status()>& injure) {
  return AgainAndAgain(bed, calm, [&injure]() -> Result<std::vector<size_t>> {
    RETURN_UNEXPECTED_IF_ERROR(injure());
    return std::vector<size_t>{};
  });
}

// `cut`: from, to.
Status AroundLeader(Bed& bed, bool to_it, bool from_it) {
  return AgainAndAgain(bed, false, [&bed, to_it, from_it]() -> Result<std::vector<size_t>> {
    ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
    for (const size_t i : bed.Places()) {
      if (i == leader) continue;
      if (to_it) RETURN_UNEXPECTED_IF_ERROR(Network(bed).Drop(i, leader));
      if (from_it) RETURN_UNEXPECTED_IF_ERROR(Network(bed).Drop(leader, i));
    }
    return std::vector{leader};
  });
}

Status Bridge(Bed& bed) {
  return AgainAndAgain(bed, true, [&bed]() -> Status {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t follower = bed.Other(leader);
    RETURN_IF_ERROR(Network(bed).Drop(leader, follower));
    RETURN_IF_ERROR(Network(bed).Drop(follower, leader));
    return AwaitLost(bed, follower, leader);
  });
}

Status Resets(Bed& bed) {
  return AgainAndAgain(bed, false, [&bed]() -> Status {
    const size_t a = bed.Pick(bed.size());
    const size_t b = bed.Other(a);
    RETURN_IF_ERROR(Network(bed).Reset(a, b));
    return Network(bed).Reset(b, a);
  });
}

Status SlowLeader(Bed& bed) {
  return AgainAndAgain(bed, false, [&bed]() -> Status {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    return Network(bed).Slow(leader, 1000);
  });
}

void Apart(BedOptions& options) {
  const auto network = std::make_shared<HostNetwork>(options.nodes + 1);
  options.network = network;
  options.before = [network](Bed&) { return network->Make(); };
  options.prefix = [network](size_t i) { return network->Prefix(i); };
  for (size_t i = 0; i <= options.nodes; ++i) options.hosts.push_back(HostNetwork::Host(i));
}

}  // namespace

std::vector<Row> PacketRows() {
  std::vector<Row> rows = {
      {.name = "packets-cut-leader",
       .injected = "packets between the leader and the others are dropped, both ways",
       .promised = "it refuses reads and writes, the others elect and go on",
       .run = [](Bed& bed) { return AroundLeader(bed, true, true); }},
      {.name = "packets-cut-mute",
       .injected = "packets from the leader to the others are dropped (no acknowledgements either)",
       .promised = "it refuses reads and writes, the others elect and go on",
       .run = [](Bed& bed) { return AroundLeader(bed, false, true); }},
      {.name = "packets-cut-deaf",
       .injected = "packets from the others to the leader are dropped",
       .promised = "it steps down and refuses reads and writes, another is elected",
       .run = [](Bed& bed) { return AroundLeader(bed, true, false); }},
      {.name = "packets-bridge",
       .injected = "packets between the leader and one of two followers are dropped, until that "
                   "follower knows no leader",
       .promised = "goes on, no livelock: leader and term stay, also when the follower hears the "
                   "leader again (PreVote)",
       .gaps = kNoElection,
       .run = Bridge},
      {.name = "packets-loss",
       .injected = "20 % of the packets between nodes are lost",
       .promised = "goes on",
       .gaps = kBadLinks,
       .run =
           [](Bed& bed) {
             return AgainAndAgain(bed, false, [&bed] { return Network(bed).Lose(0.2); });
           }},
      {.name = "packets-reset",
       .injected = "packets between two nodes are answered with resets",
       .promised = "goes on; reconnects",
       .gaps = kBadLinks,
       .run = Resets},
      {.name = "packets-slow",
       .injected = "the leader's link has 1 Mbit/s",
       .promised = "goes on",
       .gaps = kBadLinks,
       .run = SlowLeader},
  };
  for (Row& row : rows) {
    row.prepare = Apart;
    row.isolated = true;
  }
  return rows;
}

}  // namespace raftkv::faults
