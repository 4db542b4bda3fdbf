#include <signal.h>

#include <atomic>

#include "base/out_of_memory.h"
#include "tests/faults/power_loss.h"
#include "tests/faults/rows.h"
#include "tests/faults/shims.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

Status CutPower(Bed& bed, size_t i, Loss loss) {
  return LosePower(bed.data(i), ShadowOf(bed, i), loss, bed.random());
}

Loss AllOrSome(Bed& bed) { return bed.Pick(2) == 0 ? Loss::kAll : Loss::kSome; }

Status LosePowerAgainAndAgain(Bed& bed, bool all) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(true));
  int losses = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    bed.Pace(milliseconds(400));
    const size_t first = bed.Pick(bed.size());
    std::vector<size_t> victims;
    for (size_t i = 0; i < (all ? bed.size() : 1); ++i) {
      victims.push_back((first + i) % bed.size());
    }
    for (const size_t i : victims) bed.Kill(i);
    all ? bed.BeginOutage() : bed.BeginFault();
    for (const size_t i : victims) {
      RETURN_IF_ERROR(CutPower(bed, i, AllOrSome(bed)));
      ++losses;
    }
    RETURN_IF_ERROR(all ? bed.EndOutage() : bed.EndFault());
    for (const size_t i : victims) bed.Restart(i);
    for (const size_t i : victims) RETURN_IF_ERROR(ReadyAsBefore(bed, i));
  }
  bed.Note(std::to_string(losses) + " power losses");
  return Status::Ok();
}

// Whatever a member makes when it begins has to be there: what it said to others counts.
Status LosePowerOfNewMembers(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(true));
  int losses = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    RETURN_IF_ERROR(bed.Replace(victim));
    bed.Kill(victim);
    bed.BeginFault();
    RETURN_IF_ERROR(CutPower(bed, victim, AllOrSome(bed)));
    RETURN_IF_ERROR(bed.EndFault());
    bed.Restart(victim);
    RETURN_IF_ERROR(ReadyAsBefore(bed, victim));
    ++losses;
  }
  bed.Note(std::to_string(losses) + " power losses of members that had just begun");
  return Status::Ok();
}

// `fails`: the setting that says after how many calls one of them does.
Status FailCalls(Bed& bed, std::atomic<int32_t> ShimControl::* fails, bool loses_unsynced) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(loses_unsynced));
  int ended = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t victim = bed.Pick(2) == 0 ? leader : bed.Other(leader);
    (shims[victim]->*fails) = static_cast<int32_t>(1 + bed.Pick(20));
    bed.BeginFault();
    RETURN_IF_ERROR(EndWithIoError(bed, victim));
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(bed.EndFault());
    shims.Reset();
    if (loses_unsynced) RETURN_IF_ERROR(CutPower(bed, victim, Loss::kSome));
    bed.Restart(victim);
    RETURN_IF_ERROR(ReadyAsBefore(bed, victim));
    ++ended;
  }
  bed.Note(std::to_string(ended) + " nodes ended with status 74");
  return Status::Ok();
}

// Nobody has acknowledged what is cut: the write never returned.
Status CutRecords(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  int cuts = 0;
  int reported = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    const size_t victim = bed.Pick(bed.size());
    shims[victim]->cut_permille = static_cast<int32_t>(1 + bed.Pick(999));
    shims[victim]->cut_write_after = static_cast<int32_t>(1 + bed.Pick(20));
    bed.BeginFault();
    ASSIGN_OR_RETURN_STATUS(const int status, bed.End(victim));
    RETURN_IF_ERROR(Expect(status == 128 + SIGKILL,
                           "it dies in the write, not with " + std::to_string(status)));
    RETURN_IF_ERROR(bed.EndFault());
    shims.Reset();
    const size_t before = bed.node(victim).Log().size();
    bed.Restart(victim);
    RETURN_IF_ERROR(ReadyAsBefore(bed, victim));
    ++cuts;
    if (bed.node(victim).Log().find("interrupted", before) != std::string::npos) ++reported;
  }
  bed.Note(std::to_string(cuts) + " records cut in two, " + std::to_string(reported) +
           " of them reported at the start");
  return Expect(reported > 0, "a node says what it has cut off");
}

Status SlowSyncs(Bed& bed, bool leader_too) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  Calm reign(bed);
  while (!bed.Over() || (!leader_too && reign.WantsMore())) {
    RETURN_IF_ERROR(reign.BeginRound());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t victim = leader_too ? leader : bed.Other(leader);
    shims[victim]->sync_delay_ms = static_cast<int32_t>(100 + bed.Pick(900));
    bed.BeginFault();
    RETURN_IF_ERROR(bed.Progress(60));
    bed.Pace(milliseconds(2000));
    RETURN_IF_ERROR(bed.EndFault());
    shims.Reset();
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(reign.EndRound());
  }
  return leader_too ? Status::Ok() : reign.Judge();
}

