#include <algorithm>
#include <list>

#include "tests/faults/crowd.h"
#include "tests/faults/malformed_frames.h"
#include "tests/faults/rows.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

uint64_t Number(const std::string& metrics, const std::string& name) {
  const size_t at = metrics.find("\n" + name + " ");
  if (at == std::string::npos) return 0;
  return static_cast<uint64_t>(std::stod(metrics.substr(at + name.size() + 2)));
}

// What the node itself says of its clients' connections.
uint64_t Connections(Bed& bed, size_t i) {
  return Number(bed.node(i).Admin("GET", "/metrics").body,
                R"(raftkv_http_connections{listener="client"})");
}

// Nodes of these rows have shorter limits than usual, so that their end is seen.
constexpr seconds kIdleTimeout{8};
constexpr seconds kHeadTimeout{4};
constexpr seconds kBodyTimeout{7};
// Before a limit nobody may close, but on a busy machine nobody looks in time.
constexpr seconds kBeforeLimit{2};
constexpr size_t kIdle = 1000;

void ShortLimits(BedOptions& options) {
  options.flags = {"--http-idle-timeout", std::to_string(kIdleTimeout.count()) + "s",
                   "--http-head-timeout", std::to_string(kHeadTimeout.count()) + "s",
                   "--http-body-timeout", std::to_string(kBodyTimeout.count()) + "s"};
}

// The load goes on and everybody is healthy; `within` of the beginning nobody of the crowd may be
// gone.
Status GoOnBeside(Bed& bed, Crowd& crowd, std::chrono::steady_clock::time_point begin,
                  seconds within) {
  RETURN_IF_ERROR(bed.Progress(20));
  RETURN_IF_ERROR(ExpectHealthy(bed));
  crowd.Listen();
  const bool early = std::chrono::steady_clock::now() - begin < within;
  return Expect(!early || crowd.open() == crowd.size(),
                "connections stay open until their time is up: " + std::to_string(crowd.open()) +
                    " of " + std::to_string(crowd.size()));
}

// One request on each connection, and then nothing.
Status IdleConnections(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  uint64_t seen = 0;
  size_t closed = 0;
  Calm reign(bed);
  bed.BeginFault();
  while (!bed.Over() || reign.WantsMore()) {
    RETURN_IF_ERROR(reign.BeginRound());
    Crowd idle(bed.node(victim).client_port(), kIdle);
    const auto begin = std::chrono::steady_clock::now();
    idle.Say("GET /kv/k1?consistency=stale HTTP/1.1\r\nHost: x\r\n\r\n");
    RETURN_IF_ERROR(bed.WaitFor("the node has them all", [&] {
      seen = std::max(seen, Connections(bed, victim));
      return seen >= kIdle;
    }));
    while (std::chrono::steady_clock::now() - begin < kIdleTimeout - kBeforeLimit) {
      RETURN_IF_ERROR(GoOnBeside(bed, idle, begin, kIdleTimeout - kBeforeLimit));
    }
    RETURN_IF_ERROR(bed.WaitFor("idle connections are closed", [&] {
      idle.Listen();
      return idle.open() == 0;
    }));
    const size_t answered = idle.answered(200) + idle.answered(404);
    RETURN_IF_ERROR(
        Expect(answered == kIdle, "each had its answer before: " + std::to_string(answered)));
    closed += kIdle;
    RETURN_IF_ERROR(reign.EndRound());
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(seen) + " connections at once as the node counts, " +
           std::to_string(closed) + " closed by it when they had been idle for " +
           std::to_string(kIdleTimeout.count()) + " s");
  return reign.Judge();
}

