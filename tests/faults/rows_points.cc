#include <signal.h>

#include <fstream>
#include <iterator>

#include "tests/faults/rows.h"
#include "tests/integration/process.h"

namespace raftkv::faults {
namespace {

using std::chrono::milliseconds;

// What has to go on for a point to be reached.
enum class Work { kLoad, kSnapshotSave, kSnapshotInstall, kConfiguration };

struct Point {
  const char* name;  // in FAULT_POINT (base/fault_points.h)
  Work work;
  size_t passes = 1;  // dies at one of the first so many
};

// So often it is tried to let one die at least.
constexpr int kMostRounds = 5;

constexpr Point kPoints[] = {
    {"save_before", Work::kLoad, 8},
    {"save_after", Work::kLoad, 8},
    {"send_before", Work::kLoad, 8},
    {"send_after", Work::kLoad, 8},
    {"apply_before", Work::kLoad, 8},
    {"apply_after", Work::kLoad, 8},
    {"state_write_before", Work::kLoad, 8},
    {"state_write_after", Work::kLoad, 8},
    // Of which a few hundred writes make one.
    {"flush_before", Work::kLoad},
    {"flush_after", Work::kLoad},
    {"truncate_before", Work::kLoad},
    {"truncate_after", Work::kLoad},
    {"snapshot_save_before", Work::kSnapshotSave},
    {"snapshot_save_after", Work::kSnapshotSave},
    {"snapshot_install_before", Work::kSnapshotInstall},
    {"snapshot_install_after", Work::kSnapshotInstall},
    {"log_reset_before", Work::kSnapshotInstall},
    {"log_reset_after", Work::kSnapshotInstall},
    {"installation_finish_before", Work::kSnapshotInstall},
    {"configuration_before", Work::kConfiguration},
    {"configuration_after", Work::kConfiguration},
};

std::filesystem::path FileOf(const Bed& bed, size_t i) { return bed.directory(i) / "fault-point"; }

void Arm(const Bed& bed, size_t i, const std::string& line) {
  // In one step: the node may read it at any time.
  const std::filesystem::path draft = FileOf(bed, i).string() + ".new";
  std::ofstream(draft) << line << '\n';
  std::filesystem::rename(draft, FileOf(bed, i));
}

// Every node anew, with the file in its environment.
Status Attach(Bed& bed) {
  for (size_t i = 0; i < bed.size(); ++i) {
    Arm(bed, i, "");
    bed.Kill(i);
    bed.node(i).set_prefix({"env", "RAFTKV_FAULT_POINT=" + FileOf(bed, i).string()});
    bed.Restart(i);
    RETURN_IF_ERROR(bed.Ready(i));
  }
  RETURN_IF_ERROR(bed.Progress());
  bed.Begin();
  return Status::Ok();
}

// A voter becomes a learner and a voter again, as far as that goes.
void ChangeConfiguration(Bed& bed, size_t subject, const char* how) {
  const Result<size_t> leader = bed.Leader();
  if (!leader) return;
  (void)bed.node(*leader).Admin(
      "POST", "/admin/membership",
      std::string("{\"") + how + "\":[\"" + bed.MemberId(subject) + "\"]}");
}

Status WaitForVoter(Bed& bed, size_t i) {
  return bed.WaitFor(bed.node(i).name() + " votes", [&] {
    const std::optional<v1::StatusResponse> status = bed.node(i).Status();
    if (!status) return false;
    if (status->role() != v1::StatusResponse::LEARNER) return true;
    ChangeConfiguration(bed, i, "promote");
    return false;
  });
}

// Arms one of the nodes that get to the point, and does what makes it get there. Which one.
Result<size_t> Approach(Bed& bed, const Point& point, const std::string& line) {
  RETURN_UNEXPECTED_IF_ERROR(bed.Progress());
  ASSIGN_OR_RETURN(const size_t leader, bed.Leader());
  size_t victim = bed.Pick(2) == 0 ? leader : bed.Other(leader);
  switch (point.work) {
    case Work::kLoad:
      Arm(bed, victim, line);
      break;
    case Work::kSnapshotSave: {
      const size_t away = bed.Other(leader);
      RETURN_UNEXPECTED_IF_ERROR(LeaveBehind(bed, away));
      ASSIGN_OR_RETURN(victim, bed.Leader());
      Arm(bed, victim, line);
      bed.Restart(away);
      break;
    }
    case Work::kSnapshotInstall:
      victim = bed.Other(leader);
      RETURN_UNEXPECTED_IF_ERROR(LeaveBehind(bed, victim));
      Arm(bed, victim, line);
      bed.Restart(victim);
      break;
    case Work::kConfiguration:
      Arm(bed, victim, line);
      ChangeConfiguration(bed, bed.Other(leader), "demote");
      break;
  }
  return victim;
}

// Everybody is what it was.
Status AwaitAll(Bed& bed, const Point& point) {
  for (size_t i = 0; i < bed.size(); ++i) {
    RETURN_IF_ERROR(ReadyAsBefore(bed, i));
    if (point.work == Work::kConfiguration) RETURN_IF_ERROR(WaitForVoter(bed, i));
  }
  return Status::Ok();
}

// One round; whether somebody died there.
Result<bool> DieAt(Bed& bed, const Point& point) {
  const std::string line =
      std::string(point.name) + " kill " + std::to_string(1 + bed.Pick(point.passes));
  ASSIGN_OR_RETURN(const size_t victim, Approach(bed, point, line));
  const auto dead = [&] { return !bed.node(victim).process()->IsRunning(); };
  bool died = testing::WaitUntil(dead, seconds(10));
  Arm(bed, victim, "");
  // It may have been on its way into the point just then.
  died = died || testing::WaitUntil(dead, milliseconds(300));
  if (died) {
    ASSIGN_OR_RETURN(const int status, bed.End(victim));
    RETURN_UNEXPECTED_IF_ERROR(Expect(status == 128 + SIGKILL,
                                      "it dies of the point, not with " + std::to_string(status)));
    bed.Restart(victim);
  }
  RETURN_UNEXPECTED_IF_ERROR(AwaitAll(bed, point));
  return died;
}

Status DieAgainAndAgain(Bed& bed, const Point& point) {
  RETURN_IF_ERROR(Attach(bed));
  int deaths = 0;
  int rounds = 0;
  bed.BeginFault();
  do {
    ASSIGN_OR_RETURN_STATUS(const bool died, DieAt(bed, point));
    if (died) ++deaths;
    ++rounds;
  } while (!bed.Over() || (deaths == 0 && rounds < kMostRounds));
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note(std::to_string(deaths) + " deaths there in " + std::to_string(rounds) + " rounds");
  return Expect(deaths > 0, std::string("a node died at ") + point.name);
}

// Each pass sleeps. Where the load passes a read takes several, within the second that requests
// have; what comes rarely may take longer than an election.
constexpr milliseconds kLongestSleep{3000};
std::string SleepAt(Bed& bed, const Point& point) {
  constexpr size_t kRare = kLongestSleep.count() / 2;
  const size_t ms = point.work == Work::kLoad ? 10 + bed.Pick(50) : kRare + bed.Pick(kRare);
  return std::string(point.name) + " sleep " + std::to_string(ms);
}

// How often the node has said that it sleeps there.
size_t Sleeps(Bed& bed, size_t i, const Point& point) {
  const std::string said = std::string("fault point ") + point.name + ": sleep";
  const std::string log = bed.node(i).Log();
  size_t count = 0;
  for (size_t at = 0; (at = log.find(said, at)) != std::string::npos; ++at) ++count;
  return count;
}

// One round; whether somebody slept there.
Result<bool> SleepAtPoint(Bed& bed, const Point& point) {
  std::vector<size_t> before;
  for (size_t i = 0; i < bed.size(); ++i) before.push_back(Sleeps(bed, i, point));
  ASSIGN_OR_RETURN(const size_t sleeper, Approach(bed, point, SleepAt(bed, point)));
  const bool slept = testing::WaitUntil(
      [&] { return Sleeps(bed, sleeper, point) > before[sleeper]; }, seconds(10));
  RETURN_UNEXPECTED_IF_ERROR(bed.Progress());
  Arm(bed, sleeper, "");
  RETURN_UNEXPECTED_IF_ERROR(AwaitAll(bed, point));
  return slept;
}

Status SleepEverywhere(Bed& bed) {
  RETURN_IF_ERROR(Attach(bed));
  int rounds = 0;
  bed.BeginFault();
  for (const Point& point : kPoints) {
    bool slept = false;
    for (int tries = 0; !slept && tries < kMostRounds; ++tries) {
      ASSIGN_OR_RETURN_STATUS(slept, SleepAtPoint(bed, point));
      ++rounds;
    }
    RETURN_IF_ERROR(Expect(slept, std::string("a node sleeps at ") + point.name));
  }
  RETURN_IF_ERROR(bed.EndFault());
  bed.Note("slept at each of " + std::to_string(std::size(kPoints)) + " points, in " +
           std::to_string(rounds) + " rounds");
  return Status::Ok();
}

}  // namespace

std::vector<Row> PointRows() {
  std::vector<Row> rows;
  for (const Point& point : kPoints) {
    rows.push_back({.name = std::string("point-") + point.name,
                    .injected = std::string("a node dies at ") + point.name,
                    .promised = "starts by itself",
                    .run = [point](Bed& bed) { return DieAgainAndAgain(bed, point); },
                    .prepare = ShortLogs,
                    .points = true});
  }
  rows.push_back(
      {.name = "point-sleep",
       .injected =
           "a node sleeps at a point, one point after the other: 10 to 60 ms each time where "
           "the load passes, 1.5 to 3 s where snapshots and configurations do",
       .promised = "goes on; each point is slept at",
       // A leader that sleeps while it applies goes on leading.
       .gaps = {.elections = 3, .beside = kLongestSleep},
       .run = SleepEverywhere,
       .prepare = ShortLogs,
       .points = true});
  return rows;
}

}  // namespace raftkv::faults