Status JumpClocks(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  int jumps = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    const int64_t hours = static_cast<int64_t>(bed.Pick(48)) - 24;
    shims[bed.Pick(bed.size())]->clock_offset_ms = hours * 3'600'000;
    ++jumps;
    bed.Pace(milliseconds(300));
    RETURN_IF_ERROR(bed.Progress(20));
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(jumps) + " jumps");
  return Status::Ok();
}

// Each node's clock for itself. Leases end early by that, timeouts come early; nothing else.
Status JumpMonotonicClocks(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  int jumps = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    const size_t victim = bed.Pick(bed.size());
    constexpr int64_t kMostMs[] = {50, 1500, 60'000};
    shims[victim]->monotonic_ahead_ms +=
        1 + static_cast<int64_t>(bed.Pick(static_cast<size_t>(kMostMs[bed.Pick(3)])));
    ++jumps;
    bed.Pace(milliseconds(300));
    RETURN_IF_ERROR(bed.Progress(20));
  }
  RETURN_IF_ERROR(bed.EndFault());
  uint64_t waits = 0;
  for (size_t i = 0; i < bed.size(); ++i) waits += shims[i]->waits_shifted;
  bed.Note(std::to_string(jumps) + " jumps, " + std::to_string(waits) + " waits by such a clock");
  return Expect(waits > 0, "nodes wait by the clock that jumped");
}

// What passes while a clock stands still has not passed for its node: it neither votes nor steps
// down by time. Then the clock is right again at once.
Status FreezeMonotonicClocks(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  int frozen = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    const size_t victim = bed.Pick(2) == 0 ? leader : bed.Other(leader);
    shims[victim]->monotonic_frozen_ns = -1;
    std::this_thread::sleep_for(milliseconds(300));
    bed.Pace(milliseconds(2700));
    RETURN_IF_ERROR(bed.Progress(20));
    shims[victim]->monotonic_frozen_ns = 0;
    ++frozen;
    RETURN_IF_ERROR(bed.Ready(victim));
  }
  RETURN_IF_ERROR(bed.EndFault());
  uint64_t waits = 0;
  for (size_t i = 0; i < bed.size(); ++i) waits += shims[i]->waits_frozen;
  bed.Note(std::to_string(frozen) + " clocks stood still, " + std::to_string(waits) +
           " waits by them");
  return Expect(waits > 0, "nodes wait by the clock that stands still");
}

// Nothing tells it that it leads no more: no tick comes and no message. So it asks a majority each
// time before it answers, or not at all; what clients saw is for the checker to judge.
Status FreezeAndCutLeaders(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  int frozen = 0;
  while (!bed.Over()) {
    RETURN_IF_ERROR(bed.Progress());
    ASSIGN_OR_RETURN_STATUS(const size_t leader, bed.Leader());
    shims[leader]->monotonic_frozen_ns = -1;
    CutAway(bed, {leader}, Cut::kBoth);
    bed.BeginFault();
    // Until another one has been elected and has written.
    RETURN_IF_ERROR(bed.Progress());
    bed.Pace(milliseconds(1000));
    RETURN_IF_ERROR(bed.Progress());
    RETURN_IF_ERROR(bed.EndFault());
    shims[leader]->monotonic_frozen_ns = 0;
    bed.proxies().Heal();
    for (size_t i = 0; i < bed.size(); ++i) RETURN_IF_ERROR(bed.Ready(i));
    ++frozen;
  }
  bed.Note(std::to_string(frozen) + " leaders cut off with a clock that stood still");
  return Status::Ok();
}

// First while they run, then at a start.
Status RefuseThreads(Bed& bed) {
  Shims shims(bed);
  RETURN_IF_ERROR(shims.Attach(false));
  int ended = 0;
  uint64_t refused = 0;
  bed.BeginFault();
  while (!bed.Over()) {
    const size_t victim = bed.Pick(bed.size());
    for (size_t i = 0; i < bed.size(); ++i) shims[i]->no_threads = 1;
    RETURN_IF_ERROR(bed.Progress());
    for (size_t i = 0; i < bed.size(); ++i) {
      if (i != victim) shims[i]->no_threads = 0;
    }
    bed.Kill(victim);
    bed.Restart(victim);
    ASSIGN_OR_RETURN_STATUS(const int status, bed.End(victim));
    RETURN_IF_ERROR(
        Expect(status == kExitOutOfMemory,
               "a node that gets no thread ends with 71, not " + std::to_string(status)));
    ++ended;
    refused += shims[victim]->threads_refused.exchange(0);
    shims[victim]->no_threads = 0;
    bed.Restart(victim);
    RETURN_IF_ERROR(bed.Ready(victim));
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(refused) + " threads refused, " + std::to_string(ended) +
           " starts without threads ended");
  return Expect(refused > 0, "threads were refused");
}

}  // namespace