Status SlowLoris(Bed& bed) {
  const size_t victim = bed.Pick(bed.size());
  uint64_t seen = 0;
  size_t ended = 0;
  Calm reign(bed);
  bed.BeginFault();
  while (!bed.Over() || reign.WantsMore()) {
    RETURN_IF_ERROR(reign.BeginRound());
    Crowd heads(bed.node(victim).client_port(), 300);
    Crowd bodies(bed.node(victim).client_port(), 300);
    const auto begin = std::chrono::steady_clock::now();
    heads.Say("GET /kv/k1 HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    bodies.Say("PUT /kv/other HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    RETURN_IF_ERROR(bed.WaitFor("the node has them all", [&] {
      seen = std::max(seen, Connections(bed, victim));
      return seen >= heads.size() + bodies.size();
    }));
    // However often a byte comes, the whole has its time and no more.
    while (heads.open() + bodies.open() > 0 &&
           std::chrono::steady_clock::now() - begin < std::chrono::minutes(1)) {
      heads.Say("a");
      bodies.Say("a");
      RETURN_IF_ERROR(GoOnBeside(bed, heads, begin, kHeadTimeout - kBeforeLimit));
      RETURN_IF_ERROR(GoOnBeside(bed, bodies, begin, kBodyTimeout - kBeforeLimit));
    }
    RETURN_IF_ERROR(Expect(heads.open() + bodies.open() == 0, "they are closed in the end"));
    const size_t refused = heads.answered(408) + bodies.answered(408);
    RETURN_IF_ERROR(Expect(refused == heads.size() + bodies.size(),
                           "each is told 408: " + std::to_string(refused)));
    ended += refused;
    RETURN_IF_ERROR(reign.EndRound());
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(seen) + " connections at once as the node counts, " +
           std::to_string(ended) + " ended by it with 408");
  return reign.Judge();
}

// More connections than the process may open files, at each of its ports.
Status FewFiles(Bed& bed) {
  int rounds = 0;
  bed.BeginFault();
  while (!bed.Over() || rounds < 4) {
    const size_t victim = bed.Pick(bed.size());
    {
      // At the peer port those in the handshake and those who do not call are bounded apart.
      const testing::NodeProcess& node = bed.node(victim);
      const int ports[] = {node.client_port(), node.admin_port(), node.peer_port()};
      // All of them at once, then each alone.
      std::list<Crowd> crowds;
      for (int i = 0; i < 3; ++i) {
        if (rounds % 4 == 0 || rounds % 4 == i + 1) crowds.emplace_back(ports[i], 300);
      }
      Crowd callers(node.peer_port(), rounds % 4 == 0 || rounds % 4 == 3 ? 300 : 0);
      callers.Say(CallersHello(bed.random()));
      bed.Pace(milliseconds(2000));
      // The clients of the others go on; whether the victim's do is not promised.
      RETURN_IF_ERROR(bed.Progress());
    }
    RETURN_IF_ERROR(Expect(bed.node(victim).process()->IsRunning(), "it outlives the crowd"));
    RETURN_IF_ERROR(bed.Ready(victim));
    ++rounds;
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(rounds) + " crowds");
  return Status::Ok();
}

}  // namespace

std::vector<Row> ResourceRows() {
  return {
      {.name = "idle-connections",
       .injected = "1,000 connections to one node that are idle after one request each",
       .promised =
           "no outage, health answers, leader and term stay; the node keeps them until their "
           "time is up, and closes them then",
       .gaps = kNoElection,
       .run = IdleConnections,
       .prepare = ShortLimits},
      {.name = "slowloris",
       .injected = "300 heads and 300 bodies that never end, a byte now and then, to one node",
       .promised =
           "no outage, health answers, leader and term stay; the node keeps them until their "
           "time is up, and ends them with 408 then",
       .gaps = kNoElection,
       .run = SlowLoris,
       .prepare = ShortLimits},
      {.name = "few-files",
       .injected = "300 connections to all ports at once, and to each in turn, of a node that may "
                   "open 128 files; to "
                   "that of peers as many again that say hello and do not call",
       .promised = "it lives on and serves when they are gone; the others go on",
       .gaps = kNoElection,
       .run = FewFiles,
       .prepare =
           [](BedOptions& options) {
             options.prefix = [](size_t) {
               return std::vector<std::string>{"prlimit", "--nofile=128"};
             };
           }},
  };
}

}  // namespace raftkv::faults