std::vector<Row> ShimRows() {
  return {
      {.name = "power-one",
       .injected = "power loss of one node: what it had not synced is gone, wholly or by sectors; "
                   "names that their directory was not synced with as well",
       .promised = "nothing acknowledged is lost, starts by itself as the member that it was",
       .run = [](Bed& bed) { return LosePowerAgainAndAgain(bed, false); },
       .shim = true},
      {.name = "power-all",
       .injected = "the same of all nodes at once",
       .promised =
           "nothing acknowledged is lost, all start by themselves as the members that they were",
       .gaps = kAfterOutage,
       .run = [](Bed& bed) { return LosePowerAgainAndAgain(bed, true); },
       .shim = true},
      {.name = "power-all-snapshots",
       .injected = "the same with logs so short that snapshots are sent all the time",
       .promised = "as above",
       .gaps = kAfterOutage,
       .run = [](Bed& bed) { return LosePowerAgainAndAgain(bed, true); },
       .prepare = ShortLogs,
       .shim = true},
      {.name = "power-new",
       .injected = "a member begins with an empty disk, and loses its power as soon as it votes",
       .promised = "it starts by itself as the member that it was",
       .run = LosePowerOfNewMembers,
       .shim = true},
      {.name = "sync-fails",
       .injected = "every sync fails from some moment on, on leader or follower; then power loss",
       .promised = "it ends with status 74 and acknowledges nothing more; the others go on",
       .run = [](Bed& bed) { return FailCalls(bed, &ShimControl::fail_sync_after, true); },
       .shim = true},
      {.name = "write-fails",
       .injected = "every write to a data file fails with EIO from some moment on, on leader or "
                   "follower",
       .promised = "it ends with status 74 and acknowledges nothing more; the others go on; it "
                   "starts again when the disk takes writes",
       .run = [](Bed& bed) { return FailCalls(bed, &ShimControl::fail_write_after, false); },
       .shim = true},
      {.name = "cut-record",
       .injected = "a node dies within a write to its log, which leaves any part of the record",
       .promised = "the rest is cut off and reported, the node starts",
       .run = CutRecords,
       .shim = true},
      {.name = "sync-slow-follower",
       .injected = "each sync of a follower takes 0.1 to 1 s",
       .promised = "no outage, leader and term stay",
       .gaps = kNoElection,
       .run = [](Bed& bed) { return SlowSyncs(bed, false); },
       .shim = true},
      {.name = "sync-slow-leader",
       .injected = "each sync of the leader takes 0.1 to 1 s",
       .promised = "goes on with the others' disks",
       .gaps = {.elections = 3, .beside = seconds(1)},  // a sync
       .run = [](Bed& bed) { return SlowSyncs(bed, true); },
       .shim = true},
      {.name = "clock-jumps",
       .injected = "wall clocks jump by up to a day, ahead and back, each node's for itself",
       .promised = "nothing: only the monotonic clock counts",
       .run = JumpClocks,
       .shim = true},
      {.name = "clock-monotonic",
       .injected = "monotonic clocks jump ahead by up to a minute, each node's for itself",
       .promised = "elections and early timeouts at most; no stale read",
       .run = JumpMonotonicClocks,
       .shim = true},
      {.name = "clock-frozen",
       .injected =
           "the monotonic clock of leader or follower stands still for 0.3 to 3 s and is right "
           "again at once; no lease reads, which trust in clocks that go on",
       .promised = "elections at most; no stale read",
       .run = FreezeMonotonicClocks,
       .prepare = [](BedOptions& options) { options.load.leases = false; },
       .shim = true},
      {.name = "clock-frozen-cut",
       .injected =
           "the leader is cut off while its monotonic clock stands still: it is not told, and "
           "no time passes for it, that it leads no more; no lease reads",
       .promised =
           "the others elect and go on; no stale read, no acknowledgement by the old leader",
       .run = FreezeAndCutLeaders,
       .prepare = [](BedOptions& options) { options.load.leases = false; },
       .shim = true},
      {.name = "few-threads",
       .injected = "no node gets another thread, while it runs and when it starts",
       .promised = "who runs goes on; who starts ends, and starts when there are threads",
       .run = RefuseThreads,
       .shim = true},
  };
}

}  // namespace raftkv::faults
